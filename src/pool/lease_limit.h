#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <utility>

#include <fastpool/error.h>
#include <fastpool/result.h>
#include <fastpool/timeouts.h>

#include "pool/decisions.h"
#include "pool/end_watch.h"
#include "pool/pool.h"
#include "sync/limit_queue.h"
#include "sync/waker.h"

namespace fastpool::pool {

/// A limit on the leases of one holder (a transport on a shared pool), on top of the pool's own. First come, first served.
/// Entering and leaving take no lock while no caller waits. Any thread may call anything.
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
  /// or at deadline(). Destruction gives up. The waker must outlive it. Try LeaseLimit::try_enter() first.
  class Entry {
   public:
    Entry(LeaseLimit& limit, Pool& pool, OptionalDuration timeout, sync::Waker& waker) noexcept
        : limit_(limit), pool_(pool), deadline_(timeout ? later(Clock::now(), *timeout) : TimePoint::max()) {
      queued_.waker = &waker;
    }
    Entry(const Entry&) = delete;
    Entry& operator=(const Entry&) = delete;
    ~Entry() {
      const std::lock_guard lock(limit_.mutex_);
      if (queued_.served) limit_.give_back_locked();
      if (queued_.waiting) limit_.quit_locked(queued_);
    }

    /// The place or the error, once. Errors: pool_timeout, and pool_closed once the limit was closed or the pool refuses.
    [[nodiscard]] std::optional<Result<Place>> poll() noexcept {
      const std::lock_guard lock(limit_.mutex_);
      if (limit_.places_.closed())
        return Result<Place>(Error::make(ErrorCode::pool_closed, Phase::acquire, "this transport was closed"));
      if (!queued_.served && !queued_.waiting && limit_.places_.try_take()) queued_.served = true;
      if (std::exchange(queued_.served, false)) return Result<Place>(Place(limit_));
      if (!end_watch_) end_watch_.emplace(pool_.end_watches(), *queued_.waker);
      if (pool_.refusing()) return Result<Place>(Pool::closed_error());
      if (Clock::now() >= deadline_) {
        return Result<Place>(Error::make(ErrorCode::pool_timeout, Phase::acquire,
                                         "this transport's own limit of connections is in use"));
      }
      if (!queued_.waiting) limit_.join_locked(queued_);
      if (std::exchange(queued_.served, false)) return Result<Place>(Place(limit_));
      return std::nullopt;
    }
    /// When to poll again at the latest.
    [[nodiscard]] TimePoint deadline() const noexcept { return deadline_; }

   private:
    LeaseLimit& limit_;
    Pool& pool_;
    const TimePoint deadline_;
    Queued queued_;  // guarded by limit_.mutex_
    std::optional<EndWatches::Watch> end_watch_;
  };

  explicit LeaseLimit(std::uint32_t most) noexcept : places_(most) {}

  /// A place at once, without a lock; nothing where the caller has to wait, or the limit was closed (an Entry tells).
  [[nodiscard]] std::optional<Place> try_enter() noexcept {
    if (!places_.try_take()) return std::nullopt;
    return Place(*this);
  }

  /// Ends waits with pool_closed; lets no caller in any more. Places stay. Idempotent.
  void close() noexcept {
    const std::lock_guard lock(mutex_);
    places_.close();
    for (const Queued* each = places_.front(); each != nullptr; each = each->next)
      each->waker->wake();
  }

 private:
  void leave() noexcept {
    if (!places_.give()) [[likely]]
      return;
    const std::lock_guard lock(mutex_);
    serve_locked();
  }
  void give_back_locked() noexcept {
    if (places_.give()) serve_locked();
  }
  static void give_place(Queued& first) noexcept {
    first.waiting = false;
    first.served = true;
  }
  void join_locked(Queued& queued) noexcept {
    queued.waiting = true;
    places_.join(queued, [&](Queued& first) {
      give_place(first);
      if (&first != &queued) first.waker->wake();  // else it is polling
    });
  }
  void quit_locked(Queued& queued) noexcept {
    places_.quit(queued);
    queued.waiting = false;
  }
  void serve_locked() noexcept {
    places_.serve([](Queued& first) {
      give_place(first);
      first.waker->wake();
    });
  }

  std::mutex mutex_;                      // taken before that of the pool's EndWatches
  sync::BasicLimitQueue<Queued> places_;  // its queue is guarded by mutex_
};

}  // namespace fastpool::pool
