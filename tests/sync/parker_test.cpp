#include "sync/parker.h"

#include <atomic>
#include <thread>

#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>

#include "support/waiting.h"

namespace fastpool::sync {
namespace {

constexpr TimePoint never = TimePoint::max();

TEST(Parker, a_wake_before_the_park_is_kept) {
  Parker parker;
  parker.unpark();
  EXPECT_TRUE(parker.park_until(Clock::now() + support::wait_limit)) << "the wake was lost";
}

TEST(Parker, a_wake_is_used_up_by_one_park) {
  Parker parker;
  parker.unpark();
  parker.unpark();
  EXPECT_TRUE(parker.park_until(Clock::now() + support::wait_limit)) << "the wake was lost";
  EXPECT_FALSE(parker.park_until(TimePoint{}));
}

TEST(Parker, a_park_with_a_past_deadline_does_not_wait) {
  Parker parker;
  EXPECT_FALSE(parker.park_until(TimePoint{}));
  EXPECT_FALSE(parker.park_until(TimePoint{} - std::chrono::hours(1)));
  EXPECT_FALSE(parker.park_until(Clock::now()));
}

TEST(Parker, a_wake_is_seen_even_past_the_deadline) {
  Parker parker;
  parker.unpark();
  EXPECT_TRUE(parker.park_until(TimePoint{}));
}

TEST(Parker, a_park_lasts_at_least_until_its_deadline) {
  Parker parker;
  const TimePoint deadline = Clock::now() + std::chrono::milliseconds(20);
  EXPECT_FALSE(parker.park_until(deadline));
  EXPECT_GE(Clock::now(), deadline);
}

TEST(Parker, a_woken_thread_sees_the_wakers_writes) {
  for (int round = 0; round < 500; ++round) {
    Parker parker;
    int written = 0;  // only the wake orders this write before the read
    std::thread waker([&] {
      written = round + 1;
      parker.unpark();
    });
    EXPECT_TRUE(parker.park_until(Clock::now() + support::wait_limit))
        << support::waited_in_vain("the thread is woken");
    EXPECT_EQ(written, round + 1);
    waker.join();
  }
}

TEST(Parker, two_threads_hand_a_turn_back_and_forth_without_losing_it) {
  Parker ping;
  Parker pong;
  constexpr int turns = 2000;
  std::thread other([&] {
    for (int i = 0; i < turns; ++i) {
      ASSERT_TRUE(ping.park_until(Clock::now() + support::wait_limit))
          << support::waited_in_vain("the turn comes back");
      pong.unpark();
    }
  });
  for (int i = 0; i < turns; ++i) {
    ping.unpark();
    if (!pong.park_until(Clock::now() + support::wait_limit)) {
      ADD_FAILURE() << support::waited_in_vain("the turn comes back");
      break;
    }
  }
  other.join();
}

TEST(Parker, a_signal_is_not_a_wake) {
  struct sigaction nothing{};
  nothing.sa_handler = [](int) {};
  struct sigaction before{};
  ASSERT_EQ(::sigaction(SIGUSR1, &nothing, &before), 0);
  Parker parker;
  std::atomic<bool> woken{false};
  const support::Watchdog watchdog("the thread is woken", [&parker] { parker.unpark(); });
  std::thread sleeper([&] {
    EXPECT_TRUE(parker.park_until(never));
    EXPECT_TRUE(woken);
  });
  for (int i = 0; i < 100; ++i) {
    ::pthread_kill(sleeper.native_handle(), SIGUSR1);
    std::this_thread::yield();
  }
  woken = true;
  parker.unpark();
  sleeper.join();
  ::sigaction(SIGUSR1, &before, nullptr);
}

}  // namespace
}  // namespace fastpool::sync
