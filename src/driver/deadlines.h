#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include <fastpool/timeouts.h>

namespace fastpool::driver {

/// What may stand in a Deadlines: its own place there.
struct Deadline {
  TimePoint when = TimePoint::max();
  std::size_t place = 0;  ///< from 1 on; 0: in none
};

/// The deadlines of those who wait, the next one first: a heap that knows each one's place, so that any leaves in
/// logarithmic time, and the usual one, which is later than all others, comes in constant time. One thread at a time.
class Deadlines {
 public:
  [[nodiscard]] TimePoint next() const noexcept { return heap_.empty() ? TimePoint::max() : heap_.front()->when; }
  [[nodiscard]] bool empty() const noexcept { return heap_.empty(); }

  /// Puts it in, or changes it. TimePoint::max(): takes it out.
  void set(Deadline& deadline, TimePoint when) {
    if (when == TimePoint::max()) {
      remove(deadline);
      return;
    }
    deadline.when = when;
    if (deadline.place == 0) {
      heap_.push_back(&deadline);
      deadline.place = heap_.size();
    }
    settle(deadline.place - 1);
  }
  void remove(Deadline& deadline) noexcept {
    if (deadline.place == 0) return;
    const std::size_t gap = deadline.place - 1;
    deadline.place = 0;
    Deadline* const last = heap_.back();
    heap_.pop_back();
    if (last == &deadline) return;
    put(gap, last);
    settle(gap);
  }
  /// Takes the first out if it is over; null if none is.
  [[nodiscard]] Deadline* take_due(TimePoint now) noexcept {
    if (heap_.empty() || heap_.front()->when > now) return nullptr;
    Deadline* const due = heap_.front();
    remove(*due);
    return due;
  }

 private:
  void put(std::size_t index, Deadline* deadline) noexcept {
    heap_[index] = deadline;
    deadline->place = index + 1;
  }
  void settle(std::size_t index) noexcept {
    Deadline* const moving = heap_[index];
    while (index > 0 && moving->when < heap_[(index - 1) / 2]->when) {
      put(index, heap_[(index - 1) / 2]);
      index = (index - 1) / 2;
    }
    for (;;) {
      std::size_t child = 2 * index + 1;
      if (child >= heap_.size()) break;
      if (child + 1 < heap_.size() && heap_[child + 1]->when < heap_[child]->when) ++child;
      if (!(heap_[child]->when < moving->when)) break;
      put(index, heap_[child]);
      index = child;
    }
    put(index, moving);
  }

  std::vector<Deadline*> heap_;
};

}  // namespace fastpool::driver
