#pragma once

/// \file
/// The decisions of "Happy Eyeballs" (RFC 8305) as pure functions: in which order to try addresses, when to start the next
/// attempt, and what to say when all of them failed. No sockets, no clock.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <fastpool/error.h>
#include <fastpool/timeouts.h>

#include "net/socket_address.h"

namespace fastpool::connection {

/// RFC 8305 section 5: Connection Attempt Delay.
inline constexpr Duration kAttemptDelay = std::chrono::milliseconds{250};

/// Alternates between the families, beginning with that of the first address (section 4, First Address Family Count 1);
/// within a family the order is kept. \param only_family AF_UNSPEC, or the one family to keep.
[[nodiscard]] std::vector<net::SocketAddress> interleave(std::span<const net::SocketAddress> addresses,
                                                         int only_family);

struct RaceState {
  std::size_t untried = 0;
  std::size_t under_way = 0;
  TimePoint next_start{};  ///< one delay after the last start, or the moment of the last failure
};

enum class RaceMove : std::uint8_t { start_next, wait, give_up };

[[nodiscard]] RaceMove decide(const RaceState& state, TimePoint now) noexcept;

/// One address that could not be connected to.
struct FailedAttempt {
  net::SocketAddress address;
  int os_error = 0;
  std::string_view step = "connect";  ///< what failed: "connect", "bind", "socket", ...; points to a literal
};

/// The error of a race in which no address connected; `failures` has at least one entry. Its os_error is EMFILE or ENFILE if descriptors
/// ran out, else that of the last address which was really asked, else of the last. `final` if every address refused; those
/// that this machine has no route or no IPv6 for count as refusing beside one that did.
[[nodiscard]] Error race_error(const std::string& target, std::span<const FailedAttempt> failures);

/// "192.0.2.1:443: Connection refused, [2001:db8::1]:443: Network is unreachable".
[[nodiscard]] std::string describe(std::span<const FailedAttempt> failures);

}  // namespace fastpool::connection
