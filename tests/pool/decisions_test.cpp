// The pool's decisions, with plain values.

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

TEST(decisions, a_pool_has_a_thousand_connections_where_that_leaves_descriptors_and_at_least_half_of_them) {
  EXPECT_EQ(default_total(1), 1U);
  EXPECT_EQ(default_total(100), 50U);
  EXPECT_EQ(default_total(256), 128U);
  EXPECT_EQ(default_total(1024), 896U);
  EXPECT_EQ(default_total(1128), 1000U);
  EXPECT_EQ(default_total(4096), 2048U);
  EXPECT_EQ(default_total(std::uint64_t{1} << 40), PoolSettings::unlimited);
  EXPECT_EQ(default_total({}), PoolSettings::unlimited);
}

TEST(decisions, no_endpoint_has_a_limit_of_its_own_by_default_and_the_process_keeps_its_descriptors) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const PoolSettings settings;
  EXPECT_EQ(settings.max_connections_per_endpoint, PoolSettings::unlimited);
  EXPECT_EQ(settings.max_connections, default_total(before.rlim_cur));
  rlimit after{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &after), 0);
  EXPECT_EQ(after.rlim_cur, before.rlim_cur);
}

TEST(WantedDials, as_many_as_waiters_have_none_under_way) {
  EXPECT_EQ(wanted_dials(3, 0, 10, 64), 3U);
  EXPECT_EQ(wanted_dials(3, 2, 10, 64), 1U);
  EXPECT_EQ(wanted_dials(3, 3, 10, 64), 0U);
  EXPECT_EQ(wanted_dials(3, 5, 10, 64), 0U);
  EXPECT_EQ(wanted_dials(0, 0, 10, 64), 0U);
}

TEST(WantedDials, not_beyond_the_free_limit_nor_the_dial_cap) {
  EXPECT_EQ(wanted_dials(9, 0, 4, 64), 4U);
  EXPECT_EQ(wanted_dials(9, 0, 0, 64), 0U);
  EXPECT_EQ(wanted_dials(9, 0, 100, 2), 2U);
  EXPECT_EQ(wanted_dials(9, 1, 100, 2), 1U);
  EXPECT_EQ(wanted_dials(9, 2, 100, 2), 0U);
}

TEST(FailureGoesTo, the_newest_waiter_if_no_dial_is_left_for_it) {
  EXPECT_EQ(failure_goes_to(false, false, 2, 1), FailureGoesTo::newest_waiter);
  EXPECT_EQ(failure_goes_to(false, false, 2, 2), FailureGoesTo::nobody);
  EXPECT_EQ(failure_goes_to(false, false, 1, 3), FailureGoesTo::nobody);
  EXPECT_EQ(failure_goes_to(false, false, 0, 0), FailureGoesTo::nobody);
}

TEST(FailureGoesTo, all_waiters_if_another_try_would_meet_it_again) {
  EXPECT_EQ(failure_goes_to(true, false, 2, 2), FailureGoesTo::all_waiters);
  EXPECT_EQ(failure_goes_to(true, false, 1, 0), FailureGoesTo::all_waiters);
  EXPECT_EQ(failure_goes_to(true, false, 0, 0), FailureGoesTo::nobody);
}

TEST(FailureGoesTo, all_waiters_if_dials_fail_one_after_another) {
  EXPECT_EQ(failure_goes_to(false, true, 9, 0), FailureGoesTo::all_waiters);
  EXPECT_EQ(failure_goes_to(false, true, 9, 1), FailureGoesTo::newest_waiter) << "another may still bring something";
  EXPECT_EQ(failure_goes_to(false, true, 0, 0), FailureGoesTo::nobody);
}

TEST(DialCap, while_dials_fail_there_is_one_at_a_time) {
  EXPECT_EQ(dial_cap(64, 0), 64U);
  EXPECT_EQ(dial_cap(64, 1), 1U);
  EXPECT_EQ(dial_cap(0, 1), 0U);
}

