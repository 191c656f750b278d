#pragma once

/// \file
/// The one closed set of errors. Nothing in this library throws on the way of a request, not even for want of memory:
/// exceptions begin at the borders of other languages. What can fail returns a Result (result.h).

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

#include <fastpool/export.h>

namespace fastpool::inline v1 {

/// What went wrong. The set is closed: a binding maps each member and nothing else.
enum class ErrorCode : std::uint8_t {
  invalid_argument,  ///< the caller's input is wrong: an endpoint, a header, a limit, a file that cannot be read
  unsupported,       ///< understood, but not offered (yet)
  stale_lease,       ///< the connection id or lease is no longer the caller's
  pool_timeout,      ///< no connection could be had within the `pool` timeout
  pool_closed,       ///< the pool was closed before or while the call waited
  forked,            ///< the lease belongs to the process that forked this one
  resolve_failed,    ///< the host name has no address
  connect_failed,    ///< no address could be connected to
  connect_timeout,   ///< look-up, connect and handshake together took longer than the `connect` timeout
  tls_failed,        ///< the handshake failed; `detail` says what was wrong (expired, wrong host, unknown issuer, ...)
  write_failed,      ///< the connection broke while the request was being written
  write_timeout,     ///< one write took longer than the `write` timeout
  read_failed,       ///< the connection broke, or ended early, after the request was (partly) written
  read_timeout,      ///< one read took longer than the `read` timeout
  local_protocol,    ///< the caller's request breaks HTTP (a body longer than its Content-Length, a bad header)
  remote_protocol,   ///< the peer's bytes break HTTP
  interrupted,       ///< a signal handler of the caller asked to stop
  out_of_memory,  ///< there is no memory for the request or its response; `bytes_sent` says whether it may be processed
  total_timeout,  ///< the request as a whole took longer than Call::total
  cancelled,      ///< the caller cancelled the request: Stream::cancel(), or its std::stop_token
  body_too_large,  ///< the response's body is larger than Call::max_body
  proxy_failed     ///< the proxy refused: `detail` has its words, such as "407 Proxy Authentication Required"
};

inline constexpr std::size_t error_code_count = static_cast<std::size_t>(ErrorCode::proxy_failed) + 1;

/// Where a request was when it failed.
enum class Phase : std::uint8_t { none, acquire, resolve, connect, tls_handshake, write, read_head, read_body };

[[nodiscard]] FASTPOOL_EXPORT std::string_view to_string(ErrorCode code) noexcept;
[[nodiscard]] FASTPOOL_EXPORT std::string_view to_string(Phase phase) noexcept;

/// The category of the std::error_code that an ErrorCode becomes; its name is "fastpool". Timeouts compare equal to
/// std::errc::timed_out, and so on, where the standard has a condition for them.
[[nodiscard]] FASTPOOL_EXPORT const std::error_category& error_category() noexcept;
[[nodiscard]] FASTPOOL_EXPORT std::error_code make_error_code(ErrorCode code) noexcept;

struct Error {
  ErrorCode code = ErrorCode::invalid_argument;
  Phase phase = Phase::none;
  /// Bytes of this request handed to the kernel before the failure; over HTTP/2 at most so many: what waits for room at the
  /// server counts.
  std::uint64_t bytes_sent = 0;
  int os_error = 0;  ///< errno where the system said something, else 0
  bool final =
      false;  ///< a dial's error that another try at once would meet again (certificate, unknown host, refused everywhere)
  std::string detail{};  ///< for people: names the origin and what to do
  std::shared_ptr<const void>
      cause{};  ///< what an engine beside the core raised, for the binding that brought it; else null

  [[nodiscard]] static Error make(ErrorCode code, Phase phase, std::string detail, int os_error = 0) {
    Error error;
    error.code = code;
    error.phase = phase;
    error.os_error = os_error;
    error.detail = std::move(detail);
    return error;
  }
  [[nodiscard]] std::error_code error_code() const noexcept { return make_error_code(code); }
};

}  // namespace fastpool::inline v1

/// \cond
template <>
struct std::is_error_code_enum<fastpool::ErrorCode> : std::true_type {};
/// \endcond
