#pragma once

#include <cstdint>
#include <optional>

#include <fastpool/error.h>
#include <fastpool/result.h>
#include <fastpool/timeouts.h>

#include "http/interrupt.h"
#include "pool/endpoint.h"
#include "pool/lease.h"
#include "pool/waiter.h"
#include "sync/waker.h"

namespace fastpool::pool {

/// How long a caller waits for a connection, and what interrupts the wait.
struct AcquireOptions {
  OptionalDuration pool_timeout;
  OptionalDuration connect_timeout;
  bool check = true;               ///< peek at a reused connection before giving it out
  Interrupt interrupt;             ///< for blocking calls
  KeepAliveLimit* keep = nullptr;  ///< for a lease that comes when it is not wanted any more; \see Pool::release
  /// How many tries of this caller failed to connect just before: the next one rests first, longer each time.
  std::uint32_t failed_tries = 0;
  TimePoint deadline = TimePoint::max();  ///< of the caller's request as a whole: total_timeout after it
};

/// One caller's way to a lease, in steps that never block: what Pool::acquire() does between its sleeps, and what an event
/// loop does between its turns.
///
/// Call poll(); as long as it gives nothing, call it again after a wake or at deadline(). Destruction gives up at any
/// moment: it leaves the queue, and a lease that was handed over in that very moment goes back.
///
/// One caller at a time, on any thread; not movable, since the queue refers to it. Must not outlive the pool. The waker must
/// outlive it, and may be woken without a reason.
class Acquisition {
 public:
  using Wants = Waiter::Wants;

  /// \param wants `lease`: a bare lease, which connects on first use; without the check of a reused connection.
  Acquisition(Pool& pool, Endpoint& endpoint, const AcquireOptions& options, sync::Waker& waker,
              Wants wants = Wants::connection) noexcept;
  /// Gives the lease `held` its connection; what poll() then returns is that lease again, which stays the caller's: detach
  /// it.
  Acquisition(Pool& pool, LeaseRef held, const AcquireOptions& options, sync::Waker& waker) noexcept;
  Acquisition(const Acquisition&) = delete;
  Acquisition& operator=(const Acquisition&) = delete;
  ~Acquisition();

  /// The lease or the error, once; nothing: not yet. Errors: pool_timeout, pool_closed, connect_timeout, total_timeout,
  /// stale_lease, what the dial met, and what stop() gave.
  [[nodiscard]] std::optional<Result<Lease>> poll();
  /// After poll() gave nothing: when to call it again at the latest.
  [[nodiscard]] TimePoint deadline() const noexcept { return deadline_; }
  /// Whether a dial is under way for it.
  [[nodiscard]] bool covered() const;
  /// The caller has what it needs from elsewhere, and is about to destroy this: that says nothing against its dial.
  void withdraw() noexcept { withdrawn_ = true; }
  /// Gives up with this error, unless a lease or another error came before; poll() tells.
  void stop(Error error);

 private:
  enum class State : std::uint8_t { fresh, resting, waiting, ended };

  [[nodiscard]] bool rests();
  [[nodiscard]] std::optional<Result<Lease>> begin();
  [[nodiscard]] std::optional<Result<Lease>> begin_connect();
  [[nodiscard]] std::optional<Result<Lease>> finish();
  [[nodiscard]] Result<Lease> settle(Result<Lease> result) noexcept;
  void give_up_locked(Error error) noexcept;
  [[nodiscard]] bool overdue() const noexcept;
  [[nodiscard]] Error overdue_error() const;
  [[nodiscard]] Error late_locked() const;
  [[nodiscard]] bool passes_check(const Lease& lease) const noexcept;

  Pool& pool_;
  Endpoint& endpoint_;
  const LeaseRef held_;  // wants its connection
  const OptionalDuration pool_timeout_;
  const bool check_;
  KeepAliveLimit* const keep_;
  const std::uint32_t failed_tries_;
  const TimePoint last_moment_;  // of the request as a whole
  State state_ = State::fresh;
  bool withdrawn_ = false;
  bool left_ = false;  // it left the queue unserved: those behind it moved up
  Lease dead_;         // what it was handed when its turn came, until it has queued again
  TimePoint rests_until_ = TimePoint::min();
  TimePoint pool_deadline_ = TimePoint::max();
  TimePoint deadline_ = TimePoint::max();
  Waiter waiter_;
};

}  // namespace fastpool::pool
