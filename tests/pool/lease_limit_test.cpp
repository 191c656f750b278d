// A transport's own limit on its leases.

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "pool/lease_limit.h"
#include "pool/pool.h"

namespace fastpool::pool {
namespace {

class LeaseLimitTest : public ::testing::Test {
 protected:
  using Place = LeaseLimit::Place;
  struct NoDials final : Dialer {
    void dial(Endpoint&, Slot&, DialTimes) override { ADD_FAILURE() << "a dial"; }
  };
  static constexpr OptionalDuration at_once = Duration::zero();

  Result<Place> enter(LeaseLimit& limit, OptionalDuration timeout) {
    sync::ThreadWaker waker;
    LeaseLimit::Entry entry(limit, pool_, timeout, waker);
    for (;;) {
      if (auto entered = entry.poll()) return *std::move(entered);
      (void)waker.park_until(entry.deadline());
    }
  }

  SystemClock clock_;
  NoDials dialer_;
  Pool pool_{PoolSettings{}, clock_, dialer_};
};

TEST_F(LeaseLimitTest, lets_in_as_many_as_it_says) {
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

TEST_F(LeaseLimitTest, a_place_goes_to_who_waits) {
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

TEST_F(LeaseLimitTest, who_gives_up_takes_no_place_and_hands_on_what_came_in_that_moment) {
  LeaseLimit limit(1);
  std::optional<Result<Place>> held(enter(limit, {}));
  sync::ThreadWaker first_waker;
  sync::ThreadWaker second_waker;
  std::optional<LeaseLimit::Entry> first;
  first.emplace(limit, pool_, OptionalDuration{}, first_waker);
  LeaseLimit::Entry second(limit, pool_, OptionalDuration{}, second_waker);
  EXPECT_FALSE(first->poll());
  EXPECT_FALSE(second.poll());
  held.reset();  // the first one's now
  EXPECT_FALSE(second.poll()) << "first come, first served";
  first.reset();
  auto served = second.poll();
  ASSERT_TRUE(served);
  EXPECT_TRUE(served->ok());
}

TEST_F(LeaseLimitTest, a_wait_ends_with_the_pool) {
  LeaseLimit limit(1);
  const auto held = enter(limit, {});
  ASSERT_TRUE(held.ok());
  pool_.close();
  const auto ended = enter(limit, {});
  ASSERT_FALSE(ended.ok());
  EXPECT_EQ(ended.error().code, ErrorCode::pool_closed);
}

}  // namespace
}  // namespace fastpool::pool
