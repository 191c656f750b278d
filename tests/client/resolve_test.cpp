// Hooks::resolve: host names that the program looks up itself.

#include <stdexcept>

#include <fastpool/resolve.h>

#include "client/client_fixture.h"

namespace fastpool::client::test {
namespace {

/// Answers with the Host header that it got.
class NamedServer {
 public:
  [[nodiscard]] std::string url(const std::string& host) const {
    const std::string numeric = server_.url();
    return "http://" + host + numeric.substr(numeric.rfind(':'));
  }

 private:
  HttpServer server_{[](ServerConnection& connection, int) {
    while (const Seen seen = read_request(connection)) {
      const std::size_t host = seen.head.find("Host: ") + 6;
      connection.write(ok(seen.head.substr(host, seen.head.find('\r', host) - host)));
    }
  }};
};

Error error_of(Resolve resolve) {
  Client client({}, {}, {.resolve = std::move(resolve)});
  auto response = client.send(request("GET", "http://api.example/"), patient());
  EXPECT_FALSE(response.ok());
  return response ? Error() : response.error();
}

TEST(Resolve, a_table_gives_a_host_its_addresses_and_the_request_keeps_the_name) {
  const NamedServer server;
  Client client({}, {}, {.resolve = resolve_fixed({{"api.example", {"127.0.0.1"}}})});
  const auto response = client.send(request("GET", server.url("API.example")), patient());
  ASSERT_TRUE(response.ok()) << response.error().detail;
  EXPECT_EQ("http://" + response->body, server.url("api.example").substr(0, server.url("api.example").size() - 1));
}

TEST(Resolve, a_host_that_the_table_lacks_is_asked_of_the_other_function) {
  const auto resolve = resolve_fixed({{"api.example", {"192.0.2.1"}}}, [](const std::string& host) {
    return std::vector<std::string>{host == "other.example" ? "192.0.2.2" : "192.0.2.3"};
  });
  EXPECT_EQ(*resolve("api.example"), std::vector<std::string>{"192.0.2.1"});
  EXPECT_EQ(*resolve("other.example"), std::vector<std::string>{"192.0.2.2"});
}

TEST(Resolve, the_systems_look_up_can_be_called) {
  const auto found = resolve_by_system("localhost");
  ASSERT_TRUE(found.ok()) << found.error().detail;
  EXPECT_FALSE(found->empty());
  for (const std::string& address : *found)
    EXPECT_TRUE(address == "127.0.0.1" || address == "::1") << address;
}

TEST(Resolve, addresses_are_tried_in_their_order) {
  const NamedServer server;
  Client client({}, {}, {.resolve = resolve_fixed({{"api.example", {"127.0.0.2", "127.0.0.1"}}})});
  auto stream = client.open(request("GET", server.url("api.example")), patient());
  ASSERT_TRUE(stream.ok()) << stream.error().detail;
  EXPECT_TRUE(stream->info().peer_address.starts_with("127.0.0.1:")) << "nothing listens at 127.0.0.2";
}

TEST(Resolve, a_function_is_asked_once_while_its_answer_is_fresh) {
  const NamedServer server;
  std::atomic<int> asked{0};
  Client client({.dns_lifetime = seconds(60)}, {}, {.resolve = [&](const std::string&) {
                  ++asked;
                  return std::vector<std::string>{"127.0.0.1"};
                }});
  auto one = client.open(request("GET", server.url("api.example")), patient());
  auto two = client.open(request("GET", server.url("api.example")), patient());
  ASSERT_TRUE(one.ok() && two.ok());
  EXPECT_EQ(client.stats().dials, 2U);
  EXPECT_EQ(asked, 1);
}

TEST(Resolve, a_host_that_is_an_address_is_not_looked_up) {
  const HttpServer server;
  Client client({}, {}, {.resolve = [](const std::string&) -> Result<std::vector<std::string>> {
                  ADD_FAILURE();
                  return std::vector<std::string>{};
                }});
  EXPECT_TRUE(client.send(request("GET", server.url()), patient()).ok());
}

TEST(Resolve, an_error_of_the_function_is_the_requests) {
  const Error error = error_of([](const std::string& host) -> Result<std::vector<std::string>> {
    return Error::make(ErrorCode::invalid_argument, Phase::none, host + " is not in the registry");
  });
  EXPECT_EQ(error.code, ErrorCode::resolve_failed);
  EXPECT_EQ(error.phase, Phase::resolve);
  EXPECT_NE(error.detail.find("api.example is not in the registry"), std::string::npos) << error.detail;
}

TEST(Resolve, an_answer_that_is_no_address_is_an_error) {
  const auto answer = [](std::vector<std::string> addresses) {
    return error_of([=](const std::string&) { return addresses; });
  };
  EXPECT_NE(answer({"127.0.0.1:80"}).detail.find("'127.0.0.1:80', which is no IP address"), std::string::npos);
  EXPECT_NE(answer({}).detail.find("no address"), std::string::npos);
  EXPECT_EQ(answer({}).code, ErrorCode::resolve_failed);
}

TEST(Resolve, an_exception_of_the_function_is_an_error) {
  const Error error = error_of(
      [](const std::string&) -> Result<std::vector<std::string>> { throw std::runtime_error("the registry is down"); });
  EXPECT_EQ(error.code, ErrorCode::resolve_failed);
  EXPECT_NE(error.detail.find("the registry is down"), std::string::npos) << error.detail;
}

}  // namespace
}  // namespace fastpool::client::test
