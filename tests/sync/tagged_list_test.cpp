#include "sync/tagged_list.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace fastpool::sync {
namespace {

constexpr std::uint32_t none = TaggedList::none;

struct Cells {
  std::array<Link, 64> cells{};
  Link& operator()(std::uint32_t index) { return cells[index]; }
};

TEST(TaggedList, is_empty_at_first) {
  TaggedList list;
  Cells cells;
  EXPECT_TRUE(list.empty());
  EXPECT_EQ(list.pop(cells), none);
  EXPECT_EQ(list.take_all(), none);
}

TEST(TaggedList, returns_the_last_cell_first) {
  TaggedList list;
  Cells cells;
  for (const std::uint32_t index : {3U, 0U, 63U})
    list.push(index, cells);
  EXPECT_FALSE(list.empty());
  EXPECT_EQ(list.pop(cells), 63U);
  EXPECT_EQ(list.pop(cells), 0U);
  list.push(7, cells);
  EXPECT_EQ(list.pop(cells), 7U);
  EXPECT_EQ(list.pop(cells), 3U);
  EXPECT_EQ(list.pop(cells), none);
}

TEST(TaggedList, can_be_taken_whole) {
  TaggedList list;
  Cells cells;
  for (std::uint32_t index = 0; index < 5; ++index)
    list.push(index, cells);
  std::vector<std::uint32_t> chain;
  for (std::uint32_t index = list.take_all(); index != none; index = cells(index).load())
    chain.push_back(index);
  EXPECT_EQ(chain, (std::vector<std::uint32_t>{4, 3, 2, 1, 0}));
  EXPECT_TRUE(list.empty());
}

TEST(TaggedList, recognizes_a_head_that_was_popped_and_pushed_again) {
  TaggedList list;
  Cells cells;
  list.push(2, cells);
  list.push(1, cells);
  list.push(0, cells);
  // A pop has read head 0 and link 1. Then 0 and 1 are popped and 0 is pushed again, on top of 2. Without a tag the exchange
  // would succeed and make 1 the head, which another thread owns.
  struct StaleLink {
    Cells& cells;
    TaggedList& list;
    bool done = false;
    Link stale{1};
    Link& operator()(std::uint32_t index) {
      if (done) return cells(index);
      done = true;
      EXPECT_EQ(list.pop(cells), 0U);
      EXPECT_EQ(list.pop(cells), 1U);
      list.push(0, cells);
      return stale;
    }
  };
  EXPECT_EQ(list.pop(StaleLink{cells, list}), 0U);
  EXPECT_EQ(list.pop(cells), 2U);
  EXPECT_EQ(list.pop(cells), none);
}

TEST(TaggedList, loses_no_cell_and_gives_none_to_two_of_many_threads) {
  TaggedList list;
  Cells cells;
  std::array<std::atomic<int>, 64> owners{};
  for (std::uint32_t index = 0; index < 64; ++index)
    list.push(index, cells);
  std::atomic<bool> doubled{false};
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::vector<std::uint32_t> held;
      const auto own = [&](std::uint32_t index) {
        if (owners[index].fetch_add(1) != 0) doubled = true;
        held.push_back(index);
      };
      const auto give = [&] {
        const std::uint32_t index = held.back();
        held.pop_back();
        owners[index].fetch_sub(1);
        list.push(index, cells);
      };
      for (unsigned i = 0; i < 20'000; ++i) {
        if (const std::uint32_t index = list.pop(cells); index != none) own(index);
        if (held.size() > (i * 7 + t) % 4) give();
        if (t == 0 && i % 97 == 0) {
          // Like a sweep: takes all cells and pushes them again.
          std::vector<std::uint32_t> chain;
          for (std::uint32_t index = list.take_all(); index != none; index = cells(index).load())
            chain.push_back(index);
          for (const std::uint32_t index : chain)
            own(index);
          for (std::size_t n = chain.size(); n > 0; --n)
            give();
        }
      }
      while (!held.empty())
        give();
    });
  }
  for (std::thread& thread : threads)
    thread.join();
  EXPECT_FALSE(doubled);
  std::vector<std::uint32_t> all;
  for (std::uint32_t index = list.pop(cells); index != none; index = list.pop(cells))
    all.push_back(index);
  std::sort(all.begin(), all.end());
  ASSERT_EQ(all.size(), 64U);
  EXPECT_EQ(std::adjacent_find(all.begin(), all.end()), all.end());
}

}  // namespace
}  // namespace fastpool::sync
