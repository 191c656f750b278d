#include "pool/longest_idle.h"

#include <algorithm>

namespace fastpool::pool {

namespace {

constexpr std::size_t least_noted = 32;

}  // namespace

bool LongestIdle::note(const Slab& slab, Candidate& candidate, Slot& slot) const noexcept {
  candidate.word = slot.word.load();
  if (candidate.word.state() == SlotState::idle) {
    candidate.since = slot.since.get();
  } else if (candidate.word.state() == SlotState::vacant || candidate.word.spare()) {
    candidate.since = TimePoint::min();
  } else {
    return false;
  }
  // Read after the word: if it is another's by now, the word has changed, and `reap` sees that.
  if (only_ != nullptr && slab.kept_under(slot.index).peek() != only_) return false;
  candidate.slot = &slot;
  return true;
}

LongestIdle::Candidate* LongestIdle::first_usable(const Spare& spare) noexcept {
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

void LongestIdle::look(const Slab& slab) {
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

LongestIdle::Candidate LongestIdle::longest(const Slab& slab, const Spare& spare) const noexcept {
  Candidate longest;
  slab.for_each([&](Slot& slot) {
    Candidate candidate;
    if (spare(slot) || !note(slab, candidate, slot)) return;
    if (longest.slot == nullptr || candidate.since < longest.since) longest = candidate;
  });
  return longest;
}

}  // namespace fastpool::pool
