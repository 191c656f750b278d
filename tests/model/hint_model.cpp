// Taking a slot by a hint, where it lies in the list, among those who pop, sweep, reap and close it: one owner at a time, each
// cell in the list once or freed once, no tombstone counted wrongly, and never a connection of another endpoint.
//
// The list, the words and the counts are the shipped templates; what stands around them is as in src/pool/pool.cpp and
// reap.cpp.

#include "model/relacy_atomics.h"
#include "model/search.h"
#include "sync/atomics.h"
#include "sync/idle_list.h"
#include "sync/slot_word.h"

namespace fastpool::model {
namespace {

// ---- one cell, two threads with the same hint, and one who ends it ---------------------------------------------------

struct AsShipped {
  static constexpr bool pushes_only_what_is_unlinked = true;
  static constexpr bool counts_a_closed_cell_that_is_linked = true;
  static constexpr bool counts_before_the_step = true;
};

enum class Third : std::uint8_t { sweeps, reaps, closes };

template <typename Rules, Third third>
struct TwoHaveTheSameHint : rl::test_suite<TwoHaveTheSameHint<Rules, third>, 3> {
  using Atomics = RelacyAtomics;
  using Word = sync::BasicSlotWord<Atomics>;
  using State = typename Word::State;
  using List = sync::BasicIdleList<Atomics>;

  List idle;
  Word word;
  Atomics::Atomic<std::uint32_t> cell_link;
  sync::BasicCount<Atomics> tombstones;
  Plain<int> connection{1};
  int freed = 0;

  auto link() {
    return [this](std::uint32_t) -> auto& { return cell_link; };
  }
  void before() {
    RL_ASSERT(word.reserve_dial());
    RL_ASSERT(!idle.put(0, word.park_dialed(), link()));
  }
  void free_cell() {
    RL_ASSERT(connection.get() == 0);
    ++freed;
    word.free_closed();
  }
  void drop_tombstone(bool finished) {
    RL_ASSERT(tombstones.subtract() != ~0U);
    if (finished) free_cell();
  }
  void close_connection() {
    RL_ASSERT(connection.get() == 1);
    connection.set(0);
    if (word.finish_emptied()) free_cell();
  }
  typename List::Popped take() {
    if (const auto seen = word.load(); idle.take(word, seen)) return {0, seen};
    return idle.pop(
        List::For::newcomer, link(), [this](std::uint32_t) -> Word& { return word; },
        [this](std::uint32_t, bool finished) { drop_tombstone(finished); });
  }
  void park(std::uint32_t lease) {
    auto parked = word.park(lease);
    RL_ASSERT(parked);
    if (!Rules::pushes_only_what_is_unlinked) parked.linked = false;
    (void)idle.put(0, parked, link());
  }
  void close(std::uint32_t lease) {
    const bool linked = Rules::counts_a_closed_cell_that_is_linked && word.load().linked();
    if (linked && Rules::counts_before_the_step) tombstones.add();
    const auto step = word.begin_close(lease);
    RL_ASSERT(step);
    if (linked && !Rules::counts_before_the_step) tombstones.add();
    if (linked && !step.linked) tombstones.subtract();
    close_connection();
  }
  void use(bool closes) {
    const auto popped = take();
    if (popped.index == List::none) return;
    RL_ASSERT(connection.get() == 1);
    connection.set(1);
    if (closes) {
      close(popped.word.generation());
    } else {
      park(popped.word.generation());
    }
  }
  void reap() {
    const auto seen = word.load();
    if (seen.state() != State::idle) return;
    tombstones.add();
    if (word.try_reap(seen)) {
      close_connection();
    } else {
      tombstones.subtract();
    }
  }
  void sweep() {
    for (std::uint32_t index = idle.take_all(); index != List::none;) {
      const std::uint32_t next = cell_link.load(std::memory_order_relaxed);
      const auto change = word.unlink_unless_ready();
      if (change.after.linked()) {
        idle.put_back(index, link());
        return;  // there is one cell
      }
      if (change.before.state() == State::closing) drop_tombstone(change.after.finished());
      index = next;
    }
  }
  void thread(unsigned index) {
    if (index < 2) {
      use(false);
    } else if (third == Third::sweeps) {
      sweep();
    } else if (third == Third::reaps) {
      reap();
    } else {
      use(true);
    }
  }
  void after() {
    const auto popped = idle.pop(
        List::For::newcomer, link(), [this](std::uint32_t) -> Word& { return word; },
        [this](std::uint32_t, bool finished) { drop_tombstone(finished); });
    RL_ASSERT((popped.index != List::none) == (freed == 0));
    RL_ASSERT(idle.take_all() == List::none);
    RL_ASSERT(freed <= 1);
    RL_ASSERT(tombstones.get() == 0);
    RL_ASSERT(connection.get() == 1 - freed);
    RL_ASSERT(word.load().state() == (freed == 1 ? State::free : State::leased));
  }
};

TEST(model, a_slot_taken_by_hint_has_one_owner_and_is_listed_or_freed_once) {
  expect_holds<TwoHaveTheSameHint<AsShipped, Third::sweeps>>(up_to_preemptions(3));
  expect_holds<TwoHaveTheSameHint<AsShipped, Third::reaps>>(up_to_preemptions(3));
  expect_holds<TwoHaveTheSameHint<AsShipped, Third::closes>>(up_to_preemptions(3));
}

struct PushesAlways : AsShipped {
  static constexpr bool pushes_only_what_is_unlinked = false;
};
TEST(model, mutant_a_giver_that_pushes_a_cell_that_is_linked) {
  // The cell is its own successor.
  expect_caught<TwoHaveTheSameHint<PushesAlways, Third::reaps>>(up_to_preemptions(3), rl::test_result_livelock);
}

struct CountsNoClosed : AsShipped {
  static constexpr bool counts_a_closed_cell_that_is_linked = false;
};
TEST(model, mutant_a_linked_cell_that_is_closed_and_not_counted) {
  expect_caught<TwoHaveTheSameHint<CountsNoClosed, Third::closes>>(up_to_preemptions(3),
                                                                   rl::test_result_user_assert_failed);
}

struct CountsLate : AsShipped {
  static constexpr bool counts_before_the_step = false;
};
TEST(model, mutant_a_tombstone_that_is_counted_after_the_step) {
  expect_caught<TwoHaveTheSameHint<CountsLate, Third::closes>>(up_to_preemptions(3),
                                                               rl::test_result_user_assert_failed);
}

// ---- a slot that serves another endpoint by now ----------------------------------------------------------------------

struct Careful {
  static constexpr bool compares_the_endpoint = true;
  static constexpr bool takes_exactly_what_it_saw = true;
};

/// A thread remembers a slot of endpoint 1. It is closed meanwhile, and idle again for endpoint 2.
template <typename Rules>
struct ItServesAnotherEndpoint : rl::test_suite<ItServesAnotherEndpoint<Rules>, 2> {
  using Word = sync::BasicSlotWord<RelacyAtomics>;
  using State = typename Word::State;
  using List = sync::BasicIdleList<RelacyAtomics>;

