#include "pool/slab.h"

namespace fastpool::pool {

Slab::~Slab() = default;

Slot* Slab::take() {
  for (;;) {
    const std::uint32_t index = free_.pop(Links{*this});
    if (index != sync::TaggedList::none) return &(*this)[index];
    std::lock_guard lock(grow_mutex_);
    if (!free_.empty()) continue;
    const std::uint32_t chunk = chunk_count_.get();
    if (chunk == max_chunks) return nullptr;
    chunks_[chunk] = std::make_unique<Chunk>();
    for (std::uint32_t i = 0; i < chunk_size; ++i) {
      chunks_[chunk]->slots[i].index = chunk * chunk_size + i;
      chunks_[chunk]->slots[i].word.begin_at(first_generation_);
    }
    chunk_count_.add();
    for (std::uint32_t i = chunk_size; i-- > 0;)
      free_.push(chunk * chunk_size + i, Links{*this});
  }
}

void Slab::give(Slot& slot) noexcept {
  free_.push(slot.index, Links{*this});
}

}  // namespace fastpool::pool
