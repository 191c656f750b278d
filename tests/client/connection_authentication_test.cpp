// Which requests authenticate their connection, and which requests may use that connection afterwards.

#include "client/connection_authentication.h"

#include "client/client_fixture.h"

namespace fastpool::client::test {
namespace {

TEST(ConnectionSchemes, are_ntlm_negotiate_and_kerberos_without_case) {
  for (const char* value : {"NTLM TlRMTVNTUAAB", "ntlm", "Negotiate YIIZ", "NEGOTIATE", "Kerberos x", "  NTLM x",
                            "\tntlm x", "Basic dTpw, NTLM x", "Digest username=\"a, b\", Negotiate x", "NTLM,Basic x"})
    EXPECT_TRUE(names_connection_scheme(value)) << value;
}

TEST(ConnectionSchemes, are_no_other_scheme_and_no_part_of_its_credentials) {
  for (const char* value :
       {"", "  ", "Basic TlRMTQ==", "Bearer NTLM", "NTLMv2 x", "XNTLM x", "Digest realm=\"a, NTLM b\"",
        "Digest realm=\"a\\\", NTLM b\"", "Bearer negotiate", "Basic x,"})
    EXPECT_FALSE(names_connection_scheme(value)) << value;
}

TEST(ConnectionSchemes, count_in_every_value_of_either_header) {
  const auto authenticates = [](std::vector<Header> headers) { return authenticates_connection(headers); };
  EXPECT_TRUE(authenticates({{"Host", "a"}, {"AUTHORIZATION", "ntlm x"}}));
  EXPECT_TRUE(authenticates({{"authorization", "Basic x"}, {"authorization", "NTLM x"}}));
  EXPECT_TRUE(authenticates({{"Proxy-Authorization", "Negotiate x"}}));
  EXPECT_FALSE(authenticates({{"authorization", "Bearer x"}, {"x-authorization", "NTLM x"}}));
  EXPECT_FALSE(authenticates({{"www-authenticat", "NTLM x"}, {"user-agent", "NTLM x"}}));
}

/// A server that behaves as IIS: the third request of the handshake authenticates the connection, and later requests act as
/// that user.
void authenticate_connections(ServerConnection& connection, int) {
  std::string user;
  while (const Seen seen = read_request(connection)) {
    const auto at = seen.head.find("NTLM 3:");
    if (at != std::string::npos) user = seen.head.substr(at + 7, seen.head.find("\r\n", at) - at - 7);
    if (user.empty()) {
      connection.write("HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: NTLM\r\nContent-Length: 0\r\n\r\n");
    } else {
      connection.write(ok(user));
    }
  }
}

class ConnectionAuthentication : public ExchangeTest {
 protected:
  [[nodiscard]] std::string send(Result<Exchange> exchange) {
    EXPECT_TRUE(exchange.ok());
    EXPECT_TRUE(exchange->obtain(options_).ok());
    EXPECT_TRUE(exchange->send("", options_).ok());
    const std::string body = read_all(*exchange);
    return exchange->head().status == 200 ? body : std::to_string(exchange->head().status);
  }
  /// Returns the response to a request of that handle: its body, or its status if that is not 200.
  [[nodiscard]] std::string get(Handle& handle, std::string_view authorization = {}) {
    auto use = handle.use(*Origin::parse(server_.url()));
    return send(Exchange::open(core_, std::move(use).value(), {"GET", "/", headers(authorization)}));
  }
  [[nodiscard]] std::string get_on(pool::LeaseRef lease, std::string_view authorization = {}) {
    return send(Exchange::open_on(core_, lease, {"GET", "/", headers(authorization)}));
  }
  [[nodiscard]] std::string log_in(Handle& handle, const std::string& user) {
    (void)get(handle);
    (void)get(handle, "NTLM 1");
    return get(handle, "NTLM 3:" + user);
  }

  const HttpServer server_{authenticate_connections};
  Handle first_{core_, core_.intern({}), pool::AfterUse::keep, Handle::Isolation::by_handle};
  Handle second_{core_, core_.intern({}), pool::AfterUse::keep, Handle::Isolation::by_handle};
  Handle nameless_{core_, core_.intern({}), pool::AfterUse::keep, Handle::Isolation::none};

 private:
  [[nodiscard]] std::span<const Header> headers(std::string_view authorization) {
    headers_ = {{"Host", "test"}};
    if (!authorization.empty()) headers_.push_back({"Authorization", authorization});
    return headers_;
  }
  std::vector<Header> headers_;
};

TEST_F(ConnectionAuthentication, serves_the_handle_that_logged_in_and_no_other) {
  EXPECT_EQ(log_in(first_, "first"), "first");
  EXPECT_EQ(get(first_), "first") << "the connection stays authenticated for its own handle";
  EXPECT_EQ(get(second_), "401");
  EXPECT_EQ(log_in(second_, "second"), "second");
  EXPECT_EQ(get(first_), "first");
  EXPECT_EQ(get(second_), "second");
  EXPECT_EQ(get(nameless_), "401");
  EXPECT_EQ(server_.connections(), 3) << "one is shared, and each user has one";
}

TEST_F(ConnectionAuthentication, keeps_its_handshake_on_one_connection) {
  EXPECT_EQ(get(first_, "NTLM 1"), "401");
  EXPECT_EQ(get(first_, "NTLM 3:first"), "first");
  EXPECT_EQ(server_.connections(), 1);
}

TEST_F(ConnectionAuthentication, ends_with_its_handle) {
  EXPECT_EQ(log_in(first_, "first"), "first");
  EXPECT_EQ(idle(), 2U);
  first_.close();
  EXPECT_TRUE(support::eventually("only the shared connection, which nobody authenticated, is left",
                                  [&] { return idle() == 1; }));
}

TEST_F(ConnectionAuthentication, of_callers_without_a_handle_ends_with_the_response) {
  EXPECT_EQ(get(nameless_, "NTLM 3:first"), "first");
  EXPECT_EQ(total(), 0U);
  EXPECT_EQ(get(nameless_), "401");
}

TEST_F(ConnectionAuthentication, on_a_lease_lasts_as_long_as_the_lease) {
  EXPECT_EQ(get(nameless_), "401");
  const auto use = nameless_.use(*Origin::parse(server_.url()));
  const auto lease = core_.pool().try_lease(**use);
  ASSERT_TRUE(lease);
  EXPECT_EQ(get_on(*lease, "NTLM 1"), "401");
  EXPECT_EQ(get_on(*lease, "NTLM 3:first"), "first");
  EXPECT_EQ(get_on(*lease), "first");
  EXPECT_TRUE(core_.pool().release(*lease, pool::Reuse::unused()));
  EXPECT_EQ(total(), 0U);
  EXPECT_EQ(get(nameless_), "401");
}

TEST_F(ConnectionAuthentication, of_a_client_stays_with_that_client) {
  Client client;
  const auto answer = [&](const std::string& authorization) {
    Request made = request("GET", server_.url());
    if (!authorization.empty()) made.headers.emplace_back("authorization", authorization);
    auto response = client.send(made, patient());
    EXPECT_TRUE(response.ok());
    return response->status == 200 ? response->body : std::to_string(response->status);
  };
  EXPECT_EQ(answer(""), "401");
  EXPECT_EQ(answer("ntlm 1"), "401");
  EXPECT_EQ(answer("NTLM 3:first"), "first");
  EXPECT_EQ(answer(""), "first");
  EXPECT_EQ(server_.connections(), 1) << "its pool serves it alone";
}

}  // namespace
}  // namespace fastpool::client::test
