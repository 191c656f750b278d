#pragma once

#include <cstdint>

#include <fastpool/error.h>

namespace fastpool::client {

/// What is known when an exchange failed.
struct FailedExchange {
  ErrorCode error = ErrorCode::read_failed;
  bool fresh = false;  ///< the connection was dialed for this request: its failure is the peer's, not staleness
  std::uint64_t bytes_sent = 0;  ///< of this request, taken by the kernel
  bool response_began = false;   ///< any byte of a response was seen
  bool peer_ended = false;       ///< reading met the peer's end (FIN or close_notify) and no error
  bool replayable = false;       ///< idempotent method, or an Idempotency-Key header
  bool rewindable = true;        ///< all of the body is still there to be sent again
};

enum class Retry : std::uint8_t {
  no,
  yes,
  if_unread  ///< only with the proof that the peer has not read it; \see judge()
};

/// The retry table (after Go's net/http: Request.isReplayable and shouldRetryRequest, and one rule of our own): a request
/// that the peer may have processed is sent again only if that can do no harm; a timeout is never retried.
/// docs/internals/retry.md gives the reasons.
[[nodiscard]] constexpr Retry decide_retry(const FailedExchange& failed) noexcept {
  if (failed.error != ErrorCode::write_failed && failed.error != ErrorCode::read_failed) return Retry::no;
  if (failed.fresh || failed.response_began || !failed.rewindable) return Retry::no;
  if (failed.bytes_sent == 0 || failed.replayable) return Retry::yes;
  return failed.peer_ended ? Retry::if_unread : Retry::no;
}

}  // namespace fastpool::client
