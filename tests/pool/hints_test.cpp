// A thread takes the slot that it parked last, in place in the list. The tests also end slots that were taken in this way.

#include <thread>

#include "pool/pool_fixture.h"

namespace fastpool::pool::test {
namespace {

class Hints : public PoolTest {
 protected:
  /// Runs the step on another thread, which has its own hints.
  template <typename Step>
  static void elsewhere(Step step) {
    std::thread(std::move(step)).join();
  }
};

TEST_F(Hints, a_thread_takes_the_connection_that_it_parked_last) {
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

TEST_F(Hints, a_thread_may_take_a_connection_that_another_parked) {
  make();
  park(*a_, 1);
  elsewhere([&] { idle(*a_).release(Reuse::yes()); });
  EXPECT_EQ(number(idle(*a_)), 1);
}

TEST_F(Hints, a_connection_taken_by_hint_is_not_found_by_another_thread) {
  make();
  park(*a_, 2);
  Lease mine = idle(*a_);
  elsewhere([&] {
    Lease theirs = idle(*a_);
    EXPECT_NE(number(theirs), number(mine));
    EXPECT_FALSE(pool_->try_acquire(*a_, true)) << "the pool has two connections";
    theirs.release(Reuse::yes());
  });
  mine.release(Reuse::yes());
  EXPECT_EQ(describe(), "2 idle");
  Lease one = idle(*a_);
  Lease two = idle(*a_);
  EXPECT_NE(number(one), number(two));
}

TEST_F(Hints, waiting_callers_are_served_before_the_hint_is_used) {
  make(limits(1));
  Lease mine = dialed(*a_);
  auto caller = start_acquire(*a_);
  mine.release(Reuse::yes());
  EXPECT_FALSE(pool_->try_acquire(*a_, true)) << "the waiting caller comes first";
  Result<Lease> theirs = caller.get();
  ASSERT_TRUE(theirs.ok());
  auto second = start_acquire(*a_);
  std::move(theirs).value().release(Reuse::yes());
  EXPECT_TRUE(second.get().ok());
}

TEST_F(Hints, an_expired_connection_is_not_taken) {
  PoolSettings settings;
  settings.idle_timeout = seconds(30);
  make(settings);
  park(*a_, 1);
  clock_.advance(seconds(30));
  EXPECT_FALSE(pool_->try_acquire(*a_, true));
  EXPECT_TRUE(records_[0]->closed);
}

TEST_F(Hints, a_slot_that_now_serves_another_endpoint_is_not_taken) {
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

TEST_F(Hints, hints_of_a_destroyed_pool_do_not_apply_to_the_next_pool) {
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

TEST_F(Hints, closing_a_lease_taken_by_hint_frees_its_place) {
  make(limits(1));
  for (int i = 0; i < 100; ++i) {
    Lease lease = dialed(*a_);
    lease.release(Reuse::yes());
    idle(*a_).release(i % 2 == 0 ? Reuse::no() : Reuse::yes());
    if (i % 2 != 0) idle(*a_).release(Reuse::no());
    EXPECT_EQ(describe(), "empty");
  }
}

TEST_F(Hints, a_disconnected_bare_lease_leaves_no_vacant_place) {
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

TEST_F(Hints, the_second_dial_of_a_returned_bare_lease_leaves_its_connection_idle) {
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
    EXPECT_TRUE(dialed(*a_)) << "the place is free";
  }
}

}  // namespace
}  // namespace fastpool::pool::test
