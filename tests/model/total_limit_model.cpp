// The limit over all endpoints: no more places than it allows, and whoever starves for one gets the next that is given up,
// or the place of a connection that is parked idle elsewhere, or of a dial that lost its last caller.
//
// The counts, the slot word and the parker are the shipped templates; reserve, starve, relieve and evict stand here as
// src/pool/queue.cpp has them.

#include "model/relacy_atomics.h"
#include "model/search.h"
#include "sync/atomics.h"
#include "sync/parker.h"
#include "sync/slot_word.h"

namespace fastpool::model {
namespace {

struct AsShipped {
  using Atomics = RelacyAtomics;
  static constexpr bool lists_itself_before_it_looks_again = true;
  static constexpr bool who_gives_up_a_place_looks_who_starves = true;
};

enum class Ends : std::uint8_t { closed, parked, spared };

/// One holds the only place, for a connection that it closes or parks, or for a dial that it gives up waiting for. Others, each at an endpoint of its own, want one.
template <typename Rules, Ends ends, unsigned others>
struct OnePlaceForAll : rl::test_suite<OnePlaceForAll<Rules, ends, others>, rl::thread_id_t{others + 1}> {
  using Atomics = typename Rules::Atomics;
  using Word = sync::BasicSlotWord<Atomics>;

  struct Endpoint {
    rl::mutex mutex;
    Plain<bool> queued{false};
    Plain<bool> starved{false};
    sync::BasicParker<Atomics, RelacyFutex> parker;
  };

  sync::BasicCount<Atomics> total;
  sync::BasicCount<Atomics> starved_count;
  Word word;  ///< of the connection that has the place at first
  std::uint32_t lease = 0;
  Endpoint endpoints[others];

  // Guarded by starved_mutex.
  rl::mutex starved_mutex;
  Plain<Endpoint*> starved[others];
  Plain<unsigned> starved_length{0};

  int in_use = 1;  ///< the model's own

  void before() {
    RL_ASSERT(total.add_below(1));
    RL_ASSERT(word.reserve_dial());
    if (ends == Ends::spared) return;
    const auto generation = word.lease_dialed();
    RL_ASSERT(generation);
    lease = *generation;
  }

  bool reserve() {
    if (!total.add_below(1)) return false;
    RL_ASSERT(++in_use == 1);
    return true;
  }
  void give_up_place() {
    --in_use;
    total.subtract();
    look_who_starves();
  }
  void look_who_starves() {
    if (Rules::who_gives_up_a_place_looks_who_starves && starved_count.get() != 0) relieve();
  }

  void starve_locked(Endpoint& endpoint) {
    if (endpoint.starved.get()) return;
    endpoint.starved.set(true);
    Lock lock(starved_mutex);
    starved[starved_length.get()].set(&endpoint);
    starved_length.set(starved_length.get() + 1);
    starved_count.add();
  }
  bool evict() {
    const auto seen = word.load();
    return word.try_reap(seen);
  }
  /// \returns whether the idle connection was evicted: then its place is to be given up, without the lock.
  bool dispatch_locked(Endpoint& endpoint) {
    if (!endpoint.queued.get()) return false;
    bool reserved = reserve();
    bool evicted = false;
    if (!reserved) {
      if (Rules::lists_itself_before_it_looks_again) starve_locked(endpoint);
      reserved = reserve();
      if (!reserved) evicted = evict();
      if (!reserved && !Rules::lists_itself_before_it_looks_again) starve_locked(endpoint);
    }
    if (reserved) {
      endpoint.queued.set(false);
      endpoint.parker.unpark();
    }
    return evicted;
  }
  void dispatch(Endpoint& endpoint) {
    bool evicted = false;
    {
      Lock lock(endpoint.mutex);
      evicted = dispatch_locked(endpoint);
    }
    if (evicted) give_up_place();
  }
  void relieve() {
    for (std::uint32_t rounds = starved_count.get(); rounds > 0; --rounds) {
      Endpoint* endpoint = nullptr;
      {
        Lock lock(starved_mutex);
        const unsigned length = starved_length.get();
        if (length == 0) return;
        endpoint = starved[0].get();
        for (unsigned place = 0; place + 1 < length; ++place)
          starved[place].set(starved[place + 1].get());
        starved_length.set(length - 1);
        starved_count.subtract();
      }
      bool evicted = false;
      bool still_starved = false;
      {
        Lock lock(endpoint->mutex);
        endpoint->starved.set(false);
        evicted = dispatch_locked(*endpoint);
        still_starved = endpoint->starved.get();
      }
      if (evicted) give_up_place();
      if (still_starved && !evicted) return;
    }
  }

