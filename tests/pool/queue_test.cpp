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

TEST_F(Queueing, the_dial_of_a_caller_that_gave_up_serves_the_next) {
  make(limits(1));
  auto quitter = start_acquire(*a_, patience(std::nullopt, seconds(1)));
  auto next = start_acquire(*a_);
  clock_.advance(seconds(2));
  EXPECT_EQ(quitter.get().error().code, ErrorCode::connect_timeout);
  EXPECT_EQ(describe(), "1 dialing, 1 waiting");
  complete_dial();
  EXPECT_TRUE(next.get().ok());
  EXPECT_EQ(dialer_.begun(), 1U) << "no handshake was wasted";
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

TEST_F(Queueing, a_waiter_that_moves_up_to_a_dial_starts_its_connect_clock_then) {
  make(limits(1));
  auto first = start_acquire(*a_, patience(std::nullopt, seconds(3)));
  auto second = start_acquire(*a_, patience(seconds(100), seconds(3)));
  clock_.advance(seconds(4));
  EXPECT_EQ(first.get().error().code, ErrorCode::connect_timeout);
  EXPECT_TRUE(second.waits());
  // The dial that was the first one's is now the second's.
  clock_.advance(seconds(4));
  EXPECT_EQ(second.get().error().code, ErrorCode::connect_timeout);
}

TEST_F(Queueing, a_dial_may_take_as_long_as_the_most_patient_waiter_allows) {
  PoolSettings settings = limits(5);
  settings.dial_timeout = seconds(60);
  make(settings);
  const TimePoint now = clock_.now();
  auto hasty = start_acquire(*a_, patience(std::nullopt, seconds(1)));
  EXPECT_EQ(dialer_.peek(0).deadline, now + seconds(60)) << "the endpoint's own cap: it survives its initiator";
  auto patient = start_acquire(*a_, patience(std::nullopt, seconds(300)));
  EXPECT_EQ(dialer_.peek(1).deadline, now + seconds(300));
  complete_dial();
  complete_dial();
  EXPECT_TRUE(hasty.get().ok());
  EXPECT_TRUE(patient.get().ok());
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

TEST_F(FailedDials, one_that_may_pass_goes_to_the_newest_waiter) {
  make();
  auto older = start_acquire(*a_);
  auto newer = start_acquire(*a_);
  refuse_dial(refusal(), 0);
  EXPECT_EQ(newer.get().error().code, ErrorCode::connect_failed);
  EXPECT_TRUE(older.waits());
  complete_dial();
  EXPECT_TRUE(older.get().ok());
  EXPECT_EQ(dialer_.begun(), 2U);
}

TEST_F(FailedDials, one_that_is_final_goes_to_all_of_them) {
  make();
  auto one = start_acquire(*a_);
  auto two = start_acquire(*a_);
  auto three = start_acquire(*a_);
  refuse_dial(refusal(true));
  EXPECT_EQ(one.get().error().code, ErrorCode::connect_failed);
  EXPECT_EQ(two.get().error().code, ErrorCode::connect_failed);
  EXPECT_EQ(three.get().error().code, ErrorCode::connect_failed);
  EXPECT_EQ(describe(), "2 dialing");
}

TEST_F(FailedDials, one_that_nobody_needs_is_nobodys_error) {
  make();
  auto quitter = start_acquire(*a_, patience(std::nullopt, seconds(1)));
  clock_.advance(seconds(2));
  EXPECT_FALSE(quitter.get().ok());
  auto next = start_acquire(*a_);
  EXPECT_EQ(describe(), "1 dialing, 1 waiting");
  auto another = start_acquire(*a_, patience(std::nullopt, seconds(1)));
  EXPECT_EQ(describe(), "2 dialing, 2 waiting");
  clock_.advance(seconds(2));
  EXPECT_FALSE(another.get().ok());
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
  complete_dial();
  EXPECT_TRUE(records_[0]->closed);
  complete_dial();
  EXPECT_TRUE(caller.get().ok());
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

TEST_F(Connecting, a_second_try_joins_the_dial_under_way) {
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
  complete_dial();
  EXPECT_TRUE(waiting.get().ok());
  EXPECT_EQ(dialer_.begun(), 1U);
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
