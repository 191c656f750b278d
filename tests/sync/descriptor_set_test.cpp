#include "sync/descriptor_set.h"

#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace fastpool::sync {
namespace {

std::vector<int> take(DescriptorSet& set) {
  std::vector<int> taken;
  set.take_all([&](int number) { taken.push_back(number); });
  return taken;
}

TEST(DescriptorSet, returns_the_numbers_that_were_inserted_and_not_erased) {
  static DescriptorSet set;
  for (const int number : {0, 63, 64, 1000, DescriptorSet::capacity - 1})
    set.insert(number);
  EXPECT_TRUE(set.erase(64));
  EXPECT_FALSE(set.erase(64));
  EXPECT_TRUE(set.contains(63));
  EXPECT_EQ(take(set), (std::vector<int>{0, 63, 1000, DescriptorSet::capacity - 1}));
  EXPECT_TRUE(take(set).empty());
}

TEST(DescriptorSet, ignores_numbers_out_of_range) {
  static DescriptorSet set;
  set.insert(-1);
  set.insert(DescriptorSet::capacity);
  EXPECT_FALSE(set.contains(-1));
  EXPECT_FALSE(set.erase(DescriptorSet::capacity));
  EXPECT_TRUE(take(set).empty());
}

TEST(DescriptorSet, keeps_each_threads_numbers_beside_those_of_other_threads) {
  static DescriptorSet set;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([thread] {
      for (int round = 0; round < 1000; ++round) {
        set.insert(thread);
        EXPECT_TRUE(set.erase(thread));
      }
      set.insert(thread + 4);
    });
  }
  for (std::thread& thread : threads)
    thread.join();
  EXPECT_EQ(take(set), (std::vector<int>{4, 5, 6, 7}));
}

}  // namespace
}  // namespace fastpool::sync
