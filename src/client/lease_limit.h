#pragma once

#include <algorithm>
#include <cstdint>
#include <list>
#include <mutex>

#include <fastpool/error.h>
#include <fastpool/interrupt.h>
#include <fastpool/timeouts.h>

#include "pool/pool.h"
#include "sync/parker.h"

namespace fastpool::client {

/// A limit on the leases of one holder (a transport on a shared pool), on top of the pool's own. First come, first served.
/// Any thread may call anything.
class LeaseLimit {
 public:
  explicit LeaseLimit(std::uint32_t most) noexcept : free_(most) {}

  /// Takes one place. Errors: pool_timeout, interrupted, and pool_closed once the pool is (seen within a poll interval).
  [[nodiscard]] Result<void> enter(const pool::Pool& pool, OptionalDuration timeout, const Interrupt& interrupt) {
    const TimePoint deadline = timeout ? Clock::now() + *timeout : TimePoint::max();
    Waiter waiter;
    {
      std::lock_guard lock(mutex_);
      if (free_ > 0 && queue_.empty()) {
        --free_;
        return {};
      }
      queue_.push_back(&waiter);
    }
    bool interrupted = false;
    for (;;) {
      {
        std::lock_guard lock(mutex_);
        if (waiter.served) return {};
        if (interrupted || pool.closed() || Clock::now() >= deadline) {
          queue_.remove(&waiter);
          if (pool.closed()) return Error::make(ErrorCode::pool_closed, Phase::acquire, "the pool was closed");
          if (interrupted)
            return Error::make(ErrorCode::interrupted, Phase::acquire, "interrupted while waiting for a connection");
          return Error::make(ErrorCode::pool_timeout, Phase::acquire,
                             "this transport's own limit of connections is in use");
        }
      }
      (void)waiter.parker.park_until(std::min(deadline, Clock::now() + Interrupt::poll_interval));
      interrupted = interrupt();
    }
  }

  void leave() noexcept {
    std::lock_guard lock(mutex_);
    if (queue_.empty()) {
      ++free_;
      return;
    }
    Waiter* first = queue_.front();
    queue_.pop_front();
    first->served = true;
    first->parker.unpark();
  }

 private:
  struct Waiter {
    bool served = false;
    sync::Parker parker;
  };

  // Guarded by mutex_.
  std::mutex mutex_;
  std::uint32_t free_;
  std::list<Waiter*> queue_;
};

}  // namespace fastpool::client
