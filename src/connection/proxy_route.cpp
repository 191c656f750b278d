#include "connection/proxy_route.h"

#include <algorithm>
#include <array>
#include <optional>

#include <openssl/evp.h>

#include "h1/request_encoder.h"

namespace fastpool::connection {

namespace {

// No message quotes the URL, which may hold a password.
Error refuse(const char* what) {
  return Error::make(ErrorCode::invalid_argument, Phase::none, std::string("the proxy's URL ") + what);
}

std::optional<int> hex_digit(char digit) noexcept {
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
  return std::nullopt;
}

// RFC 3986 section 2.1. A "%" that begins no escape stands for itself, as in other clients.
std::string without_escapes(std::string_view text) {
  std::string plain;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '%' && at + 2 < text.size()) {
      const auto high = hex_digit(text[at + 1]);
      const auto low = hex_digit(text[at + 2]);
      if (high && low) {
        plain.push_back(static_cast<char>(*high * 16 + *low));
        at += 2;
        continue;
      }
    }
    plain.push_back(text[at]);
  }
  return plain;
}

std::string base64(std::string_view text) {
  std::string encoded(4 * ((text.size() + 2) / 3) + 1, '\0');
  const int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(encoded.data()),
                                   reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
  encoded.resize(static_cast<std::size_t>(size));
  return encoded;
}

struct KnownKind {
  std::string_view scheme;
  ProxyRoute::Kind kind;
  std::uint16_t port;  ///< where the URL names none
};
constexpr std::array<KnownKind, 4> kinds = {{{"http", ProxyRoute::Kind::http, 80},
                                             {"https", ProxyRoute::Kind::https, 443},
                                             {"socks5", ProxyRoute::Kind::socks5, 1080},
                                             {"socks5h", ProxyRoute::Kind::socks5h, 1080}}};

}  // namespace

Result<ProxyRoute> ProxyRoute::of(const Proxy& proxy) {
  const std::string_view url = proxy.url;
  const std::size_t scheme_end = url.find("://");
  const std::string_view scheme = url.substr(0, scheme_end);
  const auto known = std::find_if(kinds.begin(), kinds.end(),
                                  [&](const KnownKind& each) { return equals_ignoring_case(each.scheme, scheme); });
  if (scheme_end == std::string_view::npos || known == kinds.end())
    return refuse("must begin with http://, https://, socks5:// or socks5h://");

  std::string_view authority = url.substr(scheme_end + 3);
  authority = authority.substr(0, authority.find_first_of("/?#"));
  std::string_view user_info;
  if (const std::size_t at = authority.rfind('@'); at != std::string_view::npos) {
    user_info = authority.substr(0, at);
    authority.remove_prefix(at + 1);
  }
  const auto place = Origin::parse("http://" + std::string(authority));
  if (!place) return refuse("has no host, or no valid one, or no valid port");

  ProxyRoute route;
  route.kind = known->kind;
  route.host = place->host;
  const bool bracketed = authority.ends_with(']');
  const bool has_port = !bracketed && authority.rfind(':') != std::string_view::npos && !authority.ends_with(':');
  route.port = has_port ? place->port : known->port;
  const bool ipv6 = route.host.find(':') != std::string::npos;
  route.name = std::string(known->scheme) + "://" + (ipv6 ? "[" + route.host + "]" : route.host) + ":" +
               std::to_string(route.port);
  route.username = proxy.username;
  route.password = proxy.password;
  if (route.username.empty() && route.password.empty() && !user_info.empty()) {
    const std::size_t colon = user_info.find(':');
    route.username = without_escapes(user_info.substr(0, colon));
    if (colon != std::string_view::npos) route.password = without_escapes(user_info.substr(colon + 1));
  }
  route.engine = proxy.engine;
  const bool credentials = !route.username.empty() || !route.password.empty();
  if (!route.speaks_http()) {
    if (route.username.size() > 255 || route.password.size() > 255)
      return Error::make(ErrorCode::invalid_argument, Phase::none,
                         "the user name and the password of a SOCKS proxy have at most 255 bytes each");
    return route;
  }
  if (credentials) {
    route.headers.emplace_back("Proxy-Authorization", "Basic " + base64(route.username + ":" + route.password));
    route.username.clear();
    route.password.clear();
  }
  route.headers.insert(route.headers.end(), proxy.headers.begin(), proxy.headers.end());
  std::string unused;
  if (auto sound = h1::encode_head(unused, "CONNECT", "host:443", route.merged_under({})); !sound) {
    Error error = std::move(sound).error();
    error.code = ErrorCode::invalid_argument;
    error.phase = Phase::none;
    error.detail = "the proxy's headers: " + error.detail;
    return error;
  }
  return route;
}

std::vector<Header> ProxyRoute::merged_under(std::vector<Header> request) const {
  std::vector<Header> merged;
  merged.reserve(headers.size() + request.size());
  for (const auto& own : headers) {
    const bool replaced = std::any_of(request.begin(), request.end(), [&](const Header& header) {
      return equals_ignoring_case(header.name, own.first);
    });
    if (!replaced) merged.push_back({own.first, own.second});
  }
  merged.insert(merged.end(), request.begin(), request.end());
  return merged;
}

}  // namespace fastpool::connection
