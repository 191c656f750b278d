#pragma once

/// \file
/// The pool's decisions, as pure functions of plain values. Others act on what they return.

#include <algorithm>
#include <cstdint>

#include <fastpool/timeouts.h>

namespace fastpool::pool {

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
[[nodiscard]] constexpr FailureGoesTo failure_goes_to(bool final, std::uint32_t waiters,
                                                      std::uint32_t dialing) noexcept {
  if (waiters == 0) return FailureGoesTo::nobody;
  if (final) return FailureGoesTo::all_waiters;
  return dialing < waiters ? FailureGoesTo::newest_waiter : FailureGoesTo::nobody;
}

/// When an idle connection expires: its idle time from now on, or its lifetime's end if that is sooner.
/// \param keep_alive what the server promised ("Keep-Alive: timeout=N"), if it did; a margin is taken off, since its clock
///        started earlier than ours and a close takes time to arrive.
[[nodiscard]] constexpr TimePoint idle_deadline(TimePoint now, OptionalDuration idle_timeout,
                                                OptionalDuration keep_alive, TimePoint retire_at) noexcept {
  TimePoint deadline = retire_at;
  if (idle_timeout) deadline = std::min(deadline, now + *idle_timeout);
  if (keep_alive) {
    const Duration margin = std::min<Duration>(std::chrono::seconds(1), *keep_alive / 4);
    deadline = std::min(deadline, now + (*keep_alive - margin));
  }
  return deadline;
}

/// When a connection made now has lived long enough.
/// \param jitter in [0, 1): spreads the end over 90 to 110 % of the lifetime.
[[nodiscard]] constexpr TimePoint retirement(TimePoint now, OptionalDuration lifetime, double jitter) noexcept {
  if (!lifetime) return TimePoint::max();
  const auto nanos = static_cast<double>(lifetime->count()) * (0.9 + 0.2 * jitter);
  return now + Duration(static_cast<Duration::rep>(nanos));
}

}  // namespace fastpool::pool
