#pragma once

#include "model/relacy_atomics.h"

#include <cstdint>

#include <fastpool/timeouts.h>

#include "sync/atomics.h"
#include "sync/slot_word.h"

namespace fastpool::model {

/// A slab of a few slots, with the members that pool::BasicLongestIdle reads. All slots are idle since the same time, unless a
/// model sets another.
template <typename Atomics, unsigned count>
class ModelSlab {
 public:
  template <typename T>
  struct Beside {
    T value{};
    [[nodiscard]] T get() const { return value; }
  };
  struct Slot {
    sync::BasicSlotWord<Atomics> word;
    std::uint32_t index = 0;
    Beside<const void*> endpoint;
    Beside<TimePoint> since;
    sync::BasicLeftPointer<int, Atomics> kept_under;
  };

  ModelSlab() {
    for (std::uint32_t index = 0; index < count; ++index)
      slots_[index].index = index;
  }
  [[nodiscard]] Slot& operator[](std::uint32_t index) const { return slots_[index]; }
  [[nodiscard]] auto& kept_under(std::uint32_t index) const { return slots_[index].kept_under; }
  template <typename Visit>
  void for_each(Visit visit) const {
    for (Slot& slot : slots_)
      visit(slot);
  }

 private:
  mutable Slot slots_[count];
};

}  // namespace fastpool::model
