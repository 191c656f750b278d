#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>

#include "pool/lease_place.h"
#include "pool/slot.h"

namespace fastpool::pool {

class KeepAliveLimit;

/// All slots of a pool: chunks that are added and never moved or freed. Looking up and take()/give() of existing slots take no
/// lock; only growing does.
class Slab {
 public:
  using Slot = pool::Slot;
  static constexpr std::uint32_t chunk_size = 256;
  static constexpr std::uint32_t max_chunks = 4096;  // about a million slots

  /// \param first_generation of every slot: pools that begin far apart do not take each other's ids for their own.
  explicit Slab(std::uint32_t first_generation = 1) noexcept : first_generation_(first_generation) {}
  Slab(const Slab&) = delete;
  Slab& operator=(const Slab&) = delete;
  ~Slab();

  /// The slot of an index that a slot has.
  [[nodiscard]] Slot& operator[](std::uint32_t index) const noexcept {
    return chunks_[index / chunk_size]->slots[index % chunk_size];
  }
  /// The slot of any index; null if there is none such.
  [[nodiscard]] Slot* find(std::uint32_t index) const noexcept {
    return index / chunk_size < chunk_count_.get() ? &(*this)[index] : nullptr;
  }
  /// Which limit counts the idle connection in that slot; null for none, and for every slot that is not idle. Left by the
  /// slot's owner before it parks, taken by the next one.
  [[nodiscard]] sync::LeftPointer<KeepAliveLimit>& kept_under(std::uint32_t index) const noexcept {
    return chunks_[index / chunk_size]->kept_under[index % chunk_size];
  }
  [[nodiscard]] LeasePlace& place_of(std::uint32_t index) const noexcept {
    return chunks_[index / chunk_size]->places[index % chunk_size];
  }
  /// A free slot; null only if the slab cannot grow.
  [[nodiscard]] Slot* take();
  void give(Slot& slot) noexcept;

  /// Visits every slot ever made, in order; others may change them meanwhile.
  template <typename Visit>
  void for_each(Visit visit) const {
    const std::uint32_t chunks = chunk_count_.get();
    for (std::uint32_t c = 0; c < chunks; ++c) {
      for (std::uint32_t i = 0; i < chunk_size; ++i)
        visit((*this)[c * chunk_size + i]);
    }
  }

 private:
  struct Chunk {
    std::array<Slot, chunk_size> slots;
    // Beside them: a slot is one cache line, and full.
    std::array<sync::LeftPointer<KeepAliveLimit>, chunk_size> kept_under;
    std::array<LeasePlace, chunk_size> places;
  };
  struct Links {
    const Slab& slab;
    sync::Link& operator()(std::uint32_t index) const noexcept { return slab[index].next; }
  };

  const std::uint32_t first_generation_;
  sync::TaggedList free_;
  sync::Count chunk_count_;  // chunks up to here are readable
  std::array<std::unique_ptr<Chunk>, max_chunks> chunks_{};
  std::mutex grow_mutex_;  // guards growing
};

}  // namespace fastpool::pool
