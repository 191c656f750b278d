#pragma once

#include "sync/parker.h"

namespace fastpool::sync {

/// Makes a waiting caller check again. wake() is called on any thread, with a lock held: it writes a word and at
/// most makes one system call that cannot block (a futex wake, a write to an eventfd); it never runs foreign code.
/// A wake may come without a reason, and never after what was waited for has been taken.
class Waker {
 public:
  virtual void wake() noexcept = 0;

 protected:
  Waker() = default;
  Waker(const Waker&) = default;
  Waker& operator=(const Waker&) = default;
  ~Waker() = default;
};

/// A thread that sleeps on a futex. park_until() is for that thread.
class ThreadWaker final : public Waker {
 public:
  void wake() noexcept override { parker_.unpark(); }
  [[nodiscard]] bool park_until(TimePoint deadline) noexcept { return parker_.park_until(deadline); }

 private:
  Parker parker_;
};

}  // namespace fastpool::sync
