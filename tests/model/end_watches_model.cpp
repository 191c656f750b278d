// A caller waits elsewhere than in a pool's queues while the pool begins to refuse: it sees the flag or is woken, and is never
// woken after its watch has ended.
//
// The watches, the refusal and the parker are the shipped templates.

#include "model/relacy_atomics.h"

#include "model/search.h"
#include "sync/end_watches.h"
#include "sync/parker.h"
#include "sync/refusal.h"

namespace fastpool::model {
namespace {

/// A caller's thread. Lives on its stack.
struct Sleeper {
  sync::BasicParker<RelacyAtomics, RelacyFutex> parker;
  void wake() { parker.unpark(); }
};

/// What a mutant replaces.
struct AsShipped {
  using Watches = sync::BasicEndWatches<Sleeper, RelacyAtomics>;
  using Watch = Watches::Watch;
  using Refusal = sync::BasicRefusal<RelacyAtomics>;
};

/// Each thread but the last watches until the pool refuses; the last drains it.
template <typename Rules, unsigned callers>
struct AllWatch : rl::test_suite<AllWatch<Rules, callers>, rl::thread_id_t{callers + 1}> {
  typename Rules::Refusal refusal;
  typename Rules::Watches watches;

  void thread(unsigned index) {
    if (index == callers) {
      refusal.drain([this] { watches.wake(); }, [] {});
      return;
    }
    Sleeper sleeper;
    typename Rules::Watch watch(watches, sleeper);
    while (!watch.look([this] { return refusal.refusing(); }))
      (void)sleeper.parker.park_until(TimePoint::max());
  }
};

TEST(model, a_caller_that_waits_elsewhere_learns_of_the_pools_end) {
  expect_holds<AllWatch<AsShipped, 1>>(every_schedule());
  expect_holds<AllWatch<AsShipped, 2>>(random_schedules(100'000));
  expect_holds<AllWatch<AsShipped, 3>>(random_schedules(100'000));
}

/// Mutant: the caller looks, and begins its watch afterwards.
struct WatchesLate : AsShipped {
  struct Watch : AsShipped::Watch {
    using AsShipped::Watch::Watch;
    template <typename Refuses>
    bool look(Refuses refuses) {
      if (refuses()) return true;
      begin();
      return false;
    }
  };
};
TEST(model, mutant_a_watch_that_begins_after_the_look) {
  expect_caught<AllWatch<WatchesLate, 1>>(every_schedule(), rl::test_result_deadlock);
}

/// Mutant: the ender wakes those that watch before it sets the flag.
struct WakesEarly : AsShipped {
  struct Refusal : AsShipped::Refusal {
    template <typename Announce, typename CloseIdle>
    void drain(Announce announce, CloseIdle close_idle) {
      announce();
      AsShipped::Refusal::drain([] {}, close_idle);
    }
  };
};
TEST(model, mutant_an_ender_that_wakes_before_it_refuses) {
  expect_caught<AllWatch<WakesEarly, 1>>(every_schedule(), rl::test_result_deadlock);
}

}  // namespace
}  // namespace fastpool::model
