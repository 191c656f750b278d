#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <fastpool/export.h>
#include <fastpool/result.h>

namespace fastpool::inline v1 {

enum class Scheme : std::uint8_t { http, https };

/// Scheme, host and port (RFC 6454). The host is lower-case, without brackets for IPv6, already in its ASCII form.
struct FASTPOOL_EXPORT Origin {
  Scheme scheme = Scheme::https;
  std::string host{};
  std::uint16_t port = 443;

  /// Reads "https://host[:port][/...]"; path, query and user info after the authority are refused or ignored as said in
  /// the error. \returns invalid_argument naming what is wrong: no scheme, unknown scheme, no host, bad port.
  [[nodiscard]] static Result<Origin> parse(std::string_view url);

  /// "https://host:port", brackets around IPv6, the port always written.
  [[nodiscard]] std::string to_string() const;
  /// The value of a Host header: the port only if it is not the scheme's own.
  [[nodiscard]] std::string host_header() const;

  friend bool operator==(const Origin&, const Origin&) = default;
};

[[nodiscard]] FASTPOOL_EXPORT std::string_view to_string(Scheme scheme) noexcept;
[[nodiscard]] FASTPOOL_EXPORT std::uint16_t default_port(Scheme scheme) noexcept;

}  // namespace fastpool::inline v1
