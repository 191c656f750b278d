// The list of idle cells beside the queue of waiters: no wake-up is lost, no caller is overtaken by a later one, and no cell
// is lost when a waiter gives up at the moment in which it is served.
//
// The list, the queue and the parker are the shipped templates. The callers are the model's: take, wait, give up, park.

#include "model/relacy_atomics.h"
#include "model/search.h"
#include "sync/idle_list.h"
#include "sync/parker.h"
#include "sync/waiter_queue.h"

namespace fastpool::model {
namespace {

/// The rules of the pool. Each mutant breaks one of them.
struct AsShipped {
  using Atomics = RelacyAtomics;
  using Futex = RelacyFutex;
  static constexpr bool takes_by_hint = false;
  static constexpr bool a_hint_lets_waiters_go_first = true;
  static constexpr bool waiter_looks_after_joining = true;
  static constexpr bool giver_looks_after_pushing = true;
  static constexpr bool newcomer_lets_waiters_go_first = true;
  static constexpr bool leaver_checks_whether_it_was_served = true;
  static constexpr bool wakes_under_the_lock = true;
};

template <typename Rules, std::uint32_t cell_count, unsigned thread_count>
class Endpoint {
 public:
  using List = sync::BasicIdleList<typename Rules::Atomics>;
  static constexpr std::uint32_t none = List::none;

  void fill() {
    for (std::uint32_t index = 0; index < cell_count; ++index) {
      RL_ASSERT(words_[index].reserve_dial());
      RL_ASSERT(!idle_.put(index, words_[index].park_dialed(), link()));
    }
  }

  /// \returns a cell, or `none` if the deadline passed first (at any moment, unless it is never).
  std::uint32_t acquire(TimePoint deadline) {
    const Queued ahead = queued_;
    const std::uint32_t index = take(deadline);
    if (index == none) return none;
    for (unsigned each = 0; each < thread_count; ++each)
      RL_ASSERT(!(ahead.ticket[each] != 0 && ahead.ticket[each] == queued_.ticket[each]));  // that caller came first
    RL_ASSERT(owners_[index].get() == 0);
    owners_[index].set(1);
    return index;
  }

  void release(std::uint32_t index) {
    owners_[index].set(0);
    const auto parked = words_[index].park(words_[index].load().generation());
    RL_ASSERT(parked);
    const bool awaited = idle_.put(index, parked, link());
    if (!awaited || !Rules::giver_looks_after_pushing) return;
    const std::lock_guard lock(mutex_);
    dispatch_locked();
  }

  void expect_all_idle() {
    RL_ASSERT(idle_.waiting() == 0);
    RL_ASSERT(queue_.empty());
    for (std::uint32_t count = 0; count < cell_count; ++count)
      RL_ASSERT(pop(List::For::waiter) != none);
    RL_ASSERT(pop(List::For::waiter) == none);
  }

 private:
  /// Like pool::Waiter: lives on its caller's stack. The lock guards all members but the parker.
  struct Waiter {
    Plain<bool> done{false};
    Plain<std::uint32_t> cell{none};
    sync::BasicParker<typename Rules::Atomics, typename Rules::Futex> parker;
    std::uint64_t turn = 0;
    Waiter* previous = nullptr;
    Waiter* next = nullptr;
    unsigned thread = rl::thread_index();  ///< the model's own
  };
  /// The threads in the queue, by index; for the assertions of the model only.
  struct Queued {
    int ticket[thread_count] = {};
  };

  auto link() {
    return [this](std::uint32_t index) -> auto& { return links_[index]; };
  }

  typename List::Popped popped(typename List::For who) {
    return idle_.pop(
        who, link(), [this](std::uint32_t index) -> auto& { return words_[index]; },
        [](std::uint32_t, bool) { RL_ASSERT(false); });  // no slot is closed here
  }
  std::uint32_t pop(typename List::For who) { return popped(who).index; }
  /// All threads remember the same cell.
  bool take_hinted() {
    if (!Rules::a_hint_lets_waiters_go_first) return words_[0].take(words_[0].load());
    return static_cast<bool>(idle_.take(0, words_[0], [] { return true; }));
  }

