// The list of idle cells beside the queue of waiters: no wake-up is lost, no caller is overtaken by a later one, and no cell
// is lost when a waiter gives up at the moment in which it is served.
//
// The list, the queue, the order of parking and the parker are the shipped templates. The model's callers do what a caller's
// thread does: try the hint, pop, queue, sleep, and give up.

#include "model/relacy_atomics.h"

#include <mutex>
#include <utility>

#include "model/search.h"
#include "sync/idle_list.h"
#include "sync/parker.h"
#include "sync/parking.h"
#include "sync/waiter_queue.h"

namespace fastpool::model {
namespace {

/// Like pool::Waiter: lives on its caller's stack. The lock guards all members but the parker.
template <typename Atomics, typename Futex>
struct ModelWaiter {
  static constexpr std::uint32_t none = sync::BasicIdleList<Atomics>::none;
  Plain<bool> done{false};
  Plain<std::uint32_t> cell{none};
  sync::BasicParker<Atomics, Futex> parker;
  std::uint64_t turn = 0;
  ModelWaiter* previous = nullptr;
  ModelWaiter* next = nullptr;
  unsigned thread = rl::thread_index();  ///< the model's own
  void wake() { parker.unpark(); }
};

/// The shipped queue. It knows its lock only for a mutant.
template <typename Waiter, typename Atomics>
struct ModelQueue : sync::BasicWaiterQueue<Waiter, Atomics> {
  ModelQueue(sync::BasicIdleList<Atomics>& list, Mutex& its_mutex)
      : sync::BasicWaiterQueue<Waiter, Atomics>(list), mutex(its_mutex) {}
  Mutex& mutex;
};

/// What a mutant replaces: a shipped template, or which of its ways the callers take.
struct AsShipped {
  using Atomics = RelacyAtomics;
  using Futex = RelacyFutex;
  using Parking = sync::Parking;
  using Waiter = ModelWaiter<Atomics, Futex>;
  using Queue = ModelQueue<Waiter, Atomics>;
  static constexpr bool takes_by_hint = false;
  static constexpr bool a_hint_lets_waiters_go_first = true;
  static constexpr bool newcomer_lets_waiters_go_first = true;
};

template <typename Rules, std::uint32_t cell_count, unsigned thread_count>
class Endpoint {
 public:
  using Atomics = typename Rules::Atomics;
  using List = sync::BasicIdleList<Atomics>;
  using Word = typename List::Word;
  using Waiter = typename Rules::Waiter;
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
    RL_ASSERT(Rules::Parking::park(Returned(*this, index)));
  }

  void expect_all_idle() {
    RL_ASSERT(idle_.waiting() == 0);
    RL_ASSERT(queue_.empty());
    for (std::uint32_t count = 0; count < cell_count; ++count)
      RL_ASSERT(pop(List::For::waiter) != none);
    RL_ASSERT(pop(List::For::waiter) == none);
  }

 private:
  /// The threads in the queue, by index; for the assertions of the model only.
  struct Queued {
    int ticket[thread_count] = {};
  };
  /// A lease whose connection becomes idle.
  struct Returned : sync::ParkingHost {
    Endpoint& endpoint;
    std::uint32_t index;

    Returned(Endpoint& its_endpoint, std::uint32_t its_index) : endpoint(its_endpoint), index(its_index) {}
    auto make_ready() {
      Word& word = endpoint.words_[index];
      return word.park(word.load().generation());
    }
    bool list(typename Word::Step parked) { return endpoint.idle_.put(index, parked, endpoint.link()); }
    void serve() {
      const std::lock_guard lock(endpoint.mutex_);
      endpoint.dispatch_locked();
    }
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
      dispatch_locked();
    }
    for (bool late = false;; late = !waiter.parker.park_until(deadline)) {
      const std::lock_guard lock(mutex_);
      if (late) queue_.give_up(waiter, [&] { queued_.ticket[waiter.thread] = 0; });
      if (waiter.done.get()) return waiter.cell.get();
    }
  }

