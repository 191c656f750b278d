#include <ctime>

#include "pool/interfaces.h"

namespace fastpool::pool {

TimePoint SystemClock::now() const noexcept {
  return Clock::now();
}

TimePoint SystemClock::coarse_now() const noexcept {
#ifdef CLOCK_MONOTONIC_COARSE
  timespec t{};
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
  return TimePoint(std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec));
#else
  return Clock::now();
#endif
}

Duration time_since_boot() noexcept {
#ifdef CLOCK_BOOTTIME
  timespec t{};
  ::clock_gettime(CLOCK_BOOTTIME, &t);
  return std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
#else
  return Clock::now().time_since_epoch();
#endif
}

}  // namespace fastpool::pool
