#pragma once

#include <cstdint>

#include "sync/atomics.h"
#include "sync/tagged_list.h"

namespace fastpool::sync {

/// What lies ready (a lock-free LIFO of cells) and how many wait for it: "first come, first served" beside a LIFO.
///
/// Two sides that must not miss each other:
///
///   whoever queues     join(), then pop(): counted first, looks at the list second
///   whoever gives back push(): links the cell first, looks at the count second
///
/// So at least one of the two sees the other: either the waiter takes the cell, or the giver is told that somebody waits
/// and serves the queue. Whoever has not queued takes nothing while somebody waits (`pop_unless_waiting`).
///
/// The pairs are seq_cst read-modify-writes followed by seq_cst loads, not fences. Any thread may call anything; the queue
/// of the waiters themselves is the user's, under the user's lock.
template <typename Atomics = StdAtomics>
class BasicIdleList {
 public:
  using List = BasicTaggedList<Atomics>;
  static constexpr std::uint32_t none = List::none;

  /// For whoever has not queued. `none`: nothing is here, or others were first.
  template <typename Links>
  [[nodiscard]] std::uint32_t pop_unless_waiting(Links&& links) noexcept {
    return waiting() != 0 ? none : list_.pop(links);
  }
  /// For whoever's turn it is.
  template <typename Links>
  [[nodiscard]] std::uint32_t pop(Links&& links) noexcept {
    return list_.pop(links);
  }
  /// \returns whether somebody waits, who must be served now: the cell may have come too late for that one's own look.
  template <typename Links>
  [[nodiscard]] bool push(std::uint32_t index, Links&& links) noexcept {
    list_.push(index, links);
    return waiting() != 0;
  }
  /// See BasicTaggedList::take_all().
  [[nodiscard]] std::uint32_t take_all() noexcept { return list_.take_all(); }
  [[nodiscard]] bool empty() const noexcept { return list_.empty(); }

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
