// A holder's limit: it gives no more places than it allows, no wake-up is lost, no caller is overtaken by a later one, and no
// place is lost when a waiter gives up at the moment in which it is served, or when the limit changes meanwhile.
//
// The gate, its word, its queue and the parker are the shipped templates. The model's callers do what a caller's thread does:
// poll, sleep, and give up.

#include "model/relacy_atomics.h"

#include <algorithm>
#include <iterator>
#include <mutex>

#include "model/search.h"
#include "sync/atomics.h"
#include "sync/limit_gate.h"
#include "sync/limit_queue.h"
#include "sync/limit_word.h"
#include "sync/parker.h"

namespace fastpool::model {
namespace {

/// A caller's thread. Lives on its stack.
struct Sleeper {
  sync::BasicParker<RelacyAtomics, RelacyFutex> parker;
  unsigned thread = rl::thread_index();  ///< the model's own
  void wake() { parker.unpark(); }
};

/// Notes which threads are in the queue, for the assertions of the model.
template <typename Waiter, typename Word, typename Queue>
struct Noting : Queue {
  static constexpr unsigned most_threads = 4;
  using Queue::Queue;
  template <typename Wake>
  void join(Waiter& waiter, Waiter* before, Wake&& wake) {
    Queue::join(waiter, before, leaves(wake));
    // The waiter is counted: no later caller may be served before it.
    if (waiter.waiting.get()) ticket[waiter.waker.thread] = ++tickets;
  }
  void quit(Waiter& waiter) {
    ticket[waiter.waker.thread] = 0;
    Queue::quit(waiter);
  }
  template <typename Wake>
  void serve(Wake&& wake) {
    Queue::serve(leaves(wake));
  }
  template <typename Wake>
  void resize(std::int64_t by, Wake&& wake) {
    Queue::resize(by, leaves(wake));
  }
  template <typename Wake>
  auto leaves(Wake& wake) {
    return [this, &wake](Waiter& first) {
      ticket[first.waker.thread] = 0;
      wake(first);
    };
  }
  int ticket[most_threads] = {};
  int tickets = 0;
};

/// What a mutant replaces.
template <typename Waiter, typename Word>
using ShippedQueue = Noting<Waiter, Word, sync::BasicLimitQueue<Waiter, Word>>;
template <template <typename, typename> typename Queue = ShippedQueue,
          typename Word = sync::BasicLimitWord<RelacyAtomics>>
using GateOf = sync::BasicLimitGate<Sleeper, RelacyAtomics, Queue, Word>;
using ShippedGate = GateOf<>;

template <typename Gate, std::uint32_t places>
class Limit : Gate {
 public:
  Limit() : Gate(places) {}
  /// \returns whether the caller got a place; if not, its deadline passed first (at any moment, unless it is never).
  bool enter(TimePoint deadline) {
    constexpr unsigned threads = std::size(decltype(this->places_.ticket){});
    int ahead[threads];
    std::copy(std::begin(this->places_.ticket), std::end(this->places_.ticket), ahead);
    if (!take(deadline)) return false;
    for (unsigned each = 0; each < threads; ++each)
      RL_ASSERT(ahead[each] == 0 || ahead[each] != this->places_.ticket[each]);  // that caller came first
    RL_ASSERT(++inside_ <= static_cast<int>(places));
    return true;
  }
  void leave() {
    --inside_;
    Gate::leave();
  }
  void resize(std::int64_t by) { Gate::resize(by); }
  void expect_all_free() {
    RL_ASSERT(this->places_.front() == nullptr);
    for (std::uint32_t count = 0; count < places; ++count)
      RL_ASSERT(Gate::try_enter());
    RL_ASSERT(!Gate::try_enter());
  }

 private:
  bool take(TimePoint deadline) {
    if (Gate::try_enter()) return true;
    Sleeper sleeper;
    typename Gate::Waiter waiter(sleeper);
    for (bool late = false;; late = !sleeper.parker.park_until(deadline)) {
      const auto polled = Gate::poll(waiter, [&] { return late; });
      if (polled == Gate::Polled::waits) continue;
      Gate::give_up(waiter);
      return polled == Gate::Polled::entered;
    }
  }

  int inside_ = 0;  // the model's own
};

/// Some threads, and fewer places. Each thread enters and leaves; the last `patient` of them wait without a deadline.
template <typename Gate, std::uint32_t places, unsigned threads, unsigned patient = threads>
struct AllEnter : rl::test_suite<AllEnter<Gate, places, threads, patient>, rl::thread_id_t{threads}> {
  Limit<Gate, places> limit;

