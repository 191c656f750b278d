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
  typename Atomics::template Plain<bool> waiting{false};      ///< it is in the queue
  typename Atomics::template Plain<bool> served{false};       ///< it has a place that it has not picked up
  typename Atomics::template Plain<std::uint64_t> ticket{0};  ///< when it joined the queue first; 0: it has not
  typename Atomics::template Plain<std::uint32_t> age{0};     ///< the gate's, when it was served
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
/// then. revoke() takes back the places that were handed out and not picked up: these callers queue again, where they
/// were.
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
    if (pick_up(waiter)) {
      if (waiter.age.get() == age_.get()) return Polled::entered;
      join(waiter);
      if (places_.give()) serve();
      if (pick_up(waiter)) return Polled::entered;
    } else if (!waiter.waiting.get() && places_.try_take()) {
      return Polled::entered;
    }
    if (refuses()) return Polled::refused;
    if (!waiter.waiting.get()) join(waiter);
    return pick_up(waiter) ? Polled::entered : Polled::waits;  // served under this very lock
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

  /// Adds `by` places, or takes away as many: callers that are inside stay, and as many as are over the limit leave before the
  /// next one enters. Serves those that wait. The limit stays within 0 and BasicLimitWord::most_places.
  void resize(std::int64_t by) noexcept {
    const std::lock_guard lock(mutex_);
    places_.resize(by, [this](Waiter& first) {
      hand_place(first);
      first.waker.wake();
    });
  }
  /// Takes back the places that were handed to callers and not picked up.
  void revoke() noexcept {
    const std::lock_guard lock(mutex_);
    age_.add();
  }
  /// Grows with each revoke(). A caller that took a place by try_enter() knows by it whether one came in between.
  [[nodiscard]] std::uint32_t age() const noexcept { return age_.get(); }
  /// The free places: below 0 if more callers are inside than the limit allows.
  [[nodiscard]] std::int64_t free() const noexcept { return places_.free(); }
  /// How many callers wait.
  [[nodiscard]] std::uint32_t waiting() const noexcept { return places_.waiting(); }

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
  void hand_place(Waiter& first) noexcept {
    first.waiting.set(false);
    first.served.set(true);
    first.age.set(age_.get());
  }
  // One that has queued before comes before those that came later.
  void join(Waiter& waiter) noexcept {
    waiter.waiting.set(true);
    if (waiter.ticket.get() == 0) waiter.ticket.set(++tickets_);
    Waiter* before = places_.front();
    if (tickets_ == waiter.ticket.get()) before = nullptr;
    while (before != nullptr && before->ticket.get() < waiter.ticket.get())
      before = before->next;
    places_.join(waiter, before, [&](Waiter& first) {
      hand_place(first);
      if (&first != &waiter) first.waker.wake();  // else it is polling
    });
  }
  void quit(Waiter& waiter) noexcept {
    places_.quit(waiter);
    waiter.waiting.set(false);
  }
  void serve() noexcept {
    places_.serve([this](Waiter& first) {
      hand_place(first);
      first.waker.wake();
    });
  }

  typename Atomics::Mutex mutex_;  // the caller's `refuses` may take others
  Queue<Waiter, Word> places_;     // its queue is guarded by mutex_
  BasicCount<Atomics> age_;        // changed under mutex_
  std::uint64_t tickets_ = 0;      // guarded by mutex_
};

}  // namespace fastpool::sync
