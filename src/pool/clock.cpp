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

}  // namespace fastpool::pool
