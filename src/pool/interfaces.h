#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include <fastpool/error.h>
#include <fastpool/event.h>
#include <fastpool/timeouts.h>

namespace fastpool::pool {

class Endpoint;
class Pool;
struct Slot;

/// What is pooled: a live connection. Destruction closes it.
class Pooled {
 public:
  Pooled() = default;
  Pooled(const Pooled&) = delete;
  Pooled& operator=(const Pooled&) = delete;
  virtual ~Pooled() = default;

  /// A non-blocking look by the only user: may it carry a request?
  [[nodiscard]] virtual bool check_alive() noexcept = 0;
  /// Called by the pool's close, on any thread, while the user may wait in it: makes that wait end. Never waits.
  virtual void interrupt() noexcept = 0;
  /// Called once it sits in its slot; `token` is what to hand to Pool::on_hang_up().
  virtual void on_seated(std::uint64_t token) noexcept = 0;
  /// About to be closed. No lock is held. \param endpoint its name.
  virtual void end(CloseReason reason, std::string_view endpoint) noexcept = 0;
};

/// What a finished dial tells beside the connection; for statistics, but for the name.
struct DialReport {
  std::string_view endpoint{};  ///< its name. The endpoint of a dropped dial may be retired, and not say it any more
  bool handshake = false;
  bool resumed = false;
  Duration create_time{};     ///< look-up, connect and handshake together
  Duration handshake_time{};  ///< TLS alone
};

/// When a dial is to begin (the past: at once) and when it must have ended.
struct DialTimes {
  TimePoint start;
  TimePoint deadline;
};

/// Makes connections. dial() returns at once; Pool::dial_done(slot, ...) follows exactly once, on any thread, never from
/// within dial() itself.
class Dialer {
 public:
  virtual ~Dialer() = default;
  virtual void dial(Endpoint& endpoint, Slot& slot, DialTimes times) = 0;
  /// The pool has work for Pool::maintain() at that time, which may be sooner than the next regular call. Called with no lock
  /// held; returns at once.
  virtual void maintain_at(TimePoint when) { static_cast<void>(when); }
  /// The dial of that slot may have to end earlier than dial() said: ask Pool::dial_deadline() soon. It may have ended already,
  /// or not have been handed over yet. Without it the dial ends when it ends, and its result is dropped.
  virtual void hurry(Slot& slot) noexcept { (void)slot; }
};

/// Time, injected.
class PoolClock {
 public:
  virtual ~PoolClock() = default;
  [[nodiscard]] virtual TimePoint now() const noexcept = 0;
  /// Cheap and up to some milliseconds late; enough for lifetimes.
  [[nodiscard]] virtual TimePoint coarse_now() const noexcept = 0;
};

/// CLOCK_MONOTONIC and CLOCK_MONOTONIC_COARSE.
class SystemClock final : public PoolClock {
 public:
  [[nodiscard]] TimePoint now() const noexcept override;
  [[nodiscard]] TimePoint coarse_now() const noexcept override;
};

/// How long ago the machine was started, the time in which it was suspended included (CLOCK_BOOTTIME).
[[nodiscard]] Duration time_since_boot() noexcept;

}  // namespace fastpool::pool
