// Waiters: which of them is served, when, and by which dial.

#include "pool/pool_fixture.h"

namespace fastpool::pool::test {
namespace {

class Queueing : public PoolTest {};

TEST_F(Queueing, waiters_are_served_in_order_of_arrival) {
  make(limits(1));
  Lease held = dialed(*a_);
  auto first = start_acquire(*a_);
  auto second = start_acquire(*a_);
  auto third = start_acquire(*a_);
  held.release(Reuse::yes());
  auto one = first.get();
  ASSERT_TRUE(one.ok());
  EXPECT_TRUE(second.waits());
  one->release(Reuse::yes());
  auto two = second.get();
  ASSERT_TRUE(two.ok());
  EXPECT_TRUE(third.waits());
  two->release(Reuse::yes());
  EXPECT_TRUE(third.get().ok());
  EXPECT_EQ(dialer_.begun(), 1U);
}

TEST_F(Queueing, a_later_caller_never_overtakes_a_waiting_one) {
  make(limits(2));
  Lease held = dialed(*a_);
  Lease other = dialed(*a_);
  auto early = start_acquire(*a_);
  auto late = start_acquire(*a_, patience(seconds(0)));  // gives up instead of waiting
  EXPECT_EQ(late.get().error().code, ErrorCode::pool_timeout);
  held.release(Reuse::yes());
  EXPECT_TRUE(early.get().ok());
}

TEST_F(Queueing, a_returned_connection_serves_the_first_waiter_and_its_dial_is_parked) {
  make(limits(2));
  Lease held = dialed(*a_);
  auto caller = start_acquire(*a_);
  EXPECT_EQ(describe(), "1 leased, 1 dialing, 1 waiting");
  held.release(Reuse::yes());
  auto served = caller.get();
  ASSERT_TRUE(served.ok());
  EXPECT_EQ(number(*served), 1);
  EXPECT_FALSE(served->fresh());
  complete_dial();
  EXPECT_EQ(describe(), "1 leased, 1 idle");
}

TEST_F(Queueing, the_unused_dial_of_a_served_caller_serves_the_next_caller) {
  make(limits(2));
  Lease held = dialed(*a_);
  auto served = start_acquire(*a_);
  held.release(Reuse::yes());
  EXPECT_TRUE(served.get().ok());
  auto next = start_acquire(*a_);
  EXPECT_TRUE(becomes("1 dialing, 1 waiting"));
  complete_dial();
  EXPECT_TRUE(next.get().ok());
  EXPECT_EQ(dialer_.begun(), 2U) << "no handshake was wasted";
}

TEST_F(Queueing, the_dial_of_a_caller_that_gave_up_serves_the_next_caller_if_it_ends_first) {
  make(limits(2));
  auto quitter = start_acquire(*a_, patience(std::nullopt, seconds(1)));
  clock_.advance(seconds(2));
  EXPECT_FALSE(quitter.get().ok());
  auto next = start_acquire(*a_);
  EXPECT_EQ(describe(), "2 dialing, 1 waiting") << "that dial may hang, so the next caller gets its own";
  complete_dial();
  EXPECT_TRUE(next.get().ok());
  complete_dial();
}

TEST_F(Queueing, a_caller_gets_its_own_dial_when_one_that_began_before_its_call_fails) {
  make();
  Lease held = dialed(*a_);
  auto served = start_acquire(*a_);
  held.release(Reuse::yes());
  ASSERT_TRUE(served.get().ok());
  clock_.advance(milliseconds(1));
  auto next = start_acquire(*a_);
  EXPECT_TRUE(becomes("1 dialing, 1 waiting"));
  refuse_dial(refusal(true));
  EXPECT_TRUE(next.waits()) << "that dial began before this call";
  complete_dial();
  EXPECT_TRUE(next.get().ok());
}

TEST_F(Queueing, the_dial_of_a_caller_that_gave_up_is_parked_if_no_caller_waits) {
  make();
  auto quitter = start_acquire(*a_, patience(std::nullopt, seconds(1)));
  clock_.advance(seconds(2));
  EXPECT_FALSE(quitter.get().ok());
  complete_dial();
  EXPECT_EQ(describe(), "1 idle");
  EXPECT_EQ(number(idle(*a_)), 1);
}

TEST_F(Queueing, the_pool_timeout_runs_until_a_dial_is_under_way_and_then_the_connect_timeout) {
  make(limits(1));
  auto dialing = start_acquire(*a_, patience(seconds(1), seconds(10)));
  auto waiting = start_acquire(*a_, patience(seconds(5), seconds(1)));
  clock_.advance(seconds(2));
  EXPECT_TRUE(dialing.waits()) << "its dial is under way, so its pool timeout does not apply";
  EXPECT_TRUE(waiting.waits()) << "no dial is under way for it, so its connect timeout has not begun";
  clock_.advance(seconds(4));
  const auto timed_out = waiting.get();
  EXPECT_EQ(timed_out.error().code, ErrorCode::pool_timeout);
  EXPECT_NE(timed_out.error().detail.find('a'), std::string::npos);
  clock_.advance(seconds(5));
  EXPECT_EQ(dialing.get().error().code, ErrorCode::connect_timeout);
  EXPECT_EQ(pool_->stats().pool_timeouts, 1U);
}

TEST_F(Queueing, a_waiter_that_moves_up_gets_a_dial_and_its_connect_timeout_starts) {
  make(limits(1));
  auto first = start_acquire(*a_, patience(std::nullopt, seconds(3)));
  auto second = start_acquire(*a_, patience(seconds(100), seconds(3)));
  clock_.advance(seconds(4));
  EXPECT_EQ(first.get().error().code, ErrorCode::connect_timeout);
  EXPECT_TRUE(second.waits());
  EXPECT_EQ(dialer_.begun(), 2U);
  clock_.advance(seconds(4));
  EXPECT_EQ(second.get().error().code, ErrorCode::connect_timeout);
}

TEST_F(Queueing, a_dial_may_take_as_long_as_the_connect_timeout_of_its_caller) {
  PoolSettings settings = limits(5);
  settings.dial_timeout = seconds(60);
  make(settings);
  const TimePoint now = clock_.now();
  auto hasty = start_acquire(*a_, patience(std::nullopt, seconds(1)));
  EXPECT_EQ(dialer_.peek(0).deadline, now + seconds(1));
  auto patient = start_acquire(*a_, patience(std::nullopt, seconds(300)));
  EXPECT_EQ(dialer_.peek(1).deadline, now + seconds(300));
  auto any = start_acquire(*a_, patience(std::nullopt));
  EXPECT_EQ(dialer_.peek(2).deadline, now + seconds(60)) << "a caller without a connect timeout gets dial_timeout";
  for (int i = 0; i < 3; ++i)
    complete_dial();
  EXPECT_TRUE(hasty.get().ok() && patient.get().ok() && any.get().ok());
}

TEST_F(Queueing, a_dial_may_take_as_long_as_the_last_connect_timeout_of_its_callers) {
  make(limits(5));
  Lease held = dialed(*a_);
  const TimePoint now = clock_.now();
  auto served = start_acquire(*a_, patience(std::nullopt, seconds(1)));
  Slot& slot = *dialer_.peek().slot;
  held.release(Reuse::yes());
  ASSERT_TRUE(served.get().ok());
  EXPECT_EQ(pool_->dial_deadline(slot), now + seconds(1));
  auto next = start_acquire(*a_, patience(std::nullopt, seconds(7)));
  EXPECT_EQ(dialer_.under_way(), 1U);
  EXPECT_EQ(pool_->dial_deadline(slot), now + seconds(7));
  complete_dial();
  EXPECT_TRUE(next.get().ok());
}

TEST_F(Queueing, a_waiter_can_be_interrupted) {
  make(limits(1));
  Lease held = dialed(*a_);
  Looks looks;
  AcquireOptions options;
  options.interrupt = looks.interrupt();
  auto caller = start_acquire(*a_, options);
  EXPECT_EQ(describe(), "1 leased, 1 waiting");
  looks.stop = true;
  EXPECT_EQ(caller.get().error().code, ErrorCode::interrupted);
  EXPECT_EQ(describe(), "1 leased");
  held.release(Reuse::yes());
  EXPECT_EQ(describe(), "1 idle");
}

TEST_F(Queueing, an_interrupted_warm_up_ends_at_once_and_leaves_its_dials_under_way) {
  make();
  Looks looks;
  AcquireOptions options = patience(std::nullopt, hours(1));
  options.interrupt = looks.interrupt();
  auto warming = start_warm(*a_, 3, options);
  EXPECT_EQ(describe(), "3 dialing, 3 waiting");
  looks.stop = true;
  const auto ended = warming.get();
  ASSERT_FALSE(ended.ok());
  EXPECT_EQ(ended.error().code, ErrorCode::interrupted);
  EXPECT_EQ(describe(), "3 dialing");
  for (int i = 0; i < 3; ++i)
    complete_dial();
  EXPECT_EQ(describe(), "3 idle");
}

}  // namespace
}  // namespace fastpool::pool::test
