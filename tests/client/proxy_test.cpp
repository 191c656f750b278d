// Requests through proxies: forwarded, through tunnels of CONNECT and SOCKS, over TLS to the proxy.

#include <algorithm>

#include <ostream>

#include <fastpool/loop.h>

#include "client/client_fixture.h"
#include "net/channel_factory.h"
#include "support/relaying_proxy.h"

namespace fastpool::client::test {
namespace {

using support::connect_to_port;
using support::relay;

/// A proxy that serves CONNECT, SOCKS 5 and forwarded requests, and remembers what it was asked.
class Proxying {
 public:
  explicit Proxying(bool socks = false) : server_(handler(socks)) {}
  Proxying(const support::ServerTls& tls, bool socks) : server_(tls, handler(socks)) {}

  [[nodiscard]] std::string url(const std::string& scheme = "http", const std::string& user_info = {}) const {
    return scheme + "://" + user_info + "127.0.0.1:" + std::to_string(server_.port());
  }
  [[nodiscard]] int connections() const { return server_.connections(); }
  /// The heads of the requests to the proxy itself, or what SOCKS was asked.
  [[nodiscard]] std::vector<std::string> asked() const {
    const std::lock_guard lock(mutex_);
    return asked_;
  }

 private:
  [[nodiscard]] support::LoopbackServer::Handler handler(bool socks) {
    if (socks) return [this](ServerConnection& connection) { serve_socks(connection); };
    return [this](ServerConnection& connection) { serve_http(connection); };
  }
  void note(std::string what) {
    const std::lock_guard lock(mutex_);
    asked_.push_back(std::move(what));
  }

  void serve_http(ServerConnection& connection) {
    while (const Seen seen = read_request(connection)) {
      note(seen.head);
      if (seen.head.starts_with("CONNECT ")) {
        const auto colon = seen.head.find(':');
        const auto origin = connect_to_port(static_cast<std::uint16_t>(std::stoi(seen.head.substr(colon + 1))));
        if (!origin.valid()) {
          connection.write("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n");
          return;
        }
        connection.write("HTTP/1.1 200 Connection established\r\nContent-Length: 5\r\n\r\n");
        return relay(connection, origin);
      }
      connection.write(ok("forwarded " + seen.body));
    }
  }

  void serve_socks(ServerConnection& connection) {
    const std::string methods = connection.read_exactly(3);
    if (methods.size() < 3) return;
    std::string told = "method " + std::to_string(methods[2]);
    connection.write(std::string{5, methods[2]});
    if (methods[2] == 2) {
      const std::string user = connection.read_exactly(static_cast<std::size_t>(connection.read_exactly(2)[1]));
      const std::string password = connection.read_exactly(static_cast<std::size_t>(connection.read_exactly(1)[0]));
      told += " " + user + " " + password;
      connection.write(std::string{1, 0});
    }
    const std::string command = connection.read_exactly(4);
    if (command.size() < 4) return;
    std::string where;
    if (command[3] == 1) {
      for (const char byte : connection.read_exactly(4))
        where += (where.empty() ? "" : ".") + std::to_string(static_cast<unsigned char>(byte));
    } else {
      where = connection.read_exactly(static_cast<std::size_t>(connection.read_exactly(1)[0]));
    }
    const std::string port = connection.read_exactly(2);
    note(told + " " + where);
    const auto origin = connect_to_port(
        static_cast<std::uint16_t>(static_cast<unsigned char>(port[0]) * 256 + static_cast<unsigned char>(port[1])));
    connection.write(std::string{5, static_cast<char>(origin.valid() ? 0 : 5), 0, 1, 0, 0, 0, 0, 0, 0});
    if (origin.valid()) relay(connection, origin);
  }

