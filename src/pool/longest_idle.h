#pragma once

#include <cstddef>
#include <mutex>
#include <vector>

#include <fastpool/timeouts.h>

#include "pool/slab.h"
#include "pool/slot.h"
#include "sync/atomics.h"

namespace fastpool::pool {

/// Finds the connection that has been idle longest, for eviction: exactly, at a cost that is flat in the number of idle
/// connections when many are evicted one after another.
///
/// One look over the slab notes the eighth that is longest idle, in order. Whatever becomes idle afterwards is younger than
/// all of these, so as long as a noted one is still as it was, it is the longest idle of all, and the next eviction takes it
/// without a look. Vacant places and dials that no caller waits for, which hold no connection, go first.
///
/// Any thread may call; it takes its own lock, and no other while it holds it.
class LongestIdle {
 public:
  /// \param only the idle connections that this limit counts, and no vacant places; null: all.
  explicit LongestIdle(const KeepAliveLimit* only = nullptr) noexcept : only_(only) {}

  struct Candidate {
    Slot* slot = nullptr;
    SlotWord::View word;
    TimePoint since;
  };

  /// What is not to be taken: slots of that endpoint, or that slot.
  struct Spare {
    const Endpoint* endpoint = nullptr;
    const Slot* slot = nullptr;
    [[nodiscard]] bool operator()(const Slot& each) const noexcept {
      return &each == slot || (endpoint != nullptr && each.endpoint.get() == endpoint);
    }
  };

  /// The longest idle slot but for `spare` for which `reap(slot, word)` is true (it was still as seen, and
  /// is the caller's now), or null.
  /// \param none set if nothing at all was idle. While it is set, no thread scans again. A thread that makes a slot idle does so
  ///        first and clears the flag second. The flag is set before the scan, so that a slot which becomes idle during the scan
  ///        is not overlooked.
  template <typename Reap>
  [[nodiscard]] Slot* take(const Slab& slab, const Spare& spare, sync::Flag& none, Reap reap) {
    const std::lock_guard lock(mutex_);
    for (bool looked = false;; looked = true) {
      while (Candidate* candidate = first_usable(spare)) {
        const Candidate taken = *candidate;
        candidate->slot = nullptr;
        if (reap(*taken.slot, taken.word)) return taken.slot;
      }
      if (looked) return take_slowly(slab, spare, reap);
      if (!none.try_set()) return nullptr;
      look(slab);
      if (candidates_.empty()) return nullptr;
      none.clear();
    }
  }

 private:
  /// The first of the noted that is still as it was and not spared; null if there is none.
  [[nodiscard]] Candidate* first_usable(const Spare& spare) noexcept;
  void look(const Slab& slab);
  [[nodiscard]] Candidate longest(const Slab& slab, const Spare& spare) const noexcept;
  [[nodiscard]] bool note(const Slab& slab, Candidate& candidate, Slot& slot) const noexcept;

  // Where all of the noted ones are spared.
  template <typename Reap>
  [[nodiscard]] Slot* take_slowly(const Slab& slab, const Spare& spare, Reap reap) const {
    for (;;) {
      const Candidate candidate = longest(slab, spare);
      if (candidate.slot == nullptr || reap(*candidate.slot, candidate.word)) return candidate.slot;
    }
  }

  const KeepAliveLimit* const only_;
  std::mutex mutex_;
  std::vector<Candidate> candidates_;  // longest idle first; those that are used up have no slot
  std::size_t next_ = 0;               // none before it is of use
};

}  // namespace fastpool::pool
