// Dials of an endpoint that fails: when the next dial begins, which callers share it, and which callers get its error.

#include "pool/acquisition.h"
#include "pool/decisions.h"
#include "pool/pool_fixture.h"

namespace fastpool::pool::test {
namespace {

class BackOff : public FailingEndpointTest {};

TEST_F(BackOff, the_first_dial_and_dials_after_a_success_begin_at_once) {
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

TEST_F(BackOff, a_caller_does_not_wait_because_other_callers_failed) {
  make();
  for (int failures = 0; failures < 8; ++failures)
    fail_once(*a_);
  auto caller = start_acquire(*a_);
  EXPECT_LE(dialer_.peek().start, clock_.now());
  complete_dial();
  EXPECT_TRUE(caller.get().ok());
  EXPECT_EQ(pool_->stats().all.failing_dials, 0U);
}

TEST_F(BackOff, each_caller_gets_its_own_dial_while_dials_fail) {
  make();
  fail_once(*a_);
  auto one = start_acquire(*a_);
  auto two = start_acquire(*a_);
  EXPECT_EQ(describe(), "2 dialing, 2 waiting");
  refuse_dial(refusal(true), 1);
  EXPECT_EQ(two.get().error().code, ErrorCode::connect_failed);
  EXPECT_TRUE(one.waits()) << "its own dial may succeed";
  complete_dial();
  EXPECT_TRUE(one.get().ok());
}

TEST_F(BackOff, beyond_the_pace_callers_share_the_next_dial_and_its_error) {
  make();
  use_up_the_burst(*a_);
  auto one = start_acquire(*a_);
  auto two = start_acquire(*a_);
  auto three = start_acquire(*a_);
  EXPECT_EQ(describe(), "1 dialing, 3 waiting");
  EXPECT_GT(dialer_.peek().start, clock_.now());
  EXPECT_LE(dialer_.peek().start, clock_.now() + milliseconds(5));
  refuse_dial(refusal());
  EXPECT_EQ(one.get().error().code, ErrorCode::connect_failed);
  EXPECT_EQ(two.get().error().code, ErrorCode::connect_failed);
  EXPECT_EQ(three.get().error().code, ErrorCode::connect_failed);
  EXPECT_EQ(describe(), "empty");
}

TEST_F(BackOff, a_caller_that_arrives_after_a_dial_began_does_not_share_it) {
  make();
  use_up_the_burst(*a_);
  auto early = start_acquire(*a_);
  clock_.advance(dialer_.peek().start - clock_.now() + milliseconds(1));
  auto late = start_acquire(*a_);
  EXPECT_EQ(describe(), "2 dialing, 2 waiting");
  EXPECT_LE(dialer_.peek(1).start, clock_.now() + milliseconds(5));
  refuse_dial(refusal());
  EXPECT_FALSE(early.get().ok());
  EXPECT_TRUE(late.waits()) << "the cause of that failure may be gone";
  complete_dial();
  EXPECT_TRUE(late.get().ok());
}

TEST_F(BackOff, callers_that_shared_a_successful_dial_get_their_own_dials_at_once) {
  make();
  use_up_the_burst(*a_);
  auto one = start_acquire(*a_);
  auto two = start_acquire(*a_);
  auto three = start_acquire(*a_);
  EXPECT_EQ(describe(), "1 dialing, 3 waiting");
  complete_dial();
  EXPECT_TRUE(becomes("1 leased, 2 dialing, 2 waiting"));
  EXPECT_LE(dialer_.peek(0).start, clock_.now());
  EXPECT_LE(dialer_.peek(1).start, clock_.now());
  complete_dial();
  complete_dial();
  EXPECT_TRUE(one.get().ok() && two.get().ok() && three.get().ok());
}

TEST_F(BackOff, at_a_limit_queued_callers_share_the_next_dial_while_dials_fail) {
  make(limits(1));
  auto dialing = start_acquire(*a_);
  auto two = start_acquire(*a_);
  auto three = start_acquire(*a_);
  EXPECT_EQ(describe(), "1 dialing, 3 waiting");
  refuse_dial(refusal());
  EXPECT_FALSE(dialing.get().ok());
  EXPECT_TRUE(becomes("1 dialing, 2 waiting"));
  refuse_dial(refusal());
  EXPECT_EQ(two.get().error().code, ErrorCode::connect_failed);
  EXPECT_EQ(three.get().error().code, ErrorCode::connect_failed);
  EXPECT_EQ(dialer_.begun(), 2U);
}

TEST_F(BackOff, a_dial_that_timed_out_does_not_pace_later_dials) {
  make();
  for (int i = 0; i <= dead_burst; ++i)
    fail_once(*a_, Error::make(ErrorCode::connect_timeout, Phase::connect, "too slow"));
  auto one = start_acquire(*a_);
  auto two = start_acquire(*a_);
  EXPECT_EQ(describe(), "2 dialing, 2 waiting");
  EXPECT_LE(dialer_.peek(1).start, clock_.now());
  complete_dial();
  complete_dial();
  EXPECT_TRUE(one.get().ok() && two.get().ok());
}

TEST_F(BackOff, a_caller_at_its_pool_timeout_does_not_get_the_error_of_another_dial) {
  make(limits(1));
  for (int i = 0; i < 8; ++i)
    fail_once(*a_);
  auto dialing = start_acquire(*a_);
  auto behind = start_acquire(*a_, patience(milliseconds(100)));
  clock_.advance(milliseconds(101));
  EXPECT_EQ(behind.get().error().code, ErrorCode::pool_timeout);
  refuse_dial(refusal());
  EXPECT_FALSE(dialing.get().ok());
}

TEST_F(BackOff, the_connect_timeout_starts_with_the_dial) {
  make();
  use_up_the_burst(*a_);
  sync::ThreadWaker waker;
  Acquisition caller(*pool_, *a_, patience(seconds(10), milliseconds(2)), waker);
  EXPECT_FALSE(caller.poll());
  const TimePoint start = dialer_.peek().start;
  EXPECT_GT(start, clock_.now()) << "beyond the pace the dial is postponed";
  EXPECT_EQ(dialer_.peek().deadline, start + milliseconds(2));
  clock_.advance(start - clock_.now() + milliseconds(1));
  EXPECT_FALSE(caller.poll()) << "one millisecond of its connect timeout is left";
  EXPECT_EQ(caller.deadline(), start + milliseconds(2));
  clock_.advance(milliseconds(2));
  const auto late = caller.poll();
  ASSERT_TRUE(late);
  EXPECT_EQ(late->error().code, ErrorCode::connect_timeout);
}

TEST_F(BackOff, a_caller_that_tries_again_waits_longer_before_each_try) {
  make();
  for (std::uint32_t failed = 1; failed <= 8; ++failed) {
    Looks looks;
    AcquireOptions options;
    options.failed_tries = failed;
    options.interrupt = looks.interrupt();
    const Duration full = std::min<Duration>(milliseconds(500), milliseconds(20) * (1 << (failed - 1)));
    auto caller = start_acquire(*a_, options);
    clock_.advance(full / 2 - Duration(1));
    const int looked = looks.count;
    EXPECT_TRUE(eventually("the caller polls again", [&] { return looks.count > looked + 1; }));
    EXPECT_EQ(describe(), "empty") << "the waiting caller holds no place";
    clock_.advance(full / 2 + Duration(1));
    refuse_dial(refusal());
    EXPECT_FALSE(caller.get().ok());
  }
}

TEST_F(BackOff, a_caller_that_waits_to_try_again_can_be_interrupted) {
  make();
  Looks looks;
  AcquireOptions options;
  options.failed_tries = 6;
  options.interrupt = looks.interrupt();
  auto caller = start_acquire(*a_, options);
  looks.stop = true;
  EXPECT_EQ(caller.get().error().code, ErrorCode::interrupted);
  EXPECT_EQ(dialer_.begun(), 0U);
}

TEST_F(BackOff, warm_connections_are_dialed_less_often_after_each_failure) {
  make();
  auto warming = start_warm(*a_, 1);
  complete_dial();
  ASSERT_TRUE(warming.get().ok());
  idle(*a_).release(Reuse::no());
  for (int failures = 0; failures < 8; ++failures) {
    pool_->maintain();
    const Duration wait = std::max(dialer_.peek().start - clock_.now(), Duration{});
    const Duration full =
        failures == 0 ? Duration{} : std::min<Duration>(milliseconds(500), milliseconds(20) * (1 << (failures - 1)));
    EXPECT_GE(wait, full / 2) << failures;
    EXPECT_LE(wait, full) << failures;
    refuse_dial(refusal());
  }
}

TEST_F(BackOff, a_caller_does_not_wait_for_a_postponed_dial) {
  make();
  auto warming = start_warm(*a_, 1);
  complete_dial();
  ASSERT_TRUE(warming.get().ok());
  idle(*a_).release(Reuse::no());
  for (int failures = 0; failures < 8; ++failures) {
    pool_->maintain();
    refuse_dial(refusal());
  }
  pool_->maintain();
  EXPECT_GT(dialer_.peek(0).start, clock_.now());
  auto caller = start_acquire(*a_);
  EXPECT_LE(dialer_.peek(1).start, clock_.now());
  complete_dial(1);
  EXPECT_TRUE(caller.get().ok());
}

TEST_F(BackOff, connecting_leases_share_the_error_of_the_next_dial) {
  make();
  use_up_the_burst(*a_);
  const LeaseRef first = *pool_->try_lease(*a_);
  const LeaseRef second = *pool_->try_lease(*a_);
  auto one = start_connect(first);
  auto two = start_connect(second);
  auto three = start_acquire(*a_);
  EXPECT_EQ(dialer_.under_way(), 1U);
  EXPECT_LE(dialer_.peek().start, clock_.now() + milliseconds(5));
  refuse_dial(refusal());
  EXPECT_EQ(one.get().error().code, ErrorCode::connect_failed);
  EXPECT_EQ(two.get().error().code, ErrorCode::connect_failed);
  EXPECT_EQ(three.get().error().code, ErrorCode::connect_failed);
  EXPECT_TRUE(pool_->release(first, Reuse::yes()));
  EXPECT_TRUE(pool_->release(second, Reuse::yes()));
}

TEST_F(BackOff, leases_that_shared_a_successful_dial_get_connected) {
  make();
  use_up_the_burst(*a_);
  auto caller = start_acquire(*a_);
  const LeaseRef bare = *pool_->try_lease(*a_);
  auto connecting = start_connect(bare);
  EXPECT_EQ(dialer_.under_way(), 1U);
  complete_dial();
  EXPECT_TRUE(caller.get().ok());
  EXPECT_TRUE(connecting.waits());
  complete_dial();
  EXPECT_TRUE(connecting.get().ok());
  EXPECT_TRUE(pool_->release(bare, Reuse::yes()));
}

TEST_F(BackOff, a_lease_returned_while_it_shares_a_dial_leaves_nothing_behind) {
  make();
  use_up_the_burst(*a_);
  auto caller = start_acquire(*a_);
  const LeaseRef bare = *pool_->try_lease(*a_);
  auto connecting = start_connect(bare);
  EXPECT_TRUE(pool_->release(bare, Reuse::yes()));
  const LeaseRef again = *pool_->try_lease(*a_);
  auto anew = start_connect(again);
  complete_dial();
  EXPECT_TRUE(caller.get().ok());
  EXPECT_EQ(connecting.get().error().code, ErrorCode::stale_lease);
  complete_dial();
  EXPECT_TRUE(anew.get().ok());
  EXPECT_TRUE(pool_->release(again, Reuse::yes()));
}

TEST_F(BackOff, failures_of_one_endpoint_do_not_delay_another) {
  make();
  Endpoint& b = *endpoint("b");
  use_up_the_burst(*a_);
  auto caller = start_acquire(b);
  EXPECT_LE(dialer_.peek().start, clock_.now());
  complete_dial();
  EXPECT_TRUE(caller.get().ok());
}

TEST_F(BackOff, running_out_of_descriptors_is_not_the_endpoints_failure_if_one_can_be_freed) {
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
