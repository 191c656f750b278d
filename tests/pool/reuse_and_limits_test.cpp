// Acquire and release: reuse, limits, bare leases, stale ids, streams.

#include "pool/pool_fixture.h"

namespace fastpool::pool::test {
namespace {

class Reusing : public PoolTest {};

TEST_F(Reusing, the_first_caller_gets_a_fresh_connection) {
  make();
  auto caller = start_acquire(*a_);
  EXPECT_EQ(describe(), "1 dialing, 1 waiting");
  complete_dial();
  auto lease = caller.get();
  ASSERT_TRUE(lease.ok());
  EXPECT_TRUE(lease->fresh());
  EXPECT_EQ(describe(), "1 leased");
}

TEST_F(Reusing, a_returned_connection_is_leased_again) {
  make();
  dialed(*a_).release(Reuse::yes());
  EXPECT_EQ(describe(), "1 idle");
  Lease lease = idle(*a_);
  EXPECT_EQ(number(lease), 1);
  EXPECT_FALSE(lease.fresh());
  EXPECT_EQ(dialer_.begun(), 1U);
}

TEST_F(Reusing, the_most_recently_used_connection_is_leased_first) {
  make();
  Lease first = dialed(*a_);
  Lease second = dialed(*a_);
  Lease third = dialed(*a_);
  second.release(Reuse::yes());
  third.release(Reuse::yes());
  first.release(Reuse::yes());
  Lease one = idle(*a_);
  Lease two = idle(*a_);
  Lease three = idle(*a_);
  EXPECT_EQ(number(one), 1);
  EXPECT_EQ(number(two), 3);
  EXPECT_EQ(number(three), 2);
}

TEST_F(Reusing, a_dropped_lease_closes_its_connection) {
  make();
  {
    const Lease dropped = dialed(*a_);
  }
  EXPECT_EQ(describe(), "empty");
  EXPECT_TRUE(records_[0]->closed);
  EXPECT_EQ(records_[0]->reason, CloseReason::not_reusable) << "a dropped lease may be in the middle of an exchange";
}

TEST_F(Reusing, a_connection_found_dead_at_checkout_is_replaced_without_an_error) {
  make();
  park(*a_, 2);
  records_[1]->alive = false;
  Lease lease = idle(*a_);
  EXPECT_EQ(number(lease), 1);
  EXPECT_TRUE(records_[1]->closed);
  EXPECT_EQ(pool_->stats().discarded, 1U);
}

TEST_F(Reusing, a_caller_that_was_handed_a_dead_connection_keeps_its_place) {
  make(limits(1));
  Lease held = dialed(*a_);
  auto first = start_acquire(*a_);
  auto second = start_acquire(*a_);
  record(held).alive = false;
  held.release(Reuse::yes());
  complete_dial();
  auto served = first.get();
  ASSERT_TRUE(served.ok());
  EXPECT_TRUE(second.waits());
  served->release(Reuse::yes());
  EXPECT_TRUE(second.get().ok());
}

TEST_F(Reusing, endpoints_do_not_share_connections) {
  make();
  Endpoint* b = endpoint("b");
  dialed(*a_).release(Reuse::yes());
  auto other = start_acquire(*b);
  EXPECT_EQ(describe(*a_), "1 idle");
  EXPECT_EQ(describe(*b), "1 dialing, 1 waiting");
  complete_dial();
  EXPECT_TRUE(other.get().ok());
}

TEST_F(Reusing, statistics_count_leases_and_reuse_separately) {
  make();
  dialed(*a_).release(Reuse::yes());
  idle(*a_).release(Reuse::yes());
  idle(*a_).release(Reuse::no());
  const PoolStats stats = pool_->stats();
  EXPECT_EQ(stats.leases, 3U);
  EXPECT_EQ(stats.reused, 2U);
  EXPECT_EQ(stats.dials, 1U);
  EXPECT_EQ(stats.connections_opened, 1U);
  EXPECT_EQ(stats.connections_closed, 1U);
}

class Limits : public PoolTest {};

TEST_F(Limits, the_endpoints_limit_counts_dials_and_leased_connections) {
  make(limits(2));
  Lease leased = dialed(*a_);
  auto second = start_acquire(*a_);
  auto third = start_acquire(*a_);
  EXPECT_EQ(describe(), "1 leased, 1 dialing, 2 waiting");
  EXPECT_EQ(dialer_.begun(), 2U);
  complete_dial();
  EXPECT_TRUE(becomes("2 leased, 1 waiting"));
  leased.release(Reuse::yes());
  EXPECT_TRUE(second.get().ok());
  EXPECT_TRUE(third.get().ok());
}

TEST_F(Limits, the_endpoints_limit_counts_bare_leases) {
  make(limits(2));
  const auto first = pool_->try_lease(*a_);
  const auto second = pool_->try_lease(*a_);
  ASSERT_TRUE(first && second);
  EXPECT_EQ(describe(), "2 leased");
  EXPECT_FALSE(pool_->try_lease(*a_));
  EXPECT_TRUE(pool_->release(*first, Reuse::yes()));
  const auto third = pool_->try_lease(*a_);
  EXPECT_TRUE(third);
  EXPECT_TRUE(pool_->release(*second, Reuse::yes()));
  EXPECT_TRUE(pool_->release(*third, Reuse::yes()));
  EXPECT_EQ(dialer_.begun(), 0U);
}

TEST_F(Limits, the_total_limit_counts_all_endpoints) {
  make(limits(5, 2));
  Endpoint* b = endpoint("b");
  Endpoint* c = endpoint("c");
  Lease in_a = dialed(*a_);
  Lease in_b = dialed(*b);
  EXPECT_FALSE(pool_->try_lease(*c));
  auto caller = start_acquire(*c);
  EXPECT_EQ(describe(*c), "1 waiting");
  EXPECT_EQ(dialer_.begun(), 2U);
  in_a.release(Reuse::no());
  complete_dial();
  EXPECT_TRUE(caller.get().ok());
}

TEST_F(Limits, dials_under_way_are_limited) {
  PoolSettings settings = limits(10);
  settings.max_dials_per_endpoint = 2;
  make(settings);
  auto first = start_acquire(*a_);
  auto second = start_acquire(*a_);
  auto third = start_acquire(*a_);
  EXPECT_EQ(describe(), "2 dialing, 3 waiting");
  complete_dial();
  EXPECT_TRUE(becomes("1 leased, 2 dialing, 2 waiting")) << "the next dial starts when one ends";
  complete_dial();
  complete_dial();
  EXPECT_TRUE(first.get().ok());
  EXPECT_TRUE(second.get().ok());
  EXPECT_TRUE(third.get().ok());
}

TEST_F(Limits, at_the_total_limit_the_longest_idle_connection_of_another_endpoint_is_closed) {
  make(limits(5, 3));
  Endpoint* b = endpoint("b");
  Endpoint* c = endpoint("c");
  Lease one = dialed(*a_);
  Lease two = dialed(*b);
  Lease three = dialed(*a_);
  two.release(Reuse::yes());
  clock_.advance(seconds(1));
  one.release(Reuse::yes());
  clock_.advance(seconds(1));
  three.release(Reuse::yes());
  auto caller = start_acquire(*c);
  EXPECT_TRUE(records_[1]->closed);
  EXPECT_EQ(records_[1]->reason, CloseReason::limit);
  EXPECT_FALSE(records_[0]->closed);
  EXPECT_EQ(describe(*a_), "2 idle");
  EXPECT_EQ(describe(*b), "empty");
  complete_dial();
  EXPECT_TRUE(caller.get().ok());
  EXPECT_EQ(pool_->stats().evicted, 1U);
}

TEST_F(Limits, no_more_connections_are_evicted_than_needed) {
  make(limits(5, 5));
  Endpoint* b = endpoint("b");
  park(*a_, 5);
  auto first = start_acquire(*b);
  auto second = start_acquire(*b);
  EXPECT_EQ(describe(*a_), "3 idle");
  complete_dial();
  complete_dial();
  EXPECT_TRUE(first.get().ok());
  EXPECT_TRUE(second.get().ok());
  EXPECT_EQ(pool_->stats().evicted, 2U);
}

TEST_F(Limits, several_callers_evict_one_connection_each) {
  make(limits(5, 5));
  Endpoint* b = endpoint("b");
  park(*a_, 5);
  auto warming = start_warm(*b, 3);
  complete_dial();
  complete_dial();
  complete_dial();
  auto warmed = warming.get();
  ASSERT_TRUE(warmed.ok());
  EXPECT_EQ(*warmed, 3U);
  EXPECT_EQ(describe(*a_), "2 idle");
  EXPECT_EQ(describe(*b), "3 idle");
}

TEST_F(Limits, a_bare_lease_evicts_an_idle_connection) {
  make(limits(5, 1));
  Endpoint* b = endpoint("b");
  park(*a_, 1);
  const auto lease = pool_->try_lease(*b);
  ASSERT_TRUE(lease);
  EXPECT_TRUE(records_[0]->closed);
  EXPECT_TRUE(pool_->release(*lease, Reuse::yes()));
}

TEST_F(Limits, connections_beyond_the_idle_limit_are_closed_when_returned) {
  PoolSettings settings = limits(5, 5);
  settings.max_idle_connections = 2;
  make(settings);
  park(*a_, 4);
  EXPECT_EQ(describe(), "2 idle");
}

TEST_F(Limits, an_abandoned_dial_does_not_exceed_the_idle_limit) {
  PoolSettings settings = limits(5, 5);
  settings.max_idle_connections = 0;
  make(settings);
  auto caller = start_acquire(*a_, patience(std::nullopt, seconds(1)));
  clock_.advance(seconds(2));
  EXPECT_EQ(caller.get().error().code, ErrorCode::connect_timeout);
  complete_dial();
  EXPECT_EQ(describe(), "empty");
  EXPECT_EQ(records_[0]->reason, CloseReason::limit);
}

TEST_F(Limits, a_returned_connection_goes_to_a_waiter_even_if_none_may_stay_idle) {
  PoolSettings settings = limits(1, 1);
  settings.max_idle_connections = 0;
  make(settings);
  Lease held = dialed(*a_);
  auto caller = start_acquire(*a_);
  held.release(Reuse::yes());
  auto served = caller.get();
  ASSERT_TRUE(served.ok());
  EXPECT_EQ(number(*served), 1);
  served->release(Reuse::yes());
  EXPECT_EQ(describe(), "empty");
}

class BareLeases : public PoolTest {};

TEST_F(BareLeases, take_an_idle_connection_without_a_liveness_check) {
  make();
  park(*a_, 1);
  records_[0]->alive = false;
  const auto lease = pool_->try_lease(*a_);
  ASSERT_TRUE(lease);
  EXPECT_TRUE(lease->slot->connected());
  EXPECT_TRUE(pool_->release(*lease, Reuse::no()));
}

TEST_F(BareLeases, connect_on_first_use_if_no_connection_is_idle) {
  make();
  const auto lease = pool_->try_lease(*a_);
  ASSERT_TRUE(lease);
  EXPECT_EQ(dialer_.begun(), 0U);
  auto connecting = start_connect(*lease);
  complete_dial();
  EXPECT_TRUE(connecting.get().ok());
  EXPECT_TRUE(pool_->connect(*lease, {}).ok()) << "the lease is connected already";
  EXPECT_TRUE(pool_->release(*lease, Reuse::yes()));
  EXPECT_EQ(describe(), "1 idle");
}

TEST_F(BareLeases, are_served_by_a_returned_connection) {
  make(limits(1));
  Lease held = dialed(*a_);
  auto waiting = start_lease(*a_);
  EXPECT_EQ(describe(), "1 leased, 1 waiting");
  held.release(Reuse::yes());
  auto lease = waiting.get();
  ASSERT_TRUE(lease.ok());
  EXPECT_EQ(record(*lease).number, 1);
  EXPECT_TRUE(pool_->release(*lease, Reuse::no()));
}

TEST_F(BareLeases, are_served_by_the_place_of_a_closed_connection) {
  make(limits(1));
  Lease held = dialed(*a_);
  auto waiting = start_lease(*a_);
  held.release(Reuse::no());
  auto lease = waiting.get();
  ASSERT_TRUE(lease.ok());
  EXPECT_FALSE(lease->slot->connected());
  EXPECT_TRUE(pool_->release(*lease, Reuse::no()));
  EXPECT_EQ(dialer_.begun(), 1U);
}

TEST_F(BareLeases, fail_at_their_pool_timeout) {
  make(limits(1));
  Lease held = dialed(*a_);
  auto waiting = start_lease(*a_, patience(seconds(3)));
  clock_.advance(seconds(4));
  EXPECT_EQ(waiting.get().error().code, ErrorCode::pool_timeout);
  EXPECT_EQ(describe(), "1 leased");
}

TEST_F(BareLeases, do_not_overtake_waiting_callers) {
  make(limits(2));
  Lease one = dialed(*a_);
  auto dialing = start_acquire(*a_);
  auto waiting = start_acquire(*a_);
  EXPECT_FALSE(pool_->try_lease(*a_));
  complete_dial();
  one.release(Reuse::yes());
  EXPECT_TRUE(dialing.get().ok());
  EXPECT_TRUE(waiting.get().ok());
}

TEST_F(BareLeases, do_not_wait_behind_a_caller_whose_dial_is_under_way) {
  make(limits(2));
  auto dialing = start_acquire(*a_);
  const auto lease = pool_->try_lease(*a_);
  ASSERT_TRUE(lease);
  EXPECT_FALSE(lease->slot->connected());
  complete_dial();
  EXPECT_TRUE(dialing.get().ok());
  EXPECT_TRUE(pool_->release(*lease, Reuse::no()));
}

TEST_F(BareLeases, are_served_once_the_caller_ahead_has_its_dial) {
  PoolSettings settings = limits(3);
  settings.max_dials_per_endpoint = 1;
  make(settings);
  auto first = start_acquire(*a_);
  auto second = start_acquire(*a_);
  auto waiting = start_lease(*a_);
  EXPECT_EQ(describe(), "1 dialing, 3 waiting");
  complete_dial();
  auto served = first.get();
  ASSERT_TRUE(served.ok());
  auto lease = waiting.get();
  ASSERT_TRUE(lease.ok()) << "there is room for a third connection";
  EXPECT_EQ(describe(), "2 leased, 1 dialing, 1 waiting");
  EXPECT_TRUE(pool_->release(*lease, Reuse::no()));
  complete_dial();
  EXPECT_TRUE(second.get().ok());
}

TEST_F(BareLeases, are_served_when_the_caller_ahead_gives_up) {
  PoolSettings settings = limits(3);
  settings.max_dials_per_endpoint = 1;
  make(settings);
  auto quitter = start_acquire(*a_, patience(std::nullopt, seconds(1)));
  auto second = start_acquire(*a_);
  auto waiting = start_lease(*a_);
  clock_.advance(seconds(2));
  EXPECT_EQ(quitter.get().error().code, ErrorCode::connect_timeout);
  auto lease = waiting.get();
  ASSERT_TRUE(lease.ok()) << "the dial of the second caller has begun, and a place is free";
  EXPECT_TRUE(pool_->release(*lease, Reuse::no()));
  complete_dial(1);  // dial 0 is that of the caller that gave up, and was dropped
  EXPECT_TRUE(second.get().ok());
}

TEST_F(BareLeases, get_the_place_of_a_dial_that_its_caller_gave_up_on) {
  make(limits(1));
  auto quitter = start_acquire(*a_, patience(std::nullopt, seconds(1)));
  auto bare = start_lease(*a_);
  auto caller = start_acquire(*a_);
  clock_.advance(seconds(2));
  EXPECT_FALSE(quitter.get().ok());
  auto lease = bare.get();
  ASSERT_TRUE(lease.ok());
  EXPECT_EQ(describe(), "1 leased, 1 waiting");
  EXPECT_TRUE(pool_->release(*lease, Reuse::no()));
  complete_dial(1);  // dial 0 was dropped
  EXPECT_TRUE(caller.get().ok());
}

class StaleIds : public PoolTest {};

TEST_F(StaleIds, an_id_identifies_its_lease_until_the_lease_ends) {
  make();
  const auto lease = pool_->try_lease(*a_);
  ASSERT_TRUE(lease);
  const auto found = pool_->find(lease->id());
  ASSERT_TRUE(found);
  EXPECT_EQ(found->slot, lease->slot);
  EXPECT_TRUE(pool_->release(*lease, Reuse::yes()));
  EXPECT_FALSE(pool_->find(lease->id()));
}

TEST_F(StaleIds, a_second_return_changes_nothing) {
  make();
  park(*a_, 1);
  const auto first = pool_->try_lease(*a_);
  ASSERT_TRUE(first);
  EXPECT_TRUE(pool_->release(*first, Reuse::yes()));
  EXPECT_FALSE(pool_->release(*first, Reuse::yes()));
  EXPECT_FALSE(pool_->release(*first, Reuse::no()));
  EXPECT_EQ(describe(), "1 idle");
  const auto second = pool_->try_lease(*a_);
  ASSERT_TRUE(second);
  EXPECT_FALSE(pool_->release(*first, Reuse::no())) << "the connection is leased again under another id";
  EXPECT_EQ(describe(), "1 leased");
  EXPECT_FALSE(records_[0]->closed);
  pool_->disconnect(*first);
  EXPECT_FALSE(records_[0]->closed);
  EXPECT_FALSE(pool_->begin_stream(*first));
  EXPECT_TRUE(pool_->release(*second, Reuse::yes()));
}

TEST_F(StaleIds, unknown_ids_are_not_found) {
  make();
  EXPECT_FALSE(pool_->find(ConnectionId{0}));
  EXPECT_FALSE(pool_->find(ConnectionId{~0ULL}));
  EXPECT_FALSE(pool_->find(ConnectionId::make(0, 255)));
  const auto lease = pool_->try_lease(*a_);
  ASSERT_TRUE(lease);
  EXPECT_FALSE(pool_->find(ConnectionId::make(lease->generation + 1, lease->slot->index)));
  EXPECT_TRUE(pool_->release(*lease, Reuse::yes()));
}

class Streams : public PoolTest {
 protected:
  LeaseRef connected_lease() {
    park(*a_, 1);
    return *pool_->try_lease(*a_);
  }
};

TEST_F(Streams, only_one_stream_is_open_at_a_time) {
  make();
  const LeaseRef lease = connected_lease();
  EXPECT_TRUE(pool_->begin_stream(lease));
  EXPECT_FALSE(pool_->begin_stream(lease));
  pool_->end_stream(lease, Reuse::yes());
  EXPECT_TRUE(pool_->begin_stream(lease));
  pool_->end_stream(lease, Reuse::yes());
  EXPECT_TRUE(pool_->release(lease, Reuse::yes()));
}

TEST_F(Streams, a_lease_returned_during_a_stream_is_parked_when_the_stream_ends) {
  make();
  const LeaseRef lease = connected_lease();
  ASSERT_TRUE(pool_->begin_stream(lease));
  EXPECT_TRUE(pool_->release(lease, Reuse::yes()));
  EXPECT_FALSE(pool_->find(lease.id())) << "the id is stale at once";
  EXPECT_EQ(describe(), "1 leased");
  EXPECT_FALSE(pool_->release(lease, Reuse::yes()));
  pool_->end_stream(lease, Reuse::yes());
  EXPECT_EQ(describe(), "1 idle");
  EXPECT_EQ(number(idle(*a_)), 1);
}

TEST_F(Streams, a_lease_removed_during_a_stream_is_closed_when_the_stream_ends) {
  make();
  const LeaseRef lease = connected_lease();
  ASSERT_TRUE(pool_->begin_stream(lease));
  EXPECT_TRUE(pool_->release(lease, Reuse::no()));
  EXPECT_FALSE(records_[0]->closed) << "the stream may still be read";
  pool_->end_stream(lease, Reuse::yes());
  EXPECT_TRUE(records_[0]->closed);
  EXPECT_EQ(describe(), "empty");
}

TEST_F(Streams, a_failed_stream_closes_the_connection_and_keeps_the_lease) {
  make();
  const LeaseRef lease = connected_lease();
  ASSERT_TRUE(pool_->begin_stream(lease));
  pool_->end_stream(lease, Reuse::no());
  EXPECT_TRUE(records_[0]->closed);
  EXPECT_EQ(describe(), "1 leased");
  EXPECT_TRUE(pool_->find(lease.id()));
  auto connecting = start_connect(lease);
  complete_dial();
  EXPECT_TRUE(connecting.get().ok());
  EXPECT_TRUE(pool_->release(lease, Reuse::yes()));
  EXPECT_EQ(describe(), "1 idle");
}

TEST_F(Streams, a_hang_up_during_a_stream_closes_the_connection_and_keeps_the_lease) {
  make();
  const LeaseRef lease = connected_lease();
  ASSERT_TRUE(pool_->begin_stream(lease));
  pool_->on_hang_up(records_[0]->token);
  pool_->end_stream(lease, Reuse::yes());
  EXPECT_TRUE(records_[0]->closed);
  EXPECT_TRUE(pool_->find(lease.id()));
  EXPECT_TRUE(pool_->release(lease, Reuse::yes()));
}

TEST_F(Streams, a_stream_of_a_returned_lease_can_replace_a_broken_connection) {
  make();
  const LeaseRef lease = connected_lease();
  ASSERT_TRUE(pool_->begin_stream(lease));
  EXPECT_TRUE(pool_->release(lease, Reuse::yes()));
  pool_->disconnect(lease);
  EXPECT_TRUE(records_[0]->closed);
  EXPECT_FALSE(lease.slot->connected());
  auto connecting = start_connect(lease);
  complete_dial();
  EXPECT_TRUE(connecting.get().ok());
  pool_->end_stream(lease, Reuse::yes());
  EXPECT_EQ(describe(), "1 idle");
}

TEST_F(Streams, a_lease_returned_while_its_stream_connects_is_parked_when_the_stream_ends) {
  make();
  const auto lease = pool_->try_lease(*a_);
  ASSERT_TRUE(lease && pool_->begin_stream(*lease));
  auto connecting = start_connect(*lease);
  EXPECT_TRUE(dials_begin(1));
  EXPECT_TRUE(pool_->release(*lease, Reuse::yes()));
  complete_dial();
  EXPECT_TRUE(connecting.get().ok()) << "the open stream keeps the dial";
  EXPECT_EQ(describe(), "1 leased");
  pool_->end_stream(*lease, Reuse::yes());
  EXPECT_EQ(describe(), "1 idle");
}

TEST_F(Streams, a_lease_returned_while_its_stream_fails_to_connect_leaves_a_usable_connection) {
  make();
  const auto lease = pool_->try_lease(*a_);
  ASSERT_TRUE(lease && pool_->begin_stream(*lease));
  auto connecting = start_connect(*lease, patience(std::nullopt, seconds(1)));
  EXPECT_TRUE(dials_begin(1));
  EXPECT_TRUE(pool_->release(*lease, Reuse::no()));
  clock_.advance(seconds(2));
  EXPECT_EQ(connecting.get().error().code, ErrorCode::connect_timeout);
  pool_->end_stream(*lease, Reuse::no());
  EXPECT_EQ(describe(), "1 dialing");
  complete_dial();
  EXPECT_EQ(describe(), "1 idle");
  for (int i = 0; i < 2; ++i)
    idle(*a_).release(Reuse::yes());
  EXPECT_EQ(describe(), "1 idle");
}

}  // namespace
}  // namespace fastpool::pool::test
