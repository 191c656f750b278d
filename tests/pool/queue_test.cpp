// Waiters: who is served, when, and by which dial.

#include "pool/pool_fixture.h"

namespace fastpool::pool::test {
namespace {

class Queueing : public PoolTest {};

TEST_F(Queueing, waiters_are_served_in_the_order_of_their_coming) {
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

TEST_F(Queueing, a_caller_that_comes_later_never_overtakes_one_that_waits) {
  make(limits(2));
  Lease held = dialed(*a_);
  Lease other = dialed(*a_);
  auto early = start_acquire(*a_);
  auto late = start_acquire(*a_, patience(seconds(0)));  // gives up as soon as it would have to wait
  EXPECT_EQ(late.get().error().code, ErrorCode::pool_timeout);
  held.release(Reuse::yes());
  EXPECT_TRUE(early.get().ok());
}

TEST_F(Queueing, a_returned_connection_goes_to_the_head_while_the_dial_goes_on_and_is_parked) {
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

TEST_F(Queueing, the_dial_of_a_caller_that_was_served_otherwise_serves_the_next) {
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

TEST_F(Queueing, the_dial_of_a_caller_that_gave_up_serves_the_next_if_it_is_the_first_to_end) {
  make(limits(2));
  auto quitter = start_acquire(*a_, patience(std::nullopt, seconds(1)));
  clock_.advance(seconds(2));
  EXPECT_FALSE(quitter.get().ok());
  auto next = start_acquire(*a_);
  EXPECT_EQ(describe(), "2 dialing, 1 waiting") << "that dial may hang: the next caller has its own";
  complete_dial();
  EXPECT_TRUE(next.get().ok());
  complete_dial();
}

TEST_F(Queueing, a_dial_that_its_callers_failure_says_nothing_of_is_followed_by_one_of_the_callers_own) {
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

TEST_F(Queueing, the_dial_of_a_caller_that_gave_up_is_parked_if_nobody_waits) {
  make();
  auto quitter = start_acquire(*a_, patience(std::nullopt, seconds(1)));
  clock_.advance(seconds(2));
  EXPECT_FALSE(quitter.get().ok());
  complete_dial();
  EXPECT_EQ(describe(), "1 idle");
  EXPECT_EQ(number(idle(*a_)), 1);
}

TEST_F(Queueing, the_pool_clock_runs_until_a_dial_is_under_way_then_the_connect_clock) {
  make(limits(1));
  auto dialing = start_acquire(*a_, patience(seconds(1), seconds(10)));
  auto waiting = start_acquire(*a_, patience(seconds(5), seconds(1)));
  clock_.advance(seconds(2));
  EXPECT_TRUE(dialing.waits()) << "its dial is under way, so its pool timeout is past";
  EXPECT_TRUE(waiting.waits()) << "no dial is under way for it, so its connect timeout has not begun";
  clock_.advance(seconds(4));
  const auto timed_out = waiting.get();
  EXPECT_EQ(timed_out.error().code, ErrorCode::pool_timeout);
  EXPECT_NE(timed_out.error().detail.find('a'), std::string::npos);
  clock_.advance(seconds(5));
  EXPECT_EQ(dialing.get().error().code, ErrorCode::connect_timeout);
  EXPECT_EQ(pool_->stats().pool_timeouts, 1U);
}

TEST_F(Queueing, a_waiter_that_moves_up_gets_a_dial_and_starts_its_connect_clock_then) {
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

TEST_F(Queueing, a_dial_may_take_as_long_as_its_caller_is_ready_to_wait) {
  PoolSettings settings = limits(5);
  settings.dial_timeout = seconds(60);
  make(settings);
  const TimePoint now = clock_.now();
  auto hasty = start_acquire(*a_, patience(std::nullopt, seconds(1)));
  EXPECT_EQ(dialer_.peek(0).deadline, now + seconds(1));
  auto patient = start_acquire(*a_, patience(std::nullopt, seconds(300)));
  EXPECT_EQ(dialer_.peek(1).deadline, now + seconds(300));
  auto any = start_acquire(*a_, patience(std::nullopt));
  EXPECT_EQ(dialer_.peek(2).deadline, now + seconds(60)) << "the setting, for one that says nothing";
  for (int i = 0; i < 3; ++i)
    complete_dial();
  EXPECT_TRUE(hasty.get().ok() && patient.get().ok() && any.get().ok());
}

TEST_F(Queueing, a_dial_goes_on_as_long_as_the_last_of_its_callers_would_have_waited) {
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

TEST_F(Queueing, an_interrupted_warm_up_ends_at_once_however_many_dials_are_under_way) {
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
