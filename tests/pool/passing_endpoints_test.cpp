// Endpoints past the cap: they work, keep no connection, and go when nobody uses them.

#include "pool/pool_fixture.h"

namespace fastpool::pool::test {
namespace {

class PassingEndpoints : public PoolTest {
 protected:
  [[nodiscard]] EndpointHold passing(const std::string& name = "p") {
    return pool_->add_passing_endpoint(name, std::shared_ptr<const void>(target_));
  }
  /// Whether the endpoint is gone.
  [[nodiscard]] bool gone() const { return target_.use_count() == 1; }

  std::shared_ptr<int> target_ = std::make_shared<int>(0);
};

TEST_F(PassingEndpoints, a_connection_is_closed_when_it_is_given_back) {
  make();
  EndpointHold hold = passing();
  Lease lease = dialed(*hold);
  EXPECT_EQ(describe(*hold), "1 leased");
  lease.end(Reuse::yes());
  EXPECT_TRUE(records_[0]->closed);
  EXPECT_TRUE(records_[0]->goodbye);
  EXPECT_EQ(describe(), "empty");
}

TEST_F(PassingEndpoints, one_goes_with_its_last_hold) {
  make();
  {
    EndpointHold hold = passing();
    dialed(*hold).end(Reuse::yes());
    EXPECT_FALSE(gone());
    const EndpointHold moved = std::move(hold);
  }
  EXPECT_TRUE(gone());
}

TEST_F(PassingEndpoints, one_with_a_lease_stays_until_that_is_given_back) {
  make();
  auto hold = std::make_unique<EndpointHold>(passing());
  Lease lease = dialed(**hold);
  hold.reset();
  EXPECT_FALSE(gone());
  lease.end(Reuse::yes());
  pool_->maintain();
  EXPECT_TRUE(gone());
}

TEST_F(PassingEndpoints, one_with_a_dial_under_way_stays_until_that_ends) {
  make();
  {
    const EndpointHold hold = passing();
    auto caller = start_acquire(*hold, patience(std::nullopt, seconds(1)));
    clock_.advance(seconds(2));
    EXPECT_FALSE(caller.get().ok());
  }
  pool_->maintain();
  EXPECT_FALSE(gone());
  complete_dial();
  EXPECT_TRUE(records_[0]->closed);
  pool_->maintain();
  EXPECT_TRUE(gone());
}

TEST_F(PassingEndpoints, callers_of_one_share_its_queue) {
  make(limits(1));
  EndpointHold hold = passing();
  Lease lease = dialed(*hold);
  auto caller = start_acquire(*hold);
  lease.end(Reuse::yes());
  complete_dial();
  EXPECT_TRUE(caller.get().ok());
}

TEST_F(PassingEndpoints, one_that_the_total_limit_held_up_goes_when_it_is_relieved) {
  make(limits(5, 1));
  Lease held = dialed(*a_);
  {
    const EndpointHold hold = passing();
    auto caller = start_acquire(*hold, patience(seconds(1)));
    clock_.advance(seconds(2));
    EXPECT_EQ(caller.get().error().code, ErrorCode::pool_timeout);
  }
  EXPECT_FALSE(gone()) << "it is still listed as starving";
  held.end(Reuse::yes());
  pool_->maintain();
  EXPECT_TRUE(gone());
}

TEST_F(PassingEndpoints, no_place_is_kept_for_bare_leases) {
  make();
  EndpointHold hold = passing();
  const auto bare = pool_->try_lease(*hold);
  ASSERT_TRUE(bare);
  EXPECT_TRUE(pool_->release(*bare, Reuse::yes()));
  EXPECT_EQ(bare->slot->word.load().state(), SlotState::free);
}

TEST_F(PassingEndpoints, none_is_kept_warm) {
  make();
  EndpointHold hold = passing();
  EXPECT_EQ(pool_->warm(*hold, 1, {}).error().code, ErrorCode::invalid_argument);
}

TEST_F(PassingEndpoints, however_many_come_and_go_nothing_is_left) {
  make();
  for (int i = 0; i < 1000; ++i) {
    EndpointHold hold = passing(std::to_string(i));
    dialed(*hold).end(Reuse::yes());
  }
  EXPECT_TRUE(gone());
  EXPECT_EQ(pool_->stats().endpoints.size(), 1U);
}

TEST_F(PassingEndpoints, many_threads_use_and_leave_one) {
  make();
  std::atomic<bool> done{false};
  std::thread dials([&] {
    while (!done || dialer_.under_way() > 0) {
      if (dialer_.under_way() > 0) complete_dial();
    }
  });
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 300; ++i) {
        EndpointHold hold = passing();
        auto lease = pool_->acquire(*hold, {});
        ASSERT_TRUE(lease.ok());
        if (i % 2 == 0) hold = EndpointHold();
        if (i % 3 == 0) pool_->maintain();
        lease->end(Reuse::yes());
      }
    });
  }
  for (std::thread& thread : threads)
    thread.join();
  done = true;
  dials.join();
  pool_->maintain();
  EXPECT_TRUE(gone());
}

}  // namespace
}  // namespace fastpool::pool::test
