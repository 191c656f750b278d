// A dial that fails: whose error it is, and what happens where no descriptor is left.

#include "pool/pool_fixture.h"

namespace fastpool::pool::test {
namespace {

class FailedDials : public PoolTest {};

TEST_F(FailedDials, the_only_waiter_gets_the_error) {
  make();
  auto caller = start_acquire(*a_);
  refuse_dial(refusal());
  const auto failed = caller.get();
  EXPECT_EQ(failed.error().code, ErrorCode::connect_failed);
  EXPECT_EQ(describe(), "empty");
  EXPECT_EQ(pool_->stats().dial_failures, 1U);
}

TEST_F(FailedDials, one_is_the_error_of_the_caller_that_it_began_for) {
  make();
  auto older = start_acquire(*a_);
  auto newer = start_acquire(*a_);
  refuse_dial(refusal(true), 1);
  EXPECT_EQ(newer.get().error().code, ErrorCode::connect_failed);
  EXPECT_TRUE(older.waits());
  complete_dial();
  EXPECT_TRUE(older.get().ok());
  EXPECT_EQ(dialer_.begun(), 2U);
}

TEST_F(FailedDials, one_whose_caller_got_the_connection_of_another_is_the_others_error) {
  make();
  auto older = start_acquire(*a_);
  auto newer = start_acquire(*a_);
  complete_dial(1);
  EXPECT_TRUE(older.get().ok());
  refuse_dial(refusal(), 0);
  EXPECT_EQ(newer.get().error().code, ErrorCode::connect_failed);
}

TEST_F(FailedDials, one_that_nobody_needs_is_nobodys_error) {
  make();
  auto quitter = start_acquire(*a_, patience(std::nullopt, seconds(1)));
  clock_.advance(seconds(2));
  EXPECT_FALSE(quitter.get().ok());
  auto next = start_acquire(*a_);
  EXPECT_EQ(describe(), "2 dialing, 1 waiting");
  refuse_dial(refusal());
  EXPECT_TRUE(next.waits()) << "a dial is still under way for it";
  complete_dial();
  EXPECT_TRUE(next.get().ok());
}

TEST_F(FailedDials, a_bare_leases_waiter_is_not_told_of_others_dials) {
  make(limits(1));
  auto dialing = start_acquire(*a_);
  auto bare = start_lease(*a_);
  refuse_dial(refusal(true));
  EXPECT_FALSE(dialing.get().ok());
  auto lease = bare.get();
  ASSERT_TRUE(lease.ok());
  EXPECT_TRUE(pool_->release(*lease, Reuse::no()));
}

TEST_F(FailedDials, out_of_descriptors_the_longest_idle_is_closed_and_the_dial_tried_again) {
  make();
  Endpoint* b = endpoint("b");
  park(*b, 2);
  auto caller = start_acquire(*a_);
  refuse_dial(refusal(false, EMFILE));
  EXPECT_TRUE(caller.waits());
  EXPECT_TRUE(records_[0]->closed) << "before the second try, which needs its descriptor";
  EXPECT_FALSE(records_[1]->closed);
  EXPECT_EQ(dialer_.begun(), 4U);
  complete_dial();
  EXPECT_TRUE(caller.get().ok());
}

TEST_F(FailedDials, out_of_descriptors_with_nothing_idle_is_an_error) {
  make();
  auto caller = start_acquire(*a_);
  refuse_dial(refusal(false, EMFILE));
  EXPECT_EQ(caller.get().error().os_error, EMFILE);
}

TEST_F(FailedDials, out_of_descriptors_callers_queue_for_a_connection_in_use) {
  make();
  Lease held = dialed(*a_);
  auto caller = start_acquire(*a_);
  refuse_dial(refusal(false, EMFILE));
  EXPECT_TRUE(becomes("1 leased, 1 waiting"));
  auto next = start_acquire(*a_);
  EXPECT_EQ(dialer_.under_way(), 0U) << "which would meet the same";
  held.release(Reuse::yes());
  auto served = caller.get();
  ASSERT_TRUE(served.ok());
  EXPECT_EQ(number(*served), 1);
  served->release(Reuse::yes());
  EXPECT_TRUE(next.get().ok());
  EXPECT_EQ(pool_->stats().all.failing_dials, 0U);
}

TEST_F(FailedDials, out_of_descriptors_callers_get_that_of_another_endpoints_connection_when_it_comes_back) {
  make();
  Endpoint* b = endpoint("b");
  Lease held = dialed(*b);
  auto caller = start_acquire(*a_);
  refuse_dial(refusal(false, EMFILE));
  EXPECT_TRUE(becomes("1 leased, 1 waiting"));
  held.release(Reuse::yes());
  refuse_dial(refusal(false, EMFILE));
  EXPECT_TRUE(records_[0]->closed);
  complete_dial();
  EXPECT_TRUE(caller.get().ok());
}

TEST_F(FailedDials, out_of_descriptors_callers_wait_no_longer_than_for_any_connection) {
  make();
  Lease held = dialed(*a_);
  auto caller = start_acquire(*a_, patience(seconds(5), seconds(1)));
  refuse_dial(refusal(false, EMFILE));
  EXPECT_TRUE(becomes("1 leased, 1 waiting"));
  clock_.advance(seconds(3));
  EXPECT_TRUE(caller.waits());
  clock_.advance(seconds(3));
  const auto failed = caller.get();
  EXPECT_EQ(failed.error().code, ErrorCode::pool_timeout);
  EXPECT_NE(failed.error().detail.find("file descriptor"), std::string::npos);
}

TEST_F(FailedDials, out_of_descriptors_another_try_is_made_from_time_to_time) {
  make();
  Lease held = dialed(*a_);
  auto caller = start_acquire(*a_);
  refuse_dial(refusal(false, EMFILE));
  EXPECT_TRUE(becomes("1 leased, 1 waiting"));
  pool_->maintain();
  complete_dial();
  EXPECT_TRUE(caller.get().ok());
}

TEST_F(FailedDials, out_of_descriptors_a_lease_that_connects_queues_too) {
  make();
  Endpoint* b = endpoint("b");
  Lease held = dialed(*b);
  const LeaseRef bare = *pool_->try_lease(*a_);
  auto caller = start_connect(bare);
  refuse_dial(refusal(false, EMFILE));
  EXPECT_TRUE(caller.waits());
  held.release(Reuse::no());
  complete_dial();
  EXPECT_TRUE(caller.get().ok());
  EXPECT_TRUE(pool_->release(bare, Reuse::no()));
}

TEST_F(FailedDials, out_of_descriptors_a_bare_lease_tries_again_too) {
  make();
  Endpoint* b = endpoint("b");
  park(*b, 1);
  const auto lease = pool_->try_lease(*a_);
  ASSERT_TRUE(lease);
  auto connecting = start_connect(*lease);
  refuse_dial(refusal(false, ENFILE));
  EXPECT_TRUE(records_[0]->closed);
  complete_dial();
  EXPECT_TRUE(connecting.get().ok());
  EXPECT_TRUE(pool_->release(*lease, Reuse::no()));
}

}  // namespace
}  // namespace fastpool::pool::test
