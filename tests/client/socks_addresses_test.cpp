// `socks5`, whose names are looked up here: a proxy that cannot reach one address of the origin is asked for the next.

#include <atomic>
#include <map>

#include <fastpool/resolve.h>

#include "client/client_fixture.h"
#include "support/relaying_proxy.h"

namespace fastpool::client::test {
namespace {

using support::connect_to_port;
using support::relay;

constexpr int silent = -1;

/// A SOCKS 5 proxy that answers each IPv4 address with a reply of the test's, 0 (and a tunnel to loopback) by default.
class Refusing {
 public:
  explicit Refusing(std::map<std::string, int> replies) : replies_(std::move(replies)) {}

  [[nodiscard]] Profile profile(const std::string& scheme = "socks5") const {
    Profile profile;
    profile.proxy.url = scheme + "://127.0.0.1:" + std::to_string(server_.port());
    return profile;
  }
  [[nodiscard]] int connections() const { return server_.connections(); }
  [[nodiscard]] std::vector<std::string> asked() const {
    const std::lock_guard lock(mutex_);
    return asked_;
  }

 private:
  void serve(ServerConnection& connection) {
    if (connection.read_exactly(3).size() < 3) return;
    connection.write(std::string{5, 0});
    const std::string command = connection.read_exactly(4);
    if (command.size() < 4) return;
    std::string where;
    if (command[3] == 3) {
      where = connection.read_exactly(static_cast<std::size_t>(connection.read_exactly(1)[0]));
    } else {
      for (const char byte : connection.read_exactly(command[3] == 1 ? 4 : 16))
        where += (where.empty() ? "" : ".") + std::to_string(static_cast<unsigned char>(byte));
    }
    const std::string port = connection.read_exactly(2);
    {
      const std::lock_guard lock(mutex_);
      asked_.push_back(where);
    }
    const auto found = replies_.find(where);
    const int reply = found == replies_.end() ? 0 : found->second;
    if (reply == silent) {
      (void)connection.read_some();  // until the client gives up
      return;
    }
    connection.write(std::string{5, static_cast<char>(reply), 0, 1, 0, 0, 0, 0, 0, 0});
    if (reply != 0) return;
    relay(connection, connect_to_port(static_cast<std::uint16_t>(static_cast<unsigned char>(port[0]) * 256 +
                                                                 static_cast<unsigned char>(port[1]))));
  }

  const std::map<std::string, int> replies_;
  mutable std::mutex mutex_;
  std::vector<std::string> asked_;
  support::LoopbackServer server_{[this](ServerConnection& connection) { serve(connection); }};  // last
};

Hooks two_addresses() {
  return {.resolve = resolve_fixed({{"origin.example", {"192.0.2.1", "192.0.2.2"}}})};
}

std::string url_of(const HttpServer& origin) {
  return "http://origin.example:" + origin.url().substr(origin.url().rfind(':') + 1);
}

const std::vector<std::string> both = {"192.0.2.1", "192.0.2.2"};

class OfAddress : public ::testing::TestWithParam<int> {};

TEST_P(OfAddress, an_address_that_the_proxy_cannot_reach_is_followed_by_the_next) {
  const HttpServer origin;
  const Refusing proxy({{"192.0.2.1", GetParam()}});
  Client client({}, proxy.profile(), two_addresses());
  for (int time = 0; time < 2; ++time) {
    const auto response = client.send(request("POST", url_of(origin), "echo"), patient());
    ASSERT_TRUE(response.ok()) << response.error().detail;
    EXPECT_EQ(response->body, "echo");
  }
  EXPECT_EQ(proxy.asked(), both);
  EXPECT_EQ(proxy.connections(), 2) << "the tunnel that opened serves both requests";
}

INSTANTIATE_TEST_SUITE_P(Replies, OfAddress, ::testing::Values(3, 4, 5, 8));

class OfTheProxy : public ::testing::TestWithParam<int> {};

TEST_P(OfTheProxy, a_refusal_that_is_not_about_the_address_is_final) {
  const HttpServer origin;
  const Refusing proxy({{"192.0.2.1", GetParam()}});
  Client client({}, proxy.profile(), two_addresses());
  const auto refused = client.send(request("GET", url_of(origin)), patient());
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::proxy_failed);
  EXPECT_EQ(proxy.asked(), std::vector<std::string>{"192.0.2.1"});
}

INSTANTIATE_TEST_SUITE_P(Replies, OfTheProxy, ::testing::Values(1, 2, 6, 7));

TEST(SocksAddresses, an_origin_that_is_reached_at_none_has_the_last_reply) {
  const HttpServer origin;
  const Refusing proxy({{"192.0.2.1", 4}, {"192.0.2.2", 5}});
  Client client({}, proxy.profile(), two_addresses());
  const auto refused = client.send(request("GET", url_of(origin)), patient());
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::proxy_failed);
  EXPECT_NE(refused.error().detail.find("could not connect: Connection refused. (the last of 2 addresses)"),
            std::string::npos)
      << refused.error().detail;
  EXPECT_EQ(proxy.asked(), both);
}

TEST(SocksAddresses, the_connect_timeout_covers_all_addresses) {
  const HttpServer origin;
  EXPECT_TRUE(support::within_some_limit("the proxy is asked for both", milliseconds(300), [&](milliseconds limit) {
    const Refusing proxy({{"192.0.2.1", 4}, {"192.0.2.2", silent}});
    Client client({}, proxy.profile(), two_addresses());
    Call call = patient();
    call.timeouts.connect = limit;
    EXPECT_EQ(client.send(request("GET", url_of(origin)), call).error_or({}).code, ErrorCode::connect_timeout);
    return proxy.asked() == both;
  }));
}

TEST(SocksAddresses, a_name_that_the_proxy_looks_up_is_asked_for_once) {
  const HttpServer origin;
  const Refusing proxy({{"origin.example", 4}});
  Client client({}, proxy.profile("socks5h"), two_addresses());
  EXPECT_EQ(client.send(request("GET", url_of(origin)), patient()).error().detail.find("addresses"), std::string::npos);
  EXPECT_EQ(proxy.asked(), std::vector<std::string>{"origin.example"});
}

}  // namespace
}  // namespace fastpool::client::test
