#pragma once

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>

#include <fastpool/timeouts.h>

namespace fastpool::client {

/// What one look at the socket of a failed exchange finds, that can tell whether the peer has read the request.
struct UnreadEvidence {
  int os_error = 0;                      ///< what the exchange failed with; 0: with the peer's end
  bool fin = false;                      ///< recv on the raw socket gave 0
  std::uint64_t written_before = 0;      ///< bytes that the kernel got on this connection before the request
  std::uint64_t bytes_acknowledged = 0;  ///< by the peer; the SYN counts as one
  bool closed = false;                   ///< the kernel has ended the connection
  int closed_by = 0;                     ///< and this error of the socket was pending then
  Duration waited{};                     ///< since the exchange failed
  Duration patience{};                   ///< how long to wait for the peer's refusal
};

enum class Unread : std::uint8_t {
  proved,
  unproved,
  undecided  ///< what would decide it may still come
};

/// How long the peer's kernel may take to refuse the request: it does so when the request arrives.
[[nodiscard]] constexpr Duration unread_patience(Duration round_trip, const OptionalDuration& read_timeout) noexcept {
  const Duration patience = std::max<Duration>(3 * round_trip, std::chrono::milliseconds(50));
  return read_timeout ? std::min(patience, *read_timeout) : patience;
}

/// Whether the peer's application can have read the request. Proved unread needs all three:
/// 1. The peer ended its side with a FIN. A reset alone proves nothing: it may overtake the acknowledgement of a request
///    that was read. Any error other than EPIPE is such a reset (or a broken network); once it was fetched recv gives 0 as
///    if there were a FIN.
/// 2. The FIN acknowledges what the peer had by then, and that is nothing of the request: the peer had ended its side before.
/// 3. The peer's kernel refused the request: no process was there to read. A peer that has ended only its own side acknowledges
///    instead, and may read on. Reset after a FIN the kernel leaves EPIPE, which tells it from a connection that it gave up
///    by itself; where a write has fetched that error, 0 is left.
[[nodiscard]] constexpr Unread judge(const UnreadEvidence& seen) noexcept {
  if (seen.os_error != 0 && seen.os_error != EPIPE) return Unread::unproved;
  if (seen.bytes_acknowledged > seen.written_before + 1) return Unread::unproved;
  if (seen.closed) {
    const bool refused = seen.closed_by == EPIPE || (seen.closed_by == 0 && seen.os_error == EPIPE);
    return seen.fin && refused ? Unread::proved : Unread::unproved;
  }
  return seen.waited >= seen.patience ? Unread::unproved : Unread::undecided;
}

}  // namespace fastpool::client
