#pragma once

#include <fastpool/timeouts.h>

namespace fastpool {

/// How a blocking call learns that its caller wants it to stop: a signal handler of its program raised, or its request was
/// cancelled. Without `requested` the call simply waits. `requested` is asked at least every `poll_interval` while waiting, and after every interrupted
/// system call, on the waiting thread, with no lock held.
struct Interrupt {
  bool (*requested)(void* context) noexcept = nullptr;
  void* context = nullptr;

  static constexpr Duration poll_interval = std::chrono::milliseconds(100);

  [[nodiscard]] bool active() const noexcept { return requested != nullptr; }
  [[nodiscard]] bool operator()() const noexcept { return requested != nullptr && requested(context); }
};

}  // namespace fastpool
