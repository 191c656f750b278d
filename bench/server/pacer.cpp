#include "server/pacer.h"

#include <sys/timerfd.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace fastpool::bench {

Pacer::Pacer() : timer_(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)) {
  if (timer_ < 0) {
    std::perror("timerfd_create");
    std::_Exit(1);
  }
}

Pacer::~Pacer() {
  ::close(timer_);
}

void Pacer::add(const Due& due) {
  queue_.push(due);
  if (due.when < armed_) {
    arm();
  }
}

void Pacer::run(const std::function<void(const Due&)>& go_on) {
  // Setting the timer anew also takes back that it is readable: nothing is read from it.
  for (const auto now = Clock::now(); !queue_.empty() && queue_.top().when <= now;) {
    const Due due = queue_.top();
    queue_.pop();
    armed_ = Clock::time_point::min();  // whoever is added meanwhile does not arm the timer
    go_on(due);
  }
  arm();
}

void Pacer::arm() {
  itimerspec next{};
  armed_ = Clock::time_point::max();
  if (!queue_.empty()) {
    armed_ = queue_.top().when;
    const auto since_epoch = armed_.time_since_epoch();
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(since_epoch);
    next.it_value.tv_sec = seconds.count();
    next.it_value.tv_nsec = std::chrono::nanoseconds(since_epoch - seconds).count();
  }
  ::timerfd_settime(timer_, TFD_TIMER_ABSTIME, &next, nullptr);
}

}  // namespace fastpool::bench
