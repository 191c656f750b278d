// Waiters and dials: who is served, when, and by what.

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
  held.end(Reuse::yes());
  auto one = first.get();
  ASSERT_TRUE(one.ok());
  EXPECT_TRUE(second.waits());
  one->end(Reuse::yes());
  auto two = second.get();
  ASSERT_TRUE(two.ok());
  EXPECT_TRUE(third.waits());
  two->end(Reuse::yes());
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
  held.end(Reuse::yes());
  EXPECT_TRUE(early.get().ok());
}

TEST_F(Queueing, a_returned_connection_goes_to_the_head_while_the_dial_goes_on_and_is_parked) {
  make(limits(2));
  Lease held = dialed(*a_);
  auto caller = start_acquire(*a_);
  EXPECT_EQ(describe(), "1 leased, 1 dialing, 1 waiting");
  held.end(Reuse::yes());
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
  held.end(Reuse::yes());
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
  held.end(Reuse::yes());
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
  held.end(Reuse::yes());
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
  held.end(Reuse::yes());
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
  held.end(Reuse::yes());
  auto served = caller.get();
  ASSERT_TRUE(served.ok());
  EXPECT_EQ(number(*served), 1);
  served->end(Reuse::yes());
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
  held.end(Reuse::yes());
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
  held.end(Reuse::no());
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

class Starving : public PoolTest {};

TEST_F(Starving, an_endpoint_gets_the_room_of_another_ones_closed_connection) {
  make(limits(5, 1));
  Endpoint* b = endpoint("b");
  Lease held = dialed(*a_);
  auto caller = start_acquire(*b);
  EXPECT_EQ(describe(), "1 leased, 1 waiting");
  held.end(Reuse::no());
  complete_dial();
  EXPECT_TRUE(caller.get().ok());
}

TEST_F(Starving, an_endpoint_gets_the_room_of_another_ones_returned_connection) {
  make(limits(5, 1));
  Endpoint* b = endpoint("b");
  Lease held = dialed(*a_);
  auto caller = start_acquire(*b);
  held.end(Reuse::yes());
  EXPECT_TRUE(records_[0]->closed) << "closed in favour of the waiter";
  complete_dial();
  EXPECT_TRUE(caller.get().ok());
  EXPECT_EQ(pool_->stats().evicted, 1U);
}

TEST_F(Starving, a_bare_lease_gets_the_room_of_another_endpoints_returned_connection) {
  make(limits(5, 1));
  Endpoint* b = endpoint("b");
  Lease held = dialed(*a_);
  auto caller = start_lease(*b);
  EXPECT_EQ(describe(), "1 leased, 1 waiting");
  held.end(Reuse::yes());
  auto lease = caller.get();
  ASSERT_TRUE(lease.ok());
  EXPECT_TRUE(pool_->release(*lease, Reuse::no()));
}

TEST_F(Starving, an_endpoint_gets_the_room_of_another_ones_failed_dial) {
  make(limits(5, 1));
  Endpoint* b = endpoint("b");
  auto dialing = start_acquire(*a_);
  auto caller = start_acquire(*b);
  refuse_dial(refusal());
  EXPECT_FALSE(dialing.get().ok());
  complete_dial();
  EXPECT_TRUE(caller.get().ok());
}

TEST_F(Starving, endpoints_are_relieved_in_the_order_of_their_coming) {
  make(limits(5, 1));
  Endpoint* b = endpoint("b");
  Endpoint* c = endpoint("c");
  Lease held = dialed(*a_);
  auto in_b = start_acquire(*b);
  auto in_c = start_acquire(*c);
  held.end(Reuse::yes());
  EXPECT_EQ(describe(*b), "1 dialing, 1 waiting");
  EXPECT_EQ(describe(*c), "1 waiting");
  complete_dial();
  auto served = in_b.get();
  ASSERT_TRUE(served.ok());
  served->end(Reuse::yes());
  EXPECT_EQ(describe(*c), "1 dialing, 1 waiting");
  complete_dial();
  EXPECT_TRUE(in_c.get().ok());
}

TEST_F(Starving, one_whose_waiters_left_is_passed_over) {
  make(limits(5, 1));
  Endpoint* b = endpoint("b");
  Endpoint* c = endpoint("c");
  Lease held = dialed(*a_);
  auto in_b = start_acquire(*b, patience(seconds(1)));
  auto in_c = start_acquire(*c);
  clock_.advance(seconds(2));
  EXPECT_EQ(in_b.get().error().code, ErrorCode::pool_timeout);
  held.end(Reuse::yes());
  complete_dial();
  EXPECT_TRUE(in_c.get().ok());
}

TEST_F(Starving, a_dial_that_nobody_waits_for_makes_room_for_a_starving_endpoint) {
  make(limits(5, 1));
  Endpoint* b = endpoint("b");
  auto quitter = start_acquire(*a_, patience(std::nullopt, seconds(1)));
  auto caller = start_acquire(*b);
  clock_.advance(seconds(2));
  EXPECT_FALSE(quitter.get().ok());
  EXPECT_TRUE(becomes("1 dialing, 1 waiting")) << "at once, whenever the other dial ends";
  complete_dial();
  EXPECT_TRUE(records_[0]->closed) << "what it brings is not wanted any more";
  complete_dial();
  EXPECT_TRUE(caller.get().ok());
}

/// Dials to an address that never answers, whose callers were interrupted.
class AbandonedDials : public PoolTest {
 protected:
  void abandon_one(Endpoint& endpoint) {
    Looks looks;
    AcquireOptions options = patience(std::nullopt, seconds(60));
    options.interrupt = looks.interrupt();
    auto quitter = start_acquire(endpoint, options);
    looks.stop = true;
    EXPECT_EQ(quitter.get().error().code, ErrorCode::interrupted);
  }
  /// The place of a bare lease whose connecting was interrupted, and that was given back.
  void abandon_a_leases(Endpoint& endpoint) {
    const LeaseRef bare = *pool_->try_lease(endpoint);
    Looks looks;
    AcquireOptions options = patience(std::nullopt, seconds(60));
    options.interrupt = looks.interrupt();
    auto quitter = start_connect(bare, options);
    looks.stop = true;
    EXPECT_EQ(quitter.get().error().code, ErrorCode::interrupted);
    EXPECT_TRUE(pool_->release(bare, Reuse::no()));
  }
};

TEST_F(AbandonedDials, end_with_the_connect_timeout_of_their_last_caller) {
  make();
  abandon_one(*a_);
  EXPECT_EQ(dialer_.peek().deadline, clock_.now() + seconds(60));
  EXPECT_EQ(pool_->dial_deadline(*dialer_.peek().slot), clock_.now() + seconds(60));
  EXPECT_EQ(describe(), "1 dialing") << "where there is room, it may still bring something";
}

TEST_F(AbandonedDials, make_room_at_once_for_a_caller_of_the_same_endpoint) {
  make(limits(1));
  abandon_one(*a_);
  Slot* const abandoned = dialer_.peek().slot;
  auto caller = start_acquire(*a_, patience(seconds(0)));
  EXPECT_EQ(describe(), "1 dialing, 1 waiting");
  EXPECT_TRUE(dialer_.hurried(abandoned));
  EXPECT_LE(pool_->dial_deadline(*abandoned), clock_.now()) << "it ends now";
  complete_dial(1);
  EXPECT_TRUE(caller.get().ok());
}

TEST_F(AbandonedDials, make_room_at_once_for_a_caller_of_another_endpoint) {
  make(limits(5, 1));
  Endpoint& b = *endpoint("b");
  abandon_one(*a_);
  auto caller = start_acquire(b, patience(seconds(0)));
  EXPECT_EQ(describe(b), "1 dialing, 1 waiting");
  EXPECT_EQ(describe(*a_), "empty");
  complete_dial(1);
  EXPECT_TRUE(caller.get().ok());
}

TEST_F(AbandonedDials, make_room_at_once_for_a_bare_lease) {
  make(limits(1));
  abandon_one(*a_);
  const auto lease = pool_->try_lease(*a_);
  ASSERT_TRUE(lease);
  EXPECT_TRUE(pool_->release(*lease, Reuse::no()));
}

TEST_F(AbandonedDials, make_room_at_once_for_a_bare_lease_of_another_endpoint) {
  make(limits(5, 1));
  Endpoint& b = *endpoint("b");
  abandon_one(*a_);
  const auto lease = pool_->try_lease(b);
  ASSERT_TRUE(lease);
  EXPECT_TRUE(pool_->release(*lease, Reuse::no()));
}

TEST_F(AbandonedDials, of_a_bare_lease_make_room_as_well) {
  make(limits(1));
  abandon_a_leases(*a_);
  const auto lease = pool_->try_lease(*a_);
  ASSERT_TRUE(lease);
  EXPECT_TRUE(pool_->release(*lease, Reuse::no()));
  abandon_a_leases(*a_);
  auto caller = start_acquire(*a_, patience(seconds(0)));
  EXPECT_EQ(describe(), "1 dialing, 1 waiting");
  complete_dial(2);
  EXPECT_TRUE(caller.get().ok());
}

TEST_F(AbandonedDials, make_room_where_as_many_dials_are_under_way_as_may_be) {
  PoolSettings settings = limits(10);
  settings.max_dials_per_endpoint = 1;
  make(settings);
  abandon_one(*a_);
  auto caller = start_acquire(*a_, patience(seconds(0)));
  EXPECT_EQ(describe(), "1 dialing, 1 waiting");
  complete_dial(1);
  EXPECT_TRUE(caller.get().ok());
}

TEST_F(AbandonedDials, make_room_for_those_who_waited_when_they_were_given_up) {
  make(limits(5, 1));
  Endpoint& b = *endpoint("b");
  Looks looks;
  AcquireOptions options;
  options.interrupt = looks.interrupt();
  auto quitter = start_acquire(*a_, options);
  auto caller = start_acquire(b);
  EXPECT_EQ(describe(b), "1 waiting");
  looks.stop = true;
  EXPECT_FALSE(quitter.get().ok());
  EXPECT_TRUE(becomes("1 dialing, 1 waiting"));
  complete_dial(1);
  EXPECT_TRUE(caller.get().ok());
}

TEST_F(AbandonedDials, that_a_caller_waits_for_again_are_not_dropped) {
  make(limits(2));
  Lease held = dialed(*a_);
  auto first = start_acquire(*a_);
  held.end(Reuse::yes());
  const auto served = first.get();
  ASSERT_TRUE(served.ok());
  EXPECT_EQ(describe(), "1 leased, 1 dialing");
  auto next = start_acquire(*a_);
  EXPECT_FALSE(pool_->try_lease(*a_));
  EXPECT_EQ(describe(), "1 leased, 1 dialing, 1 waiting");
  EXPECT_FALSE(dialer_.hurried(dialer_.peek().slot));
  complete_dial();
  EXPECT_TRUE(next.get().ok());
}

TEST_F(AbandonedDials, that_a_caller_waits_for_again_are_not_dropped_for_another_endpoint) {
  make(limits(2, 2));
  Endpoint& b = *endpoint("b");
  Lease held = dialed(*a_);
  auto first = start_acquire(*a_);
  held.end(Reuse::yes());
  const auto served = first.get();
  ASSERT_TRUE(served.ok());
  auto next = start_acquire(*a_);
  EXPECT_EQ(start_acquire(b, patience(seconds(0))).get().error().code, ErrorCode::pool_timeout);
  EXPECT_EQ(describe(), "1 leased, 1 dialing, 1 waiting");
  complete_dial();
  EXPECT_TRUE(next.get().ok());
}

TEST_F(AbandonedDials, leave_nothing_whichever_comes_first_their_end_or_their_being_dropped) {
  make(limits(5, 1));
  Endpoint& b = *endpoint("b");
  for (int round = 0; round < 3; ++round) {
    abandon_one(*a_);
    auto caller = start_acquire(b);
    if (round == 0) {
      refuse_dial(refusal());
    } else {
      complete_dial();
      EXPECT_TRUE(records_.back()->closed) << "no caller waits for it";
    }
    complete_dial();
    EXPECT_TRUE(caller.get().ok());
    EXPECT_EQ(describe(), "empty");
  }
}

class Connecting : public PoolTest {
 protected:
  LeaseRef unconnected() { return *pool_->try_lease(*a_); }
};

TEST_F(Connecting, a_failed_dial_leaves_the_lease_which_may_try_again) {
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

TEST_F(Connecting, a_dial_that_ends_after_the_callers_timeout_is_still_the_leases) {
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

TEST_F(Connecting, a_second_try_takes_what_the_dial_under_way_brings) {
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

TEST_F(Connecting, a_second_try_ends_the_dial_that_the_first_gave_up_on_and_begins_its_own) {
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

TEST_F(Connecting, the_dial_of_a_lease_that_was_given_back_meanwhile_is_parked) {
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
  idle(*a_).end(Reuse::yes());
  EXPECT_EQ(describe(), "1 idle");
}

TEST_F(Connecting, the_dial_of_a_lease_that_was_given_back_meanwhile_serves_a_waiter) {
  make(limits(1));
  const LeaseRef lease = unconnected();
  auto caller = start_connect(lease, patience(std::nullopt, seconds(1)));
  clock_.advance(seconds(2));
  EXPECT_FALSE(caller.get().ok());
  auto waiting = start_acquire(*a_);
  EXPECT_TRUE(pool_->release(lease, Reuse::no()));
  EXPECT_TRUE(becomes("1 dialing, 1 waiting"));
  EXPECT_EQ(dialer_.begun(), 2U) << "the first caller gave up on that dial, which makes room";
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
