// The limit of one transport on its leases.

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "pool/lease_limit.h"
#include "pool/pool.h"
#include "support/waiting.h"

namespace fastpool::pool {
namespace {

class LeaseLimitTest : public ::testing::Test {
 protected:
  using Place = LeaseLimit::Place;
  struct NoDials final : Dialer {
    void dial(Endpoint&, Slot&, DialTimes) override { ADD_FAILURE() << "the pool began a dial"; }
  };
  struct CountingWaker final : sync::Waker {
    void wake() noexcept override { wakes.fetch_add(1); }
    std::atomic<int> wakes{0};
  };
  static constexpr OptionalDuration at_once = Duration::zero();

  static std::optional<ErrorCode> error_of(const std::optional<Result<Place>>& entered) {
    if (!entered || entered->ok()) return std::nullopt;
    return entered->error().code;
  }

  Result<Place> enter(LeaseLimit& limit, OptionalDuration timeout) { return enter(limit, timeout, pool_); }
  static Result<Place> enter(LeaseLimit& limit, OptionalDuration timeout, Pool& pool) {
    sync::ThreadWaker waker;
    LeaseLimit::Entry entry(limit, pool, timeout, waker);
    const TimePoint limit_of_the_test = Clock::now() + support::wait_limit;
    for (;;) {
      if (auto entered = entry.poll()) return *std::move(entered);
      if (Clock::now() >= limit_of_the_test) {
        ADD_FAILURE() << support::waited_in_vain("a caller gets a place or an error");
        return Error::make(ErrorCode::interrupted, Phase::acquire, "the test gave up");
      }
      (void)waker.park_until(std::min(entry.deadline(), limit_of_the_test));
    }
  }

  SystemClock clock_;
  NoDials dialer_;
  Pool pool_{PoolSettings{}, clock_, dialer_};
};

TEST_F(LeaseLimitTest, a_timeout_beyond_the_range_of_the_clock_never_ends) {
  LeaseLimit limit(1);
  sync::ThreadWaker waker;
  const LeaseLimit::Entry entry(limit, pool_, Duration::max(), waker);
  EXPECT_EQ(entry.deadline(), TimePoint::max());
}

TEST_F(LeaseLimitTest, admits_as_many_callers_as_its_limit) {
  LeaseLimit limit(2);
  auto first = enter(limit, at_once);
  const auto second = enter(limit, at_once);
  ASSERT_TRUE(first.ok() && second.ok());
  const auto refused = enter(limit, at_once);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::pool_timeout);
  first->leave();
  EXPECT_TRUE(enter(limit, at_once).ok());
}

TEST_F(LeaseLimitTest, a_freed_place_goes_to_a_waiting_caller) {
  LeaseLimit limit(1);
  std::optional<Result<Place>> held(enter(limit, {}));
  std::atomic<int> inside{1};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) {
        const auto place = enter(limit, {});
        EXPECT_TRUE(place.ok());
        EXPECT_EQ(inside.fetch_add(1), 0);
        inside.fetch_sub(1);
      }
    });
  }
  inside = 0;
  held.reset();
  for (std::thread& thread : threads)
    thread.join();
  EXPECT_TRUE(enter(limit, at_once).ok()) << "no place was lost";
}

TEST_F(LeaseLimitTest, a_caller_that_gives_up_as_it_is_served_passes_its_place_on) {
  LeaseLimit limit(1);
  std::optional<Result<Place>> held(enter(limit, {}));
  sync::ThreadWaker first_waker;
  sync::ThreadWaker second_waker;
  std::optional<LeaseLimit::Entry> first;
  first.emplace(limit, pool_, OptionalDuration{}, first_waker);
  LeaseLimit::Entry second(limit, pool_, OptionalDuration{}, second_waker);
  EXPECT_FALSE(first->poll());
  EXPECT_FALSE(second.poll());
  held.reset();  // goes to the first caller
  EXPECT_FALSE(second.poll()) << "first come, first served";
  first.reset();
  auto served = second.poll();
  ASSERT_TRUE(served);
  EXPECT_TRUE(served->ok());
}

