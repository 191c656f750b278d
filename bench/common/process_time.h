#pragma once

/// \file
/// The clocks of the benchmark's programs, and the seconds in their arguments.

#include <sys/resource.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>

namespace fastpool::bench {

using Clock = std::chrono::steady_clock;

/// User and system time of all threads of this process so far.
[[nodiscard]] inline std::uint64_t cpu_microseconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto microseconds = [](const timeval& time) {
    return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000 + static_cast<std::uint64_t>(time.tv_usec);
  };
  return microseconds(usage.ru_utime) + microseconds(usage.ru_stime);
}

[[nodiscard]] inline Clock::duration seconds_of(const char* text) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(std::atof(text)));
}

}  // namespace fastpool::bench
