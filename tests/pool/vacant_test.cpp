// Vacant places: an endpoint keeps the slot of a bare lease that never connected.

#include "pool/pool_fixture.h"

namespace fastpool::pool::test {
namespace {

class VacantPlaces : public PoolTest {
 protected:
  [[nodiscard]] LeaseRef bare(Endpoint& endpoint) {
    const auto ref = pool_->try_lease(endpoint);
    EXPECT_TRUE(ref);
    return ref.value_or(LeaseRef{});
  }
};

TEST_F(VacantPlaces, are_taken_by_the_next_bare_lease_under_a_new_id) {
  make();
  const LeaseRef first = bare(*a_);
  EXPECT_TRUE(pool_->release(first, Reuse::yes()));
  EXPECT_EQ(describe(), "empty") << "a vacant place is not a connection";
  EXPECT_FALSE(pool_->find(first.id()));
  const LeaseRef second = bare(*a_);
  EXPECT_EQ(second.slot, first.slot);
  EXPECT_NE(second.id().value, first.id().value);
  EXPECT_FALSE(pool_->release(first, Reuse::yes()));
  EXPECT_TRUE(pool_->release(second, Reuse::yes()));
  EXPECT_EQ(dialer_.begun(), 0U);
}

TEST_F(VacantPlaces, are_taken_only_if_no_connection_is_idle) {
  make();
  const LeaseRef place = bare(*a_);
  park(*a_, 1);
  EXPECT_TRUE(pool_->release(place, Reuse::yes()));
  const LeaseRef next = bare(*a_);
  EXPECT_TRUE(next.slot->connected());
  EXPECT_TRUE(pool_->release(next, Reuse::yes()));
}

TEST_F(VacantPlaces, make_room_for_a_caller_of_the_same_endpoint) {
  make(limits(1));
  EXPECT_TRUE(pool_->release(bare(*a_), Reuse::yes()));
  auto caller = start_acquire(*a_);
  EXPECT_EQ(describe(), "1 dialing, 1 waiting");
  complete_dial();
  EXPECT_TRUE(caller.get().ok());
}

TEST_F(VacantPlaces, all_make_room) {
  make(limits(3));
  const LeaseRef places[] = {bare(*a_), bare(*a_), bare(*a_)};
  for (const LeaseRef& place : places)
    EXPECT_TRUE(pool_->release(place, Reuse::yes()));
  auto one = start_acquire(*a_);
  auto two = start_acquire(*a_);
  auto three = start_acquire(*a_);
  EXPECT_EQ(describe(), "3 dialing, 3 waiting");
  for (int i = 0; i < 3; ++i)
    complete_dial();
  EXPECT_TRUE(one.get().ok() && two.get().ok() && three.get().ok());
}

TEST_F(VacantPlaces, make_room_for_another_endpoint_and_do_not_count_as_evictions) {
  make(limits(5, 1));
  Endpoint& b = *endpoint("b");
  EXPECT_TRUE(pool_->release(bare(*a_), Reuse::yes()));
  const LeaseRef other = bare(b);
  EXPECT_FALSE(pool_->try_lease(*a_));
  EXPECT_TRUE(pool_->release(other, Reuse::yes()));
  auto caller = start_acquire(*a_);
  EXPECT_EQ(describe(*a_), "1 dialing, 1 waiting");
  complete_dial();
  EXPECT_TRUE(caller.get().ok());
  EXPECT_EQ(pool_->stats().evicted, 0U);
}

TEST_F(VacantPlaces, make_room_before_idle_connections_do) {
  make(limits(5, 2));
  Endpoint& b = *endpoint("b");
  Endpoint& c = *endpoint("c");
  park(*a_, 1);
  clock_.advance(seconds(5));
  EXPECT_TRUE(pool_->release(bare(b), Reuse::yes()));
  EXPECT_TRUE(pool_->release(bare(c), Reuse::yes()));
  EXPECT_EQ(describe(), "1 idle");
}

TEST_F(VacantPlaces, serve_a_waiting_caller) {
  make(limits(1));
  const LeaseRef place = bare(*a_);
  auto caller = start_acquire(*a_);
  EXPECT_EQ(describe(), "1 leased, 1 waiting");
  EXPECT_TRUE(pool_->release(place, Reuse::yes()));
  EXPECT_TRUE(becomes("1 dialing, 1 waiting"));
  complete_dial();
  EXPECT_TRUE(caller.get().ok());
}

TEST_F(VacantPlaces, serve_a_waiting_bare_lease) {
  make(limits(1));
  const LeaseRef place = bare(*a_);
  auto caller = start_lease(*a_);
  EXPECT_TRUE(pool_->release(place, Reuse::yes()));
  const auto next = caller.get();
  ASSERT_TRUE(next.ok());
  EXPECT_TRUE(pool_->release(*next, Reuse::yes()));
}

TEST_F(VacantPlaces, serve_an_endpoint_that_waits_at_the_total_limit) {
  make(limits(5, 1));
  Endpoint& b = *endpoint("b");
  const LeaseRef place = bare(*a_);
  auto caller = start_acquire(b);
  EXPECT_EQ(describe(b), "1 waiting");
  EXPECT_TRUE(pool_->release(place, Reuse::yes()));
  EXPECT_TRUE(becomes("1 dialing, 1 waiting"));
  complete_dial();
  EXPECT_TRUE(caller.get().ok());
}

TEST_F(VacantPlaces, are_not_left_by_a_removed_lease) {
  make(limits(5, 1));
  Endpoint& b = *endpoint("b");
  const LeaseRef place = bare(*a_);
  EXPECT_TRUE(pool_->release(place, Reuse::no()));
  EXPECT_NE(bare(b).slot, nullptr);
  pool_->close();
  EXPECT_EQ(pool_->stats().all.active_connections, 1U) << "the lease of b is still held";
  EXPECT_TRUE(pool_->release(*pool_->find(ConnectionId::make(place.slot->word.load().generation(), place.slot->index)),
                             Reuse::yes()));
}

TEST_F(VacantPlaces, are_left_by_a_disconnected_lease) {
  make();
  park(*a_, 1);
  const LeaseRef lease = bare(*a_);
  pool_->disconnect(lease);
  EXPECT_TRUE(records_[0]->closed);
  EXPECT_TRUE(pool_->release(lease, Reuse::yes()));
  EXPECT_EQ(bare(*a_).slot, lease.slot);
  pool_->close();
  EXPECT_TRUE(pool_->release({lease.slot, lease.slot->word.load().generation()}, Reuse::yes()));
}

TEST_F(VacantPlaces, are_freed_by_the_second_cleanup_that_finds_them_unused) {
  make(limits(2));
  const LeaseRef place = bare(*a_);
  EXPECT_TRUE(pool_->release(place, Reuse::yes()));
  const auto state = [&] { return place.slot->word.load().state(); };
  EXPECT_EQ(pool_->cleanup(), 0U);
  EXPECT_EQ(state(), SlotState::vacant);
  EXPECT_TRUE(pool_->release(bare(*a_), Reuse::yes()));
  EXPECT_EQ(pool_->cleanup(), 0U);
  EXPECT_EQ(state(), SlotState::vacant) << "a lease took the place since the last cleanup";
  EXPECT_EQ(pool_->cleanup(), 0U) << "no connection was closed";
  EXPECT_EQ(state(), SlotState::free);
  const LeaseRef next = bare(*a_);
  EXPECT_TRUE(pool_->release(next, Reuse::no()));
  EXPECT_EQ(describe(), "empty");
}

TEST_F(VacantPlaces, are_not_kept_by_a_closed_pool) {
  make();
  const LeaseRef place = bare(*a_);
  pool_->close();
  EXPECT_TRUE(pool_->release(place, Reuse::yes()));
  EXPECT_EQ(place.slot->word.load().state(), SlotState::free);
}

}  // namespace
}  // namespace fastpool::pool::test