  void thread(unsigned index) {
    const bool for_ever = index + patient >= threads;
    if (limit.enter(for_ever ? TimePoint::max() : TimePoint{})) limit.leave();
  }
  void after() { limit.expect_all_free(); }
};

TEST(model, no_wake_up_is_lost_at_a_limit_and_no_caller_is_overtaken) {
  expect_holds<AllEnter<ShippedGate, 1, 2>>(up_to_preemptions(4));
  expect_holds<AllEnter<ShippedGate, 1, 3>>(up_to_preemptions(1));
  expect_holds<AllEnter<ShippedGate, 1, 3>>(random_schedules(200'000));
  expect_holds<AllEnter<ShippedGate, 2, 4>>(random_schedules(200'000));
}

TEST(model, no_place_is_lost_when_a_waiter_gives_up_as_it_is_served) {
  expect_holds<AllEnter<ShippedGate, 1, 2, 1>>(up_to_preemptions(3));
  expect_holds<AllEnter<ShippedGate, 1, 3, 1>>(random_schedules(200'000));
  expect_holds<AllEnter<ShippedGate, 1, 3, 2>>(random_schedules(200'000));
}

/// The limit falls to nothing and rises again while callers enter and leave: all of them enter in the end.
template <typename Gate, std::uint32_t places, unsigned callers>
struct EnterAsItChanges : rl::test_suite<EnterAsItChanges<Gate, places, callers>, rl::thread_id_t{callers + 1}> {
  Limit<Gate, places> limit;

  void thread(unsigned index) {
    if (index < callers) {
      if (limit.enter(TimePoint::max())) limit.leave();
      return;
    }
    limit.resize(-static_cast<std::int64_t>(places));
    limit.resize(places);
  }
  void after() { limit.expect_all_free(); }
};

TEST(model, no_place_and_no_wake_up_is_lost_as_a_limit_falls_and_rises) {
  expect_holds<EnterAsItChanges<ShippedGate, 1, 1>>(up_to_preemptions(4));
  expect_holds<EnterAsItChanges<ShippedGate, 1, 2>>(up_to_preemptions(1));
  expect_holds<EnterAsItChanges<ShippedGate, 1, 2>>(random_schedules(100'000));
  expect_holds<EnterAsItChanges<ShippedGate, 2, 3>>(random_schedules(100'000));
}

/// Mutant: a higher limit does not serve those that wait.
template <typename Waiter, typename Word>
struct ResizesBlindly : ShippedQueue<Waiter, Word> {
  using Base = ShippedQueue<Waiter, Word>;
  using Base::Base;
  template <typename Wake>
  void resize(std::int64_t by, Wake) {
    this->word_.resize(by);
  }
};
TEST(model, mutant_a_higher_limit_that_serves_nobody) {
  expect_caught<EnterAsItChanges<GateOf<ResizesBlindly>, 1, 1>>(up_to_preemptions(3), rl::test_result_deadlock);
}

/// Mutant: a waiter joins and does not try again.
template <typename Waiter, typename Word>
struct JoinsBlindly : ShippedQueue<Waiter, Word> {
  using Base = ShippedQueue<Waiter, Word>;
  using Base::Base;
  template <typename Wake>
  void join(Waiter& waiter, Waiter* before, Wake) {
    this->queue_.insert_before(before, waiter);
    this->word_.join();
  }
};
TEST(model, mutant_a_waiter_that_does_not_try_again_after_joining) {
  expect_caught<AllEnter<GateOf<JoinsBlindly>, 1, 2>>(up_to_preemptions(3), rl::test_result_deadlock);
}

/// Mutant: a holder that leaves does not serve the next waiter.
struct LeavesUnserved : ShippedGate {
  using ShippedGate::ShippedGate;
  void leave() { (void)this->places_.give(); }
};
TEST(model, mutant_a_giver_that_does_not_serve_waiters) {
  expect_caught<AllEnter<LeavesUnserved, 1, 2>>(up_to_preemptions(3), rl::test_result_deadlock);
}

/// Mutant: a waiter that gives up does not look whether it was served.
struct GivesUpBlindly : ShippedGate {
  using ShippedGate::ShippedGate;
  void give_up(Waiter& waiter) {
    const std::lock_guard lock(this->mutex_);
    if (waiter.waiting.get()) this->quit(waiter);
  }
};
TEST(model, mutant_a_waiter_that_gives_up_its_place_without_a_check) {
  expect_caught<AllEnter<GivesUpBlindly, 1, 2, 1>>(up_to_preemptions(3), rl::test_result_user_assert_failed);
}

/// Mutant: a waiter that gives up with a place does not serve the next waiter.
struct GivesUpUnserved : ShippedGate {
  using ShippedGate::ShippedGate;
  void give_up(Waiter& waiter) {
    const std::lock_guard lock(this->mutex_);
    if (this->pick_up(waiter)) (void)this->places_.give();
    if (waiter.waiting.get()) this->quit(waiter);
  }
};
TEST(model, mutant_a_waiter_that_gives_up_its_place_and_does_not_serve_waiters) {
  expect_caught<AllEnter<GivesUpUnserved, 1, 3, 2>>(random_schedules(200'000), rl::test_result_deadlock);
}

/// Mutant: the giver checks for waiters before it returns the place, not in the same step.
struct LooksFirst : sync::BasicLimitWord<RelacyAtomics> {
  using Base = sync::BasicLimitWord<RelacyAtomics>;
  using Base::Base;
  sync::BasicCount<RelacyAtomics> joined;
  void join() {
    joined.add();
    Base::join();
  }
  void quit() {
    joined.subtract();
    Base::quit();
  }
  bool take_for_waiter() {
    if (!Base::take_for_waiter()) return false;
    joined.subtract();
    return true;
  }
  bool give() {
    const bool awaited = joined.get() != 0;
    (void)Base::give();
    return awaited;
  }
};
TEST(model, mutant_a_place_returned_after_the_check_for_waiters) {
  expect_caught<AllEnter<GateOf<ShippedQueue, LooksFirst>, 1, 2>>(up_to_preemptions(3), rl::test_result_deadlock);
}

/// Mutant: a newcomer takes a free place though other callers wait for it.
struct Barges : sync::BasicLimitWord<RelacyAtomics> {
  using Base = sync::BasicLimitWord<RelacyAtomics>;
  using Base::Base;
  bool try_take() {
    if (Base::try_take()) return true;
    Base::join();
    if (Base::take_for_waiter()) return true;
    Base::quit();
    return false;
  }
};
TEST(model, mutant_a_newcomer_that_takes_a_place_that_others_wait_for) {
  expect_caught<AllEnter<GateOf<ShippedQueue, Barges>, 1, 3>>(up_to_preemptions(2), rl::test_result_user_assert_failed);
}

}  // namespace
}  // namespace fastpool::model