  std::uint32_t take(TimePoint deadline) {
    if (Rules::takes_by_hint && take_hinted()) return 0;
    const std::uint32_t index = pop(Rules::newcomer_lets_waiters_go_first ? List::For::newcomer : List::For::waiter);
    if (index != none) return index;
    Waiter waiter;
    {
      const std::lock_guard lock(mutex_);
      queue_.join(waiter);
      queued_.ticket[rl::thread_index()] = ++tickets_;
      if (Rules::waiter_looks_after_joining) dispatch_locked();
    }
    return wait(waiter, deadline);
  }

  std::uint32_t wait(Waiter& waiter, TimePoint deadline) {
    for (bool late = false;; late = !waiter.parker.park_until(deadline)) {
      const std::lock_guard lock(mutex_);
      const bool done = waiter.done.get();
      if (late && !done) leave_locked(waiter);
      if (late && !Rules::leaver_checks_whether_it_was_served) return none;
      if (late || done) return waiter.cell.get();
    }
  }

  void leave_locked(Waiter& waiter) {
    queued_.ticket[waiter.thread] = 0;
    queue_.leave(waiter);
  }

  void dispatch_locked() {
    queue_.serve([this] { return popped(List::For::waiter); },
                 [this](Waiter& first, const auto& taken) {
                   leave_locked(first);
                   first.cell.set(taken.index);
                   first.done.set(true);
                   if (!Rules::wakes_under_the_lock) mutex_.unlock();
                   first.parker.unpark();
                   if (!Rules::wakes_under_the_lock) mutex_.lock();
                 });
  }

  List idle_;
  typename List::Word words_[cell_count];
  typename Rules::Atomics::template Atomic<std::uint32_t> links_[cell_count];
  Plain<int> owners_[cell_count];

  Mutex mutex_;
  sync::BasicWaiterQueue<Waiter, typename Rules::Atomics> queue_{idle_};  // guarded by mutex_

  // The model's own.
  Queued queued_;
  int tickets_ = 0;
};

/// Some threads, and fewer cells. Each thread takes a cell and returns it; the last `patient` of them wait without a deadline.
template <typename Rules, std::uint32_t cells, unsigned threads, unsigned patient = threads>
struct AllAcquire : rl::test_suite<AllAcquire<Rules, cells, threads, patient>, rl::thread_id_t{threads}> {
  Endpoint<Rules, cells, threads> endpoint;

