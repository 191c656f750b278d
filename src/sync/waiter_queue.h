#pragma once

#include <cstdint>

#include "sync/atomics.h"
#include "sync/idle_list.h"
#include "sync/linked_queue.h"

namespace fastpool::sync {

/// The callers that wait for what an idle list holds: first come, first served. It keeps the list's count of them.
///
///   join()     counts the waiter, then queues it; serve() comes next: a cell may have been parked before it was counted
///   serve()    pops a cell for the first of the queue and hands it over, until nothing is left
///   leave()    before a waiter is served or fails: it is in no queue any more, and counted no more
///   fail_all() has all of them leave
///
/// The user locks. A `Waiter` has `previous`, `next` and `turn`: its number, 0 until it first queues.
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
  void leave(Waiter& waiter) noexcept {
    queue_.remove(waiter);
    list_.leave();
  }
  /// \param pop gives a cell, or something false. \param hand has that waiter leave, and gives it the cell.
  template <typename Pop, typename Hand>
  void serve(Pop&& pop, Hand&& hand) {
    while (!queue_.empty()) {
      const auto popped = pop();
      if (!popped) return;
      hand(*queue_.front(), popped);
    }
  }
  /// \param fail has that waiter leave, and tells it.
  template <typename Fail>
  void fail_all(Fail&& fail) {
    while (!queue_.empty())
      fail(*queue_.front());
  }

 private:
  BasicIdleList<Atomics>& list_;
  LinkedQueue<Waiter> queue_;
  std::uint64_t last_turn_ = 0;
};

}  // namespace fastpool::sync
