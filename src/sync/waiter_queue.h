#pragma once

#include <cstdint>

#include "sync/atomics.h"
#include "sync/idle_list.h"
#include "sync/linked_queue.h"

namespace fastpool::sync {

/// The callers that wait for what an idle list holds: first come, first served. It keeps the list's count of them.
///
///   a caller that waits                                   a thread that serves
///
///   join(): is counted, then queued                       parks a cell, then sees the count; \see Parking
///   dispatch(): a cell may have been parked before        dispatch(): pops a cell for the first of the queue, and hands it
///     it was counted                                        over by end(), until nothing is left
///   sleeps until a wake or its deadline; then
///     has its wait ended?    -- yes --> it has what it was handed
///       | no, and it is late
///     give_up(): leaves, and is counted no more
///
/// The user locks, for every call and for every look at `done`. So a waiter is served, fails or gives up: one of the three, once.
/// end() wakes it under the lock, and touches it no more after that: it may be gone as soon as the lock is free.
///
/// A `Waiter` has `previous`, `next`, `turn` (its number, 0 until it first queues), `done` (a Plain<bool>: its wait has ended) and
/// wake().
template <typename Waiter, typename Atomics = StdAtomics>
class BasicWaiterQueue {
 public:
  explicit BasicWaiterQueue(BasicIdleList<Atomics>& list) noexcept : list_(list) {}

  [[nodiscard]] bool empty() const noexcept { return queue_.empty(); }
  [[nodiscard]] std::uint32_t size() const noexcept { return queue_.size(); }
  [[nodiscard]] Waiter* front() const noexcept { return queue_.front(); }

  /// A waiter that comes for the first time joins at the end. One whose turn had come before keeps its place.
  void join(Waiter& waiter) noexcept {
    list_.join();
    if (waiter.turn == 0) {
      waiter.turn = ++last_turn_;
      queue_.push_back(waiter);
      return;
    }
    Waiter* after = queue_.front();
    while (after != nullptr && after->turn < waiter.turn)
      after = after->next;
    queue_.insert_before(after, waiter);
  }
  /// The wait of a waiter ends: it is in no queue any more, and counted no more. \param tell writes beside it what it gets.
  template <typename Tell>
  void end(Waiter& waiter, Tell&& tell) {
    leave(waiter, tell);
    waiter.wake();
  }
  /// The same by its own caller, unless it has ended: then it was served in that very moment, and what it was handed is its
  /// own.
  template <typename Tell>
  void give_up(Waiter& waiter, Tell&& tell) {
    if (!waiter.done.get()) leave(waiter, tell);
  }
  /// Serves the waiters: with what lies ready, and then by other means (a dial). A sweep may have the list out, which looks empty
  /// then: the other means are left to the dispatch with which the sweep ends; \see BasicTombstones.
  /// \param pop gives a cell, or something false. \param hand ends the wait of that waiter with the cell. \param sweeping whether
  ///        a sweep has the list out: asked after pop() gave nothing. \returns whether it came to the other means.
  template <typename Pop, typename Hand, typename Sweeping, typename Otherwise>
  bool dispatch(Pop&& pop, Hand&& hand, Sweeping&& sweeping, Otherwise&& otherwise) {
    for (;;) {
      if (queue_.empty()) return false;
      const auto popped = pop();
      if (!popped) break;
      hand(*queue_.front(), popped);
    }
    if (sweeping()) return false;
    otherwise();
    return true;
  }
  /// \param fail ends the wait of that waiter.
  template <typename Fail>
  void fail_all(Fail&& fail) {
    while (!queue_.empty())
      fail(*queue_.front());
  }

 protected:  // for the mutants of its model checks
  template <typename Tell>
  void leave(Waiter& waiter, Tell& tell) {
    tell();
    queue_.remove(waiter);
    list_.leave();
    waiter.done.set(true);
  }

  BasicIdleList<Atomics>& list_;
  LinkedQueue<Waiter> queue_;
  std::uint64_t last_turn_ = 0;
};

}  // namespace fastpool::sync
