// Regression tests: orders of events in which a caller was overtaken or forgotten, or an object was used too late.

#include "pool/pool_fixture.h"

namespace fastpool::pool::test {
namespace {

class QuietWaker final : public sync::Waker {
 public:
  void wake() noexcept override {}
};

class Hazards : public PoolTest {
 protected:
  [[nodiscard]] std::unique_ptr<Acquisition> waiting(Endpoint& endpoint, const AcquireOptions& options = {},
                                                     Waiter::Wants wants = Waiter::Wants::connection) {
    auto acquisition = std::make_unique<Acquisition>(*pool_, endpoint, options, waker_, wants);
    EXPECT_FALSE(acquisition->poll());
    return acquisition;
  }
  [[nodiscard]] std::unique_ptr<Acquisition> waiting_for_a_lease(Endpoint& endpoint) {
    return waiting(endpoint, {}, Waiter::Wants::lease);
  }
  /// Returns a bare lease that has connected and carried one exchange.
  [[nodiscard]] LeaseRef held_after_an_exchange(Reuse reuse) {
    const auto bare = pool_->try_lease(*a_);
    EXPECT_TRUE(bare && pool_->begin_stream(*bare));
    auto connecting = start_connect(*bare);
    complete_dial();
    EXPECT_TRUE(connecting.get().ok());
    pool_->end_stream(*bare, reuse);
    return *bare;
  }
  QuietWaker waker_;
};

TEST_F(Hazards, a_busy_endpoint_does_not_starve_another_at_the_total_limit) {
  make(limits(5, 1));
  Endpoint& b = *endpoint("b");
  Lease held = dialed(*a_);
  auto in_b = waiting(b);
  clock_.advance(milliseconds(1));
  auto next = waiting(*a_);
  auto after = waiting(*a_);
  held.release(Reuse::yes());
  EXPECT_FALSE(next->poll()) << "the caller of b arrived first";
  EXPECT_EQ(describe(b), "1 dialing, 1 waiting");
  complete_dial();
  auto served = in_b->poll();
  ASSERT_TRUE(served && served->ok());
  served->value().release(Reuse::yes());
  EXPECT_EQ(describe(*a_), "1 dialing, 2 waiting") << "the callers of a are next";
}

TEST_F(Hazards, callers_that_arrived_before_a_starving_endpoint_are_served_first) {
  make(limits(5, 1));
  Endpoint& b = *endpoint("b");
  Lease held = dialed(*a_);
  auto first = waiting(*a_);
  clock_.advance(seconds(1));
  auto in_b = waiting(b);
  held.release(Reuse::yes());
  auto served = first->poll();
  ASSERT_TRUE(served && served->ok()) << "a later caller does not take its connection";
  EXPECT_EQ(dialer_.begun(), 1U);
}

TEST_F(Hazards, a_freed_place_goes_to_the_caller_that_arrived_first) {
  make(limits(5, 1));
  Endpoint& b = *endpoint("b");
  Lease held = dialed(*a_);
  auto in_b = waiting(b);
  auto in_a = waiting(*a_);
  held.release(Reuse::no());
  EXPECT_EQ(describe(b), "1 dialing, 1 waiting");
}

TEST_F(Hazards, the_place_of_a_failed_dial_goes_to_the_caller_that_arrived_first) {
  make(limits(5, 1));
  Endpoint& b = *endpoint("b");
  auto in_a = waiting(*a_);
  auto in_b = waiting(b);
  auto later_in_a = waiting(*a_);
  refuse_dial(refusal());
  EXPECT_EQ(describe(b), "1 dialing, 1 waiting");
}

TEST_F(Hazards, evicting_many_places_at_once_does_not_grow_the_stack) {
  constexpr std::uint32_t count = 20'000;
  PoolSettings settings = limits(2 * count, count);
  settings.max_dials_per_endpoint = 1;
  make(settings);
  Endpoint& b = *endpoint("b");
  std::vector<LeaseRef> places;
  for (std::uint32_t i = 0; i < count; ++i)
    places.push_back(*pool_->try_lease(*a_));
  for (const LeaseRef& place : places)
    EXPECT_TRUE(pool_->release(place, Reuse::yes()));
  auto probe = waiting(b);  // one place is evicted for the probe
  refuse_dial(refusal());
  EXPECT_TRUE(probe->poll());
  // Bare leases wait behind two callers. One of the two has the only dial that the limit allows.
  auto covered = waiting(b);
  auto uncovered = waiting(b);
  std::vector<std::unique_ptr<Acquisition>> bare;
  for (std::uint32_t i = 0; i + 1 < count; ++i)
    bare.push_back(waiting_for_a_lease(b));
  refuse_dial(refusal());
  std::vector<Lease> served;
  for (auto& each : bare) {
    if (auto result = each->poll(); result && result->ok()) served.push_back(std::move(*result).value());
  }
  EXPECT_EQ(served.size(), count - 1);
}

TEST_F(Hazards, callers_that_were_handed_dead_connections_keep_their_order) {
  make(limits(2));
  Lease one = dialed(*a_);
  Lease two = dialed(*a_);
  auto first = waiting(*a_);
  auto second = waiting(*a_);
  for (const auto& record : records_)
    record->alive = false;
  one.release(Reuse::yes());
  two.release(Reuse::yes());
  EXPECT_FALSE(first->poll());
  EXPECT_FALSE(second->poll());
  complete_dial();
  EXPECT_FALSE(second->poll()) << "the second overtook the first";
  EXPECT_TRUE(first->poll());
}

TEST_F(Hazards, a_bare_lease_does_not_overtake_a_caller_that_was_handed_a_dead_connection) {
  make(limits(1));
  Lease held = dialed(*a_);
  auto first = waiting(*a_);
  auto second = waiting_for_a_lease(*a_);
  records_[0]->alive = false;
  held.release(Reuse::yes());
  EXPECT_FALSE(first->poll());
  EXPECT_FALSE(second->poll());
  complete_dial();
  EXPECT_TRUE(first->poll());
}

TEST_F(Hazards, a_drain_waits_for_a_caller_that_was_handed_a_dead_connection) {
  make(limits(1));
  Lease held = dialed(*a_);
  auto queued = waiting(*a_);
  records_[0]->alive = false;
  held.release(Reuse::yes());
  Caller<Result<bool>> drain(*pool_, "drain()", [this] { return pool_->drain(std::nullopt, {}); });
  EXPECT_TRUE(eventually("the drain refuses new callers", [&] { return pool_->refusing(); }));
  EXPECT_FALSE(queued->poll());
  complete_dial();
  auto served = queued->poll();
  ASSERT_TRUE(served && served->ok());
  served->value().release(Reuse::yes());
  EXPECT_TRUE(*drain.get());
}

TEST_F(Hazards, a_keep_alive_promise_survives_a_lease_that_sent_nothing) {
  make();
  Lease lease = dialed(*a_);
  lease.release(Reuse::yes(seconds(5)));
  const auto bare = pool_->try_lease(*a_);
  ASSERT_TRUE(bare && bare->slot->connected());
  EXPECT_TRUE(pool_->release(*bare, Reuse::unused()));
  clock_.advance(seconds(6));
  EXPECT_EQ(pool_->cleanup(), 1U);
}

TEST_F(Hazards, a_keep_alive_promise_made_on_a_held_lease_applies_when_the_lease_is_returned) {
  make();
  const LeaseRef bare = held_after_an_exchange(Reuse::yes(seconds(5)));
  EXPECT_TRUE(pool_->release(bare, Reuse::unused()));
  clock_.advance(seconds(6));
  EXPECT_EQ(pool_->cleanup(), 1U);
}

TEST_F(Hazards, a_warm_up_does_not_renew_a_keep_alive_promise) {
  make();
  Lease lease = dialed(*a_);
  lease.release(Reuse::yes(seconds(5)));
  clock_.advance(seconds(3));
  EXPECT_EQ(*pool_->warm(*a_, 1, {}), 1U);
  clock_.advance(seconds(3));
  EXPECT_EQ(pool_->cleanup(), 1U);
}

TEST_F(Hazards, a_keep_alive_promise_does_not_apply_to_the_next_connection_in_the_slot) {
  make();
  const LeaseRef bare = held_after_an_exchange(Reuse::yes(seconds(5)));
  pool_->disconnect(bare);
  auto again = start_connect(bare);
  complete_dial();
  ASSERT_TRUE(again.get().ok());
  EXPECT_TRUE(pool_->release(bare, Reuse::unused()));
  clock_.advance(seconds(60));
  EXPECT_EQ(pool_->cleanup(), 0U);
}

TEST_F(Hazards, a_stale_lease_is_refused_even_if_its_slot_is_connected) {
  make();
  const auto bare = pool_->try_lease(*a_);
  EXPECT_TRUE(pool_->release(*bare, Reuse::no()));
  const Lease other = dialed(*a_);
  ASSERT_EQ(other.ref().slot, bare->slot);
  EXPECT_EQ(pool_->connect(*bare, {}).error().code, ErrorCode::stale_lease);
}

TEST_F(Hazards, a_second_connect_of_the_same_lease_is_refused) {
  make();
  const auto bare = pool_->try_lease(*a_);
  auto first = start_connect(*bare);
  EXPECT_EQ(pool_->connect(*bare, {}).error().code, ErrorCode::stale_lease);
  complete_dial();
  EXPECT_TRUE(first.get().ok());
  EXPECT_TRUE(pool_->release(*bare, Reuse::yes()));
}

TEST_F(Hazards, connecting_a_lease_that_another_thread_returns_always_ends) {
  make();
  std::atomic<bool> done{false};
  std::thread dials([&] {
    while (!done || dialer_.under_way() > 0) {
      if (dialer_.under_way() > 0) complete_dial();
    }
  });
  for (int round = 0; round < 2000; ++round) {
    const auto bare = pool_->try_lease(*a_);
    ASSERT_TRUE(bare);
    std::thread other([&] { pool_->release(*bare, Reuse::no()); });
    (void)pool_->connect(*bare, {});
    other.join();
    pool_->release(*bare, Reuse::no());
  }
  done = true;
  dials.join();
}

TEST_F(Hazards, short_lived_warm_connections_are_not_dialed_without_end) {
  PoolSettings settings;
  settings.idle_timeout = seconds(2);
  make(settings);
  auto warming = start_warm(*a_, 2);
  complete_dial();
  complete_dial();
  EXPECT_EQ(*warming.get(), 2U);
  for (int i = 0; i < 10; ++i) {
    pool_->maintain();
    while (dialer_.under_way() > 0)
      complete_dial();
    EXPECT_LE(pool_->stats().all.total_connections, 4U);
    clock_.advance(milliseconds(500));
  }
  EXPECT_LE(dialer_.begun(), 2U + 2 * 3);
}

TEST_F(Hazards, a_lease_taken_just_now_is_no_leak_and_is_reported_once_it_is) {
  PoolSettings settings;
  settings.leak_after = seconds(60);
  make(settings);
  park(*a_, 1);
  clock_.advance(seconds(100));
  const Lease lease = idle(*a_);
  lease.ref().slot->since.set(clock_.now() - seconds(100));  // the value before the lease has written its own
  EXPECT_TRUE(pool_->find_leaks().empty());
  lease.ref().slot->since.set(clock_.now());
  EXPECT_TRUE(pool_->find_leaks().empty());
  clock_.advance(seconds(61));
  EXPECT_EQ(pool_->find_leaks().size() + pool_->find_leaks().size(), 1U);
}

TEST_F(Hazards, a_dial_limit_of_zero_allows_one_dial) {
  PoolSettings settings;
  settings.max_dials_per_endpoint = 0;
  make(settings);
  auto caller = waiting(*a_);
  EXPECT_EQ(dialer_.begun(), 1U);
}

TEST_F(Hazards, the_longest_timeouts_do_not_overflow) {
  PoolSettings settings;
  settings.idle_timeout = Duration::max();
  settings.max_lifetime = Duration::max();
  make(settings);
  clock_.advance(hours(20'000));
  auto caller = start_acquire(*a_, patience(Duration::max(), Duration::max() - Duration(1)));
  complete_dial();
  auto lease = caller.get();
  ASSERT_TRUE(lease.ok());
  lease->release(Reuse::yes(Duration::max() - Duration(1)));
  EXPECT_EQ(pool_->cleanup(), 0U);
}

TEST_F(Hazards, a_connection_that_becomes_idle_at_the_total_limit_is_found) {
  make(limits(5, 2));
  Endpoint& b = *endpoint("b");
  Lease one = dialed(*a_);
  Lease two = dialed(*a_);
  for (int i = 0; i < 3; ++i)
    EXPECT_FALSE(pool_->try_lease(b)) << "no connection is idle, and the pool remembers that";
  one.release(Reuse::yes());
  const auto bare = pool_->try_lease(b);
  ASSERT_TRUE(bare);
  EXPECT_TRUE(records_[0]->closed);
  EXPECT_FALSE(pool_->try_lease(b));
  EXPECT_TRUE(pool_->release(*bare, Reuse::yes()));
  const auto third = pool_->try_lease(*a_);
  ASSERT_TRUE(third) << "the pool finds a vacant place too";
  EXPECT_TRUE(pool_->release(*third, Reuse::yes()));
}

// A stale lease still refers to the object of a retired endpoint.
class StaleLeasesOfRetiredEndpoints : public PoolTest {
 protected:
  /// Returns a lease that ended with its endpoint.
  [[nodiscard]] LeaseRef stale() {
    EndpointHold hold = pool_->add_endpoint("retired", nullptr, "retired", AfterUse::close);
    Lease lease = dialed(*hold);
    const LeaseRef ref = lease.ref();
    lease.release(Reuse::no());
    return ref;
  }
};

TEST_F(StaleLeasesOfRetiredEndpoints, change_nothing) {
  make();
  const LeaseRef ref = stale();
  EXPECT_EQ(pool_->stats().endpoints.size(), 1U);
  pool_->disconnect(ref);
  pool_->end_stream(ref, Reuse::no());
  EXPECT_FALSE(pool_->release(ref, Reuse::yes()));
  EXPECT_EQ(pool_->connect(ref, {}).error().code, ErrorCode::stale_lease);
  EXPECT_FALSE(pool_->find(ref.id()));
}

TEST_F(StaleLeasesOfRetiredEndpoints, do_not_affect_the_next_endpoint) {
  make();
  const LeaseRef ref = stale();
  EndpointHold next = pool_->add_endpoint("next", nullptr, "next", AfterUse::close);
  Lease lease = dialed(*next);
  EXPECT_EQ(next->name(), "next");
  pool_->disconnect(ref);
  pool_->end_stream(ref, Reuse::no());
  EXPECT_FALSE(pool_->release(ref, Reuse::no()));
  EXPECT_TRUE(lease.ref().slot->connected());
  EXPECT_EQ(describe(*next), "1 leased");
}

TEST_F(StaleLeasesOfRetiredEndpoints, end_once_when_two_threads_return_them) {
  make();
  for (int round = 0; round < 300; ++round) {
    EndpointHold hold = pool_->add_endpoint("retired", nullptr, "retired", AfterUse::close);
    const LeaseRef ref = *pool_->try_lease(*hold);
    hold = EndpointHold();
    std::atomic<int> ended{0};
    std::thread other([&] { ended += pool_->release(ref, Reuse::yes()) ? 1 : 0; });
    ended += pool_->release(ref, Reuse::yes()) ? 1 : 0;
    other.join();
    pool_->maintain();
    ASSERT_EQ(ended, 1);
  }
}

}  // namespace
}  // namespace fastpool::pool::test
