#pragma once

#include <cstdint>
#include <limits>
#include <utility>

#include <fastpool/timeouts.h>

#include "pool/decisions.h"
#include "pool/idle_share.h"
#include "pool/slab.h"
#include "sync/atomics.h"

namespace fastpool::pool {

class Pool;

/// How many idle connections one holder (a transport) may leave in its pool, and for how long. It counts those that its
/// holder parked last, at whatever endpoint; the pool closes the longest idle of them where there would be more.
///
/// Lives as long as its holder (Ref) and the idle connections that it counts: these are one count, so parking and taking cost
/// one read-modify-write each. The holder outlives each call that is given the limit. Any thread may call anything.
class KeepAliveLimit {
 public:
  static constexpr std::uint32_t unlimited = std::numeric_limits<std::uint32_t>::max();

  /// The holder's part of it. Move-only.
  class Ref {
   public:
    Ref() = default;
    /// \param most idle at once, or `unlimited`. \param expiry of each; nothing: the pool's. With 0 of either, none is kept.
    Ref(std::uint32_t most, OptionalDuration expiry) : limit_(new KeepAliveLimit(most, expiry)) {}
    Ref(Ref&& other) noexcept : limit_(std::exchange(other.limit_, nullptr)) {}
    Ref& operator=(Ref&& other) noexcept {
      std::swap(limit_, other.limit_);
      return *this;
    }
    Ref(const Ref&) = delete;
    Ref& operator=(const Ref&) = delete;
    ~Ref() {
      if (limit_ != nullptr) limit_->leave();
    }
    [[nodiscard]] KeepAliveLimit* get() const noexcept { return limit_; }
    /// Forgets it: what it counts is a fork's parent's.
    void detach() noexcept { limit_ = nullptr; }

   private:
    KeepAliveLimit* limit_ = nullptr;
  };

  KeepAliveLimit(const KeepAliveLimit&) = delete;
  KeepAliveLimit& operator=(const KeepAliveLimit&) = delete;

  [[nodiscard]] bool keeps_none() const noexcept {
    return share_.most() == 0 || (expiry_ && *expiry_ <= Duration::zero());
  }
  /// When one that is parked now expires.
  [[nodiscard]] TimePoint expires(TimePoint now) const noexcept {
    return expiry_ ? later(now, *expiry_) : TimePoint::max();
  }
  /// How many idle connections it counts now.
  [[nodiscard]] std::uint32_t idle() const noexcept { return share_.idle(); }

 private:
  friend class Pool;

  KeepAliveLimit(std::uint32_t most, OptionalDuration expiry) noexcept : expiry_(expiry), share_(most, this) {}
  ~KeepAliveLimit() = default;

  [[nodiscard]] bool counts() const noexcept { return share_.most() != unlimited; }
  // One less, or the holder goes: the last destroys it.
  void leave() noexcept {
    if (share_.leave()) delete this;
  }

  const OptionalDuration expiry_;
  BasicIdleShare<Slab> share_;
};

}  // namespace fastpool::pool
