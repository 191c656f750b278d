#pragma once

#include <cstdint>

#include "sync/atomics.h"

namespace fastpool::pool {

class LeaseLimit;

/// Under which limit a lease has a place that is known by its id alone. One beside every slot; what a lease left stays there,
/// and says nothing of the next one.
class LeasePlace {
 public:
  /// By the holder of the lease, before anybody else knows its id.
  void set(std::uint32_t generation, LeaseLimit& limit) noexcept {
    limit_.set(&limit);
    generation_.set(generation);
  }
  /// Null: none. Asked before the lease is ended, and believed if the caller has ended it: no later lease of the slot had begun
  /// then.
  [[nodiscard]] LeaseLimit* of(std::uint32_t generation) const noexcept {
    return generation_.get() == generation ? limit_.get() : nullptr;
  }

 private:
  // Ordered for the reader by what told it the id, and by the read-modify-write that ends the lease.
  sync::Observable<std::uint32_t> generation_{0};
  sync::Observable<LeaseLimit*> limit_{nullptr};
};

}  // namespace fastpool::pool
