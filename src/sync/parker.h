#pragma once

#include <atomic>
#include <cstdint>

#include <fastpool/timeouts.h>

#include "sync/atomics.h"

namespace fastpool::sync {

/// Linux's futex: the kernel compares and goes to sleep in one step, so no wake falls in between.
struct LinuxFutex {
  /// Sleeps while `word` is `expected`, until wake_one(). May return early. \returns false once `deadline` has passed.
  [[nodiscard]] static bool wait(std::atomic<std::uint32_t>& word, std::uint32_t expected, TimePoint deadline) noexcept;
  /// Wakes one thread that sleeps on `word`, if there is one.
  static void wake_one(std::atomic<std::uint32_t>& word) noexcept;
};

/// One thread sleeps here until another wakes it; a wake that comes first is kept.
/// park_until() belongs to one thread; unpark() to any, as long as the parker lives.
template <typename Atomics = StdAtomics, typename Futex = LinuxFutex>
class BasicParker {
 public:
  /// Sleeps until unpark() or `deadline`. \returns whether it was woken (then the wake is used up).
  [[nodiscard]] bool park_until(TimePoint deadline) noexcept {
    for (bool in_time = true;;) {
      // acquire: pairs with the release in unpark(); what the waker wrote before is seen.
      if (word_.exchange(empty, std::memory_order_acquire) == woken) return true;
      if (!in_time) return false;
      in_time = Futex::wait(word_, empty, deadline);
    }
  }
  void unpark() noexcept {
    // release: pairs with the acquire in park_until().
    if (word_.exchange(woken, std::memory_order_release) == empty) Futex::wake_one(word_);
  }

 private:
  static constexpr std::uint32_t empty = 0;
  static constexpr std::uint32_t woken = 1;
  typename Atomics::template Atomic<std::uint32_t> word_{empty};
};

using Parker = BasicParker<>;

}  // namespace fastpool::sync
