#include "sync/lookup_table.h"

#include <atomic>
#include <map>
#include <new>
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

TEST(LookupTable, it_grows_and_finds_all_that_it_holds) {
  LookupTable<std::string, int, Hash, 2> table;
  for (int i = 0; i < 70'000; ++i) {
    put(table, std::to_string(i), i);
    // Around each doubling all are looked for, the one inserted last among them.
    const auto held = static_cast<unsigned>(i) + 1;
    if ((held & (held - 1)) != 0 && (held & (held - 2)) != 0) continue;
    for (int each = 0; each <= i; ++each) {
      const int* found = table.find(std::to_string(each));
      ASSERT_TRUE(found != nullptr && *found == each) << each << " of " << held;
    }
    ASSERT_EQ(table.find(std::to_string(i + 1)), nullptr);
  }
  EXPECT_EQ(table.size(), 70'000U);
}

TEST(LookupTable, a_value_that_could_not_be_made_leaves_no_trace) {
  LookupTable<std::string, int, Hash, 2> table;
  for (int i = 0; i < 20; ++i) {
    const std::string key = std::to_string(i);
    EXPECT_THROW((void)table.find_or_insert(key, []() -> std::unique_ptr<int> { throw std::bad_alloc(); }),
                 std::bad_alloc);
    EXPECT_EQ(table.find(key), nullptr);
    EXPECT_EQ(put(table, key, i), i);
  }
  EXPECT_EQ(table.size(), 20U);
}

TEST(LookupTable, a_reader_finds_what_was_there_before_it_looked_however_the_table_grows) {
  constexpr int keys = 5000;
  LookupTable<std::string, int, Hash, 2> table;
  std::atomic<int> inserted{0};
  std::vector<std::thread> readers;
  for (int t = 0; t < 3; ++t) {
    readers.emplace_back([&, t] {
      unsigned random = static_cast<unsigned>(t) + 1;
      for (int there = 0; there < keys; there = inserted) {
        random = random * 1664525U + 1013904223U;
        const int key = there == 0 ? 0 : static_cast<int>((random >> 8) % static_cast<unsigned>(there));
        const int* found = table.find(std::to_string(key));
        if (there != 0 || found != nullptr) {
          EXPECT_TRUE(found != nullptr && *found == key) << key << " of " << there;
        }
        int visited = 0;
        if (random % 64 == 0) {
          table.for_each([&](const std::string&, int&) { ++visited; });
          EXPECT_GE(visited, there);
        }
      }
    });
  }
  for (int key = 0; key < keys; ++key) {
    put(table, std::to_string(key), key);
    inserted = key + 1;
  }
  for (std::thread& reader : readers)
    reader.join();
}

}  // namespace
}  // namespace fastpool::sync
