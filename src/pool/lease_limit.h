#pragma once

#include <algorithm>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <fastpool/error.h>
#include <fastpool/result.h>
#include <fastpool/timeouts.h>

#include "pool/decisions.h"
#include "pool/pool.h"
#include "sync/atomics.h"
#include "sync/end_watches.h"
#include "sync/limit_gate.h"
#include "sync/waker.h"

namespace fastpool::pool {

/// A limit on the leases of one holder (a transport on a shared pool) or to one origin, on top of the pool's own. First come,
/// first served. Entering and leaving take no lock while no caller waits. Any thread may call anything.
///
/// It changes by allot(), for good or for a time. After that the limit is 0 until the next allot(): no caller enters on an
/// allotment that others may have been given meanwhile, such as in a process that was stopped, or on a machine that was
/// suspended. The places taken before stay.
class LeaseLimit {
  using Gate = sync::BasicLimitGate<sync::Waker>;

 public:
  static constexpr Duration for_ever = Duration::max();

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
    [[nodiscard]] explicit operator bool() const noexcept { return limit_ != nullptr; }
    void leave() noexcept {
      if (LeaseLimit* const limit = std::exchange(limit_, nullptr)) limit->gate_.leave();
    }
    /// Hands the place to a lease that is known by its id alone; called before that id is given out. \see end_lease()
    void keep_with(Pool& pool, LeaseRef lease) noexcept {
      if (LeaseLimit* const limit = std::exchange(limit_, nullptr)) pool.place_of(lease).set(lease.generation, *limit);
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
      for (;;) {
        const std::uint32_t age = limit_.gate_.age();
        std::optional<Error> refusal;
        const Gate::Polled polled = limit_.gate_.poll(waiter_, [&] {
          refusal = why_refused();
          return refusal.has_value();
        });
        switch (polled) {
          case Gate::Polled::entered: {
            Place place(limit_);
            if (limit_.lapsed() || limit_.gate_.age() != age)
              continue;  // it leaves, and the caller waits for the next allotment
            return Result<Place>(std::move(place));
          }
          case Gate::Polled::waits:
            return std::nullopt;
          case Gate::Polled::refused:
            return Result<Place>(*std::move(refusal));
          case Gate::Polled::closed:
            return Result<Place>(closed_error());
        }
      }
    }
    /// When to poll again at the latest.
    [[nodiscard]] TimePoint deadline() const noexcept { return deadline_; }

   private:
    // Called under the gate's lock.
    [[nodiscard]] std::optional<Error> why_refused() noexcept {
      if (end_watch_.look([this] { return pool_.refusing(); })) return Pool::closed_error();
      if (Clock::now() < deadline_) return std::nullopt;
      return Error::make(ErrorCode::pool_timeout, Phase::acquire, std::string(limit_.in_use_));
    }

    LeaseLimit& limit_;
    Pool& pool_;
    const TimePoint deadline_;
    Gate::Waiter waiter_;
    sync::EndWatches::Watch end_watch_;
  };

  /// \param in_use what the error of a caller says that waited in vain. Outlives the limit.
  explicit LeaseLimit(std::uint32_t most,
                      std::string_view in_use = "this transport's own limit of connections is in use") noexcept
      : in_use_(in_use), gate_(bounded(most)), most_(bounded(most)) {}

  [[nodiscard]] std::uint32_t most() const noexcept { return most_.get(); }
  struct Usage {
    std::uint32_t leased = 0;
    std::uint32_t waiting = 0;
  };
  /// How many places are taken, and how many callers wait for one.
  [[nodiscard]] Usage usage() const noexcept {
    const std::lock_guard lock(allotting_);
    const std::int64_t taken = std::int64_t{most_.get()} - gate_.free();
    return {static_cast<std::uint32_t>(std::max<std::int64_t>(taken, 0)), gate_.waiting()};
  }

