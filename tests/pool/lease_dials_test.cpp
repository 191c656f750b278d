// A lease that connects on first use: its dial, later tries, and a lease that is returned during its dial.

#include "pool/pool_fixture.h"

namespace fastpool::pool::test {
namespace {

class Connecting : public PoolTest {
 protected:
  LeaseRef unconnected() { return *pool_->try_lease(*a_); }
};

TEST_F(Connecting, a_lease_survives_a_failed_dial_and_may_try_again) {
  make();
  const LeaseRef lease = unconnected();
  auto first = start_connect(lease);
  refuse_dial(refusal(true));
  EXPECT_EQ(first.get().error().code, ErrorCode::connect_failed);
  EXPECT_EQ(describe(), "1 leased");
  auto second = start_connect(lease);
  complete_dial();
  EXPECT_TRUE(second.get().ok());
  EXPECT_TRUE(pool_->release(lease, Reuse::yes()));
  EXPECT_EQ(describe(), "1 idle");
}

TEST_F(Connecting, a_dial_that_ends_after_the_callers_timeout_still_connects_the_lease) {
  make();
  const LeaseRef lease = unconnected();
  auto caller = start_connect(lease, patience(std::nullopt, seconds(1)));
  clock_.advance(seconds(2));
  EXPECT_EQ(caller.get().error().code, ErrorCode::connect_timeout);
  complete_dial();
  EXPECT_EQ(describe(), "1 leased");
  EXPECT_TRUE(pool_->connect(lease, {}).ok());
  EXPECT_EQ(dialer_.begun(), 1U);
  EXPECT_TRUE(pool_->release(lease, Reuse::yes()));
}

TEST_F(Connecting, a_second_try_uses_the_dial_under_way) {
  make();
  const LeaseRef lease = unconnected();
  auto first = start_connect(lease, patience(std::nullopt, seconds(1)));
  clock_.advance(seconds(2));
  EXPECT_FALSE(first.get().ok());
  auto second = start_connect(lease, patience(std::nullopt, seconds(1)));
  EXPECT_EQ(dialer_.begun(), 1U);
  complete_dial();
  EXPECT_TRUE(second.get().ok());
  EXPECT_TRUE(pool_->release(lease, Reuse::no()));
}

TEST_F(Connecting, a_second_try_ends_the_dial_that_the_first_try_gave_up_on) {
  make();
  const LeaseRef lease = unconnected();
  auto first = start_connect(lease, patience(std::nullopt, seconds(1)));
  clock_.advance(seconds(2));
  EXPECT_FALSE(first.get().ok());
  auto second = start_connect(lease, patience(std::nullopt, seconds(1)));
  EXPECT_TRUE(dialer_.hurried(lease.slot));
  EXPECT_LE(pool_->dial_deadline(*lease.slot), clock_.now());
  refuse_dial(refusal());
  EXPECT_TRUE(second.waits());
  EXPECT_EQ(dialer_.begun(), 2U);
  complete_dial();
  EXPECT_TRUE(second.get().ok());
  EXPECT_TRUE(pool_->release(lease, Reuse::no()));
}

TEST_F(Connecting, the_connection_dialed_for_a_returned_lease_is_parked) {
  make();
  const LeaseRef lease = unconnected();
  auto caller = start_connect(lease, patience(std::nullopt, seconds(1)));
  clock_.advance(seconds(2));
  EXPECT_FALSE(caller.get().ok());
  EXPECT_TRUE(pool_->release(lease, Reuse::no()));
  EXPECT_FALSE(pool_->find(lease.id()));
  EXPECT_EQ(describe(), "1 dialing");
  complete_dial();
  EXPECT_EQ(describe(), "1 idle");
  idle(*a_).release(Reuse::yes());
  EXPECT_EQ(describe(), "1 idle");
}

TEST_F(Connecting, the_dial_of_a_returned_lease_makes_room_for_a_waiter) {
  make(limits(1));
  const LeaseRef lease = unconnected();
  auto caller = start_connect(lease, patience(std::nullopt, seconds(1)));
  clock_.advance(seconds(2));
  EXPECT_FALSE(caller.get().ok());
  auto waiting = start_acquire(*a_);
  EXPECT_TRUE(pool_->release(lease, Reuse::no()));
  EXPECT_TRUE(becomes("1 dialing, 1 waiting"));
  EXPECT_EQ(dialer_.begun(), 2U) << "the caller of the first dial gave up, so the dial makes room";
  complete_dial(1);
  EXPECT_TRUE(waiting.get().ok());
}

TEST_F(Connecting, a_broken_connection_is_replaced_under_the_same_lease) {
  make();
  park(*a_, 1);
  const LeaseRef lease = *pool_->try_lease(*a_);
  pool_->disconnect(lease);
  EXPECT_TRUE(records_[0]->closed);
  EXPECT_EQ(describe(), "1 leased");
  auto caller = start_connect(lease);
  complete_dial();
  EXPECT_TRUE(caller.get().ok());
  EXPECT_EQ(record(lease).number, 2);
  EXPECT_TRUE(pool_->release(lease, Reuse::yes()));
  EXPECT_EQ(number(idle(*a_)), 2);
}

}  // namespace
}  // namespace fastpool::pool::test
