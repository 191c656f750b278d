#include "driver/blocking.h"

#include <algorithm>
#include <utility>

#include <poll.h>

#include "connection/multiplexed_wait.h"
#include "net/socket.h"
#include "net/tcp_state.h"
#include "pool/decisions.h"
#include "pool/pool.h"

namespace fastpool::driver {

namespace {

using connection::Connection;
using net::IoMode;
using net::IoStatus;

constexpr Duration no_limit{};

// Waits for one operation: what the socket's own timeout is to be, and whether the operation's time is over.
class OperationClock {
 public:
  /// \param deadline of the request as a whole, which shortens the timeout; max(): none.
  OperationClock(const OptionalDuration& timeout, TimePoint deadline, const Interrupt& interrupt) noexcept
      : timeout_(timeout), interrupt_(interrupt) {
    const bool bounded = deadline != TimePoint::max();
    if (timeout || bounded) began_ = Clock::now();
    if (bounded) timeout_ = std::min(timeout_.value_or(Duration::max()), std::max(deadline - began_, Duration{}));
  }

  /// The same for every operation of equal timeouts, so that the socket's is set once.
  [[nodiscard]] Duration first_slice() const noexcept { return timeout_ ? slice(*timeout_) : endless_slice(); }
  /// After a wait that moved nothing, however it ended (a signal cuts it short). \returns the next slice; nothing if the
  /// time is over.
  [[nodiscard]] std::optional<Duration> next_slice() const noexcept {
    if (!timeout_) return endless_slice();
    const Duration passed = Clock::now() - began_;
    if (passed >= *timeout_) return std::nullopt;
    return slice(*timeout_ - passed);
  }

 private:
  static constexpr Duration least = std::chrono::milliseconds(1);  // zero would mean "for ever" to the kernel

  [[nodiscard]] Duration slice(Duration rest) const noexcept {
    return std::max(least, interrupt_.active() ? std::min(rest, Interrupt::poll_interval) : rest);
  }
  [[nodiscard]] Duration endless_slice() const noexcept {
    return interrupt_.active() ? Interrupt::poll_interval : no_limit;
  }

