#include <fastpool/origin.h>

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <utility>

#include <fastpool/headers.h>

namespace fastpool::inline v1 {
namespace {

// No message quotes the whole URL: its user info, path and query may hold secrets.
Error refuse(std::string detail) {
  return Error::make(ErrorCode::invalid_argument, Phase::none, std::move(detail));
}

bool is_digit(char byte) noexcept {
  return byte >= '0' && byte <= '9';
}

/// Each byte of a host name in lower case; 0 for what no host name may contain.
constexpr std::array<char, 256> host_bytes = [] {
  std::array<char, 256> bytes{};
  for (const char byte : std::string_view("abcdefghijklmnopqrstuvwxyz0123456789-._"))
    bytes[static_cast<unsigned char>(byte)] = byte;
  for (unsigned char byte = 'A'; byte <= 'Z'; ++byte)
    bytes[byte] = static_cast<char>(byte + ('a' - 'A'));
  return bytes;
}();

/// Where the first of "/?#" stands, which end the authority; the text's size if none does.
std::size_t find_delimiter(std::string_view text) noexcept {
  // find_first_of() calls memchr() for each byte.
  const auto ends = [](char byte) { return byte == '/' || byte == '?' || byte == '#'; };
  return static_cast<std::size_t>(std::find_if(text.begin(), text.end(), ends) - text.begin());
}

std::string in_quotes(std::string_view text) {
  std::string quoted = "\"";
  quoted.append(text).push_back('"');
  return quoted;
}

/// What every byte of the authority must be, so that messages may quote it and no Host header can be split by it.
std::optional<Error> check_bytes(std::string_view authority) {
  const auto graphic = [](char byte) { return byte > 0x20 && byte < 0x7f; };
  if (std::all_of(authority.begin(), authority.end(), graphic)) [[likely]]
    return std::nullopt;
  for (const char byte : authority) {
    const auto code = static_cast<unsigned char>(byte);
    if (code == ' ') return refuse("the host of the URL contains a space");
    if (code < 0x20 || code == 0x7f) return refuse("the host of the URL contains a control byte");
    if (code > 0x7f) {
      return refuse("the host of the URL is not ASCII: give the host in its ASCII (punycode) form");
    }
  }
  return std::nullopt;
}

Result<std::uint16_t> parse_port(std::string_view text, Scheme scheme) {
  if (text.empty()) return default_port(scheme);  // RFC 3986 section 3.2.3: "host:" means the scheme's own port
  if (!std::all_of(text.begin(), text.end(), is_digit)) {
    return refuse("the port " + in_quotes(text) + " of the URL is not a number");
  }
  std::uint32_t port = 0;
  for (const char digit : text) {
    port = port * 10 + static_cast<std::uint32_t>(digit - '0');
    if (port > 0xffff) break;
  }
  if (port == 0 || port > 0xffff) return refuse("the port " + in_quotes(text) + " of the URL is not within 1 to 65535");
  return static_cast<std::uint16_t>(port);
}

/// The address between brackets, in the one spelling that RFC 5952 gives it, so that equal origins compare equal.
Result<std::string> parse_ipv6(std::string_view text) {
  if (text.find('%') != std::string_view::npos) {
    return refuse("an IPv6 zone in the host " + in_quotes(text) + " is not supported");
  }
  in6_addr address{};
  std::array<char, INET6_ADDRSTRLEN> spelling{};
  if (inet_pton(AF_INET6, std::string(text).c_str(), &address) != 1 ||
      inet_ntop(AF_INET6, &address, spelling.data(), spelling.size()) == nullptr) {
    return refuse("the host " + in_quotes(text) + " is not an IPv6 address");
  }
  return std::string(spelling.data());
}

Result<std::string> parse_name(std::string_view text) {
  std::string host(text);
  for (char& byte : host) {
    const char lower = host_bytes[static_cast<unsigned char>(byte)];
    if (lower == 0) {
      return refuse("the host " + in_quotes(text) + " contains " + in_quotes({&byte, 1}) + ", which no host name may");
    }
    byte = lower;
  }
  return host;
}

}  // namespace

Result<Origin> Origin::parse(std::string_view url) {
  const std::size_t scheme_end = url.find("://");
  if (scheme_end == std::string_view::npos || scheme_end == 0 || find_delimiter(url) != scheme_end + 1) {
    return refuse("the URL has no scheme: it must begin with \"https://\" or \"http://\"");
  }
  Origin origin;
  const std::string_view scheme_text = url.substr(0, scheme_end);
  if (equals_ignoring_case(scheme_text, "https")) {
    origin.scheme = Scheme::https;
  } else if (equals_ignoring_case(scheme_text, "http")) {
    origin.scheme = Scheme::http;
  } else {
    return refuse("the scheme of the URL is neither \"https\" nor \"http\"");
  }

  std::string_view authority = url.substr(scheme_end + 3);
  authority = authority.substr(0, find_delimiter(authority));
  if (authority.find('@') != std::string_view::npos) {
    return refuse("the URL contains user info (\"user:password@\"): send an Authorization header instead");
  }
  if (std::optional<Error> error = check_bytes(authority)) return std::move(*error);

  std::string_view port_text;
  std::string_view host_text;
  const bool bracketed = authority.starts_with('[');
  if (bracketed) {
    const std::size_t close = authority.find(']');
    if (close == std::string_view::npos) return refuse("the IPv6 address of the URL has no closing bracket");
    host_text = authority.substr(1, close - 1);
    const std::string_view rest = authority.substr(close + 1);
    if (!rest.empty() && rest.front() != ':') {
      return refuse("the URL has " + in_quotes(rest) + " behind its IPv6 address, where only a port may stand");
    }
    if (!rest.empty()) port_text = rest.substr(1);
  } else {
    const std::size_t colon = authority.find(':');
    host_text = authority.substr(0, colon);
    if (colon != std::string_view::npos) port_text = authority.substr(colon + 1);
    if (port_text.find(':') != std::string_view::npos) {
      return refuse("the host " + in_quotes(authority) +
                    " has several colons: an IPv6 address stands in brackets, as in \"https://[::1]:8443\"");
    }
  }
  if (host_text.empty()) return refuse("the URL has no host");

  Result<std::string> host = bracketed ? parse_ipv6(host_text) : parse_name(host_text);
  if (!host) return std::move(host).error();
  const Result<std::uint16_t> port = parse_port(port_text, origin.scheme);
  if (!port) return port.error();
  origin.host = std::move(host).value();
  origin.port = port.value();
  return origin;
}

std::string Origin::to_string() const {
  std::string text(fastpool::to_string(scheme));
  const bool ipv6 = host.find(':') != std::string::npos;
  text.append("://");
  if (ipv6) text.push_back('[');
  text.append(host);
  if (ipv6) text.push_back(']');
  text.push_back(':');
  text.append(std::to_string(port));
  return text;
}

std::string Origin::host_header() const {
  std::string text;
  const bool ipv6 = host.find(':') != std::string::npos;
  if (ipv6) text.push_back('[');
  text.append(host);
  if (ipv6) text.push_back(']');
  if (port != default_port(scheme)) {
    text.push_back(':');
    text.append(std::to_string(port));
  }
  return text;
}

std::string_view to_string(Scheme scheme) noexcept {
  return scheme == Scheme::https ? "https" : "http";
}

std::uint16_t default_port(Scheme scheme) noexcept {
  return scheme == Scheme::https ? 443 : 80;
}

}  // namespace fastpool::inline v1
