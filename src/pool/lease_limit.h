#pragma once

#include <cstdint>
#include <optional>
#include <utility>

#include <fastpool/error.h>
#include <fastpool/result.h>
#include <fastpool/timeouts.h>

#include "pool/decisions.h"
#include "pool/pool.h"
#include "sync/end_watches.h"
#include "sync/limit_gate.h"
#include "sync/waker.h"

namespace fastpool::pool {

/// A limit on the leases of one holder (a transport on a shared pool), on top of the pool's own. First come, first served.
/// Entering and leaving take no lock while no caller waits. Any thread may call anything.
class LeaseLimit {
  using Gate = sync::BasicLimitGate<sync::Waker>;

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
      if (LeaseLimit* const limit = std::exchange(limit_, nullptr)) limit->gate_.leave();
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
        : limit_(limit),
          pool_(pool),
          deadline_(timeout ? later(Clock::now(), *timeout) : TimePoint::max()),
          waiter_(waker),
          end_watch_(pool.end_watches(), waker) {}
    Entry(const Entry&) = delete;
    Entry& operator=(const Entry&) = delete;
    ~Entry() { limit_.gate_.give_up(waiter_); }

    /// The place or the error, once. Errors: pool_timeout, and pool_closed once the limit was closed or the pool refuses.
    [[nodiscard]] std::optional<Result<Place>> poll() noexcept {
      std::optional<Error> refusal;
      const Gate::Polled polled = limit_.gate_.poll(waiter_, [&] {
        refusal = why_refused();
        return refusal.has_value();
      });
      switch (polled) {
        case Gate::Polled::entered:
          return Result<Place>(Place(limit_));
        case Gate::Polled::waits:
          return std::nullopt;
        case Gate::Polled::refused:
          return Result<Place>(*std::move(refusal));
        case Gate::Polled::closed:
          break;
      }
      return Result<Place>(Error::make(ErrorCode::pool_closed, Phase::acquire, "this transport was closed"));
    }
    /// When to poll again at the latest.
    [[nodiscard]] TimePoint deadline() const noexcept { return deadline_; }

   private:
    // Called under the gate's lock.
    [[nodiscard]] std::optional<Error> why_refused() noexcept {
      if (end_watch_.look([this] { return pool_.refusing(); })) return Pool::closed_error();
      if (Clock::now() < deadline_) return std::nullopt;
      return Error::make(ErrorCode::pool_timeout, Phase::acquire,
                         "this transport's own limit of connections is in use");
    }

    LeaseLimit& limit_;
    Pool& pool_;
    const TimePoint deadline_;
    Gate::Waiter waiter_;
    sync::EndWatches::Watch end_watch_;
  };

  explicit LeaseLimit(std::uint32_t most) noexcept : gate_(most) {}

  /// A place at once, without a lock; nothing where the caller has to wait, or the limit was closed (an Entry tells).
  [[nodiscard]] std::optional<Place> try_enter() noexcept {
    if (!gate_.try_enter()) return std::nullopt;
    return Place(*this);
  }

  /// Ends waits with pool_closed; lets no caller in any more. Places stay. Idempotent.
  void close() noexcept { gate_.close(); }

 private:
  Gate gate_;  // its lock is taken before that of the pool's EndWatches
};

}  // namespace fastpool::pool
