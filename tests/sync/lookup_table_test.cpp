#include "sync/lookup_table.h"

#include <atomic>
#include <map>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace fastpool::sync {
namespace {

struct Hash {
  std::size_t operator()(std::string_view key) const noexcept { return std::hash<std::string_view>{}(key); }
};
struct Collide {
  std::size_t operator()(std::string_view) const noexcept { return 7; }
};

template <typename Table>
int& put(Table& table, const std::string& key, int value) {
  return table.find_or_insert(key, [&] { return std::make_unique<int>(value); });
}

TEST(LookupTable, finds_what_was_inserted_and_nothing_else) {
  LookupTable<std::string, int, Hash> table;
  EXPECT_EQ(table.find("a"), nullptr);
  put(table, "a", 1);
  put(table, "b", 2);
  ASSERT_NE(table.find("a"), nullptr);
  EXPECT_EQ(*table.find(std::string_view("a")), 1) << "by any key that compares";
  EXPECT_EQ(*table.find("b"), 2);
  EXPECT_EQ(table.find("c"), nullptr);
  EXPECT_EQ(table.size(), 2U);
}

TEST(LookupTable, a_key_that_is_there_is_not_made_again) {
  LookupTable<std::string, int, Hash> table;
  int& first = put(table, "a", 1);
  int& second = table.find_or_insert("a", []() -> std::unique_ptr<int> {
    ADD_FAILURE() << "made again";
    return std::make_unique<int>(9);
  });
  EXPECT_EQ(&first, &second);
  EXPECT_EQ(table.size(), 1U);
}

TEST(LookupTable, keys_that_collide_are_told_apart) {
  LookupTable<std::string, int, Collide> table;
  for (int i = 0; i < 100; ++i)
    put(table, std::to_string(i), i);
  for (int i = 0; i < 100; ++i)
    EXPECT_EQ(*table.find(std::to_string(i)), i);
  EXPECT_EQ(table.find("100"), nullptr);
}

TEST(LookupTable, values_never_move) {
  LookupTable<std::string, int, Hash, 4> table;
  std::map<std::string, int*> where;
  for (int i = 0; i < 1000; ++i)
    where[std::to_string(i)] = &put(table, std::to_string(i), i);
  std::size_t visited = 0;
  table.for_each([&](const std::string& key, int& value) {
    EXPECT_EQ(&value, where.at(key));
    ++visited;
  });
  EXPECT_EQ(visited, 1000U);
}

TEST(LookupTable, threads_agree_on_one_value_per_key_and_readers_see_it_whole) {
  struct Value {
    int one;
    int two;
  };
  LookupTable<std::string, Value, Hash, 8> table;
  std::atomic<int> made{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 500; ++i) {
        const std::string key = std::to_string(i);
        if (const Value* seen = table.find(key)) {
          EXPECT_TRUE(seen->one == i && seen->two == -i);
        }
        const Value& value = table.find_or_insert(key, [&] {
          made.fetch_add(1);
          return std::make_unique<Value>(Value{i, -i});
        });
        EXPECT_TRUE(value.one == i && value.two == -i);
      }
    });
  }
  for (std::thread& thread : threads)
    thread.join();
  EXPECT_EQ(made, 500);
  EXPECT_EQ(table.size(), 500U);
}

}  // namespace
}  // namespace fastpool::sync
