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
  /// Two callers in the queue of a limit that lets none in.
  struct TwoWaiting {
    TwoWaiting(LeaseLimit& limit, Pool& pool) : first(limit, pool, {}, wakers[0]), second(limit, pool, {}, wakers[1]) {
      EXPECT_FALSE(first.poll());
      EXPECT_FALSE(second.poll());
    }
    std::array<CountingWaker, 2> wakers;
    LeaseLimit::Entry first;
    LeaseLimit::Entry second;
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

TEST_F(LeaseLimitTest, a_higher_limit_serves_those_that_wait_in_order) {
  LeaseLimit limit(0);
  std::array<CountingWaker, 3> wakers;
  LeaseLimit::Entry first(limit, pool_, {}, wakers[0]);
  LeaseLimit::Entry second(limit, pool_, {}, wakers[1]);
  LeaseLimit::Entry third(limit, pool_, {}, wakers[2]);
  for (LeaseLimit::Entry* each : {&first, &second, &third})
    EXPECT_FALSE(each->poll());
  EXPECT_EQ(limit.usage().waiting, 3U);
  limit.allot(2);
  EXPECT_EQ(wakers[0].wakes + wakers[1].wakes, 2);
  EXPECT_EQ(wakers[2].wakes, 0);
  const auto one = first.poll();
  const auto two = second.poll();
  ASSERT_TRUE(one && one->ok() && two && two->ok());
  EXPECT_EQ(limit.usage().leased, 2U);
  EXPECT_EQ(limit.usage().waiting, 1U);
}

TEST_F(LeaseLimitTest, places_above_a_lower_limit_serve_nobody) {
  LeaseLimit limit(3);
  auto first = enter(limit, at_once);
  auto second = enter(limit, at_once);
  auto third = enter(limit, at_once);
  CountingWaker waker;
  LeaseLimit::Entry entry(limit, pool_, {}, waker);
  EXPECT_FALSE(entry.poll());
  limit.allot(1);
  EXPECT_EQ(limit.usage().leased, 3U);
  first->leave();
  second->leave();
  EXPECT_FALSE(entry.poll());
  EXPECT_FALSE(limit.try_enter());
  EXPECT_EQ(waker.wakes, 0);
  third->leave();
  const auto entered = entry.poll();
  EXPECT_TRUE(entered && entered->ok());
}

TEST_F(LeaseLimitTest, no_caller_enters_on_an_allotment_whose_time_has_passed) {
  LeaseLimit limit(1);
  std::optional<Result<Place>> held(enter(limit, at_once));
  CountingWaker waker;
  LeaseLimit::Entry entry(limit, pool_, {}, waker);
  EXPECT_FALSE(entry.poll());
  limit.allot(2, Duration::zero());  // the caller is served, and too late
  EXPECT_FALSE(entry.poll());
  EXPECT_EQ(limit.most(), 0U);
  held.reset();
  EXPECT_FALSE(entry.poll());
  EXPECT_FALSE(limit.try_enter());
  limit.allot(1);
  const auto entered = entry.poll();
  EXPECT_TRUE(entered && entered->ok());
}

TEST_F(LeaseLimitTest, a_place_handed_out_under_a_lapsed_allotment_is_none_under_the_next) {
  LeaseLimit limit(0);
  CountingWaker waker;
  LeaseLimit::Entry entry(limit, pool_, {}, waker);
  EXPECT_FALSE(entry.poll());
  limit.allot(1, Duration::zero());  // the caller is served, and does not look before the next allotment
  limit.allot(0);
  EXPECT_FALSE(entry.poll());
  EXPECT_EQ(limit.usage().leased, 0U);
  EXPECT_EQ(limit.usage().waiting, 1U);
  limit.allot(1);
  const auto entered = entry.poll();
  EXPECT_TRUE(entered && entered->ok());
}

TEST_F(LeaseLimitTest, places_handed_out_under_a_lapsed_allotment_are_not_added_to_the_next) {
  LeaseLimit limit(0);
  TwoWaiting waiting(limit, pool_);
  LeaseLimit::Entry& first = waiting.first;
  LeaseLimit::Entry& second = waiting.second;
  limit.allot(2, Duration::zero());  // both are served, and do not look before the next allotment
  limit.allot(1);
  EXPECT_FALSE(first.poll()) << "the second still has the place that it was handed";
  EXPECT_FALSE(second.poll());
  const auto entered = first.poll();
  EXPECT_TRUE(entered && entered->ok());
  EXPECT_FALSE(second.poll());
}

TEST_F(LeaseLimitTest, a_limit_of_0_takes_back_what_was_handed_out_and_not_picked_up) {
  LeaseLimit limit(0);
  CountingWaker waker;
  LeaseLimit::Entry entry(limit, pool_, {}, waker);
  EXPECT_FALSE(entry.poll());
  limit.allot(1);
  limit.allot(0);
  EXPECT_FALSE(entry.poll());
  EXPECT_EQ(limit.usage().leased, 0U);
  EXPECT_EQ(limit.usage().waiting, 1U);
}

TEST_F(LeaseLimitTest, a_caller_that_was_served_too_late_keeps_its_turn) {
  LeaseLimit limit(0);
  TwoWaiting waiting(limit, pool_);
  LeaseLimit::Entry& first = waiting.first;
  LeaseLimit::Entry& second = waiting.second;
  limit.allot(1, Duration::zero());  // serves the first, which does not look before the next allotment
  limit.allot(0);
  EXPECT_FALSE(first.poll());
  limit.allot(1);
  EXPECT_FALSE(second.poll());
  const auto entered = first.poll();
  EXPECT_TRUE(entered && entered->ok());
}

TEST_F(LeaseLimitTest, usage_is_exact_while_the_limit_changes) {
  LeaseLimit limit(5);
  std::vector<std::optional<Place>> held;
  for (int each = 0; each < 5; ++each)
    held.push_back(limit.try_enter());
  std::atomic<bool> ends{false};
  std::thread changing([&] {
    for (std::uint32_t round = 0; !ends; ++round)
      limit.allot(round % 2 == 0 ? 5 : 50);
  });
  int wrong = 0;
  for (int look = 0; look < 20'000; ++look)
    wrong += limit.usage().leased != 5 ? 1 : 0;
  ends = true;
  changing.join();
  EXPECT_EQ(wrong, 0);
}

TEST_F(LeaseLimitTest, the_place_of_a_lease_known_by_its_id_is_given_back_once_by_the_caller_that_ends_it) {
  LeaseLimit limit(1);
  const EndpointHold endpoint = pool_.add_endpoint("one", nullptr, "one", AfterUse::keep);
  for (int round = 0; round < 2000; ++round) {
    auto place = limit.try_enter();
    ASSERT_TRUE(place) << "in round " << round;
    const auto lease = pool_.try_lease(*endpoint);
    ASSERT_TRUE(lease);
    place->keep_with(pool_, *lease);
    EXPECT_FALSE(*place);
    ASSERT_EQ(limit.usage().leased, 1U);
    std::atomic<int> ended{0};
    std::array<std::jthread, 2> callers;
    for (std::jthread& caller : callers)
      caller = std::jthread([&] { ended += end_lease(pool_, *lease, Reuse::unused()) ? 1 : 0; });
    for (std::jthread& caller : callers)
      caller.join();
    EXPECT_EQ(ended, 1);
    ASSERT_EQ(limit.usage().leased, 0U) << "in round " << round;
  }
}

TEST_F(LeaseLimitTest, the_next_lease_of_a_connection_does_not_inherit_a_place) {
  LeaseLimit limit(2);
  const EndpointHold endpoint = pool_.add_endpoint("one", nullptr, "one", AfterUse::keep);
  auto place = limit.try_enter();
  ASSERT_TRUE(place);
  const auto limited = pool_.try_lease(*endpoint);
  ASSERT_TRUE(limited);
  place->keep_with(pool_, *limited);
  EXPECT_TRUE(end_lease(pool_, *limited, Reuse::unused()));
  const auto other = limit.try_enter();
  const auto next = pool_.try_lease(*endpoint);
  ASSERT_TRUE(other && next);
  ASSERT_EQ(next->slot, limited->slot);
  EXPECT_TRUE(end_lease(pool_, *next, Reuse::unused()));
  EXPECT_FALSE(end_lease(pool_, *limited, Reuse::unused())) << "it ended before";
  EXPECT_EQ(limit.usage().leased, 1U) << "the place that another caller has";
}

TEST_F(LeaseLimitTest, a_limit_that_changes_all_the_time_loses_no_place_and_no_caller) {
  LeaseLimit limit(2);
  std::atomic<bool> ends{false};
  std::thread changing([&] {
    for (std::uint32_t round = 0; !ends; ++round)
      limit.allot(round % 4, round % 3 == 0 ? Duration::zero() : LeaseLimit::for_ever);
    limit.allot(2);
  });
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 500; ++i)
        EXPECT_TRUE(enter(limit, {}).ok());
    });
  }
  for (std::thread& thread : threads)
    thread.join();
  ends = true;
  changing.join();
  EXPECT_EQ(limit.usage().leased, 0U);
  const auto one = limit.try_enter();
  const auto two = limit.try_enter();
  EXPECT_TRUE(one && two);
  EXPECT_FALSE(limit.try_enter());
}

}  // namespace
}  // namespace fastpool::pool
