#pragma once

/// \file
/// The one closed set of errors, and Result<T>, which carries either a value or an Error. Nothing in this library throws
/// on the way of a request, not even for want of memory: exceptions begin at the borders of other languages.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace fastpool {

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
};

inline constexpr std::size_t error_code_count = static_cast<std::size_t>(ErrorCode::out_of_memory) + 1;

/// Where a request was when it failed.
enum class Phase : std::uint8_t { none, acquire, resolve, connect, tls_handshake, write, read_head, read_body };

[[nodiscard]] std::string_view to_string(ErrorCode code) noexcept;
[[nodiscard]] std::string_view to_string(Phase phase) noexcept;

struct Error {
  ErrorCode code = ErrorCode::invalid_argument;
  Phase phase = Phase::none;
  std::uint64_t bytes_sent = 0;  ///< bytes of this request handed to the kernel before the failure
  int os_error = 0;              ///< errno where the system said something, else 0
  bool final =
      false;  ///< a dial's error that another try at once would meet again (certificate, unknown host, refused everywhere)
  std::string detail;  ///< for people: names the origin and what to do
  std::shared_ptr<const void>
      cause;  ///< what an engine beside the core raised, for the binding that brought it; else null

  [[nodiscard]] static Error make(ErrorCode code, Phase phase, std::string detail, int os_error = 0) {
    Error error;
    error.code = code;
    error.phase = phase;
    error.os_error = os_error;
    error.detail = std::move(detail);
    return error;
  }
};

/// A value or an Error. Check before use: value() on an error, or error() on a value, is undefined.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT(google-explicit-constructor)
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT(google-explicit-constructor)

  [[nodiscard]] bool ok() const noexcept { return state_.index() == 0; }
  explicit operator bool() const noexcept { return ok(); }

  [[nodiscard]] T& value() & noexcept { return *std::get_if<0>(&state_); }
  [[nodiscard]] const T& value() const& noexcept { return *std::get_if<0>(&state_); }
  [[nodiscard]] T&& value() && noexcept { return std::move(*std::get_if<0>(&state_)); }
  [[nodiscard]] Error& error() & noexcept { return *std::get_if<1>(&state_); }
  [[nodiscard]] const Error& error() const& noexcept { return *std::get_if<1>(&state_); }
  [[nodiscard]] Error&& error() && noexcept { return std::move(*std::get_if<1>(&state_)); }

  T* operator->() noexcept { return std::get_if<0>(&state_); }
  const T* operator->() const noexcept { return std::get_if<0>(&state_); }
  T& operator*() & noexcept { return value(); }
  const T& operator*() const& noexcept { return value(); }

 private:
  std::variant<T, Error> state_;
};

/// Success without a value, or an Error.
template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}  // NOLINT(google-explicit-constructor)

  [[nodiscard]] bool ok() const noexcept { return !error_.has_value(); }
  explicit operator bool() const noexcept { return ok(); }
  [[nodiscard]] Error& error() & noexcept { return *error_; }               // NOLINT(bugprone-unchecked-*): if !ok()
  [[nodiscard]] const Error& error() const& noexcept { return *error_; }    // NOLINT(bugprone-unchecked-*): if !ok()
  [[nodiscard]] Error&& error() && noexcept { return std::move(*error_); }  // NOLINT(bugprone-unchecked-*): if !ok()

 private:
  std::optional<Error> error_;
};

}  // namespace fastpool
