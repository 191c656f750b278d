#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include <fastpool/result.h>
#include <fastpool/timeouts.h>

#include "driver/driver.h"
#include "driver/event_loop.h"
#include "driver/leakable.h"
#include "pool/acquisition.h"
#include "sync/waker.h"

namespace fastpool::driver {

/// The event loop's driver of one exchange: never waits, but notes what for, and is stepped by its loop when that may have
/// come. Derive from it and advance the exchange in step().
///
/// Used by the loop's thread, or the one that stands in for it (\see EventLoop); wake() may be called from any thread.
class LoopOperation : public Driver, private sync::Waker {
 public:
  LoopOperation(std::shared_ptr<EventLoop> loop, const Timeouts& timeouts) noexcept
      : loop_(std::move(loop)), timeouts_(timeouts), alarm_(*this) {}
  LoopOperation(const LoopOperation&) = delete;
  LoopOperation& operator=(const LoopOperation&) = delete;
  ~LoopOperation() override { forget(); }

  /// Goes on in another loop, which is to advance it anew: what it waits for is forgotten.
  void move_to(std::shared_ptr<EventLoop> loop) noexcept {
    forget();
    loop_ = std::move(loop);
  }
  /// What the exchange did is done, with whatever result: nothing is waited for any more.
  void rest() noexcept;
  /// Forgets it without a word, locks untouched: the process ends, or is a fork's child.
  void leak() noexcept;
  /// Gives up what it waits for: leaves queues, gives back a lease that was handed over in that very moment.
  void forget() noexcept;

  [[nodiscard]] const Timeouts& timeouts() const noexcept override { return timeouts_; }
  [[nodiscard]] std::optional<Result<pool::LeaseLimit::Place>> enter(pool::LeaseLimit& limit,
                                                                     pool::Pool& pool) override;
  [[nodiscard]] std::optional<Result<pool::Lease>> acquire(pool::Pool& pool, pool::Endpoint& endpoint,
                                                           Attempt attempt) override;
  [[nodiscard]] std::optional<Result<void>> connect(pool::Pool& pool, pool::LeaseRef lease, Attempt attempt) override;
  /// A bare lease; \see pool::Pool::lease.
  [[nodiscard]] std::optional<Result<pool::LeaseRef>> lease(pool::Pool& pool, pool::Endpoint& endpoint);
  [[nodiscard]] std::optional<Result<void>> handshake(connection::Connection& connection) override;
  [[nodiscard]] Result<Written> write(connection::Connection& connection, std::span<iovec>& pieces,
                                      std::uint64_t& written, bool heed) override;
  [[nodiscard]] Result<ReadOutcome> read(connection::Connection& connection, std::span<char> buffer) override;
  [[nodiscard]] Result<ReadOutcome> read_arrived(connection::Connection& connection, std::span<char> buffer) override;
  [[nodiscard]] std::optional<bool> wait_for_hang_up(connection::Connection& connection, bool or_readable,
                                                     Duration at_most) override;
  [[nodiscard]] std::optional<Result<connection::Home::Admission>> admit(connection::Homes& homes, pool::Pool& pool,
                                                                         pool::Endpoint& endpoint,
                                                                         Attempt attempt) override;
  [[nodiscard]] connection::Home& home_in(connection::Homes& homes) override { return homes.of_loop(loop_); }
  void flush(connection::Connection& connection) override;
  [[nodiscard]] Result<bool> await(connection::Connection& connection,
                                   const std::shared_ptr<connection::MultiplexedStream>& stream,
                                   connection::Awaited awaited, const OptionalDuration& patience) override;

 protected:
  /// For other threads to wake it by, until forget() or its end; by then no thread may use it any more.
  [[nodiscard]] sync::Waker& external_waker() noexcept {
    woken_before_ = true;
    return *this;
  }
  /// Waits for the loop's next turn, so that an operation which never has to wait for the peer leaves time to others. \returns false if
  /// there will be none.
  [[nodiscard]] bool put_off();
  /// What was waited for may have come. Called by EventLoop::turn().
  virtual void step() noexcept = 0;
  /// The loop was closed while this waited: it will never be stepped.
  virtual void orphaned() noexcept = 0;

 private:
  friend class EventLoop;
  struct Alarm : Deadline {
    explicit Alarm(LoopOperation& owner) noexcept : operation(owner) {}
    LoopOperation& operation;
  };

  void wake() noexcept override { loop_->post(*this); }
  void leave_queues() noexcept;
  void forget_stream() noexcept;
  [[nodiscard]] bool watch_shared(connection::Connection& connection);
  [[nodiscard]] pool::AcquireOptions options(OptionalDuration pool_timeout, Attempt attempt) const noexcept;
  [[nodiscard]] sync::Waker& waker() noexcept { return *this; }
  [[nodiscard]] std::optional<Result<pool::Lease>> poll_acquisition();
  void wait_until(TimePoint when);
  [[nodiscard]] bool wait_for(EventLoop::Entry& entry, const OptionalDuration& timeout);

  std::shared_ptr<EventLoop> loop_;
  const Timeouts timeouts_;
  Leakable<pool::Acquisition> acquisition_;
  Leakable<pool::LeaseLimit::Entry> entry_;
  std::unique_ptr<connection::Home::Entry> admission_;

  // The wait.
  bool waiting_ = false;
  bool expired_ = false;  // its deadline has passed
  bool pausing_ = false;  // it is that of wait_for_hang_up(), which no repeated call ends
  EventLoop::Entry* watched_ = nullptr;
  std::shared_ptr<connection::MultiplexedStream> awaited_;  // whose waker this is
  std::shared_ptr<connection::Multiplexer> multiplexer_;    // of that stream
  // Of a connection that another loop watches.
  std::unique_ptr<connection::LoopRegistration> beside_;
  Alarm alarm_;
  std::size_t place_ = 0;  // in the loop's waiting_, from 1 on
  // In the loop's queue of those that may go on.
  bool queued_ = false;
  LoopOperation* previous_ = nullptr;
  LoopOperation* next_ = nullptr;
  bool woken_before_ = false;  // it may be in the mail, or be stepped without a reason
  bool mailed_ = false;        // in the loop's mail; guarded by its mutex
};

}  // namespace fastpool::driver