TEST(DialBackoff, doubles_with_each_failure_up_to_half_a_second) {
  EXPECT_EQ(dial_backoff(0, 0.0), Duration{});
  EXPECT_EQ(dial_backoff(1, 0.0), milliseconds(20));
  EXPECT_EQ(dial_backoff(2, 0.0), milliseconds(40));
  EXPECT_EQ(dial_backoff(5, 0.0), milliseconds(320));
  EXPECT_EQ(dial_backoff(6, 0.0), milliseconds(500));
  EXPECT_EQ(dial_backoff(4'000'000'000U, 0.0), milliseconds(500));
}

TEST(DialBackoff, jitter_takes_off_up_to_a_half) {
  EXPECT_EQ(dial_backoff(6, 0.5), milliseconds(375));
  EXPECT_GT(dial_backoff(6, 0.999999), milliseconds(250));
  EXPECT_LT(dial_backoff(6, 0.999999), milliseconds(251));
}

TEST(WorthSweeping, when_tombstones_outnumber_the_living_or_are_all_there_is) {
  EXPECT_FALSE(worth_sweeping(0, 0));
  EXPECT_TRUE(worth_sweeping(1, 0));
  EXPECT_FALSE(worth_sweeping(16, 1));
  EXPECT_TRUE(worth_sweeping(17, 1));
  EXPECT_FALSE(worth_sweeping(100, 100));
  EXPECT_TRUE(worth_sweeping(101, 100));
}

TEST(WarmingDials, are_what_lacks_beside_the_dials_that_nobody_waits_for) {
  EXPECT_EQ(warming_dials(5, 5, 0, 0, 64), 0U);
  EXPECT_EQ(warming_dials(5, 3, 0, 0, 64), 2U);
  EXPECT_EQ(warming_dials(5, 3, 1, 0, 64), 1U);
  EXPECT_EQ(warming_dials(5, 3, 1, 1, 64), 2U) << "that one is its waiter's";
  EXPECT_EQ(warming_dials(5, 3, 0, 7, 64), 2U);
  EXPECT_EQ(warming_dials(0, 0, 0, 0, 64), 0U);
}

TEST(WarmingDials, do_not_pass_the_dial_cap) {
  EXPECT_EQ(warming_dials(100, 0, 0, 0, 64), 64U);
  EXPECT_EQ(warming_dials(100, 0, 60, 0, 64), 4U);
  EXPECT_EQ(warming_dials(100, 0, 1, 0, 1), 0U);
}

TEST(IdleDeadline, is_the_idle_timeout_from_now) {
  EXPECT_EQ(idle_deadline(now, seconds(120), std::nullopt, never), now + seconds(120));
  EXPECT_EQ(idle_deadline(now, std::nullopt, std::nullopt, never), never);
}

TEST(IdleDeadline, a_servers_promise_shortens_it_by_a_margin_of_at_most_a_second) {
  EXPECT_EQ(idle_deadline(now, seconds(120), seconds(60), never), now + seconds(59));
  EXPECT_EQ(idle_deadline(now, seconds(120), seconds(2), never), now + milliseconds(1500));
  EXPECT_EQ(idle_deadline(now, std::nullopt, seconds(5), never), now + seconds(4));
  EXPECT_EQ(idle_deadline(now, seconds(120), seconds(0), never), now);
}

TEST(IdleDeadline, a_promise_never_lengthens_it) {
  EXPECT_EQ(idle_deadline(now, seconds(120), seconds(3600), never), now + seconds(120));
}

TEST(IdleDeadline, never_passes_the_end_of_the_lifetime) {
  EXPECT_EQ(idle_deadline(now, seconds(120), seconds(60), now + seconds(7)), now + seconds(7));
}

TEST(Retirement, lies_between_90_and_110_percent_of_the_lifetime) {
  EXPECT_EQ(retirement(now, seconds(1000), 0.0), now + seconds(900));
  EXPECT_NEAR(static_cast<double>((retirement(now, seconds(1000), 0.5) - now).count()), 1e12, 1e3);
  EXPECT_LT(retirement(now, seconds(1000), 0.999999), now + seconds(1100));
  EXPECT_GT(retirement(now, seconds(1000), 0.999999), now + seconds(1099));
}

TEST(Retirement, does_not_come_without_a_lifetime) {
  EXPECT_EQ(retirement(now, std::nullopt, 0.5), never);
}

}  // namespace
}  // namespace fastpool::pool
