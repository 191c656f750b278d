// A thread reaps slots below the head of the list, and a sweep unlinks them: each cell stays in the list or is freed, once. A
// caller that finds the list empty because a sweep has taken it out is served when the sweep ends.
//
// The lists, the slot words, the tombstones with their sweep, the queue, the orders in which a slot is parked and ends, and the
// parker are the shipped templates. The model's threads do what a user may choose: acquire and release, sweep, reap.

#include "model/relacy_atomics.h"

#include <mutex>

#include "model/search.h"
#include "sync/atomics.h"
#include "sync/idle_list.h"
#include "sync/parker.h"
#include "sync/parking.h"
#include "sync/slot_end.h"
#include "sync/slot_word.h"
#include "sync/tombstones.h"
#include "sync/waiter_queue.h"

namespace fastpool::model {
namespace {

/// What a mutant replaces.
struct AsShipped {
  using Atomics = RelacyAtomics;
  using Tombstones = sync::BasicTombstones<Atomics>;
  using SlotEnd = sync::SlotEnd;
  static constexpr bool takes_by_hint = false;
};

template <typename Rules>
struct ASweepMeetsAnAcquirerAndAReaper : rl::test_suite<ASweepMeetsAnAcquirerAndAReaper<Rules>, 3> {
  using Atomics = typename Rules::Atomics;
  using Word = sync::BasicSlotWord<Atomics>;
  using State = typename Word::State;
  using List = sync::BasicIdleList<Atomics>;
  static constexpr std::uint32_t none = List::none;
  static constexpr std::uint32_t cell_count = 2;

  List idle;
  typename Rules::Tombstones tombstones;
  Word words[cell_count];
  typename Atomics::template Atomic<std::uint32_t> links[cell_count];
  sync::BasicCount<Atomics> dropped_dials;
  Plain<int> connections[cell_count];
  int freed[cell_count] = {};

  /// The waiting caller. The lock guards all members but the parker.
  struct Waiter {
    Plain<bool> done{false};
    Plain<std::uint32_t> handed{none};
    sync::BasicParker<Atomics, RelacyFutex> parker;
    std::uint64_t turn = 0;
    Waiter* previous = nullptr;
    Waiter* next = nullptr;
    void wake() { parker.unpark(); }
  } waiter;
  Mutex mutex;
  sync::BasicWaiterQueue<Waiter, Atomics> queue{idle};

  auto link() {
    return [this](std::uint32_t index) -> auto& { return links[index]; };
  }
  void before() {
    for (std::uint32_t index = 0; index < cell_count; ++index) {
      RL_ASSERT(words[index].reserve_dial());
      connections[index].set(1);
      RL_ASSERT(!idle.put(index, words[index].park_dialed(), link()));
    }
  }
  auto give_cell(std::uint32_t index) {
    return [this, index] {
      RL_ASSERT(connections[index].get() == 0);
      ++freed[index];
    };
  }
  void drop_tombstone(std::uint32_t index, bool finished) {
    RL_ASSERT(tombstones.count() != 0);
    Rules::SlotEnd::unlinked(tombstones, words[index], finished, give_cell(index));
  }
  auto words_of() {
    return [this](std::uint32_t index) -> Word& { return words[index]; };
  }
  auto drop() {
    return [this](std::uint32_t index, bool finished) { drop_tombstone(index, finished); };
  }
  typename List::Popped pop_idle(typename List::For who) { return idle.pop(who, link(), words_of(), drop()); }

  void hand(Waiter& first, std::uint32_t index) {
    queue.end(first, [&] { first.handed.set(index); });
  }
  void dispatch_locked() {
    // Without a sweep a dial is started, which always serves.
    queue.dispatch([this] { return pop_idle(List::For::waiter); },
                   [this](Waiter& first, const auto& popped) { hand(first, popped.index); },
                   [this] { return tombstones.sweeping(); }, [this] { hand(*queue.front(), none); });
  }
  void dispatch() {
    const std::lock_guard lock(mutex);
    dispatch_locked();
  }
  /// \returns `none` if a dial was started for the caller.
  std::uint32_t acquire() {
    if (Rules::takes_by_hint && idle.take(0, words[0], [] { return true; })) return 0;
    if (const auto popped = pop_idle(List::For::newcomer)) return popped.index;
    {
      const std::lock_guard lock(mutex);
      queue.join(waiter);
      dispatch_locked();
    }
    for (;;) {
      {
        const std::lock_guard lock(mutex);
        if (waiter.done.get()) return waiter.handed.get();
      }
      (void)waiter.parker.park_until(TimePoint::max());
    }
  }
  /// A lease whose connection becomes idle.
  struct Returned : sync::ParkingHost {
    ASweepMeetsAnAcquirerAndAReaper& model;
    std::uint32_t index;

    Returned(ASweepMeetsAnAcquirerAndAReaper& its_model, std::uint32_t its_index)
        : model(its_model), index(its_index) {}
    auto make_ready() { return model.words[index].park(model.words[index].load().generation()); }
    bool list(typename Word::Step parked) { return model.idle.put(index, parked, model.link()); }
    void serve() { model.dispatch(); }
  };
  void release(std::uint32_t index) { RL_ASSERT(sync::Parking::park(Returned(*this, index))); }

