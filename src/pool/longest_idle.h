#pragma once

#include <algorithm>
#include <cstddef>
#include <mutex>
#include <vector>

#include <fastpool/timeouts.h>

#include "pool/slab.h"
#include "sync/atomics.h"

namespace fastpool::pool {

/// Finds the connection that has been idle longest, for eviction: exactly, at a cost that is flat in the number of idle
/// connections when many are evicted one after another.
///
/// One look over the slab notes the eighth that is longest idle, in order. Whatever becomes idle afterwards is younger than
/// all of these, so as long as a noted one is still as it was, it is the longest idle of all, and the next eviction takes it
/// without a look. Vacant places and dials that no caller waits for, which hold no connection, go first.
///
/// A look that finds nothing at all is remembered in a flag, `none`, so that callers at a full pool do not each look at every
/// slot. The two sides:
///
///   take()          sets the flag, then scans; clears it if something was there
///   note_ready()    called after a slot became idle or vacant, or a dial spare: reads the flag, and clears it
///
/// The flag is its user's, who reads it on the hot path: it lies beside what else is read there.
///
/// Any thread may call; take() takes a lock of its own, and no other while it holds it.
template <typename AnySlab, typename Atomics = sync::StdAtomics>
class BasicLongestIdle {
 public:
  using Slot = typename AnySlab::Slot;
  using Word = decltype(Slot::word);
  using View = typename Word::View;
  using Flag = sync::BasicFlag<Atomics>;

  /// \param only the idle connections that this limit counts, and no vacant places; null: all.
  explicit BasicLongestIdle(const void* only = nullptr) noexcept : only_(only) {}

  /// What is not to be taken: slots of that endpoint, or that slot.
  struct Spare {
    const void* endpoint = nullptr;
    const Slot* slot = nullptr;
    [[nodiscard]] bool operator()(const Slot& each) const noexcept {
      return &each == slot || (endpoint != nullptr && each.endpoint.get() == endpoint);
    }
  };

  /// The longest idle slot but for `spare` for which `reap(slot, word)` is true (it was still as seen, and is the caller's
  /// now), or null.
  template <typename Reap>
  [[nodiscard]] Slot* take(const AnySlab& slab, const Spare& spare, Flag& none, Reap reap) {
    const std::lock_guard lock(mutex_);
    for (bool looked = false;; looked = true) {
      while (Candidate* candidate = first_as_noted(spare)) {
        const Candidate taken = *candidate;
        candidate->slot = nullptr;
        if (reap(*taken.slot, taken.word)) return taken.slot;
      }
      if (looked) return take_slowly(slab, spare, reap);
      // The flag is set before the scan, so that a slot which becomes idle during the scan is not overlooked.
      if (!none.try_set()) return nullptr;
      look(slab);
      if (candidates_.empty()) return nullptr;
      none.clear();
    }
  }
  /// That slot may have become what take() looks for.
  static void note_ready(const Slot& slot, Flag& none) noexcept {
    if (!none.get()) [[likely]]
      return;
    if (ready(slot.word.load())) none.clear();
  }

 private:
  struct Candidate {
    Slot* slot = nullptr;
    View word;
    TimePoint since;
  };

  [[nodiscard]] static bool ready(const View& word) noexcept {
    return word.state() == Word::State::idle || word.state() == Word::State::vacant || word.spare();
  }
  [[nodiscard]] bool note(const AnySlab& slab, Candidate& candidate, Slot& slot) const noexcept {
    candidate.word = slot.word.load();
    if (!ready(candidate.word)) return false;
    candidate.since = candidate.word.state() == Word::State::idle ? slot.since.get() : TimePoint::min();
    // Read after the word: if it is another's by now, the word has changed, and `reap` sees that.
    if (only_ != nullptr && slab.kept_under(slot.index).peek() != only_) return false;
    candidate.slot = &slot;
    return true;
  }

  // The first of the noted that is still as it was and not spared; null if there is none.
  [[nodiscard]] Candidate* first_as_noted(const Spare& spare) noexcept {
    bool in_front = true;  // nothing of use before this one
    for (std::size_t i = next_; i < candidates_.size(); ++i) {
      Candidate& candidate = candidates_[i];
      if (candidate.slot == nullptr || candidate.slot->word.load() != candidate.word) {
        candidate.slot = nullptr;
        if (in_front) next_ = i + 1;
        continue;
      }
      if (!spare(*candidate.slot)) return &candidate;
      in_front = false;
    }
    return nullptr;
  }

  void look(const AnySlab& slab) {
    constexpr std::size_t least_noted = 32;
    candidates_.clear();
    next_ = 0;
    slab.for_each([&](Slot& slot) {
      if (Candidate candidate; note(slab, candidate, slot)) candidates_.push_back(candidate);
    });
    const auto earlier = [](const Candidate& left, const Candidate& right) { return left.since < right.since; };
    const std::size_t noted = std::max(least_noted, candidates_.size() / 8);
    if (noted < candidates_.size()) {
      const auto rest = candidates_.begin() + static_cast<std::ptrdiff_t>(noted);
      std::nth_element(candidates_.begin(), rest, candidates_.end(), earlier);
      candidates_.erase(rest, candidates_.end());
    }
    std::sort(candidates_.begin(), candidates_.end(), earlier);
  }

  // Where all of the noted ones are spared.
  template <typename Reap>
  [[nodiscard]] Slot* take_slowly(const AnySlab& slab, const Spare& spare, Reap reap) const {
    for (;;) {
      Candidate longest;
      slab.for_each([&](Slot& slot) {
        Candidate candidate;
        if (spare(slot) || !note(slab, candidate, slot)) return;
        if (longest.slot == nullptr || candidate.since < longest.since) longest = candidate;
      });
      if (longest.slot == nullptr || reap(*longest.slot, longest.word)) return longest.slot;
    }
  }

  const void* const only_;
  typename Atomics::Mutex mutex_;
  std::vector<Candidate> candidates_;  // longest idle first; those that are used up have no slot
  std::size_t next_ = 0;               // none before it is of use
};

using LongestIdle = BasicLongestIdle<Slab>;

}  // namespace fastpool::pool
