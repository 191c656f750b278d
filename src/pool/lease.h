#pragma once

#include <cstdint>
#include <utility>

#include "pool/slot.h"

namespace fastpool::pool {

class Pool;

/// Which lease is meant: a slot and the generation under which it was leased. A plain name; \see Lease for ownership.
struct LeaseRef {
  Slot* slot = nullptr;
  std::uint32_t generation = 0;

  [[nodiscard]] ConnectionId id() const noexcept { return ConnectionId::make(generation, slot->index); }
};

/// Whether the connection may be used again, and how long the server promised to keep it.
struct Reuse {
  bool reusable = false;
  OptionalDuration keep_alive;

  [[nodiscard]] static Reuse no() noexcept { return {}; }
  [[nodiscard]] static Reuse yes(OptionalDuration keep_alive = std::nullopt) noexcept { return {true, keep_alive}; }
};

/// The exclusive right to use a connection. Move-only; returns itself. A lease that is merely dropped closes its
/// connection, since nobody said that it is clean. Must not outlive its pool. Not thread-safe.
class Lease {
 public:
  Lease() = default;
  Lease(Pool& pool, LeaseRef ref, bool fresh) noexcept : pool_(&pool), ref_(ref), fresh_(fresh) {}
  Lease(Lease&& other) noexcept : pool_(std::exchange(other.pool_, nullptr)), ref_(other.ref_), fresh_(other.fresh_) {}
  Lease& operator=(Lease&& other) noexcept {
    if (this != &other) {
      end(Reuse::no());
      pool_ = std::exchange(other.pool_, nullptr);
      ref_ = other.ref_;
      fresh_ = other.fresh_;
    }
    return *this;
  }
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  ~Lease() { end(Reuse::no()); }

  [[nodiscard]] explicit operator bool() const noexcept { return pool_ != nullptr; }
  [[nodiscard]] LeaseRef ref() const noexcept { return ref_; }
  [[nodiscard]] Pooled& operator*() const noexcept { return *ref_.slot->pooled; }
  /// Dialed for this lease and never used before: its failure is no stale connection's.
  [[nodiscard]] bool fresh() const noexcept { return fresh_; }
  /// Gives it back. Idempotent.
  void end(Reuse reuse) noexcept;
  /// Forgets it without giving it back (its id lives on elsewhere, or its process is the parent's).
  LeaseRef detach() noexcept {
    pool_ = nullptr;
    return ref_;
  }

 private:
  Pool* pool_ = nullptr;
  LeaseRef ref_;
  bool fresh_ = false;
};

}  // namespace fastpool::pool
