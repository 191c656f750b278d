// An endpoint that waits at the total limit: what makes room for it, and when.

#include "pool/pool_fixture.h"

namespace fastpool::pool::test {
namespace {

class Starving : public PoolTest {};

TEST_F(Starving, an_endpoint_gets_the_place_of_another_endpoints_closed_connection) {
  make(limits(5, 1));
  Endpoint* b = endpoint("b");
  Lease held = dialed(*a_);
  auto caller = start_acquire(*b);
  EXPECT_EQ(describe(), "1 leased, 1 waiting");
  held.release(Reuse::no());
  complete_dial();
  EXPECT_TRUE(caller.get().ok());
}

TEST_F(Starving, an_endpoint_gets_the_place_of_another_endpoints_returned_connection) {
  make(limits(5, 1));
  Endpoint* b = endpoint("b");
  Lease held = dialed(*a_);
  auto caller = start_acquire(*b);
  held.release(Reuse::yes());
  EXPECT_TRUE(records_[0]->closed) << "closed to make room for the waiter";
  complete_dial();
  EXPECT_TRUE(caller.get().ok());
  EXPECT_EQ(pool_->stats().evicted, 1U);
}

TEST_F(Starving, a_bare_lease_gets_the_place_of_another_endpoints_returned_connection) {
  make(limits(5, 1));
  Endpoint* b = endpoint("b");
  Lease held = dialed(*a_);
  auto caller = start_lease(*b);
  EXPECT_EQ(describe(), "1 leased, 1 waiting");
  held.release(Reuse::yes());
  auto lease = caller.get();
  ASSERT_TRUE(lease.ok());
  EXPECT_TRUE(pool_->release(*lease, Reuse::no()));
}

TEST_F(Starving, an_endpoint_gets_the_place_of_another_endpoints_failed_dial) {
  make(limits(5, 1));
  Endpoint* b = endpoint("b");
  auto dialing = start_acquire(*a_);
  auto caller = start_acquire(*b);
  refuse_dial(refusal());
  EXPECT_FALSE(dialing.get().ok());
  complete_dial();
  EXPECT_TRUE(caller.get().ok());
}

TEST_F(Starving, endpoints_are_served_in_order_of_arrival) {
  make(limits(5, 1));
  Endpoint* b = endpoint("b");
  Endpoint* c = endpoint("c");
  Lease held = dialed(*a_);
  auto in_b = start_acquire(*b);
  auto in_c = start_acquire(*c);
  held.release(Reuse::yes());
  EXPECT_EQ(describe(*b), "1 dialing, 1 waiting");
  EXPECT_EQ(describe(*c), "1 waiting");
  complete_dial();
  auto served = in_b.get();
  ASSERT_TRUE(served.ok());
  served->release(Reuse::yes());
  EXPECT_EQ(describe(*c), "1 dialing, 1 waiting");
  complete_dial();
  EXPECT_TRUE(in_c.get().ok());
}

TEST_F(Starving, an_endpoint_whose_waiters_left_is_skipped) {
  make(limits(5, 1));
  Endpoint* b = endpoint("b");
  Endpoint* c = endpoint("c");
  Lease held = dialed(*a_);
  auto in_b = start_acquire(*b, patience(seconds(1)));
  auto in_c = start_acquire(*c);
  clock_.advance(seconds(2));
  EXPECT_EQ(in_b.get().error().code, ErrorCode::pool_timeout);
  held.release(Reuse::yes());
  complete_dial();
  EXPECT_TRUE(in_c.get().ok());
}

TEST_F(Starving, an_abandoned_dial_makes_room_for_a_starving_endpoint) {
  make(limits(5, 1));
  Endpoint* b = endpoint("b");
  auto quitter = start_acquire(*a_, patience(std::nullopt, seconds(1)));
  auto caller = start_acquire(*b);
  clock_.advance(seconds(2));
  EXPECT_FALSE(quitter.get().ok());
  EXPECT_TRUE(becomes("1 dialing, 1 waiting")) << "at once, without waiting for the end of the other dial";
  complete_dial();
  EXPECT_TRUE(records_[0]->closed) << "the connection of a dropped dial is closed";
  complete_dial();
  EXPECT_TRUE(caller.get().ok());
}

}  // namespace
}  // namespace fastpool::pool::test
