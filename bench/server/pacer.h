#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <queue>
#include <vector>

namespace fastpool::bench {

/// The times at which paced streams are to go on, over one timerfd. Owned by the server's loop and used by its one
/// thread only. Knows no sessions: whoever is due is named by descriptor and serial, since the session may be gone.
class Pacer {
 public:
  using Clock = std::chrono::steady_clock;

  struct Due {
    Clock::time_point when;
    int descriptor;
    std::uint64_t serial;
    bool operator>(const Due& other) const { return when > other.when; }
  };

  Pacer();
  ~Pacer();
  Pacer(const Pacer&) = delete;
  Pacer& operator=(const Pacer&) = delete;

  /// Becomes readable when somebody is due.
  [[nodiscard]] int descriptor() const { return timer_; }

  void add(const Due& due);
  /// Takes everybody who is due by now, in order; to be called when the descriptor is readable.
  void run(const std::function<void(const Due&)>& go_on);

 private:
  void arm();

  int timer_;
  Clock::time_point armed_ = Clock::time_point::max();
  std::priority_queue<Due, std::vector<Due>, std::greater<>> queue_;
};

}  // namespace fastpool::bench
