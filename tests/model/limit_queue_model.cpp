// A holder's limit: it gives no more places than it allows, no wake-up is lost, no caller is overtaken by a later one, and no
// place is lost when a waiter gives up at the moment in which it is served.
//
// The word, the queue and the parker are the shipped templates. The callers are the model's.

#include "model/relacy_atomics.h"
#include "model/search.h"
#include "sync/limit_queue.h"
#include "sync/limit_word.h"
#include "sync/parker.h"

namespace fastpool::model {
namespace {

/// What the limit does. Each mutant breaks one of these.
struct AsShipped {
  using Atomics = RelacyAtomics;
  template <typename A>
  using Word = sync::BasicLimitWord<A>;
  template <typename Waiter, typename W>
  using Queue = sync::BasicLimitQueue<Waiter, W>;
  static constexpr bool giver_serves_waiters = true;
  static constexpr bool leaver_checks_whether_it_was_served = true;
};

template <typename Rules, std::uint32_t places, unsigned thread_count>
class Limit {
  using Word = typename Rules::template Word<typename Rules::Atomics>;

 public:
  /// \returns whether the caller got a place; if not, its deadline passed first (at any moment, unless it is never).
  bool enter(TimePoint deadline) {
    const Queued ahead = queued_;
    if (!take(deadline)) return false;
    for (unsigned each = 0; each < thread_count; ++each)
      RL_ASSERT(!(ahead.ticket[each] != 0 && ahead.ticket[each] == queued_.ticket[each]));  // that caller came first
    RL_ASSERT(++inside_ <= static_cast<int>(places));
    return true;
  }
  void leave() {
    --inside_;
    if (!places_.give() || !Rules::giver_serves_waiters) return;
    const std::lock_guard lock(mutex_);
    serve_locked();
  }
  void expect_all_free() {
    RL_ASSERT(places_.front() == nullptr);
    for (std::uint32_t count = 0; count < places; ++count)
      RL_ASSERT(places_.try_take());
    RL_ASSERT(!places_.try_take());
  }

 private:
  /// Like LeaseLimit::Queued: lives on its caller's stack. The lock guards all members but the parker.
  struct Waiter {
    Plain<bool> served{false};
    sync::BasicParker<typename Rules::Atomics, RelacyFutex> parker;
    Waiter* previous = nullptr;
    Waiter* next = nullptr;
    unsigned thread = rl::thread_index();  ///< the model's own
  };
  /// The threads in the queue, by index; for the assertions of the model only.
  struct Queued {
    int ticket[thread_count] = {};
  };

  bool take(TimePoint deadline) {
    if (places_.try_take()) return true;
    Waiter waiter;
    {
      const std::lock_guard lock(mutex_);
      if (places_.try_take()) return true;
      places_.join(waiter, wake());
      if (!waiter.served.get())
        queued_.ticket[rl::thread_index()] =
            ++tickets_;  // the waiter is counted: no later caller may be served before it
    }
    for (bool late = false;; late = !waiter.parker.park_until(deadline)) {
      const std::lock_guard lock(mutex_);
      const bool served = waiter.served.get();
      if (late && !served) {
        queued_.ticket[rl::thread_index()] = 0;
        places_.quit(waiter);
      }
      if (late && !Rules::leaver_checks_whether_it_was_served) return false;
      if (late || served) return served;
    }
  }
  auto wake() {
    return [this](Waiter& first) {
      queued_.ticket[first.thread] = 0;
      first.served.set(true);
      first.parker.unpark();
    };
  }
  void serve_locked() { places_.serve(wake()); }

  Mutex mutex_;
  typename Rules::template Queue<Waiter, Word> places_{places};  // its queue is guarded by mutex_

  // The model's own.
  Queued queued_;
  int tickets_ = 0;
  int inside_ = 0;
};

/// Some threads, and fewer places. Each thread enters and leaves; the last `patient` of them wait without a deadline.
template <typename Rules, std::uint32_t places, unsigned threads, unsigned patient = threads>
struct AllEnter : rl::test_suite<AllEnter<Rules, places, threads, patient>, rl::thread_id_t{threads}> {
  Limit<Rules, places, threads> limit;

