// The pool closes while a connection is given back and another acquirer is under way: nothing stays idle in it.
//
// The list, the slot word and the flag are the shipped templates; release, take and close stand here as src/pool/ has them.

#include "model/relacy_atomics.h"
#include "model/search.h"
#include "sync/atomics.h"
#include "sync/idle_list.h"
#include "sync/slot_word.h"

namespace fastpool::model {
namespace {

struct AsShipped {
  using Atomics = RelacyAtomics;
  static constexpr bool giver_looks_again_after_parking = true;
  static constexpr bool taker_looks_after_taking = true;
  static constexpr bool takes_by_hint = false;
};

/// One gives back its connection, one takes what is idle, and one closes the pool.
template <typename Rules>
struct ThePoolCloses : rl::test_suite<ThePoolCloses<Rules>, 3> {
  using Atomics = typename Rules::Atomics;
  using Word = sync::BasicSlotWord<Atomics>;
  using State = typename Word::State;
  using List = sync::BasicIdleList<Atomics>;

  List idle;
  sync::BasicFlag<Atomics> refusing;
  Word word;
  typename Atomics::template Atomic<std::uint32_t> cell_link;
  Plain<int> connection{1};
  std::uint32_t lease = 0;
  int closed = 0;
  bool refused = false;  ///< the model's own: close() has returned

  auto link() {
    return [this](std::uint32_t) -> auto& { return cell_link; };
  }
  void before() {
    const auto generation = word.reserve_dial() ? word.lease_dialed() : std::nullopt;
    RL_ASSERT(generation);
    lease = *generation;
  }
  void close_it() {
    RL_ASSERT(connection.get() == 1);
    connection.set(0);
    ++closed;
    if (word.finish_emptied()) word.free_closed();
  }
  void cleanup() {
    const auto seen = word.load();
    if (seen.state() == State::idle && word.try_reap(seen)) close_it();
  }
  void give_back(std::uint32_t generation) {
    const auto parked = refusing.get() ? typename Word::Step{} : word.park(generation);
    if (!parked) {
      RL_ASSERT(word.begin_close(generation));
      close_it();
      return;
    }
    (void)idle.put(0, parked, link());
    if (Rules::giver_looks_again_after_parking && refusing.get()) cleanup();
  }
  void take() {
    const bool too_late = refused;
    std::uint32_t generation = 0;
    if (const auto taken = Rules::takes_by_hint ? idle.take(0, word, [] { return true; }) : typename List::Popped{}) {
      generation = taken.word.generation();
    } else {
      const auto popped = idle.pop(
          List::For::newcomer, link(), [this](std::uint32_t) -> Word& { return word; },
          [this](std::uint32_t, bool finished) {
            if (finished) word.free_closed();
          });
      if (popped.index == List::none) return;
      generation = popped.word.generation();
    }
    if (Rules::taker_looks_after_taking && refusing.get()) {
      give_back(generation);
      return;
    }
    RL_ASSERT(!too_late);
    give_back(generation);
  }
  void thread(unsigned index) {
    if (index == 0) {
      give_back(lease);
    } else if (index == 1) {
      take();
    } else {
      refusing.set();
      refused = true;
      cleanup();
    }
  }
  void after() {
    RL_ASSERT(closed == 1);
    if (word.load().state() == State::closing) RL_ASSERT(word.unlink().after.finished());  // its cell is linked yet
  }
};

struct TakenByHint : AsShipped {
  static constexpr bool takes_by_hint = true;
};
TEST(model, nothing_stays_idle_in_a_pool_that_closes) {
  expect_holds<ThePoolCloses<AsShipped>>(up_to_preemptions(3));
  expect_holds<ThePoolCloses<TakenByHint>>(up_to_preemptions(3));
}

struct GiverLooksOnce : AsShipped {
  static constexpr bool giver_looks_again_after_parking = false;
};
TEST(model, mutant_a_giver_that_does_not_look_again_whether_the_pool_closes) {
  expect_caught<ThePoolCloses<GiverLooksOnce>>(up_to_preemptions(4), rl::test_result_user_assert_failed);
}

struct TakerLooksNever : AsShipped {
  static constexpr bool taker_looks_after_taking = false;
};
TEST(model, mutant_a_taker_that_does_not_look_whether_the_pool_closed) {
  expect_caught<ThePoolCloses<TakerLooksNever>>(up_to_preemptions(4), rl::test_result_user_assert_failed);
}

struct WeakOrders : AsShipped {
  using Atomics = OrderedAtomics<Orders::no_total_order>;
};
TEST(model, mutant_a_slot_and_a_flag_without_a_common_order) {
  expect_caught<ThePoolCloses<WeakOrders>>(up_to_preemptions(4), rl::test_result_user_assert_failed);
}

}  // namespace
}  // namespace fastpool::model
