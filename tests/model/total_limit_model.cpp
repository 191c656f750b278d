// The limit over all endpoints: it gives no more places than it allows, and an endpoint that starves for a place gets the next
// freed place, or the place of a connection that is parked elsewhere, or of a dial that lost its last caller.
//
// sync/total_limit.h, pool/longest_idle.h and the orders in which a slot is parked and ends run here as shipped, over the shipped
// slot words. An endpoint is a lock and a count of callers that wait; its dispatch takes places for them.

#include "model/model_slab.h"
#include "model/relacy_atomics.h"

#include <mutex>

#include "model/search.h"
#include "pool/longest_idle.h"
#include "sync/parker.h"
#include "sync/parking.h"
#include "sync/slot_end.h"
#include "sync/total_limit.h"

namespace fastpool::model {
namespace {

/// What a mutant replaces.
struct AsShipped {
  using Atomics = RelacyAtomics;
  template <typename Owner>
  using Limit = sync::BasicTotalLimit<Owner, Atomics>;
  template <typename Slab>
  using LongestIdle = pool::BasicLongestIdle<Slab, Atomics>;
};

/// The part of the pool that the limit calls: places, idle slots, and endpoints whose callers wait for a place.
template <typename Rules, std::uint32_t most_of_each, std::uint32_t most, unsigned slots>
struct ModelPool {
  using Atomics = typename Rules::Atomics;
  using Slab = ModelSlab<Atomics, slots>;
  using LongestIdle = typename Rules::template LongestIdle<Slab>;
  struct Endpoint;
  using Limit = typename Rules::template Limit<Endpoint>;
  using Taken = typename Limit::Taken;

  struct Endpoint {
    Mutex mutex;
    Plain<unsigned> queued{0};  ///< callers that wait for a place
    sync::BasicCount<Atomics> waiting;
    sync::BasicParker<Atomics, RelacyFutex> parker;
    typename Limit::Member room{*this};
  };
  /// The decision made under a lock: the number of evicted slots to close.
  struct Actions {
    unsigned closing = 0;
    Endpoint* owner = nullptr;
  };
  struct RoomForWaiter {
    ModelPool& pool;
    Endpoint& endpoint;
    Actions& actions;
    bool drop_spare() { return false; }
    bool evict() {
      if (!pool.evict(endpoint)) return false;
      ++actions.closing;
      return true;
    }
  };
  struct RoomForNewcomer {
    ModelPool& pool;
    Endpoint& endpoint;
    bool drop_spare() { return false; }
    bool evict() {
      if (!pool.evict(endpoint)) return false;
      pool.give(*pool.owner);
      return true;
    }
    void give_way() { pool.dispatch_if_awaited(endpoint); }
  };
  struct Host {
    using Actions = ModelPool::Actions;
    ModelPool& pool;
    auto lock(Endpoint& endpoint) { return std::unique_lock(endpoint.mutex); }
    bool serve_locked(Endpoint& endpoint, Actions& actions) {
      const unsigned before = endpoint.queued.get();
      pool.dispatch_locked(endpoint, actions);
      return endpoint.queued.get() != before;
    }
    bool perform(Actions& actions) {
      pool.perform(actions);
      return actions.closing != 0;
    }
    void stuck() {}
    void serve_waiting(Endpoint& endpoint) { pool.dispatch_if_awaited(endpoint); }
  };
  /// A connection that is parked, or a dial that loses its last caller. No caller waits at its endpoint.
  template <typename Step>
  struct Freed : sync::ParkingHost {
    ModelPool& pool;
    std::uint32_t index;
    Step step;

    Freed(ModelPool& its_pool, std::uint32_t its_index, Step its_step)
        : pool(its_pool), index(its_index), step(its_step) {}
    bool make_ready() { return step(pool.slab[index].word); }
    bool list(bool) { return false; }
    void note_ready() { LongestIdle::note_ready(pool.slab[index], pool.none_idle); }
    void relieve() { pool.limit.relieve_if_starving(Host{pool}); }
  };

  Limit limit{most_of_each, most};
  Slab slab;
  LongestIdle longest_idle;
  sync::BasicFlag<Atomics> none_idle;
  sync::BasicCount<Atomics> dropped_dials;
  Endpoint* owner = nullptr;  ///< of all slots
  int in_use = 0;             ///< known to the model alone

