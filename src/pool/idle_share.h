#pragma once

#include <cstdint>
#include <mutex>

#include "pool/longest_idle.h"
#include "sync/atomics.h"

namespace fastpool::pool {

/// How many of a pool's idle connections one holder has parked last, and how those beyond its limit are taken away.
///
///   a thread that parks     join(): counts the connection and leaves the limit beside its slot, before the step to Idle, so
///                           that the next owner sees both. After that step: close_surplus()
///   the next owner          discount(): takes the limit from beside the slot, which counts one less
///
/// Of the threads that exceed the limit together, the last that parked sees all others idle. One thread at a time takes a
/// surplus, so that no more than that is closed. Any thread may call anything.
template <typename AnySlab, typename Atomics = sync::StdAtomics>
class BasicIdleShare {
 public:
  using Slot = typename AnySlab::Slot;

  /// \param limit what lies beside the slots that count here.
  BasicIdleShare(std::uint32_t most, const void* limit) noexcept : most_(most), longest_idle_(limit) { uses_.add(); }

  /// Counts one that is about to be parked.
  template <typename Limit>
  void join(sync::BasicLeftPointer<Limit, Atomics>& beside, Limit* limit) noexcept {
    uses_.add();
    beside.leave(limit);
  }
  /// The next owner of a slot, or a giver whose step was refused: the limit beside the slot, if there is one, counts it no more.
  /// \param leave calls the leave() of that limit, which may end by that.
  template <typename Limit, typename Leave>
  static void discount(sync::BasicLeftPointer<Limit, Atomics>& beside, Leave&& leave) noexcept {
    if (beside.peek() == nullptr) return;
    if (Limit* const limit = beside.take()) leave(*limit);
  }
  /// One less, or the holder goes. \returns whether it was the last of both.
  [[nodiscard]] bool leave() noexcept { return uses_.subtract() == 0; }
  [[nodiscard]] std::uint32_t idle() const noexcept { return uses_.get() - 1; }
  [[nodiscard]] bool over() const noexcept { return idle() > most_; }
  [[nodiscard]] std::uint32_t most() const noexcept { return most_; }

  /// After one was parked: closes what is too many, the longest idle first; never `parked`. \param close is called with each
  /// slot that `reap` was true for.
  template <typename Reap, typename Close>
  void close_surplus(const AnySlab& slab, const Slot& parked, Reap reap, Close close) {
    if (!over()) [[likely]]
      return;
    while (Slot* const surplus = take_surplus(slab, parked, reap))
      close(*surplus);
  }

 protected:  // for the mutants of its model check
  /// The longest idle but for `parked` while there are too many, or null. \param reap \see BasicLongestIdle::take.
  template <typename Reap>
  [[nodiscard]] Slot* take_surplus(const AnySlab& slab, const Slot& parked, Reap reap) {
    const std::lock_guard lock(mutex_);
    return take_surplus_locked(slab, parked, reap);
  }
  template <typename Reap>
  [[nodiscard]] Slot* take_surplus_locked(const AnySlab& slab, const Slot& parked, Reap reap) {
    // Connections that are counted and not parked yet are not seen; the threads that park them check afterwards.
    if (!over()) return nullptr;
    sync::BasicFlag<Atomics> none;
    return longest_idle_.take(slab, {.slot = &parked}, none, reap);
  }

 private:
  const std::uint32_t most_;
  sync::BasicCount<Atomics> uses_;  // the holder, and the idle connections that it counts
  typename Atomics::Mutex mutex_;   // held while a surplus is looked for and taken away
  BasicLongestIdle<AnySlab, Atomics> longest_idle_;
};

}  // namespace fastpool::pool