  OptionalDuration timeout_;
  const Interrupt& interrupt_;
  TimePoint began_;
};

Error interrupted(Phase phase, const char* while_what) {
  return Error::make(ErrorCode::interrupted, phase, std::string("interrupted while ") + while_what);
}

bool wants_more(const net::IoResult& io) noexcept {
  return io.status == IoStatus::want_read || io.status == IoStatus::want_write;
}

}  // namespace

std::optional<Result<pool::LeaseLimit::Place>> Blocking::enter(pool::LeaseLimit& limit, pool::Pool& pool) {
  if (auto place = limit.try_enter()) [[likely]]
    return *std::move(place);
  sync::ThreadWaker waker;
  pool::LeaseLimit::Entry entry(limit, pool, patience_for_place(), waker);
  const Interrupt gives_up = while_acquiring();
  for (;;) {
    if (auto entered = entry.poll()) return entered;
    if (gives_up()) return interrupted(Phase::acquire, "waiting for a connection");
    if (overdue()) return total_timed_out(Phase::acquire);
    const TimePoint look = gives_up.active() ? Clock::now() + Interrupt::poll_interval : TimePoint::max();
    (void)waker.park_until(std::min({entry.deadline(), look, deadline()}));
  }
}

Interrupt Blocking::while_acquiring() noexcept {
  if (cancellation_ == nullptr) return interrupt_;
  return {[](void* self) noexcept {
            const Blocking& driver = *static_cast<const Blocking*>(self);
            return driver.cancellation_->requested() || driver.interrupt_();
          },
          this};
}

pool::AcquireOptions Blocking::options(OptionalDuration pool_timeout, Attempt attempt) noexcept {
  return {pool_timeout, timeouts_.connect, true, while_acquiring(), attempt.keep, attempt.failed_tries, deadline()};
}

std::optional<Result<pool::Lease>> Blocking::acquire(pool::Pool& pool, pool::Endpoint& endpoint, Attempt attempt) {
  const OptionalDuration patience = patience_for_connection();
  return pool.acquire(endpoint, options(attempt.at_once ? Duration::zero() : patience, attempt));
}

std::optional<Result<void>> Blocking::connect(pool::Pool& pool, pool::LeaseRef lease, Attempt attempt) {
  return pool.connect(lease, options(patience_for_connection(), attempt));
}

std::optional<Result<void>> Blocking::handshake(Connection& connection) {
  connection.leave_event_loop();
  const OperationClock clock(timeouts_.connect, deadline(), interrupt_);
  std::optional<Duration> slice = clock.first_slice();
  for (;;) {
    connection.set_receive_timeout(*slice);
    connection.set_send_timeout(*slice);
    const net::IoResult io = connection.channel().handshake(IoMode::wait);
    if (io.status == IoStatus::ok) return Result<void>();
    if (!wants_more(io)) return connection.channel().handshake_error();
    if (interrupt_()) return interrupted(Phase::tls_handshake, "connecting");
    // Every round trip of it takes from the one time.
    slice = clock.next_slice();
    if (!slice) return late(handshake_timed_out());
  }
}

Result<Driver::Written> Blocking::write(Connection& connection, std::span<iovec>& pieces, std::uint64_t& written,
                                        bool heed) {
  connection.leave_event_loop();
  drop_written(pieces, 0);
  while (!pieces.empty()) {
    if (overdue()) return total_timed_out(Phase::write);
    const OperationClock clock(timeouts_.write, deadline(), interrupt_);
    std::optional<Duration> slice = clock.first_slice();
    for (;;) {
      // A write that heeds the peer waits for both directions outside this call; the usual request never needs that.
      if (!heed) connection.set_send_timeout(*slice);
      const net::IoResult io = connection.channel().write(pieces, heed ? IoMode::dont_wait : IoMode::wait);
      if (io.status == IoStatus::ok) {
        written += io.bytes;
        drop_written(pieces, io.bytes);
        break;
      }
      if (!wants_more(io)) return failure(ErrorCode::write_failed, Phase::write, io, connection);
      if (heed) {
        const auto ready = net::wait_until_ready(connection.channel().descriptor(), POLLIN | POLLOUT, *slice);
        if ((ready & POLLIN) != 0) return Written::heard;
        if (ready != 0) continue;
      }
      if (interrupt_()) return interrupted(Phase::write, "writing");
      slice = clock.next_slice();
      if (!slice) return late(write_timed_out());
    }
  }
  return Written::all;
}

Result<Driver::ReadOutcome> Blocking::read(Connection& connection, std::span<char> buffer) {
  connection.leave_event_loop();
  if (overdue()) return total_timed_out(Phase::read_head);
  const OperationClock clock(timeouts_.read, deadline(), interrupt_);
  std::optional<Duration> slice = clock.first_slice();
  for (;;) {
    connection.set_receive_timeout(*slice);
    if (auto outcome = read_outcome(connection.channel().read(buffer, IoMode::wait), connection)) return *outcome;
    if (interrupt_()) return interrupted(Phase::read_head, "reading");
    slice = clock.next_slice();
    if (slice) continue;
    // What arrived while this thread was not running counts: the clock is looked at last.
    auto last = read_arrived(connection, buffer);
    if (!last || !last->pending) return last;
    return late(read_timed_out());
  }
}

Result<Driver::ReadOutcome> Blocking::read_arrived(Connection& connection, std::span<char> buffer) {
  connection.leave_event_loop();
  if (auto outcome = read_outcome(connection.channel().read(buffer, IoMode::dont_wait), connection)) return *outcome;
  return ReadOutcome{.pending = true};
}

std::optional<bool> Blocking::wait_for_hang_up(Connection& connection, bool or_readable, Duration at_most) {
  if (interrupt_()) return false;
  (void)net::wait_for_hang_up(connection.channel().descriptor(), or_readable, at_most);
  return true;
}

// ---- HTTP/2 ----------------------------------------------------------------------------------------------------------

std::optional<Result<connection::Home::Admission>> Blocking::admit(connection::Homes& homes, pool::Pool&,
                                                                   pool::Endpoint& endpoint, Attempt attempt) {
  connection::Home& home = home_in(homes);
  const OptionalDuration patience = patience_for_connection();
  connection::Home::Admission admission;
  admission.place = home.try_enter(endpoint);
  if (admission.place) return admission;
  sync::ThreadWaker waker;
  connection::Home::Entry entry(home, endpoint, {options(patience, attempt), attempt.limit}, waker);
  const Interrupt gives_up = while_acquiring();
  for (;;) {
    if (auto admitted = entry.poll()) return admitted;
    if (gives_up()) return interrupted(Phase::acquire, "waiting for a connection");
    const TimePoint look = gives_up.active() ? Clock::now() + Interrupt::poll_interval : TimePoint::max();
    (void)waker.park_until(std::min(entry.deadline(), look));
  }
}

namespace {

// Lets a Cancellation end the waits of this thread.
class WokenByCancel {
 public:
  WokenByCancel(Cancellation* cancellation, sync::Waker& waker) noexcept : cancellation_(cancellation) {
    if (cancellation_ != nullptr) cancellation_->wake(&waker);
  }
  WokenByCancel(const WokenByCancel&) = delete;
  WokenByCancel& operator=(const WokenByCancel&) = delete;
  ~WokenByCancel() {
    if (cancellation_ != nullptr) cancellation_->wake(nullptr);
  }
  [[nodiscard]] bool cancelled() const noexcept { return cancellation_ != nullptr && cancellation_->requested(); }

 private:
  Cancellation* const cancellation_;
};

}  // namespace

Result<bool> Blocking::await(Connection& connection, const std::shared_ptr<connection::MultiplexedStream>& stream,
                             connection::Awaited awaited, const OptionalDuration& patience) {
  connection::Multiplexer& multiplexer = *connection.multiplexer();
  if (overdue()) return total_timed_out(Phase::read_head);
  connection::MultiplexedWait wait(multiplexer, *stream, awaited);
  if (wait.look()) return true;
  const WokenByCancel woken(cancellation_, wait.waker());
  const TimePoint due = std::min(deadline(), patience ? pool::later(Clock::now(), *patience) : TimePoint::max());
  for (;;) {
    wait.pause(interrupt_.active() ? std::min(due, Clock::now() + Interrupt::poll_interval) : due);
    if (wait.look() || woken.cancelled()) return true;
    if (interrupt_()) return interrupted(Phase::read_head, "waiting for the response");
    if (due == TimePoint::max() || Clock::now() < due) continue;
    // What arrived while this thread was not running counts: the clock is looked at last.
    (void)multiplexer.pump();
    return wait.look() ? Result<bool>(true) : late(await_timed_out(awaited));
  }
}

}  // namespace fastpool::driver
