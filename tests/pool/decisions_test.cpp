// The decisions of the pool, with plain values.

#include "pool/decisions.h"

#include <cstdint>

#include <sys/resource.h>

#include <gtest/gtest.h>

#include <fastpool/settings.h>

namespace fastpool::pool {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr TimePoint now{seconds(1000)};
constexpr TimePoint never = TimePoint::max();

TEST(Decisions, a_deadline_beyond_the_range_of_the_clock_never_passes) {
  EXPECT_EQ(later(now, seconds(5)), now + seconds(5));
  EXPECT_EQ(later(now, -seconds(5)), now - seconds(5));
  EXPECT_EQ(later(now, never - now), never);
  EXPECT_EQ(later(now, never - now + Duration(1)), never);
  EXPECT_EQ(later(now, Duration::max()), never);
  EXPECT_EQ(later(TimePoint{} - seconds(5), Duration::max()), never);
  EXPECT_EQ(later(TimePoint{} - seconds(5), seconds(7)), TimePoint{} + seconds(2));
}

TEST(Decisions, a_pool_has_up_to_a_thousand_connections_by_default_or_half_of_the_descriptors_if_more) {
  EXPECT_EQ(default_total(1), 1U);
  EXPECT_EQ(default_total(100), 50U);
  EXPECT_EQ(default_total(256), 128U);
  EXPECT_EQ(default_total(1024), 896U);
  EXPECT_EQ(default_total(1128), 1000U);
  EXPECT_EQ(default_total(4096), 2048U);
  EXPECT_EQ(default_total(std::uint64_t{1} << 40), PoolSettings::unlimited);
  EXPECT_EQ(default_total({}), PoolSettings::unlimited);
}

TEST(Decisions, endpoints_are_unlimited_by_default_and_the_descriptor_limit_of_the_process_is_unchanged) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const PoolSettings settings;
  EXPECT_EQ(settings.max_connections_per_endpoint, PoolSettings::unlimited);
  EXPECT_EQ(settings.max_connections, default_total(before.rlim_cur));
  rlimit after{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &after), 0);
  EXPECT_EQ(after.rlim_cur, before.rlim_cur);
}

TEST(PacedStart, is_now_for_the_first_dials_and_one_interval_apart_for_later_dials) {
  TimePoint full_at = TimePoint::min();
  for (int i = 0; i < dead_burst; ++i) {
    EXPECT_EQ(paced_start(now, full_at), now) << i;
    full_at = paced_full_at(now, full_at);
  }
  for (int i = 1; i <= 3; ++i) {
    const TimePoint start = paced_start(now, full_at);
    EXPECT_EQ(start, now + i * dead_interval);
    full_at = paced_full_at(start, full_at);
  }
}

TEST(PacedStart, postpones_a_dial_by_at_most_one_interval_when_dials_follow_each_other) {
  TimePoint full_at = TimePoint::min();
  TimePoint time = now;
  for (int i = 0; i < 1000; ++i) {
    const TimePoint start = paced_start(time, full_at);
    EXPECT_LE(start - time, dead_interval);
    full_at = paced_full_at(start, full_at);
    time = start;
  }
  EXPECT_EQ(time, now + (1000 - dead_burst) * dead_interval) << "200 a second after the first burst";
}

TEST(PacedStart, is_now_again_after_a_pause) {
  TimePoint full_at = TimePoint::min();
  for (int i = 0; i < dead_burst; ++i)
    full_at = paced_full_at(now, full_at);
  EXPECT_GT(paced_start(now, full_at), now);
  EXPECT_EQ(paced_start(now + dead_interval, full_at), now + dead_interval);
  EXPECT_EQ(paced_start(now + seconds(9), full_at), now + seconds(9));
}

TEST(StandsForOwnDial, only_a_recent_dial_that_no_caller_gave_up_on) {
  const Duration patience = milliseconds(250);
  EXPECT_TRUE(stands_for_own_dial(now, false, now, patience));
  EXPECT_TRUE(stands_for_own_dial(now - milliseconds(250), false, now, patience));
  EXPECT_FALSE(stands_for_own_dial(now - milliseconds(251), false, now, patience)) << "its peer may never answer";
  EXPECT_FALSE(stands_for_own_dial(now - milliseconds(1), true, now, patience));
  EXPECT_TRUE(stands_for_own_dial(now + milliseconds(5), false, now, patience));
  EXPECT_FALSE(stands_for_own_dial(now + milliseconds(400), false, now, patience)) << "postponed";
}

TEST(DialPatience, grows_with_each_drop_up_to_a_limit) {
  EXPECT_EQ(patience_after_drop(milliseconds(250)), milliseconds(500));
  EXPECT_EQ(patience_after_drop(seconds(8)), seconds(10));
  EXPECT_EQ(patience_after_drop(seconds(10)), seconds(10));
}

TEST(DialPatience, is_twice_what_the_last_dial_took_within_limits) {
  EXPECT_EQ(patience_after_success(milliseconds(1)), milliseconds(250));
  EXPECT_EQ(patience_after_success(milliseconds(400)), milliseconds(800));
  EXPECT_EQ(patience_after_success(seconds(30)), seconds(10));
  EXPECT_EQ(patience_after_success(Duration::max()), seconds(10));
}

