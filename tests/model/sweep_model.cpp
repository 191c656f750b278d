// Reaping below the head of the list, and the sweep that unlinks what was reaped: each cell stays in the list or is freed,
// once; and whoever meets the list while a sweep has it out is served when the sweep ends.
//
// The lists, the slot words, the flag and the parker are the shipped templates; pop, reap and sweep stand here as
// src/pool/ has them.

#include "model/relacy_atomics.h"
#include "model/search.h"
#include "sync/atomics.h"
#include "sync/idle_list.h"
#include "sync/parker.h"
#include "sync/slot_word.h"

namespace fastpool::model {
namespace {

struct AsShipped {
  using Atomics = RelacyAtomics;
  static constexpr bool takes_by_hint = false;
  static constexpr bool sweeper_looks_who_waits = true;
  static constexpr bool flag_is_cleared_before_that_look = true;
  static constexpr bool sweeper_frees_only_what_is_emptied = true;
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
  sync::BasicFlag<Atomics> sweeping;
  Word words[cell_count];
  typename Atomics::template Atomic<std::uint32_t> links[cell_count];
  Plain<int> connections[cell_count];
  int freed[cell_count] = {};

  // Guarded by the lock: the one who waits.
  rl::mutex mutex;
  Plain<bool> queued{false};
  Plain<std::uint32_t> handed{none};
  sync::BasicParker<Atomics, RelacyFutex> parker;

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
  void free_cell(std::uint32_t index) {
    RL_ASSERT(connections[index].get() == 0);
    ++freed[index];
    words[index].free_closed();
  }
  void drop_tombstone(std::uint32_t index, bool finished) {
    if (finished || !Rules::sweeper_frees_only_what_is_emptied) free_cell(index);
  }
  std::uint32_t pop_idle(typename List::For who) {
    return idle
        .pop(
            who, link(), [this](std::uint32_t index) -> Word& { return words[index]; },
            [this](std::uint32_t index, bool finished) { drop_tombstone(index, finished); })
        .index;
  }

  void dispatch_locked() {
    if (!queued.get()) return;
    const std::uint32_t index = pop_idle(List::For::waiter);
    // A sweep has the list out: what it brings back is dispatched when it ends. Else a dial is started, which always serves.
    if (index == none && sweeping.get()) return;
    queued.set(false);
    idle.leave();
    handed.set(index);
    parker.unpark();
  }
  /// \returns `none` if a dial was started for it.
  std::uint32_t acquire() {
    if (const auto seen = words[0].load(); Rules::takes_by_hint && idle.take(words[0], seen)) return 0;
    if (const std::uint32_t index = pop_idle(List::For::newcomer); index != none) return index;
    {
      Lock lock(mutex);
      idle.join();
      queued.set(true);
      dispatch_locked();
    }
    for (;;) {
      {
        Lock lock(mutex);
        if (!queued.get()) return handed.get();
      }
      (void)parker.park_until(TimePoint::max());
    }
  }
  void release(std::uint32_t index) {
    const auto parked = words[index].park(words[index].load().generation());
    RL_ASSERT(parked);
    if (!idle.put(index, parked, link())) return;
    Lock lock(mutex);
    dispatch_locked();
  }

  void reap(std::uint32_t index) {
    if (!words[index].try_reap(words[index].load())) return;
    connections[index].set(0);
    if (words[index].finish_emptied()) free_cell(index);
  }

  void look_who_waits() {
    if (!Rules::sweeper_looks_who_waits || idle.waiting() == 0) return;
    Lock lock(mutex);
    dispatch_locked();
  }
  void sweep() {
    if (!sweeping.try_set()) return;
    std::uint32_t living[cell_count];
    std::uint32_t count = 0;
    for (std::uint32_t index = idle.take_all(); index != none;) {
      const std::uint32_t next = links[index].load(std::memory_order_relaxed);
      const auto change = words[index].unlink_unless_ready();
      if (change.after.linked()) {
        living[count++] = index;
      } else if (change.before.state() == State::closing) {
        drop_tombstone(index, change.after.finished());
      }
      index = next;
    }
    while (count > 0)
      idle.put_back(living[--count], link());
    if (!Rules::flag_is_cleared_before_that_look) look_who_waits();
    sweeping.clear();
    if (Rules::flag_is_cleared_before_that_look) look_who_waits();
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
    RL_ASSERT(!sweeping.get());
    RL_ASSERT(idle.waiting() == 0);
    int living[cell_count] = {};
    for (std::uint32_t index = pop_idle(List::For::waiter); index != none; index = pop_idle(List::For::waiter))
      ++living[index];
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

struct SweeperGoesAway : AsShipped {
  static constexpr bool sweeper_looks_who_waits = false;
};
TEST(model, mutant_a_sweeper_that_leaves_without_a_look_who_waits) {
  expect_caught<ASweepMeetsAnAcquirerAndAReaper<SweeperGoesAway>>(random_schedules(300'000), rl::test_result_deadlock);
}

struct FlagIsClearedLate : AsShipped {
  static constexpr bool flag_is_cleared_before_that_look = false;
};
TEST(model, mutant_a_sweeper_that_looks_before_it_clears_its_flag) {
  expect_caught<ASweepMeetsAnAcquirerAndAReaper<FlagIsClearedLate>>(random_schedules(300'000),
                                                                    rl::test_result_deadlock);
}

struct WeakOrders : AsShipped {
  using Atomics = OrderedAtomics<Orders::no_total_order>;
};
TEST(model, mutant_a_sweep_and_a_count_without_a_common_order) {
  expect_caught<ASweepMeetsAnAcquirerAndAReaper<WeakOrders>>(random_schedules(300'000), rl::test_result_deadlock);
}

struct SweeperFreesAtOnce : AsShipped {
  static constexpr bool sweeper_frees_only_what_is_emptied = false;
};
TEST(model, mutant_a_sweeper_that_frees_what_is_being_closed) {
  expect_caught<ASweepMeetsAnAcquirerAndAReaper<SweeperFreesAtOnce>>(random_schedules(300'000),
                                                                     rl::test_result_data_race);
}

}  // namespace
}  // namespace fastpool::model
