#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include <fastpool/call.h>
#include <fastpool/error.h>
#include <fastpool/export.h>
#include <fastpool/hooks.h>
#include <fastpool/lease.h>
#include <fastpool/message.h>
#include <fastpool/profile.h>
#include <fastpool/result.h>
#include <fastpool/settings.h>
#include <fastpool/stats.h>
#include <fastpool/stream.h>
#include <fastpool/timeouts.h>

namespace fastpool::inline v1 {

/// What a client has done and does. Counters grow from the client's making on.
struct ClientStats : PoolStats {
  std::uint64_t retries = 0;            ///< requests begun again on another connection
  std::uint64_t retries_unread = 0;     ///< of these, such as only the proof allowed that the server had not read them
  std::uint64_t http2_connections = 0;  ///< of those that are open, how many speak HTTP/2
  std::uint64_t open_streams = 0;       ///< on these
  std::uint64_t streams = 0;            ///< opened, in all
  /// How requests ended that failed.
  std::array<std::uint64_t, error_code_count> errors{};
  [[nodiscard]] std::uint64_t error_count(ErrorCode code) const noexcept {
    return errors[static_cast<std::size_t>(code)];
  }
};

/// What counts under the limit of an origin, at one moment: \see Client::set_max_leases().
struct OriginUsage {
  std::uint32_t leased = 0;   ///< requests and leases under way
  std::uint32_t waiting = 0;  ///< callers that wait for one of them to end
};

/// An HTTP client over one connection pool. Connections are verified, kept, watched and reused; a request that the server may
/// have processed is never sent twice (docs/internals/retry.md).
///
///     fastpool::Client client;
///     const auto response = client.send({.url = "https://example.org/"});
///     if (!response) std::cerr << response.error().detail << '\n';
///
/// Any thread may call any method. In the child of a fork the client starts with an empty pool; the parent's connections stay
/// the parent's. A client that was moved from may only be destroyed or assigned to.
class FASTPOOL_EXPORT Client {
 public:
  /// \param settings limits and lifetimes of the pool. \param profile what requests use that bring none of their own.
  /// \param hooks functions of the program's own that it calls.
  explicit Client(PoolSettings settings = {}, Profile profile = {}, Hooks hooks = {});
  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  /// Closes every connection: \see close(). No call may be under way on another thread; streams and leases may be left.
  ~Client();

  /// Sends the request and reads the whole response, on the calling thread. Errors: any but stale_lease; the request may have
  /// been processed if `bytes_sent` of the error is not 0.
  [[nodiscard]] Result<Response> send(const Request& request, const Call& call = {});
  /// The same, into a response that keeps the capacity of its strings. Its content is unspecified after an error.
  [[nodiscard]] Result<void> send(const Request& request, Response& reuse, const Call& call = {});
  /// Sends the request and returns when the head of the response has come. With Body::written(): returns once it has a
  /// connection (and, with `Expect: 100-continue`, the server's word). Errors: those of send().
  [[nodiscard]] Result<Stream> open(const Request& request, const Call& call = {});
  /// Leases a live connection to the URL's origin. Errors: those of a request that is not sent.
  [[nodiscard]] Result<Lease> lease(std::string_view url, const Call& call = {});

  /// Dials until `count` connections to the URL's origin are idle, and keeps so many from then on. Returns how many are idle.
  [[nodiscard]] Result<std::uint32_t> warm(std::string_view url, std::uint32_t count, const Call& call = {});
  /// Limits how many requests and leases to the URL's origin may be under way at once, over all profiles and protocols (over
  /// HTTP/2 each stream counts); absent: no limit any more. Those under way go on when the limit falls below their number, and
  /// new ones wait, first come, first served, for at most `Timeouts::pool`. With 0 all of them wait. What begins before the
  /// first call is not counted. May be called at any time, and as often as needed.
  /// \param valid_for how long the limit holds (absent: until the next call). After that nothing begins until the next call:
  ///        for a share of a limit that other processes use as well.
  /// In the child of a fork, an origin that had a limit begins with 0. Errors: invalid_argument.
  Result<void> set_max_leases(std::string_view url, std::optional<std::uint32_t> most, OptionalDuration valid_for = {});
  /// The same. \param until the time on CLOCK_BOOTTIME from which nothing begins until the next call: a process that is stopped
  ///        before this call does not make the share last longer.
  Result<void> set_max_leases_until(std::string_view url, std::optional<std::uint32_t> most, Duration until);
  /// How many requests and leases to the URL's origin are under way, and how many wait, under its limit: zeros without one.
  [[nodiscard]] Result<OriginUsage> usage(std::string_view url) const;

  /// Ends gracefully: refuses new requests, lets those under way finish for at most `timeout` (absent: as long as they take),
  /// then close(). Returns whether all had finished.
  [[nodiscard]] Result<bool> drain(OptionalDuration timeout = {});
  /// Ends waits and idle connections, and interrupts requests under way, which fail with pool_closed, as later ones do.
  /// Idempotent. Never waits for I/O.
  void close();
  [[nodiscard]] ClientStats stats() const;

  /// Internal.
  struct FASTPOOL_LOCAL State;
  [[nodiscard]] const std::shared_ptr<State>& state() const noexcept { return state_; }

 private:
  std::shared_ptr<State> state_;
};

}  // namespace fastpool::inline v1