  /// Whether it lets any number in, for good.
  [[nodiscard]] bool lifted() const noexcept { return most_.get() == sync::LimitWord::most_places; }
  /// Changes the limit to `most` (0: no caller enters; above 2^31 - 1: as that). With more places taken than that, callers wait
  /// until enough of them were given back. \param until a time_since_boot(), or for_ever: until the next call.
  void allot(std::uint32_t most, Duration until = for_ever) noexcept {
    const std::lock_guard lock(allotting_);
    const bool over = until_.get() != for_ever && time_since_boot() >= until_.get();
    if (over || most == 0) {
      resize_locked(0);
      gate_.revoke();  // what was handed out under the last one, and not picked up, comes too late
    }
    until_.set(until);
    resize_locked(bounded(most));
  }

  /// A place at once, without a lock; nothing where the caller has to wait, or the limit was closed (an Entry tells).
  [[nodiscard]] std::optional<Place> try_enter() noexcept {
    const std::uint32_t age = gate_.age();
    if (!gate_.try_enter()) return std::nullopt;
    Place place(*this);
    if (lapsed() || gate_.age() != age) [[unlikely]]
      return std::nullopt;
    return place;
  }

  /// Ends waits with pool_closed; lets no caller in any more. Places stay. Idempotent.
  void close() noexcept {
    gate_.close();
    closed_.set();
    end_watches_.wake();
  }
  [[nodiscard]] bool closed() const noexcept { return closed_.get(); }
  /// Who waits elsewhere and is woken at close().
  [[nodiscard]] sync::EndWatches& end_watches() noexcept { return end_watches_; }
  [[nodiscard]] static Error closed_error() {
    return Error::make(ErrorCode::pool_closed, Phase::acquire, "this transport was closed");
  }

 private:
  [[nodiscard]] static std::uint32_t bounded(std::uint32_t most) noexcept {
    return std::min(most, sync::LimitWord::most_places);
  }
  /// Whether the allotment's time has passed; ends it then. Asked after a place was taken, so that nothing lies between.
  [[nodiscard]] bool lapsed() noexcept {
    return until_.get() != for_ever && time_since_boot() >= until_.get() && end_allotment();
  }
  [[nodiscard]] bool end_allotment() noexcept {
    const std::lock_guard lock(allotting_);
    if (time_since_boot() < until_.get()) return false;  // there is another by now
    resize_locked(0);
    return true;
  }
  void resize_locked(std::uint32_t most) noexcept {
    const std::uint32_t before = most_.get();
    most_.set(most);
    gate_.resize(std::int64_t{most} - std::int64_t{before});
  }

  const std::string_view in_use_;
  sync::Flag closed_;
  sync::EndWatches end_watches_;
  Gate gate_;  // its lock is taken before that of the pool's EndWatches

  // Written under allotting_, which is taken before the gate's lock. A caller that enters reads `until_` after its own
  // read-modify-write of the gate's word, which pairs with resize()'s: it sees the deadline of the allotment that let it in.
  mutable std::mutex allotting_;
  sync::Observable<std::uint32_t> most_;
  sync::Observable<Duration> until_{for_ever};  // since the machine was started
};

/// The time_since_boot() after that long; absent, or beyond the range of the clock: LeaseLimit::for_ever.
[[nodiscard]] inline Duration boot_time_after(OptionalDuration duration) noexcept {
  if (!duration) return LeaseLimit::for_ever;
  const Duration now = time_since_boot();
  return *duration < LeaseLimit::for_ever - now ? now + *duration : LeaseLimit::for_ever;
}

/// Pool::release() of a lease that is known by its id alone: its place, if it has one, is given back too, by the one caller that
/// ended it.
inline bool end_lease(Pool& pool, LeaseRef lease, Reuse reuse) noexcept {
  LeaseLimit* const limit = pool.place_of(lease).of(lease.generation);
  if (!pool.release(lease, reuse)) return false;
  if (limit != nullptr) [[unlikely]]
    LeaseLimit::Place(*limit).leave();
  return true;
}

}  // namespace fastpool::pool
