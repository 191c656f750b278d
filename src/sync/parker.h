#pragma once

#include <atomic>
#include <cstdint>

#include <fastpool/timeouts.h>

namespace fastpool::sync {

/// One thread sleeps here until another wakes it; a wake that comes first is kept. On Linux a futex.
/// park_*() belongs to one thread; unpark() to any, as long as the parker lives.
class Parker {
 public:
  /// Sleeps until unpark() or `deadline`. \returns whether it was woken (then the wake is used up).
  [[nodiscard]] bool park_until(TimePoint deadline) noexcept;
  void unpark() noexcept;

 private:
  static constexpr std::uint32_t empty = 0;
  static constexpr std::uint32_t woken = 1;
  std::atomic<std::uint32_t> word_{empty};
};

}  // namespace fastpool::sync
