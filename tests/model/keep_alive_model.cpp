// What a holder may leave idle: once all have parked, no more is idle under its limit than that allows; each idle connection
// is counted as long as it is idle; and no more is closed than the surplus.
//
// The slot words, the count and the pointer beside a slot are the shipped templates; park, take and close stand here as
// src/pool/pool.cpp and src/pool/reap.cpp have them.

#include "model/relacy_atomics.h"
#include "model/search.h"
#include "support/unlinking.h"
#include "sync/atomics.h"
#include "sync/slot_word.h"

namespace fastpool::model {
namespace {

struct AsShipped {
  using Atomics = RelacyAtomics;
  static constexpr bool looks_after_parking = true;
  static constexpr bool one_closer_at_a_time = true;
  static constexpr bool leaves_the_limit_before_parking = true;
};

/// Each thread has a lease on a connection of its own, and gives it back under a limit of one; the last of them takes one that
/// is idle afterwards, if it finds one, as any other caller would.
template <typename Rules, unsigned threads, bool taker>
struct Parking : rl::test_suite<Parking<Rules, threads, taker>, rl::thread_id_t{threads}> {
  using Atomics = typename Rules::Atomics;
  static constexpr std::uint32_t most = 1;

  struct Slot {
    sync::BasicSlotWord<Atomics> word;
    sync::BasicLeftPointer<int, Atomics> kept_under;
    std::uint32_t lease = 0;
  };

  Slot slots[threads];
  sync::BasicCount<Atomics> uses;  ///< the holder, and the idle connections that it counts
  rl::mutex mutex;
  int limit = 0;  ///< what kept_under points to
  unsigned closed[threads] = {};

  void before() {
    uses.add();
    for (Slot& slot : slots) {
      const auto generation = slot.word.reserve_dial() ? slot.word.lease_dialed() : std::nullopt;
      RL_ASSERT(generation);
      slot.lease = *generation;
    }
  }

  [[nodiscard]] bool over() const { return uses.get() - 1 > most; }
  void end_idle(Slot& slot) {
    if (slot.kept_under.peek() == nullptr) return;
    if (slot.kept_under.take() != nullptr) RL_ASSERT(uses.subtract() != 0);  // the holder lives
  }
  void park(unsigned index) {
    Slot& slot = slots[index];
    uses.add();
    if (Rules::leaves_the_limit_before_parking) slot.kept_under.leave(&limit);
    RL_ASSERT(slot.word.park(slot.lease));
    if (!Rules::leaves_the_limit_before_parking) slot.kept_under.leave(&limit);
    if (Rules::looks_after_parking && over()) close_surplus(index);
  }
  void close_surplus(unsigned parked) {
    for (bool more = true; more;) {
      if (Rules::one_closer_at_a_time) mutex.lock({});
      more = over() && take_longest_idle(parked);
      if (Rules::one_closer_at_a_time) mutex.unlock({});
    }
  }
  bool take_longest_idle(unsigned parked) {
    for (unsigned index = 0; index < threads; ++index) {
      if (index == parked) continue;
      Slot& slot = slots[index];
      const auto seen = slot.word.load();
      if (seen.state() != sync::BasicSlotWord<Atomics>::State::idle || slot.kept_under.peek() != &limit) continue;
      if (!slot.word.try_reap(seen)) continue;
      end_idle(slot);
      ++closed[index];
      return true;
    }
    return false;
  }
  void thread(unsigned index) {
    park(index);
    if (!taker || index + 1 != threads) return;
    for (Slot& slot : slots) {
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
      const auto state = slots[index].word.load().state();
      idle += state == sync::BasicSlotWord<Atomics>::State::idle ? 1U : 0U;
      leased += state == sync::BasicSlotWord<Atomics>::State::leased ? 1U : 0U;
      RL_ASSERT(closed[index] <= 1);
      gone += closed[index];
    }
    RL_ASSERT(idle + 1 == uses.get());
    RL_ASSERT(idle <= most);
    if (!taker) RL_ASSERT(gone == threads - most);
    RL_ASSERT(idle + gone + leased == threads);
  }
};

TEST(model, no_more_is_idle_under_a_limit_than_it_allows_and_only_the_surplus_is_closed) {
  expect_holds<Parking<AsShipped, 2, false>>(up_to_preemptions(4));
  expect_holds<Parking<AsShipped, 2, true>>(up_to_preemptions(3));
  expect_holds<Parking<AsShipped, 3, false>>(random_schedules(100'000));
  expect_holds<Parking<AsShipped, 3, true>>(random_schedules(100'000));
}

struct LooksAway : AsShipped {
  static constexpr bool looks_after_parking = false;
};
TEST(model, mutant_a_holder_that_does_not_look_after_parking) {
  expect_caught<Parking<LooksAway, 2, false>>(up_to_preemptions(2), rl::test_result_user_assert_failed);
}

struct ManyClosers : AsShipped {
  static constexpr bool one_closer_at_a_time = false;
};
TEST(model, mutant_two_that_close_the_same_surplus) {
  expect_caught<Parking<ManyClosers, 3, false>>(random_schedules(200'000), rl::test_result_user_assert_failed);
}

struct LeavesLate : AsShipped {
  static constexpr bool leaves_the_limit_before_parking = false;
};
TEST(model, mutant_a_limit_left_beside_a_connection_that_could_be_taken_before) {
  expect_caught<Parking<LeavesLate, 2, true>>(up_to_preemptions(3), rl::test_result_user_assert_failed);
}

}  // namespace
}  // namespace fastpool::model
