// HTTP/2 inside the tunnel of a proxy.

#include "client/http2_fixture.h"
#include "support/relaying_proxy.h"

namespace fastpool::client::test {
namespace {

/// A proxy that serves CONNECT, and forwards everything else itself.
class Tunnelling {
 public:
  [[nodiscard]] std::string url() const { return "http://127.0.0.1:" + std::to_string(server_.port()); }
  [[nodiscard]] int connections() const { return server_.connections(); }

 private:
  static void handle(ServerConnection& connection) {
    while (const Seen seen = read_request(connection)) {
      if (!seen.head.starts_with("CONNECT ")) {
        connection.write(ok("forwarded"));
        continue;
      }
      const auto colon = seen.head.find(':');
      const auto origin = support::connect_to_port(static_cast<std::uint16_t>(std::stoi(seen.head.substr(colon + 1))));
      if (!origin.valid()) return;
      connection.write("HTTP/1.1 200 Connection established\r\n\r\n");
      return support::relay(connection, origin);
    }
  }
  support::LoopbackServer server_{handle};
};

class Http2Proxies : public Http2WayTest {};

INSTANTIATE_TEST_SUITE_P(Ways, Http2Proxies, ::testing::Values(Way::blocking, Way::loop, Way::coroutine),
                         [](const auto& way) { return name_of(way.param); });

TEST_P(Http2Proxies, requests_share_a_connection_within_one_tunnel) {
  support::CertificateAuthority authority;
  const Tunnelling proxy;
  Held held;
  Http2Server server({.certificate = authority.issue_localhost()}, held.handler());
  Profile profile = over_http2_or_1(authority.ca_file());
  profile.proxy.url = proxy.url();
  Client client({}, profile);
  Sending sending(GetParam(), client, numbered(server, 20), very_patient());
  for (const Http2Request& each : held.take(20))
    each.answer(200, each.path);
  const auto results = sending.results();
  for (std::size_t number = 0; number < results.size(); ++number) {
    ASSERT_TRUE(results[number].ok()) << results[number].error().detail;
    EXPECT_EQ(results[number]->body, "/" + std::to_string(number));
  }
  EXPECT_EQ(proxy.connections(), 1);
  EXPECT_EQ(server.connections(), 1);
}

TEST_P(Http2Proxies, requests_that_a_proxy_forwards_go_over_http1) {
  const Tunnelling proxy;
  Profile profile;
  profile.protocols = {.http1 = true, .http2 = true};
  profile.proxy.url = proxy.url();
  Client client({}, profile);
  const auto results = send_all(GetParam(), client, {request("GET", "http://origin.example/")});
  ASSERT_TRUE(results[0].ok()) << results[0].error().detail;
  EXPECT_EQ(results[0]->body, "forwarded");
}

}  // namespace
}  // namespace fastpool::client::test
