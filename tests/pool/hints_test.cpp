// The slot that a thread parked last is the one that it takes next, where it lies in the list; and how a slot ends that was
// taken so.

#include <thread>

#include "pool/pool_fixture.h"

namespace fastpool::pool::test {
namespace {

class Hints : public PoolTest {
 protected:
  /// Runs that on a thread of its own, which has no hint of this one's.
  template <typename Step>
  static void elsewhere(Step step) {
    std::thread(std::move(step)).join();
  }
};

TEST_F(Hints, a_thread_takes_back_what_it_parked_last_though_others_parked_after_it) {
  make();
  Lease mine = dialed(*a_);
  Lease others = dialed(*a_);
  const int number_of_mine = number(mine);
  mine.release(Reuse::yes());
  elsewhere([&] { others.release(Reuse::yes()); });
  for (int i = 0; i < 3; ++i) {
    Lease again = idle(*a_);
    EXPECT_EQ(number(again), number_of_mine);
    again.release(Reuse::yes());
  }
  EXPECT_EQ(describe(), "2 idle");
}

TEST_F(Hints, any_thread_may_take_what_another_parked) {
  make();
  park(*a_, 1);
  elsewhere([&] { idle(*a_).release(Reuse::yes()); });
  EXPECT_EQ(number(idle(*a_)), 1);
}

TEST_F(Hints, what_one_thread_has_by_hint_another_does_not_find) {
  make();
  park(*a_, 2);
  Lease mine = idle(*a_);
  elsewhere([&] {
    Lease theirs = idle(*a_);
    EXPECT_NE(number(theirs), number(mine));
    EXPECT_FALSE(pool_->try_acquire(*a_, true)) << "there are two";
    theirs.release(Reuse::yes());
  });
  mine.release(Reuse::yes());
  EXPECT_EQ(describe(), "2 idle");
  Lease one = idle(*a_);
  Lease two = idle(*a_);
  EXPECT_NE(number(one), number(two));
}

TEST_F(Hints, callers_that_wait_come_first) {
  make(limits(1));
  Lease mine = dialed(*a_);
  auto caller = start_acquire(*a_);
  mine.release(Reuse::yes());
  EXPECT_FALSE(pool_->try_acquire(*a_, true)) << "it was parked for the caller";
  Result<Lease> theirs = caller.get();
  ASSERT_TRUE(theirs.ok());
  auto second = start_acquire(*a_);
  std::move(theirs).value().release(Reuse::yes());
  EXPECT_TRUE(second.get().ok());
}

TEST_F(Hints, a_connection_that_has_expired_is_not_taken) {
  PoolSettings settings;
  settings.idle_timeout = seconds(30);
  make(settings);
  park(*a_, 1);
  clock_.advance(seconds(30));
  EXPECT_FALSE(pool_->try_acquire(*a_, true));
  EXPECT_TRUE(records_[0]->closed);
}

TEST_F(Hints, a_slot_that_serves_another_endpoint_by_now_is_not_taken) {
  make();
  Endpoint* b = endpoint("b");
  Lease of_a = dialed(*a_);
  const Slot* const slot = of_a.ref().slot;
  of_a.release(Reuse::yes());
  pool_->on_hang_up(records_[0]->token);  // frees the slot
  elsewhere([&] {
    Lease of_b = dialed(*b);
    EXPECT_EQ(of_b.ref().slot, slot);
    of_b.release(Reuse::yes());
  });
  EXPECT_EQ(describe(), "1 idle");
  ASSERT_FALSE(pool_->try_acquire(*a_, true));
  EXPECT_EQ(number(idle(*b)), 2);
}

TEST_F(Hints, those_of_an_ended_pool_name_nothing_in_the_next) {
  for (int i = 0; i < 20; ++i) {
    make();
    EXPECT_FALSE(pool_->try_acquire(*a_, true));
    park(*a_, 3);
    EXPECT_EQ(describe(), "3 idle");
    records_.back()->alive = true;
    holds_.clear();
    pool_->close();
  }
}

TEST_F(Hints, a_lease_that_is_closed_leaves_its_cell_behind_and_its_place_free) {
  make(limits(1));
  for (int i = 0; i < 100; ++i) {
    Lease lease = dialed(*a_);
    lease.release(Reuse::yes());
    idle(*a_).release(i % 2 == 0 ? Reuse::no() : Reuse::yes());
    if (i % 2 != 0) idle(*a_).release(Reuse::no());
    EXPECT_EQ(describe(), "empty");
  }
}

TEST_F(Hints, a_bare_lease_that_loses_its_connection_keeps_no_place_without_one) {
  make(limits(1));
  park(*a_, 1);
  const auto ref = pool_->try_lease(*a_);
  ASSERT_TRUE(ref);
  pool_->disconnect(*ref);
  EXPECT_TRUE(records_[0]->closed);
  EXPECT_TRUE(pool_->release(*ref, Reuse::yes()));
  EXPECT_EQ(describe(), "empty");
  EXPECT_TRUE(dialed(*a_));
}

TEST_F(Hints, a_bare_lease_whose_second_dial_goes_on_without_it_leaves_what_it_brings) {
  for (const bool succeeds : {true, false}) {
    make(limits(1));
    park(*a_, 1);
    const auto ref = pool_->try_lease(*a_);
    ASSERT_TRUE(ref);
    pool_->disconnect(*ref);
    auto connecting = start_connect(*ref);
    EXPECT_TRUE(pool_->release(*ref, Reuse::yes()));
    EXPECT_EQ(connecting.get().error().code, ErrorCode::stale_lease);
    if (succeeds) {
      complete_dial();
      EXPECT_EQ(describe(), "1 idle");
      idle(*a_).release(Reuse::no());
    } else {
      refuse_dial(refusal());
    }
    EXPECT_EQ(describe(), "empty");
    EXPECT_TRUE(dialed(*a_)) << "its place is free";
  }
}

}  // namespace
}  // namespace fastpool::pool::test
