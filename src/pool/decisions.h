#pragma once

/// \file
/// The pool's decisions, as pure functions of plain values. Others act on what they return.

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>

#include <fastpool/timeouts.h>

namespace fastpool::pool {

/// `now` and a duration after it, or never if that is beyond what the clock can say.
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

/// How many dials to start: what the waiters need beyond the dials under way, as far as the endpoint's free limit and the
/// dial cap go.
[[nodiscard]] constexpr std::uint32_t wanted_dials(std::uint32_t waiters, std::uint32_t dialing,
                                                   std::uint32_t free_limit, std::uint32_t dial_cap) noexcept {
  const std::uint32_t useful = std::min(waiters, dial_cap);
  return useful <= dialing ? 0 : std::min(useful - dialing, free_limit);
}

/// Who hears of a failed dial.
enum class FailureGoesTo : std::uint8_t { nobody, newest_waiter, all_waiters };

/// \param dialing dials still under way, the failed one not counted.
/// \param failing the endpoint's dial before this one failed too: with one dial at a time, its error is everybody's.
[[nodiscard]] constexpr FailureGoesTo failure_goes_to(bool final, bool failing, std::uint32_t waiters,
                                                      std::uint32_t dialing) noexcept {
  if (waiters == 0) return FailureGoesTo::nobody;
  if (final || (failing && dialing == 0)) return FailureGoesTo::all_waiters;
  return dialing < waiters ? FailureGoesTo::newest_waiter : FailureGoesTo::nobody;
}

/// How many dials an endpoint may have under way: one while they fail, as a probe.
[[nodiscard]] constexpr std::uint32_t dial_cap(std::uint32_t max_dials, std::uint32_t failures) noexcept {
  return failures > 0 ? std::min(max_dials, 1U) : max_dials;
}

/// How long an endpoint's next dial is put off after that many failures in a row: doubling from 20 ms up to half a second,
/// so short that a caller who waits for it waits little, and a dead host is asked a few times a second at most.
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
[[nodiscard]] constexpr std::uint32_t warming_dials(std::uint32_t min_idle, std::uint32_t lasting,
                                                    std::uint32_t dialing, std::uint32_t waiters,
                                                    std::uint32_t dial_cap) noexcept {
  const std::uint32_t spare_dials = dialing > waiters ? dialing - waiters : 0;
  const std::uint32_t there = lasting + spare_dials;
  if (there >= min_idle || dialing >= dial_cap) return 0;
  return std::min(min_idle - there, dial_cap - dialing);
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

/// When a connection made now has lived long enough.
/// \param jitter in [0, 1): spreads the end over 90 to 110 % of the lifetime.
[[nodiscard]] constexpr TimePoint retirement(TimePoint now, OptionalDuration lifetime, double jitter) noexcept {
  if (!lifetime) return TimePoint::max();
  const Duration bounded = std::min<Duration>(*lifetime, std::chrono::hours(24 * 365 * 10));
  const auto nanos = static_cast<double>(bounded.count()) * (0.9 + 0.2 * jitter);
  return now + Duration(static_cast<Duration::rep>(nanos));
}

}  // namespace fastpool::pool
