#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include <sys/uio.h>

#include <fastpool/error.h>
#include <fastpool/result.h>
#include <fastpool/timeouts.h>

#include "connection/connection.h"
#include "connection/home.h"
#include "pool/lease.h"
#include "pool/lease_limit.h"

namespace fastpool::driver {

/// What an exchange asks of the code that waits for it. The blocking driver waits inside the call; an event loop's says
/// "pending", and the exchange is advanced again when that may have changed. Everything that differs between the two is
/// behind this interface: the exchange does not know which of them drives it.
///
/// One thread at a time. Each call that says pending is repeated, with the same arguments, until it says something else, or
/// the driver's wait is cancelled.
class Driver {
 public:
  struct ReadOutcome {
    std::size_t bytes = 0;
    bool end = false;        ///< the peer closed its side
    bool truncated = false;  ///< TLS: without saying so
    bool pending = false;
  };
  enum class Written : std::uint8_t {
    all,
    pending,
    heard  ///< not all, since the peer has sent something meanwhile; write() may be called again
  };
  /// How a connection is asked for.
  struct Attempt {
    bool at_once = false;                  ///< without a wait at a limit: pool_timeout if there is no room
    std::uint32_t failed_tries = 0;        ///< how many tries of this exchange failed to connect just before
    pool::KeepAliveLimit* keep = nullptr;  ///< \see pool::AcquireOptions
    pool::LeaseLimit* limit = nullptr;     ///< \see connection::Home::Options
  };

  virtual ~Driver() = default;

  /// The timeouts that this driver observes.
  [[nodiscard]] virtual const Timeouts& timeouts() const noexcept = 0;
  /// When the request as a whole must have ended; max(): never. It shortens every wait, and every operation fails with
  /// total_timeout after it.
  [[nodiscard]] TimePoint deadline() const noexcept { return deadline_; }
  void set_deadline(TimePoint deadline) noexcept { deadline_ = deadline; }

  /// A place under a transport's own limit, or an origin's. What it waits counts for the connection that is asked for next: the pool
  /// timeout is one for all. Errors: pool_timeout, pool_closed, interrupted.
  [[nodiscard]] virtual std::optional<Result<pool::LeaseLimit::Place>> enter(pool::LeaseLimit& limit,
                                                                             pool::Pool& pool) = 0;
  /// A lease of a live connection; \see pool::Pool::acquire.
  [[nodiscard]] virtual std::optional<Result<pool::Lease>> acquire(pool::Pool& pool, pool::Endpoint& endpoint,
                                                                   Attempt attempt) = 0;
  /// Gives a lease of the caller's its connection; \see pool::Pool::connect.
  [[nodiscard]] virtual std::optional<Result<void>> connect(pool::Pool& pool, pool::LeaseRef lease,
                                                            Attempt attempt) = 0;
  /// A TLS handshake that is the first user's to do, under the connect timeout. Errors: tls_failed, connect_timeout,
  /// interrupted.
  [[nodiscard]] virtual std::optional<Result<void>> handshake(connection::Connection& connection) = 0;

  /// Writes the pieces and takes what went out off their front. `written` grows by every byte that the kernel took, also on
  /// failure. \param heed whether to come back when the peer sends something. Errors: write_failed, write_timeout,
  /// interrupted.
  [[nodiscard]] virtual Result<Written> write(connection::Connection& connection, std::span<iovec>& pieces,
                                              std::uint64_t& written, bool heed) = 0;
  /// Reads at least one byte, or sees the end. Errors: read_failed, read_timeout, interrupted.
  [[nodiscard]] virtual Result<ReadOutcome> read(connection::Connection& connection, std::span<char> buffer) = 0;
  /// The same, but never waits: pending, without a wait to be remembered, if nothing has come.
  [[nodiscard]] virtual Result<ReadOutcome> read_arrived(connection::Connection& connection,
                                                         std::span<char> buffer) = 0;
  /// Lets time pass until the connection may have been reset, at most that long. \returns false if the caller was
  /// interrupted; nothing: pending, and then it is not repeated.
  [[nodiscard]] virtual std::optional<bool> wait_for_hang_up(connection::Connection& connection, bool or_readable,
                                                             Duration at_most) = 0;

  // ---- HTTP/2 ----

  /// A stream in this driver's home, or a connection whose protocol is to be found out; \see connection::Home.
  [[nodiscard]] virtual std::optional<Result<connection::Home::Admission>> admit(connection::Homes& homes,
                                                                                 pool::Pool& pool,
                                                                                 pool::Endpoint& endpoint,
                                                                                 Attempt attempt) = 0;
  /// This driver's home.
  [[nodiscard]] virtual connection::Home& home_in(connection::Homes& homes) = 0;
  /// Sends what the connection's multiplexer has to send, at the end of the loop's turn at the latest.
  virtual void flush(connection::Connection& connection) = 0;
  /// Waits until what is awaited of the stream has come, at most for `patience`. \returns true if it may have; false: pending.
  /// Errors: write_timeout (Awaited::sent) or read_timeout, total_timeout, interrupted.
  [[nodiscard]] virtual Result<bool> await(connection::Connection& connection,
                                           const std::shared_ptr<connection::MultiplexedStream>& stream,
                                           connection::Awaited awaited, const OptionalDuration& patience) = 0;

 protected:
  /// Whether the deadline has passed. Reads the clock only where there is a deadline.
  [[nodiscard]] bool overdue() const noexcept { return deadline_ != TimePoint::max() && Clock::now() >= deadline_; }
  /// The error of a wait that ended without news: total_timeout after the deadline, else `timed_out`.
  [[nodiscard]] Error late(Error timed_out) const;

  /// How long a caller may wait for a place from now on, which begins to wait if it does not yet.
  [[nodiscard]] OptionalDuration patience_for_place() noexcept {
    if (waits_since_ == TimePoint{}) waits_since_ = Clock::now();
    return rest_of_patience();
  }
  /// The same for a connection, which ends the wait for places.
  [[nodiscard]] OptionalDuration patience_for_connection() noexcept {
    if (waits_since_ == TimePoint{}) [[likely]]
      return timeouts().pool;
    const OptionalDuration rest = rest_of_patience();
    waits_since_ = {};
    return rest;
  }

 private:
  [[nodiscard]] OptionalDuration rest_of_patience() const noexcept {
    OptionalDuration rest = timeouts().pool;
    if (rest) *rest -= std::min(*rest, Clock::now() - waits_since_);
    return rest;
  }

  TimePoint deadline_ = TimePoint::max();
  TimePoint waits_since_{};  // for a place
};

/// What reading a channel came to, as a driver tells it; nothing for want_*.
[[nodiscard]] std::optional<Result<Driver::ReadOutcome>> read_outcome(const net::IoResult& io,
                                                                      connection::Connection& connection);
/// The error of an operation on a channel that failed.
[[nodiscard]] Error failure(ErrorCode code, Phase phase, const net::IoResult& io, connection::Connection& connection);
/// Takes what went out off the front of the pieces.
void drop_written(std::span<iovec>& pieces, std::size_t bytes) noexcept;
/// The errors of waits that took too long.
[[nodiscard]] Error await_timed_out(connection::Awaited awaited);
[[nodiscard]] Error read_timed_out();
[[nodiscard]] Error write_timed_out();
[[nodiscard]] Error handshake_timed_out();
/// The error of a request that took longer than its `total` timeout.
[[nodiscard]] Error total_timed_out(Phase phase);

}  // namespace fastpool::driver
