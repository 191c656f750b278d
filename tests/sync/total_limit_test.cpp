#include "sync/total_limit.h"

#include <mutex>
#include <vector>

#include <gtest/gtest.h>

namespace fastpool::sync::test {
namespace {

struct Owner;
using Limit = BasicTotalLimit<Owner>;

/// A member whose callers wait for places.
struct Owner {
  std::mutex mutex;
  unsigned waiting = 0;
  Limit::Member room{*this};
};

/// Nothing of another member can be ended for a place.
struct NoRoom {
  [[nodiscard]] static bool drop_spare() { return false; }
  [[nodiscard]] static bool evict() { return false; }
};

/// Notes whose turn it was.
struct Host {
  struct Actions {};
  struct Notes {
    std::vector<Owner*> turns;
    unsigned stuck = 0;
  };
  Limit& limit;
  Notes& notes;

  [[nodiscard]] static std::unique_lock<std::mutex> lock(Owner& owner) { return std::unique_lock(owner.mutex); }
  [[nodiscard]] bool serve_locked(Owner& owner, Actions&) {
    notes.turns.push_back(&owner);
    const unsigned before = owner.waiting;
    while (owner.waiting != 0 && limit.take_or_starve_locked(owner.room, NoRoom{}) == Limit::Taken::yes)
      --owner.waiting;
    return owner.waiting != before;
  }
  [[nodiscard]] static bool perform(const Actions&) { return false; }
  void stuck() { ++notes.stuck; }
};

/// All places are the holder's. Two members starve: the first came before the second.
class StarvingMembers : public ::testing::Test {
 protected:
  StarvingMembers() {
    for (int i = 0; i < 2; ++i)
      EXPECT_EQ(limit_.take(holder_.room), Limit::Taken::yes);
    starve(first_);
    starve(second_);
  }
  void starve(Owner& owner) {
    ++owner.waiting;
    const std::lock_guard lock(owner.mutex);
    EXPECT_EQ(limit_.take_or_starve_locked(owner.room, NoRoom{}), Limit::Taken::total_limit);
  }
  void give_place() {
    limit_.give(holder_.room);
    limit_.relieve(Host{limit_, notes_});
  }

  Limit limit_{2, 2};
  Owner holder_;
  Owner first_;
  Owner second_;
  Host::Notes notes_;
};

TEST_F(StarvingMembers, get_places_in_the_order_in_which_they_came) {
  give_place();
  EXPECT_EQ(first_.room.places(), 1U);
  EXPECT_EQ(limit_.first_starving(), &second_);
  give_place();
  EXPECT_EQ(second_.room.places(), 1U);
  EXPECT_FALSE(limit_.has_starving());
}

TEST_F(StarvingMembers, end_the_round_when_the_first_gets_nothing) {
  limit_.relieve(Host{limit_, notes_});
  EXPECT_EQ(notes_.turns, std::vector{&first_}) << "another turn would find nothing either";
  EXPECT_EQ(notes_.stuck, 1U);
  EXPECT_EQ(limit_.all_starving(), (std::vector{&first_, &second_})) << "the first keeps its place in the list";
}

TEST_F(StarvingMembers, that_got_something_and_want_more_are_listed_again_at_the_end) {
  ++first_.waiting;
  give_place();
  EXPECT_EQ(first_.room.places(), 1U);
  EXPECT_EQ(limit_.all_starving(), (std::vector{&second_, &first_}));
  give_place();
  EXPECT_EQ(second_.room.places(), 1U);
  EXPECT_EQ(limit_.first_starving(), &first_);
}

}  // namespace
}  // namespace fastpool::sync::test
