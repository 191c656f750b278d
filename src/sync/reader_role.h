#pragma once

#include <utility>

#include <fastpool/timeouts.h>

#include "sync/linked_queue.h"

namespace fastpool::sync {

/// Decides which of the threads that wait for one source reads it for all: the thread with the *reader role* pauses at the source
/// and pumps it. The others sleep until they are woken, or the role is conferred on them.
///
///   a wait      join() ──> listed ── look(): reached ────────────────────────> done
///                            │ ^ └── look(): the role is free ─> takes it ─> pause(): at the source ─┐
///                            │ └──── pause(): asleep <── look(): another wait has the role           │
///                            │ ^─────────────────────────────────────────────────────────────────────┘
///                            v
///   its end     leave() ──> has the role: confers it on the first that is listed, and wakes that; none: the role is free
///
///   a wake      before the pause: it ends at once;  at the source: rings the bell;  asleep: unparks the thread
///
/// A free role means that every wait that is listed has been woken or has not looked yet: leave() confers the role as it gives it
/// up, and look() takes one that is free. Output that waits for room wakes the reader, which looks under the lock what it polls for.
///
/// The user's lock is held for every call but pause(), which takes it as `host.locked(function)`. `Sleep` parks a thread
/// (sync::ThreadWaker), `Bell` ends a pause at the source (net::EventFd).
template <typename Sleep, typename Bell>
class BasicReaderRole {
 public:
  /// One thread's wait; stays at its address between join() and leave(). Its members are this class's.
  struct Wait {
    Sleep sleep{};
    bool reads = false;  ///< has the role, as its thread saw at its last look
    // Guarded by the user's lock.
    bool woken = false;      ///< since its last look
    bool at_source = false;  ///< pauses there: the bell ends that
    Wait* previous = nullptr;
    Wait* next = nullptr;
  };

  void join(Wait& wait) noexcept { waits_.push_back(wait); }
  /// Ends a wait, at any moment.
  void leave(Wait& wait) noexcept {
    waits_.remove(wait);
    if (reader_ != &wait) return;
    reader_ = waits_.front();
    if (reader_ != nullptr) wake(*reader_);
  }
  /// \param reached says whether the wait has what it waits for. \returns the same; if not, pause() comes next.
  template <typename Reached>
  [[nodiscard]] bool look(Wait& wait, Reached&& reached) noexcept {
    wait.woken = false;
    if (reached()) return true;
    if (reader_ == nullptr) reader_ = &wait;
    wait.reads = reader_ == &wait;
    return false;
  }
  /// Ends the wait's pause, or its next one.
  void wake(Wait& wait) noexcept {
    if (std::exchange(wait.woken, true)) return;
    if (wait.at_source) {
      bell_.signal();
    } else {
      wait.sleep.wake();
    }
  }
  /// Lets the reader look again what to poll for.
  void wake_reader() noexcept {
    if (reader_ != nullptr) wake(*reader_);
  }
  /// Whether a thread has the role.
  [[nodiscard]] bool taken() const noexcept { return reader_ != nullptr; }

  /// Waits until look() may say yes, or that time; may end without a reason. The lock is not held.
  /// \param host what the source is: locked(function) calls it under the lock; has_news() says there whether a pause is needless, and
  /// approach(bell) what to poll for; poll(that, until) waits, without the lock, and says whether the source may be ready; pump()
  /// serves all waits.
  template <typename Host>
  void pause(Wait& wait, TimePoint until, Host&& host) noexcept {
    if (!wait.reads) {
      (void)wait.sleep.park_until(until);
    } else if (wait_at_source(wait, until, host)) {
      host.pump();
    }
  }

 protected:  // for the mutants of its model check
  /// \returns whether the source may be ready.
  template <typename Host>
  [[nodiscard]] bool wait_at_source(Wait& wait, TimePoint until, Host& host) noexcept {
    using Approach = decltype(host.approach(bell_));
    Approach approach{};
    bool needless = false;
    bool woken = false;
    host.locked([&] {
      woken = wait.woken;
      needless = !woken && host.has_news();
      if (woken || needless) return;
      approach = host.approach(bell_);
      wait.at_source = true;
    });
    if (woken || needless) return needless;
    const bool ready = host.poll(approach, until);
    host.locked([&] {
      wait.at_source = false;
      if (wait.woken) (void)bell_.drain();
    });
    return ready;
  }

  Wait* reader_ = nullptr;  // the wait with the role
  LinkedQueue<Wait> waits_;
  Bell bell_{};
};

}  // namespace fastpool::sync
