#include "sync/parker.h"

#include <cerrno>
#include <ctime>

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace fastpool::sync {

// The absolute form (FUTEX_WAIT_BITSET) takes CLOCK_MONOTONIC, which is what Clock is: no drift over spurious wakes. A
// deadline that is past ends it at once.
bool LinuxFutex::wait(std::atomic<std::uint32_t>& word, std::uint32_t expected, TimePoint deadline) noexcept {
  timespec at{};
  const timespec* limit = nullptr;
  if (deadline != TimePoint::max()) {
    auto nanos = std::chrono::duration_cast<std::chrono::nanoseconds>(deadline.time_since_epoch()).count();
    if (nanos < 0) nanos = 0;
    at.tv_sec = static_cast<time_t>(nanos / 1'000'000'000);
    at.tv_nsec = static_cast<long>(nanos % 1'000'000'000);
    limit = &at;
  }
  return ::syscall(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE, expected, limit, nullptr, FUTEX_BITSET_MATCH_ANY) ==
             0 ||
         errno != ETIMEDOUT;
}

void LinuxFutex::wake_one(std::atomic<std::uint32_t>& word) noexcept {
  ::syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

}  // namespace fastpool::sync