  List idle;  // of endpoint 1
  Word word;
  RelacyAtomics::Atomic<int> endpoint{1};  // an Observable

  void before() {
    RL_ASSERT(word.reserve_dial());
    RL_ASSERT(word.park_dialed());
  }
  void thread(unsigned index) {
    if (index == 0) {
      auto seen = word.load();
      if (Rules::compares_the_endpoint && endpoint.load(std::memory_order_relaxed) != 1) return;
      if (!Rules::takes_exactly_what_it_saw) seen = word.load();
      if (idle.take(word, seen)) RL_ASSERT(endpoint.load(std::memory_order_relaxed) == 1);
    } else {
      const auto seen = word.load();
      if (seen.state() != State::idle || !word.try_reap(seen)) return;
      RL_ASSERT(!word.finish_emptied());
      RL_ASSERT(word.unlink().after.finished());
      word.free_closed();
      RL_ASSERT(word.reserve_dial());
      endpoint.store(2, std::memory_order_relaxed);
      RL_ASSERT(word.park_dialed());
    }
  }
};

TEST(model, a_hint_never_takes_a_connection_of_another_endpoint) {
  expect_holds<ItServesAnotherEndpoint<Careful>>(every_schedule());
}

struct ComparesNoEndpoint : Careful {
  static constexpr bool compares_the_endpoint = false;
};
TEST(model, mutant_a_hint_that_compares_no_endpoint) {
  expect_caught<ItServesAnotherEndpoint<ComparesNoEndpoint>>(every_schedule(), rl::test_result_user_assert_failed);
}

struct TakesWhatItFinds : Careful {
  static constexpr bool takes_exactly_what_it_saw = false;
};
TEST(model, mutant_a_hint_that_takes_a_word_that_it_loaded_again) {
  expect_caught<ItServesAnotherEndpoint<TakesWhatItFinds>>(every_schedule(), rl::test_result_user_assert_failed);
}

}  // namespace
}  // namespace fastpool::model
