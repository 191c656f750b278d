#pragma once

#include <cstdint>

#include "sync/atomics.h"
#include "sync/slot_word.h"
#include "sync/tagged_list.h"

namespace fastpool::sync {

/// What lies ready (a lock-free LIFO of cells) and how many wait for it: "first come, first served" beside a LIFO.
///
/// The slot's word is the truth, the list only a way to find it. A caller that knows a cell (the one that its thread parked
/// last) takes it by its word, where it lies: take(). So the list may hold cells that are leased. A pop meets them, unlinks
/// them and goes on; their holders push them again when they park.
///
/// Two sides that must not miss each other:
///
///   a caller that queues   join(), then pop(): counted first, looks at the list second
///   a caller that parks    the word is idle, and the cell pushed unless it was linked; then put() looks at the count
///
/// So at least one of the two sees the other: either the waiter takes the cell, or put() reports the waiter, and the queue is
/// served. A cell that is linked but in no list is in the hand of one thread: that thread pushes it and looks at the count, or
/// unlinks it. One that it unlinks is ready (then it is that thread's, which looks at the count when it parks it), or it is
/// leased, and then its holder pushes it. A caller that has not queued takes nothing while others wait.
///
/// The pairs are seq_cst read-modify-writes followed by seq_cst loads, not fences. Any thread may call anything; the queue
/// of the waiters themselves is the user's, under the user's lock.
template <typename Atomics = StdAtomics>
class BasicIdleList {
 public:
  using List = BasicTaggedList<Atomics>;
  using Word = BasicSlotWord<Atomics>;
  using View = typename Word::View;
  static constexpr std::uint32_t none = List::none;

  struct Popped {
    std::uint32_t index = none;
    View word{};  ///< of its lease
    [[nodiscard]] constexpr explicit operator bool() const noexcept { return index != none; }
  };
  enum class For : bool { newcomer, waiter };

  /// Takes a cell that the caller knows where it lies, for a newcomer. Nothing: it is not idle, others wait, or the word
  /// changed meanwhile.
  /// \param fits whether what lies beside the word (its endpoint, its deadline) is what the caller wants. It is asked after
  ///        the word was read, and only exactly that word is taken: so the answer belongs to it.
  template <typename AnyWord, typename Fits>
  [[nodiscard]] Popped take(std::uint32_t index, AnyWord& word, Fits&& fits) noexcept {
    const View seen = word.load();
    if (!fits() || waiting() != 0 || !word.take(seen)) return {};
    return {index, seen};
  }
  /// Finds a cell that is ready, and leases it. `none`: nothing is here, or (for a newcomer) others were first.
  /// \param words maps an index to its slot's word. \param drop is called with the index of each tombstone that was unlinked,
  ///        and whether it is finished, so that the caller frees it.
  template <typename Links, typename Words, typename Drop>
  [[nodiscard]] Popped pop(For who, Links&& links, Words&& words, Drop&& drop) noexcept {
    for (;;) {
      if (who == For::newcomer && waiting() != 0) return {};
      const std::uint32_t index = list_.pop(links);
      if (index == none) return {};
      const auto change = words(index).unlink();
      if (change.before.state() == Word::State::idle) return {index, change.after};
      if (change.before.state() == Word::State::closing) drop(index, change.after.finished());
    }
  }
  /// Puts a cell that has just been parked where a pop finds it. \param parked what the word's step said. \returns whether
  /// a caller waits, who must be served now: the cell may have come too late for its own look.
  template <typename Links>
  [[nodiscard]] bool put(std::uint32_t index, typename Word::Step parked, Links&& links) noexcept {
    if (!parked.linked) list_.push(index, links);
    return waiting() != 0;
  }
  /// Puts back what a sweep has kept in its hand; \see BasicTombstones::sweep.
  template <typename Links>
  void push(std::uint32_t index, Links&& links) noexcept {
    list_.push(index, links);
  }
  /// See BasicTaggedList::take_all().
  [[nodiscard]] std::uint32_t take_all() noexcept { return list_.take_all(); }

  /// One more waits. Then look: pop().
  void join() noexcept { waiting_.fetch_add(1); }
  void leave() noexcept { waiting_.fetch_sub(1); }
  [[nodiscard]] std::uint32_t waiting() const noexcept { return waiting_.load(); }

 private:
  List list_;
  typename Atomics::template Atomic<std::uint32_t> waiting_{0};
};

using IdleList = BasicIdleList<>;

}  // namespace fastpool::sync