  void dispatch_locked() {
    queue_.dispatch([this] { return popped(List::For::waiter); },
                    [this](Waiter& first, const auto& taken) {
                      queue_.end(first, [&] {
                        queued_.ticket[first.thread] = 0;
                        first.cell.set(taken.index);
                      });
                    },
                    [] { return true; }, [] {});  // there are no dials
  }

  List idle_;
  Word words_[cell_count];
  typename Atomics::template Atomic<std::uint32_t> links_[cell_count];
  Plain<int> owners_[cell_count];

  Mutex mutex_;
  typename Rules::Queue queue_{idle_, mutex_};  // guarded by mutex_

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
  using Waiter = ModelWaiter<Atomics, Futex>;
  using Queue = ModelQueue<Waiter, Atomics>;
};
TEST(model, mutant_a_list_and_a_count_without_a_common_order) {
  expect_caught<AllAcquire<WeakOrders, 1, 2>>(up_to_preemptions(3), rl::test_result_deadlock);
}

/// Mutant: the queue is dispatched by givers only: a waiter that has just joined gets nothing by its own look.
struct QueueOfNoLook : AsShipped::Queue {
  using AsShipped::Queue::Queue;
  void join(AsShipped::Waiter& waiter) {
    AsShipped::Queue::join(waiter);
    joined_ = true;
  }
  template <typename Pop, typename Hand, typename Sweeping, typename Otherwise>
  void dispatch(Pop pop, Hand hand, Sweeping sweeping, Otherwise otherwise) {
    if (std::exchange(joined_, false)) return;
    (void)AsShipped::Queue::dispatch(pop, hand, sweeping, otherwise);
  }

 private:
  bool joined_ = false;
};
struct NoLookAfterJoining : AsShipped {
  using Queue = QueueOfNoLook;
};
TEST(model, mutant_a_waiter_that_does_not_check_the_list_after_joining) {
  expect_caught<AllAcquire<NoLookAfterJoining, 1, 2>>(up_to_preemptions(3), rl::test_result_deadlock);
}

/// Mutant: the giver does not serve the waiters that it found.
template <typename Host>
struct ServesNobody : Host {
  static void serve() {}
};
struct ParkingServesNobody : sync::Parking {
  template <typename Host>
  static bool park(const Host& host) {
    return sync::Parking::park(ServesNobody<Host>{host});
  }
};
struct NoLookAfterPushing : AsShipped {
  using Parking = ParkingServesNobody;
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

/// Mutant: a waiter that gives up does not look whether it was served: what it was handed is forgotten.
struct QueueOfBlindLeavers : AsShipped::Queue {
  using AsShipped::Queue::Queue;
  template <typename Tell>
  void give_up(AsShipped::Waiter& waiter, Tell tell) {
    if (waiter.done.get()) waiter.cell.set(AsShipped::Waiter::none);
    AsShipped::Queue::give_up(waiter, tell);
  }
};
struct GivesUpBlindly : AsShipped {
  using Queue = QueueOfBlindLeavers;
};
TEST(model, mutant_a_waiter_that_gives_up_without_a_check) {
  expect_caught<AllAcquire<GivesUpBlindly, 1, 2, 1>>(random_schedules(200'000), rl::test_result_user_assert_failed);
}

/// Mutant: the waiter is woken when the lock is free again, and may be gone by then.
struct QueueThatWakesLate : AsShipped::Queue {
  using AsShipped::Queue::Queue;
  template <typename Tell>
  void end(AsShipped::Waiter& waiter, Tell tell) {
    leave(waiter, tell);
    mutex.unlock();
    waiter.wake();
    mutex.lock();
  }
};
struct WakesOutsideTheLock : AsShipped {
  using Queue = QueueThatWakesLate;
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
  using Waiter = ModelWaiter<Atomics, Futex>;
  using Queue = ModelQueue<Waiter, Atomics>;
};
TEST(model, mutant_a_sleep_that_does_not_compare) {
  expect_caught<AllAcquire<SleepsBlindly, 1, 2>>(up_to_preemptions(3), rl::test_result_deadlock);
}

}  // namespace
}  // namespace fastpool::model