  Taken taken(Taken what) {
    if (what == Taken::yes) RL_ASSERT(++in_use <= static_cast<int>(most));
    return what;
  }
  bool evict(const Endpoint& endpoint) {
    return longest_idle.take(slab, {.endpoint = &endpoint}, none_idle, [this](auto& slot, const auto& seen) {
      const auto step = [&] { return slot.word.try_reap(seen); };
      return sync::SlotEnd::reap(seen, dropped_dials, step, [] {});
    }) != nullptr;
  }
  /// Ends a connection of that endpoint.
  void give(Endpoint& endpoint) {
    --in_use;
    limit.give(endpoint.room);
    limit.freed(endpoint, Host{*this});
  }
  void dispatch_locked(Endpoint& endpoint, Actions& actions) {
    while (endpoint.queued.get() != 0) {
      if (taken(limit.take_or_starve_locked(endpoint.room, RoomForWaiter{*this, endpoint, actions})) != Taken::yes)
        return;
      endpoint.queued.set(endpoint.queued.get() - 1);
      (void)endpoint.waiting.subtract();
      endpoint.parker.unpark();
    }
  }
  void perform(const Actions& actions) {
    for (unsigned each = 0; each < actions.closing; ++each)
      give(*owner);
  }
  void dispatch(Endpoint& endpoint) {
    Actions actions;
    {
      const std::lock_guard lock(endpoint.mutex);
      dispatch_locked(endpoint, actions);
    }
    perform(actions);
  }
  void dispatch_if_awaited(Endpoint& endpoint) {
    if (endpoint.waiting.get() != 0) dispatch(endpoint);
  }
  /// A caller queues for a place; one per endpoint.
  void queue(Endpoint& endpoint) {
    Actions actions;
    {
      const std::lock_guard lock(endpoint.mutex);
      endpoint.queued.set(endpoint.queued.get() + 1);
      endpoint.waiting.add();
      dispatch_locked(endpoint, actions);
    }
    perform(actions);
  }
  /// Queues, and waits until it has the place.
  void acquire(Endpoint& endpoint) {
    queue(endpoint);
    for (;;) {
      {
        const std::lock_guard lock(endpoint.mutex);
        if (endpoint.queued.get() == 0) return;
      }
      (void)endpoint.parker.park_until(TimePoint::max());
    }
  }
  bool try_acquire(Endpoint& endpoint) {
    return taken(limit.take_or_evict(endpoint.room, RoomForNewcomer{*this, endpoint})) == Taken::yes;
  }
};

enum class Ends : std::uint8_t { closed, parked, spared };

/// One thread holds the only place, for a connection that it closes or parks, or for a dial that it stops waiting for. Each
/// other thread waits for a place at an endpoint of its own.
template <typename Rules, Ends ends, unsigned others>
struct OnePlaceForAll : rl::test_suite<OnePlaceForAll<Rules, ends, others>, rl::thread_id_t{others + 1}> {
  using Pool = ModelPool<Rules, 2, 1, 1>;
  Pool pool;
  typename Pool::Endpoint endpoints[others + 1];
  std::uint32_t lease = 0;