TEST(FailureIsTheCallers, only_if_the_dial_began_during_the_call) {
  EXPECT_TRUE(failure_is_the_callers(now, now));
  EXPECT_TRUE(failure_is_the_callers(now, now + milliseconds(3)));
  EXPECT_FALSE(failure_is_the_callers(now, now - milliseconds(1)));
}

TEST(WarmingCap, is_one_dial_at_a_time_while_dials_fail) {
  EXPECT_EQ(warming_cap(64, 0), 64U);
  EXPECT_EQ(warming_cap(64, 1), 1U);
  EXPECT_EQ(warming_cap(0, 1), 0U);
}

TEST(DialBackoff, doubles_with_each_failure_up_to_half_a_second) {
  EXPECT_EQ(dial_backoff(0, 0.0), Duration{});
  EXPECT_EQ(dial_backoff(1, 0.0), milliseconds(20));
  EXPECT_EQ(dial_backoff(2, 0.0), milliseconds(40));
  EXPECT_EQ(dial_backoff(5, 0.0), milliseconds(320));
  EXPECT_EQ(dial_backoff(6, 0.0), milliseconds(500));
  EXPECT_EQ(dial_backoff(4'000'000'000U, 0.0), milliseconds(500));
}

TEST(DialBackoff, is_shortened_by_jitter_by_up_to_half) {
  EXPECT_EQ(dial_backoff(6, 0.5), milliseconds(375));
  EXPECT_GT(dial_backoff(6, 0.999999), milliseconds(250));
  EXPECT_LT(dial_backoff(6, 0.999999), milliseconds(251));
}

TEST(WorthSweeping, when_tombstones_outnumber_live_connections_or_no_live_connection_is_left) {
  EXPECT_FALSE(worth_sweeping(0, 0));
  EXPECT_TRUE(worth_sweeping(1, 0));
  EXPECT_FALSE(worth_sweeping(16, 1));
  EXPECT_TRUE(worth_sweeping(17, 1));
  EXPECT_FALSE(worth_sweeping(100, 100));
  EXPECT_TRUE(worth_sweeping(101, 100));
}

TEST(WarmingDials, fill_the_gap_left_by_idle_connections_and_spare_dials) {
  EXPECT_EQ(warming_dials(5, 5, 0, 0, 64), 0U);
  EXPECT_EQ(warming_dials(5, 3, 0, 0, 64), 2U);
  EXPECT_EQ(warming_dials(5, 3, 1, 1, 64), 1U);
  EXPECT_EQ(warming_dials(5, 3, 1, 0, 64), 2U) << "a waiter is bound to that dial";
  EXPECT_EQ(warming_dials(0, 0, 0, 0, 64), 0U);
}

TEST(WarmingDials, do_not_exceed_the_dial_cap) {
  EXPECT_EQ(warming_dials(100, 0, 0, 0, 64), 64U);
  EXPECT_EQ(warming_dials(100, 0, 60, 0, 64), 4U);
  EXPECT_EQ(warming_dials(100, 0, 1, 0, 1), 0U);
}

TEST(IdleDeadline, is_the_idle_timeout_from_now) {
  EXPECT_EQ(idle_deadline(now, seconds(120), std::nullopt, never), now + seconds(120));
  EXPECT_EQ(idle_deadline(now, std::nullopt, std::nullopt, never), never);
}

TEST(IdleDeadline, is_shortened_to_a_servers_promise_less_a_margin_of_at_most_a_second) {
  EXPECT_EQ(idle_deadline(now, seconds(120), seconds(60), never), now + seconds(59));
  EXPECT_EQ(idle_deadline(now, seconds(120), seconds(2), never), now + milliseconds(1500));
  EXPECT_EQ(idle_deadline(now, std::nullopt, seconds(5), never), now + seconds(4));
  EXPECT_EQ(idle_deadline(now, seconds(120), seconds(0), never), now);
}

TEST(IdleDeadline, is_never_lengthened_by_a_servers_promise) {
  EXPECT_EQ(idle_deadline(now, seconds(120), seconds(3600), never), now + seconds(120));
}

TEST(IdleDeadline, never_exceeds_the_end_of_the_lifetime) {
  EXPECT_EQ(idle_deadline(now, seconds(120), seconds(60), now + seconds(7)), now + seconds(7));
}

TEST(Retirement, lies_between_90_and_110_percent_of_the_lifetime) {
  EXPECT_EQ(retirement(now, seconds(1000), 0.0), now + seconds(900));
  EXPECT_NEAR(static_cast<double>((retirement(now, seconds(1000), 0.5) - now).count()), 1e12, 1e3);
  EXPECT_LT(retirement(now, seconds(1000), 0.999999), now + seconds(1100));
  EXPECT_GT(retirement(now, seconds(1000), 0.999999), now + seconds(1099));
}

TEST(Retirement, is_immediate_for_a_lifetime_of_zero) {
  EXPECT_EQ(retirement(now, Duration{}, 0.5), TimePoint::min());
}

TEST(Retirement, never_comes_without_a_lifetime) {
  EXPECT_EQ(retirement(now, std::nullopt, 0.5), never);
}

}  // namespace
}  // namespace fastpool::pool
