// A thread takes a slot by a hint, in place in the list, while other threads pop, sweep, reap and close it: the slot has one
// owner at a time, each cell is in the list once or freed once, every tombstone is counted, and the thread never takes a
// connection of another endpoint.
//
// The list, the words, the tombstones, the sweep, and the orders in which a slot is parked and ends are the shipped templates.
// That a thread tries its hint before it pops, and parks or closes what it has used, is the model's choice of what a user does.

#include "model/relacy_atomics.h"
#include "model/search.h"
#include "sync/atomics.h"
#include "sync/idle_list.h"
#include "sync/parking.h"
#include "sync/slot_end.h"
#include "sync/slot_word.h"
#include "sync/tombstones.h"

namespace fastpool::model {
namespace {

// ---- one cell, two threads with the same hint, and one thread that ends it -------------------------------------------

/// What a mutant replaces.
struct AsShipped {
  using Tombstones = sync::BasicTombstones<RelacyAtomics>;
  using Parking = sync::Parking;
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
  typename Rules::Tombstones tombstones;
  sync::BasicCount<Atomics> dropped_dials;
  Plain<int> connection{1};
  int freed = 0;

  auto link() {
    return [this](std::uint32_t) -> auto& { return cell_link; };
  }
  void before() {
    RL_ASSERT(word.reserve_dial());
    RL_ASSERT(!idle.put(0, word.park_dialed(), link()));
  }
  auto give_cell() {
    return [this] {
      RL_ASSERT(connection.get() == 0);
      ++freed;
    };
  }
  void drop_tombstone(bool finished) {
    RL_ASSERT(tombstones.count() != 0);
    sync::SlotEnd::unlinked(tombstones, word, finished, give_cell());
  }
  void close_connection() {
    RL_ASSERT(connection.get() == 1);
    connection.set(0);
    sync::SlotEnd::finish(word, give_cell());
  }
  typename List::Popped take() {
    if (const auto taken = idle.take(0, word, [] { return true; })) return taken;
    return idle.pop(
        List::For::newcomer, link(), [this](std::uint32_t) -> Word& { return word; },
        [this](std::uint32_t, bool finished) { drop_tombstone(finished); });
  }
  /// A lease whose connection becomes idle. No caller waits.
  struct Returned : sync::ParkingHost {
    TwoHaveTheSameHint& model;
    std::uint32_t lease;

    Returned(TwoHaveTheSameHint& its_model, std::uint32_t its_lease) : model(its_model), lease(its_lease) {}
    auto make_ready() { return model.word.park(lease); }
    bool list(typename Word::Step parked) { return model.idle.put(0, parked, model.link()); }
  };
  void park(std::uint32_t lease) { RL_ASSERT(Rules::Parking::park(Returned(*this, lease))); }
  void close(std::uint32_t lease) {
    RL_ASSERT(tombstones.close(word, [&] { return word.begin_close(lease); }));
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
    const auto step = [&] { return tombstones.reap(word, seen); };
    if (sync::SlotEnd::reap(seen, dropped_dials, step, [] {})) close_connection();
  }
  void sweep() {
    tombstones.sweep(
        link(), [this](std::uint32_t) -> Word& { return word; },
        [this](std::uint32_t, bool finished) { drop_tombstone(finished); }, [] {}, idle);
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
    RL_ASSERT(tombstones.count() == 0);
    RL_ASSERT(connection.get() == 1 - freed);
    RL_ASSERT(word.load().state() == (freed == 1 ? State::free : State::leased));
  }
};

TEST(model, a_slot_taken_by_hint_has_one_owner_and_is_listed_or_freed_once) {
  expect_holds<TwoHaveTheSameHint<AsShipped, Third::sweeps>>(up_to_preemptions(3));
  expect_holds<TwoHaveTheSameHint<AsShipped, Third::reaps>>(up_to_preemptions(3));
  expect_holds<TwoHaveTheSameHint<AsShipped, Third::closes>>(up_to_preemptions(3));
}

/// Mutant: a cell is listed though it is linked.
template <typename Host>
struct ListsAlways : Host {
  template <typename Step>
  bool list(Step parked) {
    parked.linked = false;
    return Host::list(parked);
  }
};
struct ParkingListsAlways : sync::Parking {
  template <typename Host>
  static bool park(const Host& host) {
    return sync::Parking::park(ListsAlways<Host>{host});
  }
};
struct PushesAlways : AsShipped {
  using Parking = ParkingListsAlways;
};
TEST(model, mutant_a_giver_that_pushes_a_cell_that_is_linked) {
  // The cell is its own successor.
  expect_caught<TwoHaveTheSameHint<PushesAlways, Third::reaps>>(up_to_preemptions(3), rl::test_result_livelock);
}

/// Mutant: a cell that is closed is not counted.
struct TombstonesOfNoClosed : sync::BasicTombstones<RelacyAtomics> {
  template <typename MakeStep>
  Step close(const Word&, MakeStep make_step) {
    return make_step();
  }
};
struct CountsNoClosed : AsShipped {
  using Tombstones = TombstonesOfNoClosed;
};
TEST(model, mutant_a_linked_cell_that_is_closed_and_not_counted) {
  expect_caught<TwoHaveTheSameHint<CountsNoClosed, Third::closes>>(up_to_preemptions(3),
                                                                   rl::test_result_user_assert_failed);
}

/// Mutant: the tombstone is counted after the step.
struct TombstonesCountedLate : sync::BasicTombstones<RelacyAtomics> {
  template <typename MakeStep>
  Step close(const Word&, MakeStep make_step) {
    const Step made = make_step();
    if (made.linked) (void)sync::BasicTombstones<RelacyAtomics>::close(linked_, [&] { return made; });
    return made;
  }

 private:
  /// A linked word, so that the base counts.
  struct LinkedWord : Word {
    LinkedWord() { RL_ASSERT(reserve_dial() && park_dialed()); }
  } linked_;
};
struct CountsLate : AsShipped {
  using Tombstones = TombstonesCountedLate;
};
TEST(model, mutant_a_tombstone_that_is_counted_after_the_step) {
  expect_caught<TwoHaveTheSameHint<CountsLate, Third::closes>>(up_to_preemptions(3),
                                                               rl::test_result_user_assert_failed);
}

// ---- a slot that now serves another endpoint -------------------------------------------------------------------------

struct Careful {
  using Word = sync::BasicSlotWord<RelacyAtomics>;
  static constexpr bool compares_the_endpoint = true;
};

/// A thread remembers a slot of endpoint 1. Meanwhile the slot is closed, and becomes idle again for endpoint 2.
template <typename Rules>
struct ItServesAnotherEndpoint : rl::test_suite<ItServesAnotherEndpoint<Rules>, 2> {
  using Word = typename Rules::Word;
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
      const auto fits = [&] { return !Rules::compares_the_endpoint || endpoint.load(std::memory_order_relaxed) == 1; };
      if (idle.take(0, word, fits)) RL_ASSERT(endpoint.load(std::memory_order_relaxed) == 1);
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

/// Mutant: the word is loaded again before it is taken.
struct ReloadedWord : sync::BasicSlotWord<RelacyAtomics> {
  using Base = sync::BasicSlotWord<RelacyAtomics>;
  bool take(const View&) { return Base::take(load()); }
};
struct TakesWhatItFinds : Careful {
  using Word = ReloadedWord;
};
TEST(model, mutant_a_hint_that_takes_a_word_that_it_loaded_again) {
  expect_caught<ItServesAnotherEndpoint<TakesWhatItFinds>>(every_schedule(), rl::test_result_user_assert_failed);
}

}  // namespace
}  // namespace fastpool::model