  void reap(std::uint32_t index) {
    Word& word = words[index];
    const auto seen = word.load();
    const auto step = [&] { return tombstones.reap(word, seen); };
    if (!Rules::SlotEnd::reap(seen, dropped_dials, step, [] {})) return;
    connections[index].set(0);
    Rules::SlotEnd::finish(word, give_cell(index));
  }

  void sweep() {
    tombstones.sweep(
        link(), words_of(), drop(),
        [this] {
          if (idle.waiting() != 0) dispatch();
        },
        idle);
  }

  void thread(unsigned index) {
    if (index == 0) {
      const std::uint32_t cell = acquire();
      if (cell == none) return;
      RL_ASSERT(connections[cell].get() == 1);
      connections[cell].set(1);
      release(cell);
    } else if (index == 1) {
      sweep();
    } else {
      reap(0);
      reap(1);
    }
  }
  void after() {
    RL_ASSERT(!tombstones.sweeping());
    RL_ASSERT(idle.waiting() == 0);
    int living[cell_count] = {};
    while (const auto popped = pop_idle(List::For::waiter))
      ++living[popped.index];
    RL_ASSERT(tombstones.count() == 0);
    for (std::uint32_t index = 0; index < cell_count; ++index) {
      RL_ASSERT(living[index] + freed[index] == 1);
      RL_ASSERT(connections[index].get() == living[index]);
    }
  }
};

struct TakesByHint : AsShipped {
  static constexpr bool takes_by_hint = true;
};
TEST(model, a_sweep_loses_no_cell_and_frees_none_twice) {
  expect_holds<ASweepMeetsAnAcquirerAndAReaper<AsShipped>>(up_to_preemptions(1));
  expect_holds<ASweepMeetsAnAcquirerAndAReaper<AsShipped>>(random_schedules(200'000));
  expect_holds<ASweepMeetsAnAcquirerAndAReaper<TakesByHint>>(random_schedules(200'000));
}

/// Mutant: the sweep ends without a check for waiters.
struct TombstonesLeftUnserved : sync::BasicTombstones<RelacyAtomics> {
  template <typename Links, typename Words, typename Drop, typename Serve, typename List>
  void sweep(Links links, Words words, Drop drop, Serve, List& list) {
    sync::BasicTombstones<RelacyAtomics>::sweep(links, words, drop, [] {}, list);
  }
};
struct SweeperGoesAway : AsShipped {
  using Tombstones = TombstonesLeftUnserved;
};
TEST(model, mutant_a_sweeper_that_ends_without_a_check_for_waiters) {
  expect_caught<ASweepMeetsAnAcquirerAndAReaper<SweeperGoesAway>>(random_schedules(300'000), rl::test_result_deadlock);
}

/// Mutant: the flag is still set when the sweep checks for waiters.
struct TombstonesServedEarly : sync::BasicTombstones<RelacyAtomics> {
  template <typename Links, typename Words, typename Drop, typename Serve, typename List>
  void sweep(Links links, Words words, Drop drop, Serve serve, List& list) {
    if (!late_.try_set()) return;
    sync::BasicTombstones<RelacyAtomics>::sweep(links, words, drop, serve, list);
    late_.clear();
  }
  [[nodiscard]] bool sweeping() const { return late_.get(); }

 private:
  sync::BasicFlag<RelacyAtomics> late_;
};
struct FlagIsClearedLate : AsShipped {
  using Tombstones = TombstonesServedEarly;
};
TEST(model, mutant_a_sweeper_that_checks_for_waiters_before_it_clears_its_flag) {
  expect_caught<ASweepMeetsAnAcquirerAndAReaper<FlagIsClearedLate>>(random_schedules(300'000),
                                                                    rl::test_result_deadlock);
}

struct WeakOrders : AsShipped {
  using Atomics = OrderedAtomics<Orders::no_total_order>;
  using Tombstones = sync::BasicTombstones<Atomics>;
};
TEST(model, mutant_a_sweep_and_a_count_without_a_common_order) {
  expect_caught<ASweepMeetsAnAcquirerAndAReaper<WeakOrders>>(random_schedules(300'000), rl::test_result_deadlock);
}

/// Mutant: the thread that unlinks a tombstone frees it, whether or not the other parties are done with it.
struct SlotEndOfOneParty : sync::SlotEnd {
  template <typename Tombstones, typename Word, typename Give>
  static void unlinked(Tombstones& tombstones, Word& word, bool, Give give) {
    sync::SlotEnd::unlinked(tombstones, word, true, give);
  }
};
struct SweeperFreesAtOnce : AsShipped {
  using SlotEnd = SlotEndOfOneParty;
};
TEST(model, mutant_a_sweeper_that_frees_a_slot_that_is_being_closed) {
  expect_caught<ASweepMeetsAnAcquirerAndAReaper<SweeperFreesAtOnce>>(random_schedules(300'000),
                                                                     rl::test_result_user_assert_failed);
}

}  // namespace
}  // namespace fastpool::model
