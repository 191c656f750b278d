#pragma once

#include <algorithm>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include <fastpool/error.h>
#include <fastpool/interrupt.h>
#include <fastpool/timeouts.h>

#include "pool/pool.h"
#include "sync/waker.h"

namespace fastpool::pool {

/// A limit on the leases of one holder (a transport on a shared pool), on top of the pool's own. First come, first served.
/// Any thread may call anything.
class LeaseLimit {
  struct Queued {
    sync::Waker* waker = nullptr;
    bool waiting = false;
    bool served = false;
    Queued* previous = nullptr;
    Queued* next = nullptr;
  };

 public:
  /// One place under the limit; gives it back when destroyed. Must not outlive the limit.
  class Place {
   public:
    Place() = default;
    explicit Place(LeaseLimit& limit) noexcept : limit_(&limit) {}
    Place(Place&& other) noexcept : limit_(std::exchange(other.limit_, nullptr)) {}
    Place& operator=(Place&& other) noexcept {
      leave();
      limit_ = std::exchange(other.limit_, nullptr);
      return *this;
    }
    ~Place() { leave(); }
    void leave() noexcept {
      if (LeaseLimit* const limit = std::exchange(limit_, nullptr)) limit->leave();
    }
    /// Forgets it: the limit is that of a fork's parent.
    void detach() noexcept { limit_ = nullptr; }

   private:
    LeaseLimit* limit_ = nullptr;
  };

  /// One caller's way to a place, in steps that never block, as an Acquisition is to a lease: call poll() again after a wake
  /// or at deadline(). Destruction gives up. The waker must outlive it.
  class Entry {
   public:
    Entry(LeaseLimit& limit, const Pool& pool, OptionalDuration timeout, sync::Waker& waker) noexcept
        : limit_(limit), pool_(pool), deadline_(timeout ? Clock::now() + *timeout : TimePoint::max()) {
      queued_.waker = &waker;
    }
    Entry(const Entry&) = delete;
    Entry& operator=(const Entry&) = delete;
    ~Entry() {
      const std::lock_guard lock(limit_.mutex_);
      if (queued_.served) limit_.leave_locked();
      if (queued_.waiting) limit_.remove_locked(queued_);
    }

    /// The place or the error, once. Errors: pool_timeout, and pool_closed once the pool is (seen within a poll interval).
    [[nodiscard]] std::optional<Result<Place>> poll() noexcept {
      const std::lock_guard lock(limit_.mutex_);
      if (!queued_.served && !queued_.waiting && limit_.free_ > 0 && limit_.first_ == nullptr) {
        --limit_.free_;
        queued_.served = true;
      }
      if (std::exchange(queued_.served, false)) return Result<Place>(Place(limit_));
      if (pool_.closed()) return Result<Place>(Pool::closed_error());
      if (Clock::now() >= deadline_) {
        return Result<Place>(Error::make(ErrorCode::pool_timeout, Phase::acquire,
                                         "this transport's own limit of connections is in use"));
      }
      if (!queued_.waiting) limit_.push_back_locked(queued_);
      return std::nullopt;
    }
    /// When to poll again at the latest: nobody tells of a pool that is closed.
    [[nodiscard]] TimePoint deadline() const noexcept {
      return std::min(deadline_, Clock::now() + Interrupt::poll_interval);
    }

   private:
    LeaseLimit& limit_;
    const Pool& pool_;
    const TimePoint deadline_;
    Queued queued_;  // guarded by limit_.mutex_
  };

  explicit LeaseLimit(std::uint32_t most) noexcept : free_(most) {}

 private:
  void leave() noexcept {
    const std::lock_guard lock(mutex_);
    leave_locked();
  }
  void leave_locked() noexcept {
    Queued* const first = first_;
    if (first == nullptr) {
      ++free_;
      return;
    }
    remove_locked(*first);
    first->served = true;
    first->waker->wake();
  }
  void push_back_locked(Queued& queued) noexcept {
    queued.waiting = true;
    queued.previous = last_;
    queued.next = nullptr;
    (last_ != nullptr ? last_->next : first_) = &queued;
    last_ = &queued;
  }
  void remove_locked(Queued& queued) noexcept {
    (queued.previous != nullptr ? queued.previous->next : first_) = queued.next;
    (queued.next != nullptr ? queued.next->previous : last_) = queued.previous;
    queued.waiting = false;
  }

  // Guarded by mutex_.
  std::mutex mutex_;
  std::uint32_t free_;
  Queued* first_ = nullptr;
  Queued* last_ = nullptr;
};

}  // namespace fastpool::pool
