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
  bool replayable = false;       ///< idempotent method, or an Idempotency-Key header
  bool rewindable = true;        ///< the body is still there to be sent again
};

/// The retry table (after Go's net/http: Request.isReplayable and shouldRetryRequest): a request that the peer may have
/// processed is sent again only if that can do no harm; a timeout is never retried.
[[nodiscard]] constexpr bool should_retry(const FailedExchange& failed) noexcept {
  if (failed.error != ErrorCode::write_failed && failed.error != ErrorCode::read_failed) return false;
  if (failed.fresh || failed.response_began || !failed.rewindable) return false;
  return failed.bytes_sent == 0 || failed.replayable;
}

}  // namespace fastpool::client
