// Dials of an endpoint that fails: put off, one at a time, and whose error is told.

#include "pool/pool_fixture.h"

namespace fastpool::pool::test {
namespace {

class BackOff : public PoolTest {
 protected:
  /// One caller whose dial fails.
  void fail_once(const Error& error = refusal()) {
    auto caller = start_acquire(*a_);
    refuse_dial(error);
    EXPECT_FALSE(caller.get().ok());
  }
};

TEST_F(BackOff, the_first_dial_and_those_after_a_success_begin_at_once) {
  make();
  auto first = start_acquire(*a_);
  EXPECT_LE(dialer_.peek().start, clock_.now());
  complete_dial();
  Lease lease = std::move(first.get()).value();
  auto second = start_acquire(*a_);
  EXPECT_LE(dialer_.peek().start, clock_.now());
  complete_dial();
  EXPECT_TRUE(second.get().ok());
}

TEST_F(BackOff, a_dial_after_a_failure_is_put_off_and_longer_after_more) {
  make();
  for (int failures = 1; failures <= 8; ++failures) {
    fail_once();
    auto caller = start_acquire(*a_);  // gives up before its dial begins
    const Duration wait = dialer_.peek().start - clock_.now();
    const Duration full = std::min<Duration>(milliseconds(500), milliseconds(20) * (1 << (failures - 1)));
    EXPECT_GE(wait, full / 2) << failures;
    EXPECT_LE(wait, full) << failures;
    refuse_dial(refusal());  // which is one failure more
    EXPECT_FALSE(caller.get().ok());
    ++failures;
  }
}

TEST_F(BackOff, after_the_time_is_over_the_next_begins_at_once) {
  make();
  fail_once();
  clock_.advance(milliseconds(20));
  auto caller = start_acquire(*a_);
  EXPECT_LE(dialer_.peek().start, clock_.now());
  complete_dial();
  EXPECT_TRUE(caller.get().ok());
}

TEST_F(BackOff, the_deadline_of_a_dial_counts_from_its_start) {
  make();
  fail_once();
  auto caller = start_acquire(*a_);
  EXPECT_EQ(dialer_.peek().deadline, dialer_.peek().start + seconds(60));
  complete_dial();
  EXPECT_TRUE(caller.get().ok());
}

TEST_F(BackOff, while_dials_fail_there_is_one_at_a_time_and_a_success_lets_all_go) {
  make();
  fail_once();
  auto one = start_acquire(*a_);
  auto two = start_acquire(*a_);
  auto three = start_acquire(*a_);
  EXPECT_EQ(describe(), "1 dialing, 3 waiting");
  complete_dial();
  EXPECT_TRUE(becomes("1 leased, 2 dialing, 2 waiting"));
  complete_dial();
  complete_dial();
  EXPECT_TRUE(one.get().ok() && two.get().ok() && three.get().ok());
  EXPECT_EQ(pool_->stats().all.failing_dials, 0U);
}

TEST_F(BackOff, the_error_of_a_probe_is_that_of_everybody_who_waits) {
  make();
  fail_once();
  auto one = start_acquire(*a_);
  auto two = start_acquire(*a_);
  refuse_dial(refusal());
  EXPECT_EQ(one.get().error().code, ErrorCode::connect_failed);
  EXPECT_EQ(two.get().error().code, ErrorCode::connect_failed);
  EXPECT_EQ(describe(), "empty");
  EXPECT_EQ(pool_->stats().all.failing_dials, 2U);
}

TEST_F(BackOff, a_caller_whose_time_is_over_before_the_dial_begins_gets_the_error_of_the_last_dial) {
  make();
  for (int i = 0; i < 8; ++i)
    fail_once();
  auto caller = start_acquire(*a_, patience(seconds(10), milliseconds(100)));
  clock_.advance(milliseconds(101));
  const auto result = caller.get();
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::connect_failed);
  EXPECT_EQ(result.error().os_error, ECONNREFUSED);
}

TEST_F(BackOff, a_caller_whose_pool_timeout_ends_behind_a_probe_gets_the_error_of_the_last_dial) {
  make();
  for (int i = 0; i < 8; ++i)
    fail_once();
  auto probing = start_acquire(*a_);
  auto behind = start_acquire(*a_, patience(milliseconds(100)));
  clock_.advance(milliseconds(101));
  const auto result = behind.get();
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::connect_failed);
  refuse_dial(refusal());
  EXPECT_FALSE(probing.get().ok());
}

TEST_F(BackOff, a_caller_whose_connect_timeout_ends_while_its_dial_runs_is_told_that) {
  make();
  fail_once();
  auto caller = start_acquire(*a_, patience(seconds(10), milliseconds(100)));
  clock_.advance(milliseconds(101));  // the dial began 20 ms after the failure at the latest
  EXPECT_EQ(caller.get().error().code, ErrorCode::connect_timeout);
}

TEST_F(BackOff, a_caller_who_waits_for_room_at_an_endpoint_in_use_still_gets_a_pool_timeout) {
  make(limits(2));
  const Lease held = dialed(*a_);
  fail_once();
  const LeaseRef other = *pool_->try_lease(*a_);
  auto caller = start_acquire(*a_, patience(milliseconds(100)));
  clock_.advance(milliseconds(101));
  EXPECT_EQ(caller.get().error().code, ErrorCode::pool_timeout);
  EXPECT_TRUE(pool_->release(other, Reuse::yes()));
}

TEST_F(BackOff, a_lease_that_connects_is_put_off_too) {
  make();
  fail_once();
  const LeaseRef bare = *pool_->try_lease(*a_);
  auto caller = start_connect(bare);
  EXPECT_GT(dialer_.peek().start, clock_.now());
  complete_dial();
  EXPECT_TRUE(caller.get().ok());
  EXPECT_TRUE(pool_->release(bare, Reuse::yes()));
}

TEST_F(BackOff, endpoints_do_not_share_it) {
  make();
  Endpoint& b = *endpoint("b");
  fail_once();
  auto caller = start_acquire(b);
  EXPECT_LE(dialer_.peek().start, clock_.now());
  complete_dial();
  EXPECT_TRUE(caller.get().ok());
}

TEST_F(BackOff, being_out_of_descriptors_is_not_the_endpoints_failure_if_one_can_be_freed) {
  make();
  Endpoint& b = *endpoint("b");
  park(b, 1);
  auto caller = start_acquire(*a_);
  refuse_dial(refusal(false, EMFILE));
  EXPECT_LE(dialer_.peek().start, clock_.now());
  EXPECT_EQ(pool_->stats().all.failing_dials, 0U);
  complete_dial();
  EXPECT_TRUE(caller.get().ok());
}

}  // namespace
}  // namespace fastpool::pool::test