  mutable std::mutex mutex_;
  std::vector<std::string> asked_;
  support::LoopbackServer server_;  // last: its threads use the rest
};

/// A TLS origin, and profiles that trust it.
class ProxyTest : public ::testing::Test {
 protected:
  [[nodiscard]] Profile through(std::string url) {
    Profile profile;
    profile.tls.ca_file = authority_.ca_file();
    profile.proxy.url = std::move(url);
    profile.proxy.tls.ca_file = authority_.ca_file();
    return profile;
  }
  [[nodiscard]] std::string origin_url(const std::string& host = "localhost") const {
    return "https://" + host + ":" + std::to_string(origin_.port()) + "/";
  }
  [[nodiscard]] static std::vector<std::string> names(Client& client) {
    std::vector<std::string> found;
    for (const EndpointStats& each : client.stats().endpoints)
      found.push_back(each.name);
    return found;
  }

  support::CertificateAuthority authority_;
  support::LoopbackServer origin_{{authority_.issue_localhost()}, serve};
};

TEST_F(ProxyTest, a_tunnel_leads_to_an_https_origin_and_is_kept) {
  const Proxying proxy;
  Client client({}, through(proxy.url("http", "us%65r:pass@")));
  for (int i = 0; i < 3; ++i) {
    const auto response = client.send(request("POST", origin_url(), "echo"), patient());
    ASSERT_TRUE(response.ok()) << response.error().detail;
    EXPECT_EQ(response->body, "echo");
  }
  EXPECT_EQ(proxy.connections(), 1);
  const std::string port = std::to_string(origin_.port());
  EXPECT_EQ(proxy.asked(),
            std::vector<std::string>{"CONNECT localhost:" + port + " HTTP/1.1\r\nHost: localhost:" + port +
                                     "\r\nAccept: */*\r\nProxy-Authorization: Basic dXNlcjpwYXNz\r\n\r\n"});
  EXPECT_EQ(names(client), std::vector<std::string>{"https://localhost:" + port + " via " + proxy.url()});
}

TEST_F(ProxyTest, requests_to_http_origins_are_forwarded_on_connections_that_all_share) {
  const Proxying proxy;
  Profile profile = through(proxy.url());
  profile.proxy.username = "user";
  profile.proxy.headers = {{"X-Proxy", "one"}, {"accept", "proxy/s"}};
  Client client({}, profile);
  const auto first = client.send({.method = "POST",
                                  .url = "http://one.example/path?query",
                                  .headers = {{"Accept", "text/plain"}},
                                  .body = Body("text")},
                                 patient());
  ASSERT_TRUE(first.ok()) << first.error().detail;
  EXPECT_EQ(first->body, "forwarded text");
  ASSERT_TRUE(client.send(request("GET", "http://two.example:8080"), patient()).ok());
  EXPECT_EQ(proxy.connections(), 1);
  EXPECT_EQ(proxy.asked(),
            (std::vector<std::string>{
                "POST http://one.example/path?query HTTP/1.1\r\nHost: one.example\r\nProxy-Authorization: Basic "
                "dXNlcjo=\r\nX-Proxy: one\r\nAccept: text/plain\r\nContent-Length: 4\r\n\r\n",
                "GET http://two.example:8080/ HTTP/1.1\r\nHost: two.example:8080\r\nProxy-Authorization: Basic "
                "dXNlcjo=\r\nX-Proxy: one\r\naccept: proxy/s\r\n\r\n"}));
  EXPECT_EQ(names(client), std::vector<std::string>{"http://* via " + proxy.url()});
}

TEST_F(ProxyTest, a_lease_at_a_forwarding_proxy_serves_any_http_origin) {
  const Proxying proxy;
  Client client({}, through(proxy.url()));
  auto lease = client.lease("http://one.example/", patient());
  ASSERT_TRUE(lease.ok()) << lease.error().detail;
  ASSERT_TRUE(lease->send(request("GET", "http://two.example/"), patient()).ok());
  EXPECT_EQ(lease->send(request("GET", "https://two.example/"), patient()).error().code, ErrorCode::invalid_argument);
  ASSERT_EQ(proxy.asked().size(), 1U);
  EXPECT_TRUE(proxy.asked()[0].starts_with("GET http://two.example/ HTTP/1.1\r\n")) << proxy.asked()[0];
}

TEST_F(ProxyTest, requests_with_other_credentials_use_other_connections) {
  const Proxying proxy;
  Client client({}, through(proxy.url("http", "one:a@")));
  ASSERT_TRUE(client.send(request("GET", "http://one.example/"), patient()).ok());
  const Profile other = through(proxy.url("http", "two:b@"));
  Call call = patient();
  call.profile = &other;
  ASSERT_TRUE(client.send(request("GET", "http://one.example/"), call).ok());
  EXPECT_EQ(proxy.connections(), 2);
}

TEST_F(ProxyTest, the_proxy_itself_may_speak_tls) {
  const Proxying proxy({authority_.issue_localhost()}, false);
  Client client({}, through(proxy.url("https")));
  for (int i = 0; i < 2; ++i) {
    const std::string large(300'000, 'x');
    const auto response = client.send(request("POST", origin_url(), large), patient());
    ASSERT_TRUE(response.ok()) << response.error().detail;
    EXPECT_EQ(response->body, large);
    const auto forwarded = client.send(request("POST", "http://one.example/", "text"), patient());
    ASSERT_TRUE(forwarded.ok()) << forwarded.error().detail;
    EXPECT_EQ(forwarded->body, "forwarded text");
  }
  EXPECT_EQ(proxy.connections(), 2) << "one tunnel, and one for what is forwarded";
}

TEST_F(ProxyTest, the_proxys_certificate_is_verified) {
  const Proxying proxy({authority_.issue_self_signed()}, false);
  Client client({}, through(proxy.url("https")));
  const auto refused = client.send(request("GET", origin_url()), patient());
  EXPECT_EQ(refused.error().code, ErrorCode::tls_failed);
  EXPECT_NE(refused.error().detail.find("the proxy https://127.0.0.1:"), std::string::npos) << refused.error().detail;
  EXPECT_EQ(proxy.asked(), std::vector<std::string>{});
}

TEST_F(ProxyTest, the_origins_certificate_is_verified_within_the_tunnel) {
  const support::LoopbackServer stranger({authority_.issue_self_signed()}, serve);
  const Proxying proxy;
  Client client({}, through(proxy.url()));
  const auto refused =
      client.send(request("GET", "https://localhost:" + std::to_string(stranger.port()) + "/"), patient());
  EXPECT_EQ(refused.error().code, ErrorCode::tls_failed);
}

TEST_F(ProxyTest, socks_leads_to_http_and_https_origins) {
  const Proxying proxy(true);
  const HttpServer plain;
  for (const std::string scheme : {"socks5", "socks5h"}) {
    Client client({}, through(proxy.url(scheme, "user:pass@")));
    const auto secure = client.send(request("POST", origin_url(), "echo"), patient());
    ASSERT_TRUE(secure.ok()) << secure.error().detail;
    EXPECT_EQ(secure->body, "echo");
    const auto response = client.send(request("POST", plain.url(), "plain"), patient());
    ASSERT_TRUE(response.ok()) << response.error().detail;
    EXPECT_EQ(response->body, "plain");
  }
  EXPECT_EQ(proxy.asked(), (std::vector<std::string>{"method 2 user pass 127.0.0.1", "method 2 user pass 127.0.0.1",
                                                     "method 2 user pass localhost", "method 2 user pass 127.0.0.1"}));
}

TEST_F(ProxyTest, a_post_through_a_proxy_is_not_sent_twice) {
  std::atomic<int> seen{0};
  const support::LoopbackServer proxy([&](ServerConnection& connection) {
    while (const Seen request = read_request(connection)) {
      if (!request.body.empty() && ++seen > 1) return connection.reset();
      connection.write(ok("fine"));
    }
  });
  Client client({}, through("http://127.0.0.1:" + std::to_string(proxy.port())));
  ASSERT_TRUE(client.send(request("POST", "http://one.example/", "text"), patient()).ok());
  EXPECT_EQ(client.send(request("POST", "http://one.example/", "text"), patient()).error().code,
            ErrorCode::read_failed);
  EXPECT_EQ(seen, 2);
}

TEST_F(ProxyTest, what_authenticates_its_connection_through_a_forwarding_proxy_shares_it_with_no_other_origin) {
  const Proxying proxy;
  Client client({}, through(proxy.url()));
  const auto sent =
      client.send({.url = "http://one.example/", .headers = {{"Authorization", "NTLM TlRMTVNTUAAB"}}}, patient());
  ASSERT_TRUE(sent.ok()) << sent.error().detail;
  ASSERT_TRUE(client.send(request("GET", "http://two.example/"), patient()).ok());
  EXPECT_EQ(proxy.connections(), 2);
  ASSERT_TRUE(client.send(request("GET", "http://one.example/"), patient()).ok());
  EXPECT_EQ(proxy.connections(), 2);
}

TEST_F(ProxyTest, a_proxy_that_cannot_be_read_is_an_invalid_argument_without_its_password) {
  for (const char* url : {"proxy.example:3128", "ftp://secret:secret@proxy.example", "http://user:secret@",
                          "http://user:secret@proxy.example:port"}) {
    Client client({}, through(url));
    const auto refused = client.send(request("GET", "http://one.example/"), patient());
    EXPECT_EQ(refused.error().code, ErrorCode::invalid_argument) << url;
    EXPECT_EQ(refused.error().detail.find("secret"), std::string::npos) << refused.error().detail;
  }
  Profile split = through("http://proxy.example");
  split.proxy.headers = {{"X-Split", "a\r\nb"}};
  Client client({}, split);
  EXPECT_EQ(client.send(request("GET", "http://one.example/"), patient()).error().code, ErrorCode::invalid_argument);
}

TEST_F(ProxyTest, warm_connections_are_tunnels_that_are_open) {
  const Proxying proxy;
  Client client({}, through(proxy.url()));
  ASSERT_TRUE(client.warm(origin_url(), 2, patient()).ok());
  EXPECT_EQ(proxy.asked().size(), 2U);
  ASSERT_TRUE(client.send(request("GET", origin_url()), patient()).ok());
  EXPECT_EQ(proxy.connections(), 2);
}

TEST_F(ProxyTest, a_loop_sends_through_a_tunnel) {
  const Proxying proxy;
  Client client({}, through(proxy.url()));
  auto loop = Loop::make();
  ASSERT_TRUE(loop.ok());
  int answered = 0;
  for (int i = 0; i < 20; ++i) {
    send(*loop, client, request("POST", origin_url(), std::to_string(i)), patient(), [&, i](Result<Response> response) {
      ASSERT_TRUE(response.ok()) << response.error().detail;
      EXPECT_EQ(response->body, std::to_string(i));
      ++answered;
    });
  }
  while (loop->busy() && loop->wait(support::wait_limit)) {
  }
  EXPECT_EQ(answered, 20);
}

/// Speaks no TLS, for a proxy that expects none.
class PlainEngine final : public net::ChannelFactory {
 public:
  [[nodiscard]] std::unique_ptr<net::Channel> wrap(std::unique_ptr<net::Channel>&& below, const std::string&,
                                                   Protocols) const override {
    return std::move(below);
  }
};

TEST_F(ProxyTest, an_engine_of_the_profiles_speaks_to_the_proxy_and_the_first_user_opens_the_tunnel) {
  const Proxying proxy;
  Profile profile = through(proxy.url("https"));
  profile.proxy.engine = std::make_shared<const PlainEngine>();
  {
    Client client({}, profile);
    const auto refused = client.send(request("GET", origin_url()), patient());
    EXPECT_EQ(refused.error().code, ErrorCode::unsupported) << "the library's own engine would call that one";
    EXPECT_TRUE(client.send(request("GET", "http://one.example/"), patient()).ok());
  }
  profile.engine = profile.proxy.engine;
  const HttpServer plain;
  const auto origin_url = [&](const std::string& host = "localhost") {
    return "https" + plain.url().substr(4, 3) + host + plain.url().substr(16);
  };
  Client client({}, profile);
  for (int i = 0; i < 2; ++i) {
    const auto response = client.send(request("POST", origin_url(), "echo"), patient());
    ASSERT_TRUE(response.ok()) << response.error().detail;
    EXPECT_EQ(response->body, "echo");
    const auto forwarded = client.send(request("POST", "http://one.example/", "text"), patient());
    ASSERT_TRUE(forwarded.ok()) << forwarded.error().detail;
    EXPECT_EQ(forwarded->body, "forwarded text");
  }
  EXPECT_EQ(proxy.connections(), 3);
  auto loop = Loop::make();
  ASSERT_TRUE(loop.ok());
  std::string body;
  send(*loop, client, request("POST", origin_url("127.0.0.1"), "in a loop"), patient(), [&](Result<Response> response) {
    ASSERT_TRUE(response.ok()) << response.error().detail;
    body = response->body;
  });
  while (loop->busy() && loop->wait(support::wait_limit)) {
  }
  EXPECT_EQ(body, "in a loop");
}

// ---- bad proxies -----------------------------------------------------------------------------------------------------

/// What a client meets at a proxy that answers a CONNECT like this.
struct BadAnswer {
  friend void PrintTo(const BadAnswer& answer, std::ostream* out) { *out << answer.name; }

  const char* name;
  std::function<void(ServerConnection&)> answer;
  ErrorCode code;
  const char* words;
};

class BadProxy : public ::testing::TestWithParam<BadAnswer> {};

TEST_P(BadProxy, is_an_error_of_its_own) {
  const support::LoopbackServer proxy([](ServerConnection& connection) {
    if (connection.read_until("\r\n\r\n").empty()) return;
    GetParam().answer(connection);
  });
  Profile profile;
  profile.proxy.url = "http://127.0.0.1:" + std::to_string(proxy.port());
  profile.proxy.password = "secret";
  Client client({}, profile);
  Call call = patient();
  if (GetParam().code == ErrorCode::connect_timeout) call.timeouts.connect = milliseconds(300);
  const auto refused = client.send(request("POST", "https://one.example/", "text"), call);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(to_string(refused.error().code), to_string(GetParam().code)) << refused.error().detail;
  EXPECT_NE(refused.error().detail.find(GetParam().words), std::string::npos) << refused.error().detail;
  EXPECT_EQ(refused.error().detail.find("c2VjcmV0"), std::string::npos);
  EXPECT_EQ(refused.error().bytes_sent, 0U);
  // The dial of a caller that gave up goes on.
  if (GetParam().code != ErrorCode::connect_timeout) {
    EXPECT_EQ(client.stats().all.total_connections, 0U);
  }
}

void say(ServerConnection& connection, std::string_view bytes) {
  connection.write(bytes);
  connection.read_to_end();
}

const std::vector<BadAnswer> bad_answers = {
    {"wants_credentials",
     [](auto& connection) {
       say(connection,
           "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n");
     },
     ErrorCode::proxy_failed, ": 407 Proxy Authentication Required"},
    {"refuses_without_a_challenge", [](auto& connection) { say(connection, "HTTP/1.1 407 \r\n\r\n"); },
     ErrorCode::proxy_failed, ": 407 "},
    {"forbids",
     [](auto& connection) { say(connection, "HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\n\r\nforbidden"); },
     ErrorCode::proxy_failed, ": 403 Forbidden"},
    {"redirects", [](auto& connection) { say(connection, "HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n"); },
     ErrorCode::proxy_failed, ": 302 Found"},
    {"never_answers", [](auto& connection) { connection.read_to_end(); }, ErrorCode::connect_timeout,
     "https://one.example:443 via http://127.0.0.1:"},
    {"answers_slowly",
     [](auto& connection) {
       connection.write("HTTP/1.1 200 OK\r\nX-Slow: ");
       while (connection.write("x"))
         std::this_thread::sleep_for(milliseconds(100));  // as slow peers do
     },
     ErrorCode::connect_timeout, "https://one.example:443 via http://127.0.0.1:"},
    {"hangs_up", [](auto&) {}, ErrorCode::remote_protocol, "before it had answered"},
    {"resets", [](auto& connection) { connection.reset(); }, ErrorCode::read_failed,
     "the connection to the proxy broke"},
    {"closes_behind_its_200", [](auto& connection) { connection.write("HTTP/1.1 200 OK\r\n\r\n"); },
     ErrorCode::tls_failed, "TLS handshake"},
    {"sends_bytes_behind_its_200", [](auto& connection) { say(connection, "HTTP/1.1 200 OK\r\n\r\nmore"); },
     ErrorCode::remote_protocol, "behind its answer"},
    {"sends_an_endless_head",
     [](auto& connection) {
       connection.write("HTTP/1.1 200 OK\r\n");
       while (connection.write("X-More: " + std::string(1000, 'x') + "\r\n")) {
       }
     },
     ErrorCode::remote_protocol, "longer than 64 KiB"},
    {"sends_interim_answers_for_ever",
     [](auto& connection) {
       while (connection.write("HTTP/1.1 102 Processing\r\n\r\n")) {
       }
     },
     ErrorCode::remote_protocol, "interim"},
    {"speaks_no_http", [](auto& connection) { say(connection, "SSH-2.0-OpenSSH\r\n\r\n"); }, ErrorCode::remote_protocol,
     "no HTTP"},
    {"speaks_bad_tls",
     [](auto& connection) {
       connection.write("HTTP/1.1 200 OK\r\n\r\n");
       connection.read_some();
       say(connection, "no TLS");
     },
     ErrorCode::tls_failed, "TLS handshake"},
};

INSTANTIATE_TEST_SUITE_P(Proxies, BadProxy, ::testing::ValuesIn(bad_answers),
                         [](const auto& each) { return std::string(each.param.name); });

TEST(Proxy, interim_answers_and_any_2xx_open_a_tunnel) {
  support::CertificateAuthority authority;
  const support::LoopbackServer origin({authority.issue_localhost()}, serve);
  const support::LoopbackServer proxy([&](ServerConnection& connection) {
    connection.read_until("\r\n\r\n");
    connection.write("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\nX: y\r\n\r\nHTTP/1.1 204 Fine\r\n\r\n");
    relay(connection, connect_to_port(origin.port()));
  });
  Profile profile;
  profile.tls.ca_file = authority.ca_file();
  profile.proxy.url = "http://127.0.0.1:" + std::to_string(proxy.port());
  Client client({}, profile);
  const auto response =
      client.send(request("POST", "https://localhost:" + std::to_string(origin.port()), "echo"), patient());
  ASSERT_TRUE(response.ok()) << response.error().detail;
  EXPECT_EQ(response->body, "echo");
}

TEST(Proxy, that_refuses_connections_is_a_connect_error_that_names_it) {
  Profile profile;
  profile.proxy.url = "http://127.0.0.1:1";
  Client client({}, profile);
  const auto refused = client.send(request("GET", "https://one.example/"), patient());
  EXPECT_EQ(refused.error().code, ErrorCode::connect_failed);
  EXPECT_NE(refused.error().detail.find("https://one.example:443 via http://127.0.0.1:1"), std::string::npos)
      << refused.error().detail;
}

}  // namespace
}  // namespace fastpool::client::test
