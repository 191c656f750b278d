// Dials whose callers have left: when such a dial ends, and which caller gets its place.

#include "pool/pool_fixture.h"

namespace fastpool::pool::test {
namespace {

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
  /// Interrupts the connecting of a bare lease and returns the lease: its dial is left.
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
  EXPECT_EQ(describe(), "1 dialing") << "below the limit the dial may still succeed";
}

TEST_F(AbandonedDials, make_room_at_once_for_a_caller_of_the_same_endpoint) {
  make(limits(1));
  abandon_one(*a_);
  Slot* const abandoned = dialer_.peek().slot;
  auto caller = start_acquire(*a_, patience(seconds(0)));
  EXPECT_EQ(describe(), "1 dialing, 1 waiting");
  EXPECT_TRUE(dialer_.hurried(abandoned));
  EXPECT_LE(pool_->dial_deadline(*abandoned), clock_.now()) << "the dial ends at once";
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

TEST_F(AbandonedDials, make_room_when_a_bare_lease_started_them) {
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

TEST_F(AbandonedDials, make_room_at_the_limit_on_dials_under_way) {
  PoolSettings settings = limits(10);
  settings.max_dials_per_endpoint = 1;
  make(settings);
  abandon_one(*a_);
  auto caller = start_acquire(*a_, patience(seconds(0)));
  EXPECT_EQ(describe(), "1 dialing, 1 waiting");
  complete_dial(1);
  EXPECT_TRUE(caller.get().ok());
}

TEST_F(AbandonedDials, of_a_peer_that_is_slower_than_the_callers_are_not_dropped_for_ever) {
  PoolSettings settings = limits(10);
  settings.max_dials_per_endpoint = 1;
  make(settings);
  Lease busy = dialed(*a_);
  // Each caller is served by the one connection before its dial ends, and leaves the dial to the next.
  for (int round = 0; round < 40; ++round) {
    auto caller = start_acquire(*a_);
    clock_.advance(milliseconds(300));
    busy.release(Reuse::yes());
    auto served = caller.get();
    ASSERT_TRUE(served.ok());
    busy = std::move(served).value();
  }
  EXPECT_LE(dialer_.begun(), 8U) << "each dial that was dropped for its age was in vain";
  complete_dial(dialer_.under_way() - 1);
  EXPECT_EQ(describe(), "1 leased, 1 idle");
}

TEST_F(AbandonedDials, make_room_for_a_caller_that_already_waits) {
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

TEST_F(AbandonedDials, are_not_dropped_when_a_caller_waits_for_them_again) {
  make(limits(2));
  Lease held = dialed(*a_);
  auto first = start_acquire(*a_);
  held.release(Reuse::yes());
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

TEST_F(AbandonedDials, leave_nothing_behind_when_they_end_after_they_were_dropped) {
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

TEST_F(AbandonedDials, are_not_dropped_for_another_endpoint_when_a_caller_waits_for_them_again) {
  make(limits(2, 2));
  Endpoint& b = *endpoint("b");
  Lease held = dialed(*a_);
  auto first = start_acquire(*a_);
  held.release(Reuse::yes());
  const auto served = first.get();
  ASSERT_TRUE(served.ok());
  auto next = start_acquire(*a_);
  EXPECT_EQ(start_acquire(b, patience(seconds(0))).get().error().code, ErrorCode::pool_timeout);
  EXPECT_EQ(describe(), "1 leased, 1 dialing, 1 waiting");
  complete_dial();
  EXPECT_TRUE(next.get().ok());
}

}  // namespace
}  // namespace fastpool::pool::test
