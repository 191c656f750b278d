#include "sync/parker.h"

#include <cerrno>
#include <ctime>

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace fastpool::sync {

namespace {

// The absolute form (FUTEX_WAIT_BITSET) takes CLOCK_MONOTONIC, which is what Clock is: no drift over spurious wakes.
long futex_wait_until(std::atomic<std::uint32_t>& word, std::uint32_t expected, TimePoint deadline) noexcept {
  timespec at{};
  const timespec* limit = nullptr;
  if (deadline != TimePoint::max()) {
    auto nanos = std::chrono::duration_cast<std::chrono::nanoseconds>(deadline.time_since_epoch()).count();
    if (nanos < 0) nanos = 0;
    at.tv_sec = static_cast<time_t>(nanos / 1'000'000'000);
    at.tv_nsec = static_cast<long>(nanos % 1'000'000'000);
    limit = &at;
  }
  return ::syscall(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE, expected, limit, nullptr, FUTEX_BITSET_MATCH_ANY);
}

}  // namespace

bool Parker::park_until(TimePoint deadline) noexcept {
  for (;;) {
    // acquire: pairs with the release in unpark(); what the waker wrote before is seen.
    if (word_.exchange(empty, std::memory_order_acquire) == woken) return true;
    if (futex_wait_until(word_, empty, deadline) != 0 && errno == ETIMEDOUT) {
      return word_.exchange(empty, std::memory_order_acquire) == woken;  // acquire: as above
    }
    if (deadline != TimePoint::max() && Clock::now() >= deadline) {
      return word_.exchange(empty, std::memory_order_acquire) == woken;  // acquire: as above
    }
  }
}

void Parker::unpark() noexcept {
  // release: pairs with the acquire in park_until().
  if (word_.exchange(woken, std::memory_order_release) == empty) {
    ::syscall(SYS_futex, &word_, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
  }
}

}  // namespace fastpool::sync