  void before() { endpoint.fill(); }
  void thread(unsigned index) {
    const bool for_ever = index + patient >= threads;
    const std::uint32_t cell = endpoint.acquire(for_ever ? TimePoint::max() : TimePoint{});
    if (cell != endpoint.none) endpoint.release(cell);
  }
  void after() { endpoint.expect_all_idle(); }
};

TEST(model, no_wake_up_is_lost) {
  expect_holds<AllAcquire<AsShipped, 1, 2>>(up_to_preemptions(3));
  expect_holds<AllAcquire<AsShipped, 1, 3>>(up_to_preemptions(1));
  expect_holds<AllAcquire<AsShipped, 1, 3>>(random_schedules(200'000));
  expect_holds<AllAcquire<AsShipped, 2, 4>>(random_schedules(200'000));
}

struct TakesByHint : AsShipped {
  static constexpr bool takes_by_hint = true;
};
TEST(model, no_wake_up_is_lost_when_hints_are_used) {
  expect_holds<AllAcquire<TakesByHint, 1, 2>>(up_to_preemptions(3));
  expect_holds<AllAcquire<TakesByHint, 1, 3>>(up_to_preemptions(1));
  expect_holds<AllAcquire<TakesByHint, 1, 3>>(random_schedules(200'000));
  expect_holds<AllAcquire<TakesByHint, 2, 4>>(random_schedules(200'000));
}

struct HintPushesPastTheQueue : TakesByHint {
  static constexpr bool a_hint_lets_waiters_go_first = false;
};
TEST(model, mutant_a_hint_that_is_used_while_others_wait) {
  expect_caught<AllAcquire<HintPushesPastTheQueue, 1, 3>>(random_schedules(300'000),
                                                          rl::test_result_user_assert_failed);
}

TEST(model, nothing_is_lost_when_a_waiter_gives_up_as_it_is_served) {
  expect_holds<AllAcquire<AsShipped, 1, 2, 1>>(up_to_preemptions(2));
  expect_holds<AllAcquire<AsShipped, 1, 3, 1>>(random_schedules(200'000));
  expect_holds<AllAcquire<AsShipped, 1, 3, 2>>(random_schedules(200'000));
}

struct WeakOrders : AsShipped {
  using Atomics = OrderedAtomics<Orders::no_total_order>;
};
TEST(model, mutant_a_list_and_a_count_without_a_common_order) {
  expect_caught<AllAcquire<WeakOrders, 1, 2>>(up_to_preemptions(3), rl::test_result_deadlock);
}

struct NoLookAfterJoining : AsShipped {
  static constexpr bool waiter_looks_after_joining = false;
};
TEST(model, mutant_a_waiter_that_does_not_check_the_list_after_joining) {
  expect_caught<AllAcquire<NoLookAfterJoining, 1, 2>>(up_to_preemptions(3), rl::test_result_deadlock);
}

struct NoLookAfterPushing : AsShipped {
  static constexpr bool giver_looks_after_pushing = false;
};
TEST(model, mutant_a_giver_that_does_not_check_for_waiters_after_pushing) {
  expect_caught<AllAcquire<NoLookAfterPushing, 1, 2>>(up_to_preemptions(3), rl::test_result_deadlock);
}

struct PushesPastTheQueue : AsShipped {
  static constexpr bool newcomer_lets_waiters_go_first = false;
};
TEST(model, mutant_a_newcomer_that_takes_a_cell_that_others_wait_for) {
  expect_caught<AllAcquire<PushesPastTheQueue, 1, 3>>(random_schedules(300'000), rl::test_result_user_assert_failed);
}

struct GivesUpBlindly : AsShipped {
  static constexpr bool leaver_checks_whether_it_was_served = false;
};
TEST(model, mutant_a_waiter_that_gives_up_without_a_check) {
  expect_caught<AllAcquire<GivesUpBlindly, 1, 2, 1>>(random_schedules(200'000), rl::test_result_user_assert_failed);
}

struct WakesOutsideTheLock : AsShipped {
  static constexpr bool wakes_under_the_lock = false;
};
TEST(model, mutant_a_wake_outside_the_lock_that_keeps_the_waiter_alive) {
  expect_caught<AllAcquire<WakesOutsideTheLock, 1, 2>>(up_to_preemptions(3), rl::test_result_access_to_freed_memory);
}

/// Mutant: a futex that does not compare: the wake may come just before the thread sleeps.
struct BlindFutex : RelacyFutex {
  template <typename Word>
  [[nodiscard]] static bool wait(Word& word, std::uint32_t, TimePoint deadline) {
    rl::ctx().sched();
    return word.cell().wait(rl::ctx(), deadline != TimePoint::max(), true, {}) != rl::unpark_reason_timeout;
  }
};
struct SleepsBlindly : AsShipped {
  using Futex = BlindFutex;
};
TEST(model, mutant_a_sleep_that_does_not_compare) {
  expect_caught<AllAcquire<SleepsBlindly, 1, 2>>(up_to_preemptions(3), rl::test_result_deadlock);
}

}  // namespace
}  // namespace fastpool::model