  void before() {
    pool.owner = &endpoints[0];
    auto& slot = pool.slab[0];
    slot.endpoint.value = pool.owner;
    RL_ASSERT(pool.taken(pool.limit.take(endpoints[0].room)) == Pool::Taken::yes);
    RL_ASSERT(slot.word.reserve_dial());
    if (ends == Ends::spared) return;
    const auto generation = slot.word.lease_dialed();
    RL_ASSERT(generation);
    lease = *generation;
  }
  void thread(unsigned index) {
    if (index > 0) {
      pool.acquire(endpoints[index]);
      pool.give(endpoints[index]);
      return;
    }
    auto& word = pool.slab[0].word;
    if (ends == Ends::closed) {
      RL_ASSERT(word.begin_close(lease));
      pool.give(endpoints[0]);
      return;
    }
    if (ends == Ends::parked) {
      typename Pool::Freed parked(pool, 0, [this](auto& its_word) { return bool(its_word.park(lease)); });
      RL_ASSERT(sync::Parking::park(parked));
    } else {
      typename Pool::Freed spared(pool, 0, [](auto& its_word) { return its_word.spare_dial(); });
      sync::Parking::spare_locked(spared);
      spared.relieve();
    }
  }
  void after() { RL_ASSERT(pool.limit.taken() == 0); }
};

TEST(model, a_starving_endpoint_gets_the_next_place) {
  expect_holds<OnePlaceForAll<AsShipped, Ends::closed, 1>>(up_to_preemptions(2));
  expect_holds<OnePlaceForAll<AsShipped, Ends::closed, 2>>(random_schedules(200'000));
}

TEST(model, a_starving_endpoint_gets_the_place_of_a_connection_parked_elsewhere) {
  expect_holds<OnePlaceForAll<AsShipped, Ends::parked, 1>>(up_to_preemptions(1));
  expect_holds<OnePlaceForAll<AsShipped, Ends::parked, 2>>(random_schedules(200'000));
}

TEST(model, a_starving_endpoint_gets_the_place_of_a_spare_dial) {
  expect_holds<OnePlaceForAll<AsShipped, Ends::spared, 1>>(up_to_preemptions(1));
  expect_holds<OnePlaceForAll<AsShipped, Ends::spared, 2>>(random_schedules(200'000));
}

/// A caller that does not wait reaches the total limit while another queues at the same endpoint, whose own limit is one. The
/// queued caller does not sleep here: it must have been served when all others are done.
template <typename Rules>
struct ANewcomerBesideAWaiter : rl::test_suite<ANewcomerBesideAWaiter<Rules>, 3> {
  using Pool = ModelPool<Rules, 1, 1, 1>;
  Pool pool;
  typename Pool::Endpoint elsewhere;
  typename Pool::Endpoint here;

  void before() {
    pool.owner = &elsewhere;
    RL_ASSERT(pool.taken(pool.limit.take(elsewhere.room)) == Pool::Taken::yes);
  }
  void thread(unsigned index) {
    if (index == 0) {
      pool.give(elsewhere);
    } else if (index == 1) {
      if (pool.try_acquire(here)) pool.give(here);
    } else {
      pool.queue(here);
    }
  }
  void after() {
    RL_ASSERT(here.queued.get() == 0);
    pool.give(here);
    RL_ASSERT(!pool.limit.has_starving());
    RL_ASSERT(pool.limit.taken() == 0);
  }
};

TEST(model, a_newcomer_that_meets_the_total_limit_leaves_no_waiter_of_its_endpoint_behind) {
  expect_holds<ANewcomerBesideAWaiter<AsShipped>>(up_to_preemptions(3));
}

// ---- mutants ---------------------------------------------------------------------------------------------------------

/// Mutant: the endpoint does not try to take a place again after it was listed.
template <typename Owner>
struct LooksOnce : sync::BasicTotalLimit<Owner, RelacyAtomics> {
  using Base = sync::BasicTotalLimit<Owner, RelacyAtomics>;
  using Base::Base;
  template <typename Room>
  typename Base::Taken take_or_starve_locked(typename Base::Member& member, Room&& room) {
    const auto taken = this->take(member);
    if (taken != Base::Taken::total_limit) return taken;
    this->list_locked(member);
    (void)room.evict();
    return taken;
  }
};
struct NoSecondLook : AsShipped {
  template <typename Owner>
  using Limit = LooksOnce<Owner>;
};
TEST(model, mutant_an_endpoint_that_does_not_try_again_after_it_was_listed) {
  expect_caught<OnePlaceForAll<NoSecondLook, Ends::closed, 1>>(up_to_preemptions(2), rl::test_result_deadlock);
}

/// Mutant: the endpoint is listed after its last try to take a place.
template <typename Owner>
struct ListsLate : sync::BasicTotalLimit<Owner, RelacyAtomics> {
  using Base = sync::BasicTotalLimit<Owner, RelacyAtomics>;
  using Base::Base;
  template <typename Room>
  typename Base::Taken take_or_starve_locked(typename Base::Member& member, Room&& room) {
    auto taken = this->take(member);
    if (taken != Base::Taken::total_limit) return taken;
    taken = this->take(member);
    if (taken == Base::Taken::total_limit) {
      (void)room.evict();
      this->list_locked(member);
    }
    return taken;
  }
};
struct ListsItselfLate : AsShipped {
  template <typename Owner>
  using Limit = ListsLate<Owner>;
};
TEST(model, mutant_an_endpoint_that_is_listed_after_its_last_try) {
  expect_caught<OnePlaceForAll<ListsItselfLate, Ends::closed, 1>>(up_to_preemptions(2), rl::test_result_deadlock);
  expect_caught<OnePlaceForAll<ListsItselfLate, Ends::parked, 1>>(up_to_preemptions(2), rl::test_result_deadlock);
}

/// Mutant: a thread that frees something does not look whether a member starves.
template <typename Owner>
struct LooksForNobody : sync::BasicTotalLimit<Owner, RelacyAtomics> {
  using Base = sync::BasicTotalLimit<Owner, RelacyAtomics>;
  using Base::Base;
  template <typename Host>
  void relieve_if_starving(Host) {}
  template <typename Host>
  void freed(Owner& owner, Host host) {
    host.serve_waiting(owner);
  }
};
struct LooksAway : AsShipped {
  template <typename Owner>
  using Limit = LooksForNobody<Owner>;
};
TEST(model, mutant_a_closer_that_does_not_check_for_starving_endpoints) {
  expect_caught<OnePlaceForAll<LooksAway, Ends::closed, 1>>(up_to_preemptions(2), rl::test_result_deadlock);
  expect_caught<OnePlaceForAll<LooksAway, Ends::parked, 1>>(up_to_preemptions(2), rl::test_result_deadlock);
  expect_caught<OnePlaceForAll<LooksAway, Ends::spared, 1>>(up_to_preemptions(2), rl::test_result_deadlock);
}

/// Mutant: the endpoint evicts no connection.
template <typename Owner>
struct NeverEvicts : sync::BasicTotalLimit<Owner, RelacyAtomics> {
  using Base = sync::BasicTotalLimit<Owner, RelacyAtomics>;
  using Base::Base;
  template <typename Room>
  typename Base::Taken take_or_starve_locked(typename Base::Member& member, Room&&) {
    struct Nothing {
      bool drop_spare() { return false; }
      bool evict() { return false; }
    };
    return Base::take_or_starve_locked(member, Nothing{});
  }
};
struct EvictsNothing : AsShipped {
  template <typename Owner>
  using Limit = NeverEvicts<Owner>;
};
TEST(model, mutant_a_starving_endpoint_that_evicts_nothing) {
  expect_caught<OnePlaceForAll<EvictsNothing, Ends::parked, 1>>(up_to_preemptions(2), rl::test_result_deadlock);
}

/// Mutant: the flag "no slot is idle" is set after the scan.
template <typename Slab>
struct FlagsLate : pool::BasicLongestIdle<Slab, RelacyAtomics> {
  using Base = pool::BasicLongestIdle<Slab, RelacyAtomics>;
  template <typename Reap>
  auto take(const Slab& slab, const typename Base::Spare& spare, typename Base::Flag& none, Reap reap) {
    if (none.get()) return static_cast<typename Slab::Slot*>(nullptr);
    typename Base::Flag own;
    auto* const taken = Base::take(slab, spare, own, reap);
    if (taken == nullptr) none.set();
    return taken;
  }
};
struct FlagIsSetLate : AsShipped {
  template <typename Slab>
  using LongestIdle = FlagsLate<Slab>;
};
TEST(model, mutant_an_eviction_that_sets_its_flag_after_the_scan) {
  expect_caught<OnePlaceForAll<FlagIsSetLate, Ends::parked, 1>>(up_to_preemptions(2), rl::test_result_deadlock);
}

/// Mutant: a slot that becomes idle clears no flag.
template <typename Slab>
struct NotesNothing : pool::BasicLongestIdle<Slab, RelacyAtomics> {
  static void note_ready(const typename Slab::Slot&, sync::BasicFlag<RelacyAtomics>&) {}
};
struct NoneIsNoted : AsShipped {
  template <typename Slab>
  using LongestIdle = NotesNothing<Slab>;
};
TEST(model, mutant_a_connection_that_becomes_idle_without_clearing_the_flag) {
  expect_caught<OnePlaceForAll<NoneIsNoted, Ends::parked, 1>>(up_to_preemptions(2), rl::test_result_deadlock);
}

/// Mutant: a newcomer that met the total limit does not serve the waiters.
template <typename Room>
struct RoomOfNoWay : Room {
  static void give_way() {}
};
template <typename Owner>
struct GivesNoWay : sync::BasicTotalLimit<Owner, RelacyAtomics> {
  using Base = sync::BasicTotalLimit<Owner, RelacyAtomics>;
  using Base::Base;
  template <typename Room>
  typename Base::Taken take_or_evict(typename Base::Member& member, const Room& room) {
    return Base::take_or_evict(member, RoomOfNoWay<Room>{room});
  }
};
struct NoWay : AsShipped {
  template <typename Owner>
  using Limit = GivesNoWay<Owner>;
};
TEST(model, mutant_a_newcomer_that_does_not_dispatch_the_waiters_that_it_blocked) {
  expect_caught<ANewcomerBesideAWaiter<NoWay>>(up_to_preemptions(3), rl::test_result_user_assert_failed);
}

struct WeakOrders : AsShipped {
  using Atomics = OrderedAtomics<Orders::no_total_order>;
  template <typename Owner>
  using Limit = sync::BasicTotalLimit<Owner, Atomics>;
  template <typename Slab>
  using LongestIdle = pool::BasicLongestIdle<Slab, Atomics>;
};
TEST(model, mutant_a_place_and_a_starving_count_without_a_common_order) {
  expect_caught<OnePlaceForAll<WeakOrders, Ends::parked, 1>>(random_schedules(300'000), rl::test_result_deadlock);
}

}  // namespace
}  // namespace fastpool::model
