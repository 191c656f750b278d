#include "pool/slab.h"

#include <set>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace fastpool::pool {
namespace {

TEST(Slab, slots_keep_their_address_and_index) {
  Slab slab;
  std::vector<Slot*> slots;
  for (std::uint32_t i = 0; i < 1000; ++i)
    slots.push_back(slab.take());
  EXPECT_EQ(std::set<Slot*>(slots.begin(), slots.end()).size(), 1000U);
  for (Slot* slot : slots)
    EXPECT_EQ(slab.find(slot->index), slot);
}

TEST(Slab, an_unknown_index_has_no_slot) {
  Slab slab;
  EXPECT_EQ(slab.find(0), nullptr);
  (void)slab.take();
  EXPECT_NE(slab.find(Slab::chunk_size - 1), nullptr);
  EXPECT_EQ(slab.find(Slab::chunk_size), nullptr);
  EXPECT_EQ(slab.find(0xffffffffU), nullptr);
}

TEST(Slab, returned_slots_are_reused_before_the_slab_grows) {
  Slab slab;
  for (int round = 0; round < 3; ++round) {
    std::vector<Slot*> slots;
    for (std::uint32_t i = 0; i < Slab::chunk_size; ++i) {
      slots.push_back(slab.take());
      EXPECT_LT(slots.back()->index, Slab::chunk_size);
    }
    for (Slot* slot : slots)
      slab.give(*slot);
  }
}

TEST(Slab, threads_never_get_the_same_slot) {
  Slab slab;
  std::vector<std::vector<Slot*>> taken(4);
  std::vector<std::thread> threads;
  for (auto& mine : taken) {
    threads.emplace_back([&slab, &mine] {
      for (int i = 0; i < 2000; ++i) {
        mine.push_back(slab.take());
        if (i % 3 == 0) {
          slab.give(*mine.back());
          mine.pop_back();
        }
      }
    });
  }
  for (std::thread& thread : threads)
    thread.join();
  std::set<Slot*> all;
  std::size_t count = 0;
  for (const auto& mine : taken) {
    all.insert(mine.begin(), mine.end());
    count += mine.size();
  }
  EXPECT_EQ(all.size(), count);
}

}  // namespace
}  // namespace fastpool::pool
