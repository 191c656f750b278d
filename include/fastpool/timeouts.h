#pragma once

#include <chrono>
#include <optional>

namespace fastpool::inline v1 {

/// The clock of everything here: CLOCK_MONOTONIC.
using Clock = std::chrono::steady_clock;
using TimePoint = Clock::time_point;
using Duration = std::chrono::nanoseconds;
using OptionalDuration = std::optional<Duration>;

/// The timeouts of the single waits of a request; an absent one never ends. `read` and `write` are per operation, not for the whole body.
struct Timeouts {
  OptionalDuration connect{};  ///< look-up, every address and the TLS handshake together
  OptionalDuration read{};
  OptionalDuration write{};
  OptionalDuration pool{};  ///< the wait for a connection, until a dial is under way for this caller
};

}  // namespace fastpool::inline v1
