// SOCKS 5 as a conversation, without any I/O (RFC 1928, RFC 1929).

#include <gtest/gtest.h>

#include "connection/tunnel.h"

namespace fastpool::connection::test {
namespace {

using Kind = TunnelProtocol::Step::Kind;
using std::string_literals::operator""s;

ProxyRoute route(const std::string& user_info = {}) {
  Proxy proxy;
  proxy.url = "socks5h://" + user_info + "proxy.example";
  return ProxyRoute::of(proxy).value();
}

/// Feeds byte by byte, as the worst of peers sends. \returns the last step, and how much of it was left over.
TunnelProtocol::Step feed(TunnelProtocol& tunnel, const std::string& bytes) {
  std::string received;
  TunnelProtocol::Step step;
  for (const char byte : bytes) {
    received.push_back(byte);
    step = tunnel.take(received);
    received.erase(0, step.consumed);
    if (step.kind != Kind::more) break;
  }
  return step;
}

TEST(SocksTunnel, without_credentials_asks_for_no_authentication_and_names_the_host) {
  const auto tunnel = socks_tunnel(route(), {Scheme::https, "one.example", 443}, {});
  EXPECT_EQ(tunnel->begin(), "\x05\x01\x00"s);
  const auto asked = feed(*tunnel, "\x05\x00"s);
  ASSERT_EQ(asked.kind, Kind::send);
  EXPECT_EQ(asked.bytes, "\x05\x01\x00\x03\x0bone.example\x01\xbb"s);
  EXPECT_EQ(feed(*tunnel,
                 "\x05\x00\x00\x03\x03"
                 "abc\x00\x01"s)
                .kind,
            Kind::open);
}

TEST(SocksTunnel, with_credentials_sends_them_when_the_proxy_takes_them) {
  const auto tunnel = socks_tunnel(route("user:pass@"), {Scheme::http, "::1", 80}, {});
  EXPECT_EQ(tunnel->begin(), "\x05\x01\x02"s);
  EXPECT_EQ(feed(*tunnel, "\x05\x02"s).bytes, "\x01\x04user\x04pass"s);
  EXPECT_EQ(feed(*tunnel, "\x01\x00"s).bytes, "\x05\x01\x00\x04"s + std::string(15, '\0') + "\x01\x00\x50"s);
  EXPECT_EQ(feed(*tunnel, "\x05\x00\x00\x04"s + std::string(18, 'x')).kind, Kind::open);
}

TEST(SocksTunnel, an_address_that_was_looked_up_here_is_sent_as_such) {
  const auto tunnel =
      socks_tunnel(route(), {Scheme::http, "one.example", 8080}, net::SocketAddress::from_ip("192.0.2.7", 0));
  EXPECT_EQ(feed(*tunnel, "\x05\x00"s).bytes, "\x05\x01\x00\x01\xc0\x00\x02\x07\x1f\x90"s);
}

TEST(SocksTunnel, each_reply_code_has_its_words) {
  for (const auto& [code, words] : {std::pair<char, std::string>{1, "General SOCKS server failure"},
                                    {2, "Connection not allowed by ruleset"},
                                    {3, "Network unreachable"},
                                    {4, "Host unreachable"},
                                    {5, "Connection refused"},
                                    {6, "TTL expired"},
                                    {7, "Command not supported"},
                                    {8, "Address type not supported"},
                                    {9, "UNKNOWN"}}) {
    const auto tunnel = socks_tunnel(route(), {Scheme::http, "one.example", 80}, {});
    ASSERT_EQ(feed(*tunnel, "\x05\x00"s).kind, Kind::send);
    const auto refused = feed(*tunnel, std::string{5, code, 0, 1, 0, 0, 0, 0, 0, 0});
    ASSERT_EQ(refused.kind, Kind::refused);
    EXPECT_EQ(refused.error.code, ErrorCode::proxy_failed);
    EXPECT_EQ(refused.error.detail, "Proxy Server could not connect: " + words + ".");
  }
}

TEST(SocksTunnel, a_wrong_version_is_a_protocol_error_at_each_step) {
  const Origin origin{Scheme::http, "one.example", 80};
  EXPECT_EQ(feed(*socks_tunnel(route(), origin, {}), "\x04\x00"s).error.code, ErrorCode::remote_protocol);
  const auto later = socks_tunnel(route(), origin, {});
  ASSERT_EQ(feed(*later, "\x05\x00"s).kind, Kind::send);
  EXPECT_EQ(feed(*later, "\x04\x00"s).error.code, ErrorCode::remote_protocol);
  const auto password = socks_tunnel(route("user:pass@"), origin, {});
  ASSERT_EQ(feed(*password, "\x05\x02"s).kind, Kind::send);
  EXPECT_EQ(feed(*password, "\x05\x00"s).error.code, ErrorCode::remote_protocol);
}

TEST(SocksTunnel, refused_credentials_and_methods_have_the_words_of_other_clients) {
  const Origin origin{Scheme::http, "one.example", 80};
  const auto wrong = socks_tunnel(route("user:pass@"), origin, {});
  ASSERT_EQ(feed(*wrong, "\x05\x02"s).kind, Kind::send);
  EXPECT_EQ(feed(*wrong, "\x01\x01"s).error.detail, "Invalid username/password");
  const auto none = feed(*socks_tunnel(route(), origin, {}), "\x05\xff"s);
  EXPECT_EQ(none.error.detail,
            "Requested NO AUTHENTICATION REQUIRED from proxy server, but got NO ACCEPTABLE METHODS.");
}

TEST(SocksTunnel, a_host_of_255_bytes_is_the_longest) {
  const auto longest = socks_tunnel(route(), {Scheme::http, std::string(255, 'a'), 80}, {});
  EXPECT_EQ(feed(*longest, "\x05\x00"s).bytes, "\x05\x01\x00\x03\xff"s + std::string(255, 'a') + "\x00\x50"s);
  const auto longer = socks_tunnel(route(), {Scheme::http, std::string(256, 'a'), 80}, {});
  EXPECT_EQ(feed(*longer, "\x05\x00"s).error.code, ErrorCode::proxy_failed);
}

TEST(ProxyRoute, reads_what_a_url_says) {
  const auto read = [](const std::string& url) {
    Proxy proxy;
    proxy.url = url;
    return ProxyRoute::of(proxy).value();
  };
  EXPECT_EQ(read("http://Proxy.Example").name, "http://proxy.example:80");
  EXPECT_EQ(read("https://[::1]/ignored").name, "https://[::1]:443");
  EXPECT_EQ(read("SOCKS5://proxy.example:1081").name, "socks5://proxy.example:1081");
  EXPECT_EQ(read("socks5h://a:b@proxy.example").name, "socks5h://proxy.example:1080");
  EXPECT_EQ(read("socks5h://a%3A:b%40c@proxy.example").username, "a:");
  EXPECT_EQ(read("socks5h://a%3A:b%40c@proxy.example").password, "b@c");
  EXPECT_EQ(read("http://Aladdin:open%20sesame@proxy.example").headers[0].second, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")
      << "RFC 7617 section 2";
}

}  // namespace
}  // namespace fastpool::connection::test
