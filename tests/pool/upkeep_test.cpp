// The maintenance of the pool and its end: warm endpoints, leaks, draining, statistics.

#include "pool/pool_fixture.h"

namespace fastpool::pool::test {
namespace {

class KeepingWarm : public PoolTest {
 protected:
  /// Warms `a` and completes its dials.
  void warm(std::uint32_t count) {
    auto caller = start_warm(*a_, count);
    while (caller.waits()) {
      if (dialer_.under_way() > 0) complete_dial();
    }
    EXPECT_EQ(*caller.get(), count);
  }
};

TEST_F(KeepingWarm, replaces_connections_that_the_peer_closed) {
  make();
  warm(3);
  EXPECT_EQ(pool_->stats().all.min_idle, 3U);
  pool_->on_hang_up(records_[0]->token);
  pool_->on_hang_up(records_[1]->token);
  EXPECT_EQ(describe(), "1 idle");
  pool_->maintain();
  EXPECT_EQ(describe(), "1 idle, 2 dialing");
  pool_->maintain();
  EXPECT_EQ(describe(), "1 idle, 2 dialing") << "their dials are under way";
  complete_dial();
  complete_dial();
  EXPECT_EQ(describe(), "3 idle");
}

TEST_F(KeepingWarm, replaces_connections_before_they_expire) {
  make();
  warm(2);
  clock_.advance(seconds(117));
  pool_->maintain();
  EXPECT_EQ(describe(), "2 idle");
  clock_.advance(seconds(2));
  pool_->maintain();
  EXPECT_EQ(describe(), "2 idle, 2 dialing");
  complete_dial();
  complete_dial();
  clock_.advance(seconds(2));
  pool_->maintain();
  EXPECT_EQ(describe(), "2 idle");
}

TEST_F(KeepingWarm, does_not_count_leased_connections) {
  make();
  warm(2);
  const Lease one = idle(*a_);
  pool_->maintain();
  EXPECT_EQ(describe(), "1 leased, 1 idle, 1 dialing");
}

TEST_F(KeepingWarm, ends_with_a_warm_up_to_zero) {
  make();
  warm(2);
  EXPECT_EQ(*pool_->warm(*a_, 0, {}), 0U);
  pool_->on_hang_up(records_[0]->token);
  pool_->maintain();
  EXPECT_EQ(describe(), "1 idle");
}

TEST_F(KeepingWarm, stays_within_the_limits_and_evicts_no_connection) {
  make(limits(3, 4));
  Endpoint& b = *endpoint("b");
  warm(3);
  const Lease one = dialed(b);
  pool_->on_hang_up(records_[0]->token);
  const Lease two = dialed(b);
  pool_->maintain();
  EXPECT_EQ(describe(*a_), "2 idle");
  EXPECT_EQ(describe(b), "2 leased");
}

TEST_F(KeepingWarm, backs_off_when_dials_fail) {
  make();
  warm(2);
  pool_->on_hang_up(records_[0]->token);
  pool_->on_hang_up(records_[1]->token);
  pool_->maintain();
  refuse_dial(refusal());
  refuse_dial(refusal());
  pool_->maintain();
  EXPECT_EQ(describe(), "1 dialing") << "one dial at a time while dials fail";
  EXPECT_GT(dialer_.peek().start, clock_.now());
  complete_dial();
  pool_->maintain();
  EXPECT_EQ(describe(), "1 idle, 1 dialing");
}

TEST_F(KeepingWarm, leaves_a_warm_up_under_way_alone) {
  make();
  auto caller = start_warm(*a_, 3);
  ASSERT_TRUE(dials_begin(3));
  complete_dial();
  complete_dial();
  pool_->maintain();
  EXPECT_EQ(dialer_.begun(), 3U);
  complete_dial();
  EXPECT_EQ(*caller.get(), 3U);
  pool_->maintain();
  EXPECT_EQ(describe(), "3 idle");
}

TEST_F(KeepingWarm, does_not_begin_after_a_failed_warm_up) {
  make();
  auto caller = start_warm(*a_, 2);
  while (dialer_.under_way() > 0)
    refuse_dial(refusal(true));
  EXPECT_FALSE(caller.get().ok());
  pool_->maintain();
  EXPECT_EQ(describe(), "empty");
}

class Leaks : public PoolTest {
 protected:
  void make_with(OptionalDuration leak_after) {
    PoolSettings settings;
    settings.leak_after = leak_after;
    make(settings);
  }
};

TEST_F(Leaks, a_lease_held_too_long_is_reported_once) {
  make_with(seconds(60));
  Lease lease = dialed(*a_);
  clock_.advance(seconds(59));
  EXPECT_TRUE(pool_->find_leaks().empty());
  clock_.advance(seconds(2));
  EXPECT_TRUE(pool_->find_leaks().empty()) << "the first look only notes the lease";
  const auto leaks = pool_->find_leaks();
  ASSERT_EQ(leaks.size(), 1U);
  EXPECT_EQ(leaks[0].endpoint, "a");
  EXPECT_EQ(leaks[0].id.value, lease.ref().id().value);
  EXPECT_EQ(leaks[0].age, seconds(61));
  clock_.advance(seconds(60));
  EXPECT_TRUE(pool_->find_leaks().empty());
  EXPECT_EQ(pool_->stats().leaks, 1U);
}

TEST_F(Leaks, the_time_starts_anew_with_each_lease) {
  make_with(seconds(60));
  Lease first = dialed(*a_);
  clock_.advance(seconds(61));
  EXPECT_TRUE(pool_->find_leaks().empty());
  EXPECT_EQ(pool_->find_leaks().size(), 1U);
  first.release(Reuse::yes());
  const Lease second = idle(*a_);
  EXPECT_TRUE(pool_->find_leaks().empty());
  clock_.advance(seconds(61));
  EXPECT_TRUE(pool_->find_leaks().empty());
  EXPECT_EQ(pool_->find_leaks().size(), 1U) << "it is another lease in the same slot";
}

TEST_F(Leaks, bare_leases_are_reported_too) {
  make_with(seconds(60));
  const LeaseRef fresh = *pool_->try_lease(*a_);
  clock_.advance(seconds(61));
  EXPECT_TRUE(pool_->find_leaks().empty());
  EXPECT_EQ(pool_->find_leaks().size(), 1U);
  EXPECT_TRUE(pool_->release(fresh, Reuse::yes()));
  const LeaseRef again = *pool_->try_lease(*a_);  // takes the vacant place of the first lease
  EXPECT_TRUE(pool_->find_leaks().empty());
  clock_.advance(seconds(61));
  EXPECT_TRUE(pool_->find_leaks().empty());
  EXPECT_EQ(pool_->find_leaks().size(), 1U);
  EXPECT_TRUE(pool_->release(again, Reuse::yes()));
}

TEST_F(Leaks, idle_connections_and_dials_are_not_leaks) {
  make_with(seconds(60));
  park(*a_, 1);
  const Lease lease = idle(*a_);
  auto caller = start_acquire(*a_);
  clock_.advance(seconds(10));
  EXPECT_TRUE(pool_->find_leaks().empty());
  complete_dial();
  (void)caller.get();
}

TEST_F(Leaks, without_the_setting_nothing_is_reported) {
  make_with(std::nullopt);
  const Lease lease = dialed(*a_);
  clock_.advance(hours(100));
  EXPECT_TRUE(pool_->find_leaks().empty());
}

class Draining : public PoolTest {
 protected:
  [[nodiscard]] Caller<Result<bool>> start_drain(OptionalDuration timeout = std::nullopt) {
    AcquireOptions options;
    Caller<Result<bool>> caller = start<Result<bool>>(
        "drain()", options, [this, timeout](const AcquireOptions& o) { return pool_->drain(timeout, o.interrupt); });
    return caller;
  }
};

TEST_F(Draining, closes_an_unused_pool_at_once) {
  make();
  park(*a_, 2);
  EXPECT_TRUE(*pool_->drain(std::nullopt, {}));
  EXPECT_TRUE(pool_->closed());
  EXPECT_EQ(records_[0]->reason, CloseReason::pool_closed);
  EXPECT_EQ(describe(), "empty");
}

TEST_F(Draining, waits_for_leases_and_closes_their_connections_when_returned) {
  make();
  park(*a_, 2);
  Lease lease = idle(*a_);
  auto drain = start_drain();
  EXPECT_TRUE(drain.waits());
  EXPECT_EQ(describe(), "1 leased") << "the idle connection is closed";
  EXPECT_TRUE(pool_->stats().draining);
  EXPECT_FALSE(pool_->closed());
  EXPECT_FALSE(record(lease).interrupted);
  lease.release(Reuse::yes());
  EXPECT_TRUE(*drain.get());
  EXPECT_EQ(describe(), "empty");
  EXPECT_TRUE(pool_->closed());
}

TEST_F(Draining, refuses_new_callers) {
  make();
  Lease lease = dialed(*a_);
  auto drain = start_drain();
  EXPECT_EQ(start_acquire(*a_).get().error().code, ErrorCode::pool_closed);
  EXPECT_EQ(start_lease(*a_).get().error().code, ErrorCode::pool_closed);
  EXPECT_FALSE(pool_->try_lease(*a_));
  EXPECT_EQ(start_warm(*a_, 1).get().error().code, ErrorCode::pool_closed);
  lease.release(Reuse::yes());
  EXPECT_TRUE(*drain.get());
}

TEST_F(Draining, serves_callers_that_already_queue) {
  make(limits(1));
  Lease lease = dialed(*a_);
  auto queued = start_acquire(*a_);
  auto drain = start_drain();
  lease.release(Reuse::yes());
  auto served = queued.get();
  ASSERT_TRUE(served.ok());
  EXPECT_TRUE(drain.waits());
  served->release(Reuse::yes());
  EXPECT_TRUE(*drain.get());
}

TEST_F(Draining, serves_callers_that_wait_for_a_dial) {
  make();
  auto queued = start_acquire(*a_);
  auto drain = start_drain();
  complete_dial();
  auto served = queued.get();
  ASSERT_TRUE(served.ok());
  served->release(Reuse::yes());
  EXPECT_TRUE(*drain.get());
}

TEST_F(Draining, closes_the_pool_at_its_timeout_and_interrupts_users) {
  make();
  Lease lease = dialed(*a_);
  auto drain = start_drain(seconds(30));
  clock_.advance(seconds(31));
  EXPECT_FALSE(*drain.get());
  EXPECT_TRUE(record(lease).interrupted);
  EXPECT_TRUE(pool_->closed());
}

TEST_F(Draining, closes_a_returned_connection_while_others_are_in_use) {
  make();
  Lease lease = dialed(*a_);
  Lease other = dialed(*a_);
  auto drain = start_drain();
  EXPECT_TRUE(drain.waits());
  lease.release(Reuse::yes());
  EXPECT_TRUE(records_[0]->closed);
  EXPECT_FALSE(pool_->closed());
  other.release(Reuse::yes());
  EXPECT_TRUE(*drain.get());
}

TEST_F(Draining, leaves_no_vacant_place_of_a_returned_bare_lease) {
  make();
  const LeaseRef bare = *pool_->try_lease(*a_);
  Lease other = dialed(*a_);
  auto drain = start_drain();
  EXPECT_TRUE(drain.waits());
  EXPECT_TRUE(pool_->release(bare, Reuse::yes()));
  EXPECT_EQ(bare.slot->word.load().state(), SlotState::free);
  other.release(Reuse::yes());
  EXPECT_TRUE(*drain.get());
}

TEST_F(Draining, closes_the_pool_when_interrupted) {
  make();
  const Lease lease = dialed(*a_);
  Looks looks;
  AcquireOptions options;
  options.interrupt = looks.interrupt();
  auto drain = start<Result<bool>>("drain()", options,
                                   [this](const AcquireOptions& o) { return pool_->drain(std::nullopt, o.interrupt); });
  looks.stop = true;
  EXPECT_EQ(drain.get().error().code, ErrorCode::interrupted);
  EXPECT_TRUE(pool_->closed());
}

TEST_F(Draining, closes_the_connection_of_a_dial_whose_caller_gave_up) {
  make();
  Lease other = dialed(*a_);
  auto queued = start_acquire(*a_, patience(std::nullopt, seconds(1)));
  auto drain = start_drain();
  EXPECT_TRUE(drain.waits());
  clock_.advance(seconds(2));
  EXPECT_FALSE(queued.get().ok());
  complete_dial();
  EXPECT_TRUE(records_[1]->closed);
  EXPECT_FALSE(pool_->closed());
  other.release(Reuse::yes());
  EXPECT_TRUE(*drain.get());
}

TEST_F(Draining, closes_the_connection_of_a_late_dial) {
  make();
  auto caller = start_acquire(*a_, patience(std::nullopt, seconds(1)));
  clock_.advance(seconds(2));
  EXPECT_FALSE(caller.get().ok());
  EXPECT_TRUE(*pool_->drain(std::nullopt, {}));
  complete_dial();
  EXPECT_TRUE(records_[0]->closed);
}

class Statistics : public PoolTest {};

TEST_F(Statistics, report_for_each_endpoint_how_long_callers_waited) {
  make(limits(1));
  Endpoint& b = *endpoint("b");
  Lease held = dialed(*a_);
  const std::uint64_t before = pool_->stats().all.wait_time.count;
  auto caller = start_acquire(*a_);
  clock_.advance(milliseconds(70));
  held.release(Reuse::yes());
  auto lease = caller.get();
  lease->release(Reuse::yes());
  idle(*a_).release(Reuse::yes());  // did not wait, so it is not counted

  const PoolStats stats = pool_->stats();
  const Histogram& waits = stats.endpoints[0].wait_time;
  EXPECT_EQ(waits.count, before + 1);
  EXPECT_EQ(waits.counts[4], 1U) << "above 50 ms, up to 100";
  EXPECT_NEAR(waits.sum, 0.07, 1e-9);
  EXPECT_EQ(stats.endpoints[1].name, b.name());
  EXPECT_EQ(stats.endpoints[1].wait_time.count, 0U);
  EXPECT_EQ(stats.all.wait_time.count, before + 1);
}

TEST_F(Statistics, report_how_long_dials_and_handshakes_took) {
  make();
  auto caller = start_acquire(*a_);
  ASSERT_TRUE(dials_begin(1));
  auto record = std::make_shared<Record>();
  records_.push_back(record);
  pool_->dial_done(*dialer_.take().slot, std::unique_ptr<Pooled>(std::make_unique<FakeConnection>(record)),
                   {.handshake = true, .create_time = milliseconds(30), .handshake_time = milliseconds(8)});
  EXPECT_TRUE(caller.get().ok());
  const EndpointStats stats = pool_->stats().endpoints[0];
  EXPECT_EQ(stats.create_time.counts[3], 1U);
  EXPECT_EQ(stats.handshake_time.counts[2], 1U);
}

TEST(Buckets, include_their_upper_bound) {
  Histogram histogram;
  histogram.add(milliseconds(1));
  histogram.add(milliseconds(2));
  histogram.add(seconds(10));
  histogram.add(seconds(11));
  EXPECT_EQ(histogram.counts[0], 1U);
  EXPECT_EQ(histogram.counts[1], 1U);
  EXPECT_EQ(histogram.counts[8], 1U);
  EXPECT_EQ(histogram.counts[9], 1U);
  EXPECT_EQ(histogram.count, 4U);
  EXPECT_NEAR(histogram.sum, 21.003, 1e-9);
}

class Evicting : public PoolTest {};

TEST_F(Evicting, closes_the_longest_idle_connection_each_time) {
  constexpr int count = 200;
  make(limits(PoolSettings::unlimited, count));
  Endpoint& b = *endpoint("b");
  std::vector<Lease> leases;
  for (int i = 0; i < count; ++i)
    leases.push_back(dialed(*a_));
  for (int i = 0; i < count; ++i) {  // parked in another order than dialed
    leases[static_cast<std::size_t>(i * 77 % count)].release(Reuse::yes());
    clock_.advance(milliseconds(10));
  }
  std::vector<LeaseRef> taken;
  for (int i = 0; i < count; ++i) {
    taken.push_back(*pool_->try_lease(b));
    EXPECT_TRUE(records_[static_cast<std::size_t>(i * 77 % count)]->closed) << i;
    EXPECT_EQ(pool_->stats().evicted, static_cast<std::uint64_t>(i) + 1);
  }
  for (const LeaseRef& ref : taken)
    EXPECT_TRUE(pool_->release(ref, Reuse::yes()));
}

TEST_F(Evicting, skips_a_connection_that_was_used_again) {
  make(limits(PoolSettings::unlimited, 4));
  Endpoint& b = *endpoint("b");
  Endpoint& c = *endpoint("c");
  std::vector<Lease> leases;
  for (Endpoint* each : {a_, &b, a_, &b})
    leases.push_back(dialed(*each));
  for (Lease& lease : leases) {
    lease.release(Reuse::yes());
    clock_.advance(seconds(1));
  }
  const LeaseRef first = *pool_->try_lease(c);
  EXPECT_TRUE(records_[0]->closed);
  Lease busy = idle(b);  // number 4
  Lease next = idle(b);  // number 2
  next.release(Reuse::yes());
  busy.release(Reuse::yes());
  const LeaseRef second = *pool_->try_lease(c);
  EXPECT_TRUE(records_[2]->closed);
  EXPECT_FALSE(records_[1]->closed);
  EXPECT_TRUE(pool_->release(first, Reuse::yes()) && pool_->release(second, Reuse::yes()));
}

}  // namespace
}  // namespace fastpool::pool::test
