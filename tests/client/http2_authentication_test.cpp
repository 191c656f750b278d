// Requests that authenticate their connection, over HTTP/2: who uses that connection besides.

#include "client/client_fixture.h"
#include "client/http2_fixture.h"

namespace fastpool::client::test {
namespace {

class Http2Authentication : public ExchangeTest {
 protected:
  /// \returns the number of the connection that carried the request.
  [[nodiscard]] std::string get(Handle& handle, std::string_view authorization = {}) {
    std::vector<Header> headers{{"Host", "test"}};
    if (!authorization.empty()) headers.push_back({"Authorization", authorization});
    auto use = handle.use(*Origin::parse(server_.url()));
    auto exchange = Exchange::open(core_, std::move(use).value(), {"GET", "/", headers});
    EXPECT_TRUE(exchange.ok() && exchange->obtain(options_).ok() && exchange->send("", options_).ok());
    return read_all(*exchange);
  }

  const Http2Server server_{
      [](const Http2Request& request) { request.answer(200, std::to_string(request.connection)); }};
  Handle first_{core_, core_.intern(over_http2()), pool::AfterUse::keep, Handle::Isolation::by_handle};
  Handle second_{core_, core_.intern(over_http2()), pool::AfterUse::keep, Handle::Isolation::by_handle};
  Handle nameless_{core_, core_.intern(over_http2()), pool::AfterUse::keep, Handle::Isolation::none};
};

TEST_F(Http2Authentication, of_a_handle_has_connections_that_carry_its_requests_alone) {
  EXPECT_EQ(get(first_), "0");
  EXPECT_EQ(get(second_), "0");
  EXPECT_EQ(get(first_, "NTLM x"), "1");
  EXPECT_EQ(get(second_, "NTLM x"), "2");
  EXPECT_EQ(get(first_, "NTLM y"), "1") << "the handle keeps its own";
  EXPECT_EQ(get(nameless_), "0");
}

TEST_F(Http2Authentication, of_callers_without_a_handle_has_its_connection_to_itself) {
  EXPECT_EQ(get(nameless_, "Negotiate x"), "0");
  EXPECT_EQ(total(), 0U) << "it was closed behind the response";
  EXPECT_EQ(get(nameless_), "1");
  EXPECT_EQ(get(nameless_, "Negotiate y"), "1") << "alone on an idle one";
  EXPECT_EQ(total(), 0U) << "which nobody uses after it";
  EXPECT_EQ(get(nameless_), "2");
}

}  // namespace
}  // namespace fastpool::client::test
