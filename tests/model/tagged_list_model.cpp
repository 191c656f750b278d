// The lists of cells: no cell is owned twice and none is lost, however often cells leave and come back.

#include "model/relacy_atomics.h"
#include "model/search.h"
#include "sync/tagged_list.h"

namespace fastpool::model {
namespace {

constexpr std::uint32_t cell_count = 3;

/// Mutant: every exchange loses the tag of the head, so that equal heads cannot be distinguished.
struct UntaggedAtomics {
  template <typename T>
  struct Atomic : RelacyAtomic<T, Orders::as_written> {
    using RelacyAtomic<T, Orders::as_written>::RelacyAtomic;
    bool compare_exchange_weak(T& expected, T desired) {
      return RelacyAtomic<T, Orders::as_written>::compare_exchange_weak(expected, desired & 0xffffffffU);
    }
  };
};

/// Cells and a list that holds all of them at first. An owner writes to its cell, as the pool does to a slot.
template <typename Atomics>
struct Cells {
  using List = sync::BasicTaggedList<Atomics>;
  static constexpr std::uint32_t none = List::none;

  List list;
  typename Atomics::template Atomic<std::uint32_t> links[cell_count];
  Plain<int> owners[cell_count];

  auto link() {
    return [this](std::uint32_t index) -> auto& { return links[index]; };
  }
  void fill() {
    for (std::uint32_t index = cell_count; index > 0; --index)
      list.push(index - 1, link());
  }
  void own(std::uint32_t index) {
    RL_ASSERT(owners[index].get() == 0);
    owners[index].set(1);
  }
  void give(std::uint32_t index) {
    owners[index].set(0);
    list.push(index, link());
  }
  std::uint32_t take() {
    const std::uint32_t index = list.pop(link());
    if (index != none) own(index);
    return index;
  }
  void take_and_give() {
    if (const std::uint32_t index = take(); index != none) give(index);
  }
  /// In the end each cell is in the list once.
  void expect_all() {
    for (std::uint32_t count = 0; count < cell_count; ++count)
      RL_ASSERT(take() != none);
    RL_ASSERT(list.pop(link()) == none);
  }
};

/// One thread pops while another takes two cells and pushes the first of them again: the head is the same, the cell below it
/// is not.
template <typename Atomics>
struct ThePopIsOvertaken : rl::test_suite<ThePopIsOvertaken<Atomics>, 2> {
  Cells<Atomics> cells;

  void before() { cells.fill(); }
  void thread(unsigned index) {
    if (index == 0) {
      const std::uint32_t first = cells.take();
      const std::uint32_t second = cells.take();
      if (first != cells.none) cells.give(first);
      if (second != cells.none) cells.give(second);
    } else {
      cells.take_and_give();
    }
  }
  void after() { cells.expect_all(); }
};

/// Three threads. One of them takes the whole chain at once, as the sweeper does.
template <typename Atomics>
struct OneTakesAll : rl::test_suite<OneTakesAll<Atomics>, 3> {
  Cells<Atomics> cells;

  void before() { cells.fill(); }
  void thread(unsigned index) {
    if (index == 0) {
      std::uint32_t chain[cell_count];
      std::uint32_t length = 0;
      for (std::uint32_t each = cells.list.take_all(); each != cells.none;) {
        const std::uint32_t next = cells.links[each].load(std::memory_order_relaxed);
        RL_ASSERT(length < cell_count);
        cells.own(each);
        chain[length++] = each;
        each = next;
      }
      while (length > 0)
        cells.give(chain[--length]);
    } else {
      cells.take_and_give();
      cells.take_and_give();
    }
  }
  void after() { cells.expect_all(); }
};

TEST(model, a_head_that_was_popped_and_pushed_again_is_recognized) {
  expect_holds<ThePopIsOvertaken<RelacyAtomics>>(up_to_preemptions(4));
}

TEST(model, a_chain_taken_whole_has_one_owner) {
  expect_holds<OneTakesAll<RelacyAtomics>>(random_schedules(200'000));
}

TEST(model, mutant_a_list_without_tags) {
  expect_caught<ThePopIsOvertaken<UntaggedAtomics>>(up_to_preemptions(4), rl::test_result_user_assert_failed);
}

TEST(model, mutant_a_list_whose_exchanges_publish_nothing) {
  expect_caught<ThePopIsOvertaken<OrderedAtomics<Orders::relaxed>>>(up_to_preemptions(4), rl::test_result_data_race);
}

}  // namespace
}  // namespace fastpool::model