TEST_F(LeaseLimitTest, a_waiting_caller_sleeps_until_the_pool_closes) {
  LeaseLimit limit(1);
  const auto held = enter(limit, {});
  ASSERT_TRUE(held.ok());
  std::array<CountingWaker, 2> wakers;
  LeaseLimit::Entry first(limit, pool_, {}, wakers[0]);
  LeaseLimit::Entry second(limit, pool_, {}, wakers[1]);
  for (LeaseLimit::Entry* each : {&first, &second}) {
    EXPECT_FALSE(each->poll());
    EXPECT_EQ(each->deadline(), TimePoint::max());
  }
  EXPECT_EQ(wakers[0].wakes + wakers[1].wakes, 0);
  pool_.close();
  EXPECT_EQ(wakers[0].wakes, 1);
  EXPECT_EQ(wakers[1].wakes, 1);
  for (LeaseLimit::Entry* each : {&first, &second})
    EXPECT_EQ(error_of(each->poll()), ErrorCode::pool_closed);
  pool_.close();
  EXPECT_EQ(wakers[0].wakes, 1) << "close() woke the caller once";
}

TEST_F(LeaseLimitTest, a_waiting_caller_is_woken_when_the_pool_begins_to_drain) {
  const EndpointHold endpoint = pool_.add_endpoint("a", nullptr, "a", AfterUse::keep);
  const auto busy = pool_.try_lease(*endpoint);
  ASSERT_TRUE(busy);
  LeaseLimit limit(1);
  const auto held = enter(limit, {});
  CountingWaker waker;
  LeaseLimit::Entry entry(limit, pool_, {}, waker);
  EXPECT_FALSE(entry.poll());
  std::thread draining([&] { EXPECT_TRUE(pool_.drain({}, {}).value()); });
  EXPECT_TRUE(support::eventually("the drain wakes the caller", [&] { return waker.wakes != 0; }));
  EXPECT_FALSE(pool_.closed()) << "the drain waits for the lease";
  EXPECT_EQ(error_of(entry.poll()), ErrorCode::pool_closed);
  EXPECT_TRUE(pool_.release(*busy, Reuse::no()));
  draining.join();
}

TEST_F(LeaseLimitTest, closing_the_limit_wakes_waiting_callers_and_refuses_later_ones) {
  LeaseLimit limit(1);
  std::optional<Result<Place>> held(enter(limit, {}));
  CountingWaker waker;
  std::optional<LeaseLimit::Entry> entry;
  entry.emplace(limit, pool_, OptionalDuration{}, waker);
  EXPECT_FALSE(entry->poll());
  limit.close();
  EXPECT_EQ(waker.wakes, 1);
  held.reset();  // too late for the waiting caller
  EXPECT_EQ(error_of(entry->poll()), ErrorCode::pool_closed);
  entry.reset();
  EXPECT_EQ(enter(limit, {}).error().code, ErrorCode::pool_closed) << "the limit is closed, though a place is free";
}

TEST_F(LeaseLimitTest, a_caller_that_left_is_not_woken) {
  LeaseLimit limit(1);
  const auto held = enter(limit, {});
  CountingWaker waker;
  for (const bool in_time : {true, false}) {
    LeaseLimit::Entry entry(limit, pool_, in_time ? OptionalDuration() : at_once, waker);
    EXPECT_EQ(entry.poll().has_value(), !in_time);
  }
  limit.close();
  pool_.close();
  EXPECT_EQ(waker.wakes, 0);
}

TEST_F(LeaseLimitTest, a_closed_pool_refuses_a_caller_that_would_have_to_wait) {
  LeaseLimit limit(1);
  const auto held = enter(limit, {});
  ASSERT_TRUE(held.ok());
  pool_.close();
  EXPECT_EQ(enter(limit, {}).error().code, ErrorCode::pool_closed);
}

TEST_F(LeaseLimitTest, a_caller_that_arrives_as_the_pool_or_limit_closes_is_woken) {
  for (int round = 0; round < 30; ++round) {
    Pool pool(PoolSettings{}, clock_, dialer_);
    LeaseLimit limit(1);
    const auto held = enter(limit, {}, pool);
    std::atomic<int> ready{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        ready.fetch_add(1);
        EXPECT_EQ(enter(limit, {}, pool).error().code, ErrorCode::pool_closed);
      });
    }
    EXPECT_TRUE(support::eventually("four threads are about to enter", [&] { return ready == 4; }));
    if (round % 2 == 0) {
      pool.close();
    } else {
      limit.close();
    }
    for (std::thread& thread : threads)
      thread.join();
  }
}

}  // namespace
}  // namespace fastpool::pool
