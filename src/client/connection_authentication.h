#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include <fastpool/headers.h>

namespace fastpool::client {

/// Whether credentials of this scheme authenticate the connection and not the request: every later request on it then acts
/// as that user (RFC 4559 section 6; RFC 9110 section 11.1 warns of it).
[[nodiscard]] inline bool is_connection_scheme(std::string_view scheme) noexcept {
  return equals_ignoring_case(scheme, "ntlm") || equals_ignoring_case(scheme, "negotiate") ||
         equals_ignoring_case(scheme, "kerberos");
}

/// Whether one of the credentials in a field's value is of such a scheme. A scheme is the word at the beginning of the value,
/// or after a comma (proxies join repeated fields that way); inside a quoted string there is none.
[[nodiscard]] inline bool names_connection_scheme(std::string_view value) noexcept {
  // find_first_of() calls memchr() for each byte.
  const auto is_blank = [](char byte) { return byte == ' ' || byte == '\t'; };
  while (true) {
    while (!value.empty() && is_blank(value.front()))
      value.remove_prefix(1);
    std::size_t end = 0;
    while (end < value.size() && !is_blank(value[end]) && value[end] != ',')
      ++end;
    if (is_connection_scheme(value.substr(0, end))) return true;
    if (value.find(',', end) == std::string_view::npos) return false;
    bool quoted = false;
    std::size_t next = 0;
    for (; next < value.size() && (quoted || value[next] != ','); ++next) {
      if (value[next] == '"') quoted = !quoted;
      if (quoted && value[next] == '\\') ++next;
    }
    if (next >= value.size()) return false;
    value.remove_prefix(next + 1);
  }
}

/// Whether a request with these headers authenticates its connection, to the origin or to a proxy.
[[nodiscard]] inline bool authenticates_connection(std::span<const Header> headers) noexcept {
  constexpr std::string_view to_origin = "authorization";
  constexpr std::string_view to_proxy = "proxy-authorization";
  for (const Header& header : headers) {
    if (header.name.size() != to_origin.size() && header.name.size() != to_proxy.size()) [[likely]]
      continue;
    if (!equals_ignoring_case(header.name, to_origin) && !equals_ignoring_case(header.name, to_proxy)) continue;
    if (names_connection_scheme(header.value)) return true;
  }
  return false;
}

}  // namespace fastpool::client