  void thread(unsigned index) {
    const bool for_ever = index + patient >= threads;
    if (limit.enter(for_ever ? TimePoint::max() : TimePoint{})) limit.leave();
  }
  void after() { limit.expect_all_free(); }
};

TEST(model, no_wake_up_is_lost_at_a_limit_and_no_caller_is_overtaken) {
  expect_holds<AllEnter<AsShipped, 1, 2>>(up_to_preemptions(4));
  expect_holds<AllEnter<AsShipped, 1, 3>>(up_to_preemptions(1));
  expect_holds<AllEnter<AsShipped, 1, 3>>(random_schedules(200'000));
  expect_holds<AllEnter<AsShipped, 2, 4>>(random_schedules(200'000));
}

TEST(model, no_place_is_lost_when_a_waiter_gives_up_as_it_is_served) {
  expect_holds<AllEnter<AsShipped, 1, 2, 1>>(up_to_preemptions(3));
  expect_holds<AllEnter<AsShipped, 1, 3, 1>>(random_schedules(200'000));
  expect_holds<AllEnter<AsShipped, 1, 3, 2>>(random_schedules(200'000));
}

/// Mutant: a waiter joins and does not try again.
template <typename Waiter, typename Word>
struct JoinsBlindly : sync::BasicLimitQueue<Waiter, Word> {
  using Base = sync::BasicLimitQueue<Waiter, Word>;
  using Base::Base;
  template <typename Wake>
  void join(Waiter& waiter, Wake) {
    this->queue_.push_back(waiter);
    this->word_.join();
  }
};
struct NeverServesItself : AsShipped {
  template <typename Waiter, typename W>
  using Queue = JoinsBlindly<Waiter, W>;
};
TEST(model, mutant_a_waiter_that_does_not_try_again_after_joining) {
  expect_caught<AllEnter<NeverServesItself, 1, 2>>(up_to_preemptions(3), rl::test_result_deadlock);
}

struct NeverServes : AsShipped {
  static constexpr bool giver_serves_waiters = false;
};
TEST(model, mutant_a_giver_that_does_not_serve_waiters) {
  expect_caught<AllEnter<NeverServes, 1, 2>>(up_to_preemptions(3), rl::test_result_deadlock);
}

struct GivesUpBlindly : AsShipped {
  static constexpr bool leaver_checks_whether_it_was_served = false;
};
TEST(model, mutant_a_waiter_that_gives_up_its_place_without_a_check) {
  expect_caught<AllEnter<GivesUpBlindly, 1, 2, 1>>(up_to_preemptions(3), rl::test_result_user_assert_failed);
}

/// Mutant: the giver checks for waiters before it returns the place, not in the same step.
template <typename Atomics>
struct LooksFirst : sync::BasicLimitWord<Atomics> {
  using Base = sync::BasicLimitWord<Atomics>;
  using Base::Base;
  sync::BasicCount<Atomics> joined;
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
struct GivesInTwoSteps : AsShipped {
  template <typename A>
  using Word = LooksFirst<A>;
};
TEST(model, mutant_a_place_returned_after_the_check_for_waiters) {
  expect_caught<AllEnter<GivesInTwoSteps, 1, 2>>(up_to_preemptions(3), rl::test_result_deadlock);
}

/// Mutant: a newcomer takes a free place though other callers wait for it.
template <typename Atomics>
struct Barges : sync::BasicLimitWord<Atomics> {
  using Base = sync::BasicLimitWord<Atomics>;
  using Base::Base;
  bool try_take() {
    if (Base::try_take()) return true;
    Base::join();
    if (Base::take_for_waiter()) return true;
    Base::quit();
    return false;
  }
};
struct TakesPastTheQueue : AsShipped {
  template <typename A>
  using Word = Barges<A>;
};
TEST(model, mutant_a_newcomer_that_takes_a_place_that_others_wait_for) {
  expect_caught<AllEnter<TakesPastTheQueue, 1, 3>>(up_to_preemptions(2), rl::test_result_user_assert_failed);
}

}  // namespace
}  // namespace fastpool::model
