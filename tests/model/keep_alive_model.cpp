// The idle connections of one holder: once all threads have parked, no more connections are idle than its limit allows; each
// idle connection is counted as long as it is idle; and only the surplus is closed.
//
// pool/idle_share.h, pool/longest_idle.h and the order of parking and reaping run here as shipped, over the shipped slot words.

#include "model/model_slab.h"
#include "model/relacy_atomics.h"
#include "model/search.h"
#include "pool/idle_share.h"
#include "support/unlinking.h"
#include "sync/atomics.h"
#include "sync/parking.h"
#include "sync/slot_end.h"
#include "sync/slot_word.h"

namespace fastpool::model {
namespace {

/// What a mutant replaces.
struct AsShipped {
  using Atomics = RelacyAtomics;
  template <typename Slab>
  using Share = pool::BasicIdleShare<Slab, Atomics>;
  using Parking = sync::Parking;
};

/// Each thread has a lease on a connection of its own, and returns it under a limit of one. With `taker` the last of them then
/// takes an idle connection, if there is one, as any other caller would.
template <typename Rules, unsigned threads, bool taker>
struct AllPark : rl::test_suite<AllPark<Rules, threads, taker>, rl::thread_id_t{threads}> {
  using Atomics = typename Rules::Atomics;
  static constexpr std::uint32_t most = 1;

  using Slab = ModelSlab<Atomics, threads>;
  using Slot = typename Slab::Slot;

  Slab slab;
  std::uint32_t leases[threads] = {};
  int limit = 0;  ///< the slots refer to it by its address
  typename Rules::template Share<Slab> share{most, &limit};
  sync::BasicCount<Atomics> dropped_dials;
  unsigned closed[threads] = {};

  void before() {
    for (unsigned index = 0; index < threads; ++index) {
      auto& word = slab[index].word;
      const auto generation = word.reserve_dial() ? word.lease_dialed() : std::nullopt;
      RL_ASSERT(generation);
      leases[index] = *generation;
    }
  }

  /// A lease whose connection becomes idle.
  struct Returned : sync::ParkingHost {
    AllPark& model;
    unsigned index;

    Returned(AllPark& its_model, unsigned its_index) : model(its_model), index(its_index) {}
    [[nodiscard]] Slot& slot() const { return model.slab[index]; }
    bool count() {
      model.share.join(slot().kept_under, &model.limit);
      return true;
    }
    auto make_ready() { return slot().word.park(model.leases[index]); }
    bool list(const auto&) { return false; }  // there is no list, and no caller waits
    void close_surplus() {
      const auto reap = [this](Slot& each, const auto& seen) {
        return sync::SlotEnd::reap(
            seen, model.dropped_dials, [&] { return each.word.try_reap(seen); }, [&] { model.end_idle(each); });
      };
      model.share.close_surplus(model.slab, slot(), reap, [this](const Slot& each) { ++model.closed[each.index]; });
    }
  };

  void end_idle(Slot& slot) {
    share.discount(slot.kept_under, [this](int&) { RL_ASSERT(!share.leave()); });  // the holder lives
  }
  void park(unsigned index) { RL_ASSERT(Rules::Parking::park(Returned(*this, index))); }
  void thread(unsigned index) {
    park(index);
    if (!taker || index + 1 != threads) return;
    for (unsigned each = 0; each < threads; ++each) {
      Slot& slot = slab[each];
      if (slot.word.load().state() != sync::BasicSlotWord<Atomics>::State::idle || !support::lease_popped(slot.word))
        continue;
      end_idle(slot);
      return;
    }
  }
  void after() {
    std::uint32_t idle = 0;
    unsigned gone = 0;
    unsigned leased = 0;
    for (unsigned index = 0; index < threads; ++index) {
      const auto state = slab[index].word.load().state();
      idle += state == sync::BasicSlotWord<Atomics>::State::idle ? 1U : 0U;
      leased += state == sync::BasicSlotWord<Atomics>::State::leased ? 1U : 0U;
      RL_ASSERT(closed[index] <= 1);
      gone += closed[index];
    }
    RL_ASSERT(idle == share.idle());
    RL_ASSERT(idle <= most);
    if (!taker) RL_ASSERT(gone == threads - most);
    RL_ASSERT(idle + gone + leased == threads);
  }
};

TEST(model, no_more_connections_are_idle_than_the_limit_and_only_the_surplus_is_closed) {
  expect_holds<AllPark<AsShipped, 2, false>>(up_to_preemptions(4));
  expect_holds<AllPark<AsShipped, 2, true>>(up_to_preemptions(3));
  expect_holds<AllPark<AsShipped, 3, false>>(random_schedules(100'000));
  expect_holds<AllPark<AsShipped, 3, true>>(random_schedules(100'000));
}

/// Mutant: the giver does not look at its limit.
struct ParkingLooksAway : sync::Parking {
  template <typename Host>
  static bool park(const Host& host) {
    struct Mutant : Host {
      static void close_surplus() {}
    };
    return sync::Parking::park(Mutant{host});
  }
};
struct LooksAway : AsShipped {
  using Parking = ParkingLooksAway;
};
TEST(model, mutant_a_holder_that_does_not_check_its_limit_after_parking) {
  expect_caught<AllPark<LooksAway, 2, false>>(up_to_preemptions(2), rl::test_result_user_assert_failed);
}

/// Mutant: several threads take a surplus connection at once.
template <typename Slab>
struct UnlockedShare : pool::BasicIdleShare<Slab, RelacyAtomics> {
  using Base = pool::BasicIdleShare<Slab, RelacyAtomics>;
  using Base::Base;
  template <typename Reap, typename Close>
  void close_surplus(const Slab& slab, const typename Slab::Slot& parked, Reap reap, Close close) {
    while (auto* const surplus = this->take_surplus_locked(slab, parked, reap))
      close(*surplus);
  }
};
struct ManyClosers : AsShipped {
  template <typename Slab>
  using Share = UnlockedShare<Slab>;
};
TEST(model, mutant_two_threads_that_close_the_same_surplus) {
  expect_caught<AllPark<ManyClosers, 3, false>>(random_schedules(200'000), rl::test_result_user_assert_failed);
}

/// Mutant: the connection is counted, and the limit left beside it, after the step.
struct ParkingCountsLate : sync::Parking {
  template <typename Host>
  static bool park(const Host& host) {
    struct Mutant : Host {
      static bool count() { return true; }
      auto make_ready() {
        const auto made = Host::make_ready();
        (void)Host::count();
        return made;
      }
    };
    return sync::Parking::park(Mutant{host});
  }
};
struct LeavesLate : AsShipped {
  using Parking = ParkingCountsLate;
};
TEST(model, mutant_a_limit_recorded_after_the_connection_could_be_taken) {
  expect_caught<AllPark<LeavesLate, 2, true>>(up_to_preemptions(3), rl::test_result_user_assert_failed);
}

}  // namespace
}  // namespace fastpool::model
