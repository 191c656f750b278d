#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include <fastpool/timeouts.h>

#include "pool/slot.h"

namespace fastpool::pool {

class KeepAliveLimit;
class Pool;

/// Which lease is meant: a slot and the generation under which it was leased. A plain name; \see Lease for ownership.
struct LeaseRef {
  Slot* slot = nullptr;
  std::uint32_t generation = 0;

  /// Whether it names one at all.
  [[nodiscard]] explicit operator bool() const noexcept { return slot != nullptr; }
  [[nodiscard]] ConnectionId id() const noexcept { return ConnectionId::make(generation, slot->index); }
};

/// Whether the connection may be used again, and how long the server promised to keep it. One register wide.
class Reuse {
 public:
  [[nodiscard]] static constexpr Reuse no() noexcept { return Reuse(refused); }
  /// \param keep_alive what the server promised; nothing: no promise.
  [[nodiscard]] static constexpr Reuse yes(OptionalDuration keep_alive = std::nullopt) noexcept {
    return Reuse(keep_alive ? std::max(*keep_alive, Duration{}) : unpromised);
  }
  /// The lease was not used since its last exchange: what was promised then still holds.
  [[nodiscard]] static constexpr Reuse unused() noexcept { return Reuse(untouched); }

  [[nodiscard]] constexpr bool reusable() const noexcept { return keep_alive_ != refused; }
  [[nodiscard]] constexpr bool used() const noexcept { return keep_alive_ != untouched; }
  [[nodiscard]] constexpr OptionalDuration keep_alive() const noexcept {
    if (keep_alive_ < Duration{} || keep_alive_ == unpromised) return std::nullopt;
    return keep_alive_;
  }

 private:
  static constexpr Duration refused = Duration::min();
  static constexpr Duration untouched{-1};
  static constexpr Duration unpromised = Duration::max();
  constexpr explicit Reuse(Duration keep_alive) noexcept : keep_alive_(keep_alive) {}
  Duration keep_alive_;
};

/// The exclusive right to use a connection. Move-only; returns itself. A lease that is merely dropped closes its
/// connection, since it may not be clean. Must not outlive its pool. Not thread-safe.
class Lease {
 public:
  Lease() = default;
  Lease(Pool& pool, LeaseRef ref, bool fresh) noexcept : pool_(&pool), ref_(ref), fresh_(fresh) {}
  // Member by member: one wide load of a LeaseRef that was just written in pieces stalls the store buffer.
  Lease(Lease&& other) noexcept
      : pool_(std::exchange(other.pool_, nullptr)),
        ref_{other.ref_.slot, other.ref_.generation},
        fresh_(other.fresh_) {}
  Lease& operator=(Lease&& other) noexcept {
    if (this != &other) {
      release(Reuse::no());
      pool_ = std::exchange(other.pool_, nullptr);
      ref_ = {other.ref_.slot, other.ref_.generation};
      fresh_ = other.fresh_;
    }
    return *this;
  }
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  ~Lease() { release(Reuse::no()); }

  [[nodiscard]] explicit operator bool() const noexcept { return pool_ != nullptr; }
  [[nodiscard]] LeaseRef ref() const noexcept { return ref_; }
  [[nodiscard]] Pooled& operator*() const noexcept { return *ref_.slot->pooled; }
  /// Dialed for this lease and never used before: its failure is no stale connection's.
  [[nodiscard]] bool fresh() const noexcept { return fresh_; }
  /// Gives it back. Idempotent. \param keep what its holder may leave idle; \see Pool::release.
  void release(Reuse reuse, KeepAliveLimit* keep = nullptr) noexcept {
    if (pool_ != nullptr) give(*std::exchange(pool_, nullptr), ref_, reuse, keep);
  }
  /// Forgets it without giving it back (its id lives on elsewhere, or its process is the parent's).
  LeaseRef detach() noexcept {
    pool_ = nullptr;
    return ref_;
  }

 private:
  /// Pool::release(), which is not declared yet.
  static void give(Pool& pool, LeaseRef ref, Reuse reuse, KeepAliveLimit* keep) noexcept;

  Pool* pool_ = nullptr;
  LeaseRef ref_;
  bool fresh_ = false;
};

}  // namespace fastpool::pool