  void acquire(Endpoint& endpoint) {
    bool evicted = false;
    {
      Lock lock(endpoint.mutex);
      endpoint.queued.set(true);
      evicted = dispatch_locked(endpoint);
    }
    if (evicted) give_up_place();
    for (;;) {
      {
        Lock lock(endpoint.mutex);
        if (!endpoint.queued.get()) return;
      }
      (void)endpoint.parker.park_until(TimePoint::max());
    }
  }
  void thread(unsigned index) {
    if (index > 0) {
      acquire(endpoints[index - 1]);
      give_up_place();
    } else if (ends == Ends::parked) {
      RL_ASSERT(word.park(lease));
      look_who_starves();
    } else if (ends == Ends::spared) {
      RL_ASSERT(word.spare_dial());
      look_who_starves();
    } else {
      RL_ASSERT(word.begin_close(lease));
      give_up_place();
    }
  }
};

TEST(model, who_starves_at_the_total_limit_gets_the_next_place) {
  expect_holds<OnePlaceForAll<AsShipped, Ends::closed, 1>>(up_to_preemptions(2));
  expect_holds<OnePlaceForAll<AsShipped, Ends::closed, 2>>(random_schedules(200'000));
}

TEST(model, who_starves_at_the_total_limit_gets_the_place_of_what_is_parked_elsewhere) {
  expect_holds<OnePlaceForAll<AsShipped, Ends::parked, 1>>(up_to_preemptions(2));
  expect_holds<OnePlaceForAll<AsShipped, Ends::parked, 2>>(random_schedules(200'000));
}

TEST(model, who_starves_at_the_total_limit_gets_the_place_of_a_dial_that_no_caller_waits_for) {
  expect_holds<OnePlaceForAll<AsShipped, Ends::spared, 1>>(up_to_preemptions(2));
  expect_holds<OnePlaceForAll<AsShipped, Ends::spared, 2>>(random_schedules(200'000));
}

struct ListsItselfLate : AsShipped {
  static constexpr bool lists_itself_before_it_looks_again = false;
};
TEST(model, mutant_an_endpoint_that_lists_itself_after_its_last_look) {
  expect_caught<OnePlaceForAll<ListsItselfLate, Ends::closed, 1>>(random_schedules(300'000), rl::test_result_deadlock);
  expect_caught<OnePlaceForAll<ListsItselfLate, Ends::parked, 1>>(random_schedules(300'000), rl::test_result_deadlock);
}

struct LooksAway : AsShipped {
  static constexpr bool who_gives_up_a_place_looks_who_starves = false;
};
TEST(model, mutant_a_closer_that_does_not_look_who_starves) {
  expect_caught<OnePlaceForAll<LooksAway, Ends::closed, 1>>(random_schedules(300'000), rl::test_result_deadlock);
  expect_caught<OnePlaceForAll<LooksAway, Ends::parked, 1>>(random_schedules(300'000), rl::test_result_deadlock);
  expect_caught<OnePlaceForAll<LooksAway, Ends::spared, 1>>(random_schedules(300'000), rl::test_result_deadlock);
}

struct WeakOrders : AsShipped {
  using Atomics = OrderedAtomics<Orders::no_total_order>;
};
TEST(model, mutant_a_place_and_a_starving_count_without_a_common_order) {
  expect_caught<OnePlaceForAll<WeakOrders, Ends::parked, 1>>(random_schedules(300'000), rl::test_result_deadlock);
}

}  // namespace
}  // namespace fastpool::model
