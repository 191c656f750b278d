#pragma once

#include <cstdint>
#include <mutex>
#include <utility>

#include "sync/atomics.h"
#include "sync/limit_queue.h"
#include "sync/limit_word.h"

namespace fastpool::sync {

/// A caller on its way through a BasicLimitGate. Belongs to the caller; the gate's lock guards the members.
template <typename Waker, typename Atomics = StdAtomics>
struct LimitWaiter {
  explicit LimitWaiter(Waker& to_wake) noexcept : waker(to_wake) {}

  Waker& waker;
  typename Atomics::template Plain<bool> waiting{false};  ///< it is in the queue
  typename Atomics::template Plain<bool> served{false};   ///< it has a place that it has not picked up
  LimitWaiter* previous = nullptr;
  LimitWaiter* next = nullptr;
};

/// A limit with the lock of its queue, and the steps by which callers enter and leave it.
///
///   a caller                                             a holder, or a caller that was served and gives up
///
///   try_enter() -------------- a place --> inside        gives its place back; do callers wait?  (1)
///     | none is free, or others wait                       | yes
///   poll(), under the lock:                              under the lock: serves the first that waits
///     was it served, or is a place free? -- yes --> inside
///     | no
///   joins the queue            (2)
///   serves the queue           (3)
///     | the place was not for it
///   sleeps until a wake or its deadline, then poll() again
///
/// (1) and (2) are read-modify-writes of one word, and (3) reads it after (2). So one side sees the other: either the holder
/// finds the caller counted and serves it, or the caller finds the place.
///
/// A caller that stops polling calls give_up(). It may have been served since its last poll(): its place is the next caller's
/// then.
///
/// A `Waker` has wake(), which is called under the lock: a caller is never woken after give_up(). Any thread may call anything.
template <typename Waker, typename Atomics = StdAtomics,
          template <typename Waiter, typename Word> typename Queue = BasicLimitQueue,
          typename Word = BasicLimitWord<Atomics>>
class BasicLimitGate {
 public:
  using Waiter = LimitWaiter<Waker, Atomics>;
  enum class Polled : std::uint8_t { entered, waits, refused, closed };

  explicit BasicLimitGate(std::uint32_t places) noexcept : places_(places) {}

  /// Takes a place at once, without the lock. False: the caller has to wait, or the gate was closed.
  [[nodiscard]] bool try_enter() noexcept { return places_.try_take(); }
  /// The next step of a caller that try_enter() did not let in. \param refuses is asked, under the lock, if no place is free
  /// for the caller: whether it must not wait, or not any longer. After `refused` and `closed`, give_up() comes next.
  template <typename Refuses>
  [[nodiscard]] Polled poll(Waiter& waiter, Refuses&& refuses) noexcept {
    const std::lock_guard lock(mutex_);
    if (places_.closed()) return Polled::closed;
    if (pick_up(waiter) || (!waiter.waiting.get() && places_.try_take())) return Polled::entered;
    if (refuses()) return Polled::refused;
    if (!waiter.waiting.get()) join(waiter);
    return pick_up(waiter) ? Polled::entered : Polled::waits;
  }
  /// Ends the way of a caller that is not inside. Does nothing for one that is.
  void give_up(Waiter& waiter) noexcept {
    const std::lock_guard lock(mutex_);
    if (pick_up(waiter) && places_.give()) serve();
    if (waiter.waiting.get()) quit(waiter);
  }
  /// Gives back the place of a caller that entered.
  void leave() noexcept {
    if (!places_.give()) [[likely]]
      return;
    const std::lock_guard lock(mutex_);
    serve();
  }

  /// Lets no caller in any more, and wakes those that wait. Places stay. Idempotent.
  void close() noexcept {
    const std::lock_guard lock(mutex_);
    places_.close();
    for (const Waiter* each = places_.front(); each != nullptr; each = each->next)
      each->waker.wake();
  }

 protected:  // for the mutants of its model check; all but try_take() and give() under the lock
  [[nodiscard]] static bool pick_up(Waiter& waiter) noexcept {
    if (!waiter.served.get()) return false;
    waiter.served.set(false);
    return true;
  }
  static void hand_place(Waiter& first) noexcept {
    first.waiting.set(false);
    first.served.set(true);
  }
  void join(Waiter& waiter) noexcept {
    waiter.waiting.set(true);
    places_.join(waiter, [&](Waiter& first) {
      hand_place(first);
      if (&first != &waiter) first.waker.wake();  // else it is polling
    });
  }
  void quit(Waiter& waiter) noexcept {
    places_.quit(waiter);
    waiter.waiting.set(false);
  }
  void serve() noexcept {
    places_.serve([](Waiter& first) {
      hand_place(first);
      first.waker.wake();
    });
  }

  typename Atomics::Mutex mutex_;  // the caller's `refuses` may take others
  Queue<Waiter, Word> places_;     // its queue is guarded by mutex_
};

}  // namespace fastpool::sync
