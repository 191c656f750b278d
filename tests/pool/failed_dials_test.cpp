// A dial that fails: which caller gets its error, and what happens when no descriptor is left.

#include "pool/pool_fixture.h"

namespace fastpool::pool::test {
namespace {

class FailedDials : public PoolTest {};

TEST_F(FailedDials, report_their_error_to_the_only_waiter) {
  make();
  auto caller = start_acquire(*a_);
  refuse_dial(refusal());
  const auto failed = caller.get();
  EXPECT_EQ(failed.error().code, ErrorCode::connect_failed);
  EXPECT_EQ(describe(), "empty");
  EXPECT_EQ(pool_->stats().dial_failures, 1U);
}

TEST_F(FailedDials, report_their_error_to_the_caller_they_began_for) {
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

TEST_F(FailedDials, report_their_error_to_the_caller_whose_connection_served_their_own_caller) {
  make();
  auto older = start_acquire(*a_);
  auto newer = start_acquire(*a_);
  complete_dial(1);
  EXPECT_TRUE(older.get().ok());
  refuse_dial(refusal(), 0);
  EXPECT_EQ(newer.get().error().code, ErrorCode::connect_failed);
}

TEST_F(FailedDials, report_their_error_to_no_caller_if_their_own_caller_left) {
  make();
  auto quitter = start_acquire(*a_, patience(std::nullopt, seconds(1)));
  clock_.advance(seconds(2));
  EXPECT_FALSE(quitter.get().ok());
  auto next = start_acquire(*a_);
  EXPECT_EQ(describe(), "2 dialing, 1 waiting");
  refuse_dial(refusal());
  EXPECT_TRUE(next.waits()) << "its own dial is still under way";
  complete_dial();
  EXPECT_TRUE(next.get().ok());
}

TEST_F(FailedDials, do_not_report_their_error_to_a_caller_that_waits_for_a_bare_lease) {
  make(limits(1));
  auto dialing = start_acquire(*a_);
  auto bare = start_lease(*a_);
  refuse_dial(refusal(true));
  EXPECT_FALSE(dialing.get().ok());
  auto lease = bare.get();
  ASSERT_TRUE(lease.ok());
  EXPECT_TRUE(pool_->release(*lease, Reuse::no()));
}

TEST_F(FailedDials, without_descriptors_close_the_longest_idle_connection_and_are_retried) {
  make();
  Endpoint* b = endpoint("b");
  park(*b, 2);
  auto caller = start_acquire(*a_);
  refuse_dial(refusal(false, EMFILE));
  EXPECT_TRUE(caller.waits());
  EXPECT_TRUE(records_[0]->closed) << "the second try needs its descriptor";
  EXPECT_FALSE(records_[1]->closed);
  EXPECT_EQ(dialer_.begun(), 4U);
  complete_dial();
  EXPECT_TRUE(caller.get().ok());
}

TEST_F(FailedDials, without_descriptors_and_idle_connections_report_an_error) {
  make();
  auto caller = start_acquire(*a_);
  refuse_dial(refusal(false, EMFILE));
  EXPECT_EQ(caller.get().error().os_error, EMFILE);
}

TEST_F(FailedDials, without_descriptors_leave_their_caller_queued_for_a_connection_in_use) {
  make();
  Lease held = dialed(*a_);
  auto caller = start_acquire(*a_);
  refuse_dial(refusal(false, EMFILE));
  EXPECT_TRUE(becomes("1 leased, 1 waiting"));
  auto next = start_acquire(*a_);
  EXPECT_EQ(dialer_.under_way(), 0U) << "another dial would also find no descriptor";
  held.release(Reuse::yes());
  auto served = caller.get();
  ASSERT_TRUE(served.ok());
  EXPECT_EQ(number(*served), 1);
  served->release(Reuse::yes());
  EXPECT_TRUE(next.get().ok());
  EXPECT_EQ(pool_->stats().all.failing_dials, 0U);
}

TEST_F(FailedDials, without_descriptors_use_the_descriptor_of_another_endpoints_returned_connection) {
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

TEST_F(FailedDials, without_descriptors_leave_their_caller_on_its_pool_timeout) {
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

TEST_F(FailedDials, without_descriptors_are_retried_by_maintenance) {
  make();
  Lease held = dialed(*a_);
  auto caller = start_acquire(*a_);
  refuse_dial(refusal(false, EMFILE));
  EXPECT_TRUE(becomes("1 leased, 1 waiting"));
  pool_->maintain();
  complete_dial();
  EXPECT_TRUE(caller.get().ok());
}

TEST_F(FailedDials, without_descriptors_leave_a_connecting_lease_queued_too) {
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

TEST_F(FailedDials, without_descriptors_are_retried_for_a_bare_lease_too) {
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
