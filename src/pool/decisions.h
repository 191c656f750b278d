#pragma once

/// \file
/// The pool's decisions, as pure functions of plain values. Others act on what they return.

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>

#include <fastpool/event.h>
#include <fastpool/timeouts.h>

namespace fastpool::pool {

/// Returns `now` plus a duration, or TimePoint::max() (never) if the clock cannot represent that or the duration is the
/// longest there is. Every deadline from a duration that a caller chose is made by this.
[[nodiscard]] constexpr TimePoint later(TimePoint now, Duration by) noexcept {
  const bool beyond = by > Duration{} && now > TimePoint{} && by > TimePoint::max() - now;
  return beyond || by == Duration::max() ? TimePoint::max() : now + by;
}

/// The default limit on the connections of a pool.
/// \param descriptors how many the process may open; nothing: no limit.
[[nodiscard]] constexpr std::uint32_t default_total(std::optional<std::uint64_t> descriptors) noexcept {
  constexpr std::uint64_t unlimited = std::numeric_limits<std::uint32_t>::max();
  constexpr std::uint64_t usual = 1000;
  constexpr std::uint64_t spare = 128;  // for the application, while the usual number fits
  const std::uint64_t soft = descriptors.value_or(2 * unlimited);
  const std::uint64_t fits = soft > spare ? std::min(usual, soft - spare) : 0;
  return static_cast<std::uint32_t>(std::clamp(std::max(soft / 2, fits), std::uint64_t{1}, unlimited));
}

/// Why a connection whose idle deadline has passed is closed. \param retire_at the end of its lifetime.
[[nodiscard]] constexpr CloseReason why_expired(TimePoint now, TimePoint retire_at) noexcept {
  return now >= retire_at ? CloseReason::lifetime : CloseReason::idle_timeout;
}

/// Dials to an endpoint whose dials fail begin at most this often, once as many as `dead_burst` began at once.
inline constexpr Duration dead_interval = std::chrono::milliseconds(5);
inline constexpr int dead_burst = 64;

/// When the next dial to an endpoint whose dials fail begins: now, or `dead_interval` later at most if such a dial was begun
/// for each caller before (a token bucket of `dead_burst` tokens).
/// \param full_at when the bucket is full again.
[[nodiscard]] constexpr TimePoint paced_start(TimePoint now, TimePoint full_at) noexcept {
  return full_at <= now ? now : std::max(now, full_at - (dead_burst - 1) * dead_interval);
}
/// When the bucket is full again after a dial that begins at `start`.
[[nodiscard]] constexpr TimePoint paced_full_at(TimePoint start, TimePoint full_at) noexcept {
  return std::max(start, full_at) + dead_interval;
}

/// How old a dial under way may be to stand for a new caller's own, at first: RFC 8305's patience with one attempt.
inline constexpr Duration least_dial_patience = std::chrono::milliseconds(250);
/// And at most.
inline constexpr Duration most_dial_patience = std::chrono::seconds(10);

/// Whether a dial under way that no caller waits for may stand for a new caller's own. One that is slow, or that a caller gave
/// up on, may hang for as long as the peer's answer got lost: behind it the new caller would never try.
/// \param patience the endpoint's: see patience_after_drop().
[[nodiscard]] constexpr bool stands_for_own_dial(TimePoint start, bool given_up, TimePoint now,
                                                 Duration patience) noexcept {
  return !given_up && start <= now + dead_interval && now - start <= patience;
}
/// An endpoint's patience after a dial was dropped for its age. It grows, since where every dial takes longer than the patience, as
/// at a busy peer, each would be dropped for the next and none would ever end.
[[nodiscard]] constexpr Duration patience_after_drop(Duration patience) noexcept {
  return std::min(2 * patience, most_dial_patience);
}
/// The same after a dial that ended well.
[[nodiscard]] constexpr Duration patience_after_success(Duration took) noexcept {
  return std::clamp(2 * std::min(took, most_dial_patience), least_dial_patience, most_dial_patience);
}

/// Whether a failed dial's error is that of a caller who waits for it. A dial that began before the call may have met what
/// is over by now: then the caller gets a dial of its own.
[[nodiscard]] constexpr bool failure_is_the_callers(TimePoint waits_since, TimePoint dial_start) noexcept {
  return waits_since <= dial_start;
}

/// How many dials an endpoint may have under way that no caller waits for: one while they fail, as a probe.
[[nodiscard]] constexpr std::uint32_t warming_cap(std::uint32_t max_dials, std::uint32_t failures) noexcept {
  return failures > 0 ? std::min(max_dials, 1U) : max_dials;
}

/// How long a dial is put off that repeats others: what `failures` counts are those that the same caller met in a row, or the
/// endpoint's where none waits. Doubling from 20 ms up to half a second.
/// \param jitter in [0, 1): takes off up to a half, so that a fleet does not come back at once.
[[nodiscard]] constexpr Duration dial_backoff(std::uint32_t failures, double jitter) noexcept {
  constexpr Duration first = std::chrono::milliseconds(20);
  constexpr Duration longest = std::chrono::milliseconds(500);
  if (failures == 0) return Duration{};
  const Duration full = failures > 5 ? longest : std::min(longest, first * (1 << (failures - 1)));
  return Duration(static_cast<Duration::rep>(static_cast<double>(full.count()) * (1.0 - 0.5 * jitter)));
}

/// Whether tombstones outnumber the living cells of a list so far that it is swept. With nothing living that is cheap.
[[nodiscard]] constexpr bool worth_sweeping(std::uint32_t tombstones, std::uint32_t living) noexcept {
  return tombstones > (living == 0 ? 0 : std::max(16U, living));
}

/// How many dials an endpoint that is kept warm needs besides those for its waiters.
/// \param lasting idle connections that do not expire soon.
/// \param spare of the `dialing`, those that no caller waits for.
[[nodiscard]] constexpr std::uint32_t warming_dials(std::uint32_t min_idle, std::uint32_t lasting,
                                                    std::uint32_t dialing, std::uint32_t spare,
                                                    std::uint32_t cap) noexcept {
  const std::uint32_t there = lasting + spare;
  if (there >= min_idle || dialing >= cap) return 0;
  return std::min(min_idle - there, cap - dialing);
}

/// When an idle connection expires: its idle time from now on, or its lifetime's end if that is sooner.
/// \param keep_alive what the server promised ("Keep-Alive: timeout=N"), if it did; a margin is taken off, since its clock
///        started earlier than ours and a close takes time to arrive.
[[nodiscard]] constexpr TimePoint idle_deadline(TimePoint now, OptionalDuration idle_timeout,
                                                OptionalDuration keep_alive, TimePoint retire_at) noexcept {
  TimePoint deadline = retire_at;
  if (idle_timeout) deadline = std::min(deadline, later(now, *idle_timeout));
  if (keep_alive) {
    const Duration margin = std::min<Duration>(std::chrono::seconds(1), *keep_alive / 4);
    deadline = std::min(deadline, later(now, *keep_alive - margin));
  }
  return deadline;
}

/// When a connection made now has lived long enough. A lifetime of zero is over before it begins: callers compare with a
/// clock that is some milliseconds coarse.
/// \param jitter in [0, 1): spreads the end over 90 to 110 % of the lifetime.
[[nodiscard]] constexpr TimePoint retirement(TimePoint now, OptionalDuration lifetime, double jitter) noexcept {
  if (!lifetime) return TimePoint::max();
  if (*lifetime <= Duration{}) return TimePoint::min();
  const Duration bounded = std::min<Duration>(*lifetime, std::chrono::hours(24 * 365 * 10));
  const auto nanos = static_cast<double>(bounded.count()) * (0.9 + 0.2 * jitter);
  return now + Duration(static_cast<Duration::rep>(nanos));
}

}  // namespace fastpool::pool
