// The connections that one holder may leave idle in a pool that others use too.

#include "pool/pool_fixture.h"

namespace fastpool::pool::test {
namespace {

class KeepingAlive : public PoolTest {
 protected:
  using Ref = KeepAliveLimit::Ref;

  /// Dials a connection and returns it, 10 ms after the previous return.
  void use_new(Endpoint& endpoint, const Ref& limit) {
    Lease lease = dialed(endpoint);
    clock_.advance(milliseconds(10));
    lease.release(Reuse::yes(), limit.get());
  }
  /// Fills the endpoint up to that many idle connections. None of them counts for a limit.
  void refill(Endpoint& endpoint, std::size_t count) {
    std::vector<Lease> leases;
    while (Lease lease = pool_->try_acquire(endpoint, false))
      leases.push_back(std::move(lease));
    while (leases.size() < count)
      leases.push_back(dialed(endpoint));
    for (Lease& lease : leases)
      lease.release(Reuse::yes());
  }
  [[nodiscard]] std::string open() const {
    std::string numbers;
    for (const auto& record : records_)
      if (!record->closed) numbers += std::to_string(record->number);
    return numbers;
  }
};

TEST_F(KeepingAlive, a_holder_keeps_its_limit_of_idle_connections_and_closes_the_longest_idle) {
  make();
  Endpoint* const b = endpoint("b");
  const Ref limit(2, std::nullopt);
  Lease one = dialed(*a_);
  Lease two = dialed(*a_);
  Lease three = dialed(*b);
  one.release(Reuse::yes(), limit.get());
  clock_.advance(milliseconds(10));
  three.release(Reuse::yes(), limit.get());
  clock_.advance(milliseconds(10));
  two.release(Reuse::yes(), limit.get());
  EXPECT_EQ(open(), "23");
  EXPECT_EQ(records_[0]->reason, CloseReason::limit);
  EXPECT_EQ(limit.get()->idle(), 2U);
  EXPECT_EQ(pool_->stats().evicted, 1U);
}

TEST_F(KeepingAlive, the_connection_returned_last_stays_even_at_equal_times) {
  make();
  const Ref limit(1, std::nullopt);
  for (const char* name : {"b", "c", "d", "e"})
    dialed(*endpoint(name)).release(Reuse::yes(), limit.get());
  EXPECT_EQ(open(), "4");
}

TEST_F(KeepingAlive, idle_connections_of_other_holders_are_neither_counted_nor_closed) {
  make();
  park(*a_, 3);
  const Ref limit(1, std::nullopt);
  const Ref other(1, std::nullopt);
  Endpoint* const b = endpoint("b");
  use_new(*b, limit);
  use_new(*endpoint("c"), other);
  use_new(*endpoint("d"), limit);
  EXPECT_EQ(open(), "12356");
  EXPECT_EQ(limit.get()->idle(), 1U);
  EXPECT_EQ(other.get()->idle(), 1U);
}

TEST_F(KeepingAlive, a_connection_counts_for_the_holder_that_returned_it_last) {
  make();
  const Ref limit(1, std::nullopt);
  const Ref other(1, std::nullopt);
  use_new(*a_, limit);
  idle(*a_).release(Reuse::yes(), other.get());
  EXPECT_EQ(limit.get()->idle(), 0U);
  EXPECT_EQ(other.get()->idle(), 1U);
  use_new(*endpoint("b"), limit);
  EXPECT_EQ(open(), "12");
  idle(*a_).release(Reuse::yes());  // counts for no limit now
  EXPECT_EQ(other.get()->idle(), 0U);
}

TEST_F(KeepingAlive, a_connection_that_may_not_stay_idle_is_closed_for_the_limit) {
  make();
  const Ref none(0, std::nullopt);
  const Ref no_time(5, Duration::zero());
  for (const Ref* limit : {&none, &no_time}) {
    dialed(*a_).release(Reuse::yes(), limit->get());
    EXPECT_EQ(describe(), "empty");
    EXPECT_EQ(records_.back()->reason, CloseReason::limit);
  }
}

TEST_F(KeepingAlive, a_holders_expiry_applies_to_its_connections_up_to_the_idle_timeout_of_the_pool) {
  PoolSettings settings;
  settings.idle_timeout = seconds(60);
  make(settings);
  const Ref brief(5, seconds(1));
  const Ref long_kept(5, seconds(600));
  const Ref timed(KeepAliveLimit::unlimited, seconds(2));
  Lease one = dialed(*a_);
  Lease two = dialed(*a_);
  Lease three = dialed(*a_);
  Lease four = dialed(*a_);
  one.release(Reuse::yes(), brief.get());
  two.release(Reuse::yes(), long_kept.get());
  three.release(Reuse::yes(), timed.get());
  four.release(Reuse::yes());
  clock_.advance(seconds(1));
  EXPECT_EQ(pool_->cleanup(), 1U);
  EXPECT_EQ(open(), "234");
  EXPECT_EQ(brief.get()->idle(), 0U);
  clock_.advance(seconds(1));
  EXPECT_EQ(pool_->cleanup(), 1U);
  EXPECT_EQ(open(), "24");
  clock_.advance(seconds(58));
  EXPECT_EQ(pool_->cleanup(), 2U);
}

TEST_F(KeepingAlive, a_connection_leaves_the_count_however_it_ends) {
  PoolSettings settings = limits(PoolSettings::unlimited, 2);
  settings.idle_timeout = seconds(60);
  make(settings);
  Endpoint* const b = endpoint("b");
  const Ref limit(5, std::nullopt);
  const auto counted = [&] { return limit.get()->idle(); };
  use_new(*a_, limit);
  EXPECT_EQ(counted(), 1U);
  pool_->on_hang_up(records_.back()->token);
  EXPECT_EQ(counted(), 0U) << "the peer hung up";

  Lease one = dialed(*a_);
  Lease two = dialed(*a_);
  one.release(Reuse::yes(), limit.get());
  two.release(Reuse::yes(), limit.get());
  const Lease elsewhere = dialed(*b);
  EXPECT_EQ(counted(), 1U) << "evicted at the total limit";

  for (const auto& each : records_)
    each->alive = false;
  Lease fresh = dialed(*a_);
  EXPECT_EQ(counted(), 0U) << "found dead at checkout";
  fresh.release(Reuse::yes(), limit.get());
  EXPECT_EQ(counted(), 1U);

  clock_.advance(seconds(61));
  Lease late = dialed(*a_);
  EXPECT_EQ(counted(), 0U) << "found expired";
  late.release(Reuse::yes(), limit.get());

  Lease hung_up = idle(*a_);
  pool_->on_hang_up(record(hung_up).token);
  hung_up.release(Reuse::yes(), limit.get());
  EXPECT_EQ(counted(), 0U) << "closed instead of parked";
  dialed(*a_).release(Reuse::yes(), limit.get());
  EXPECT_EQ(counted(), 1U) << "parked";
  pool_->close();
  EXPECT_EQ(counted(), 0U) << "closed with the pool";
}

TEST_F(KeepingAlive, a_waiter_gets_a_returned_connection_even_at_the_holders_limit) {
  make(limits(1));
  Endpoint* const b = endpoint("b");
  const Ref limit(1, std::nullopt);
  Lease held = dialed(*a_);
  use_new(*b, limit);
  auto waiter = start_acquire(*a_);
  held.release(Reuse::yes(), limit.get());
  auto served = waiter.get();
  ASSERT_TRUE(served.ok());
  EXPECT_EQ(number(*served), 1);
  EXPECT_EQ(open(), "12");
  EXPECT_EQ(limit.get()->idle(), 1U);
}

TEST_F(KeepingAlive, a_lease_handed_to_a_caller_that_gave_up_is_counted_too) {
  make(limits(1));
  const Ref none(0, std::nullopt);
  Lease held = dialed(*a_);
  sync::ThreadWaker waker;
  {
    AcquireOptions options;
    options.keep = none.get();
    Acquisition acquisition(*pool_, *a_, options, waker);
    EXPECT_FALSE(acquisition.poll());
    held.release(Reuse::yes());  // handed over; the caller gives up without a poll
  }
  EXPECT_EQ(describe(), "empty");
}

TEST_F(KeepingAlive, a_destroyed_holder_leaves_its_connections_to_others) {
  make();
  {
    const Ref limit(2, std::nullopt);
    use_new(*a_, limit);
  }
  EXPECT_EQ(describe(), "1 idle");
  Lease lease = idle(*a_);
  EXPECT_EQ(number(lease), 1);
}

TEST_F(KeepingAlive, many_threads_leave_no_more_idle_connections_than_their_limit) {
  make();
  std::vector<Endpoint*> endpoints = {a_, endpoint("b"), endpoint("c")};
  for (int round = 0; round < 20; ++round) {
    for (Endpoint* each : endpoints)
      refill(*each, 12);
    const Ref limit(3, std::nullopt);
    const Ref other(1, std::nullopt);
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        for (unsigned i = 0; i < 300; ++i) {
          Lease lease = pool_->try_acquire(*endpoints[(i + t) % 3], true);
          if (!lease) continue;
          clock_.advance(Duration(1));
          lease.release(Reuse::yes(), t == 3 ? other.get() : i % 7 == 0 ? nullptr : limit.get());
          if (i % 50 == 0) (void)pool_->cleanup();
        }
      });
    }
    for (std::thread& thread : threads)
      thread.join();
    EXPECT_LE(limit.get()->idle(), 3U);
    EXPECT_LE(other.get()->idle(), 1U);
    EXPECT_LE(limit.get()->idle() + other.get()->idle(), pool_->stats().all.idle_connections);
  }
}

}  // namespace
}  // namespace fastpool::pool::test
