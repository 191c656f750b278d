#pragma once

#include <cstdint>
#include <span>

#include <fastpool/error.h>
#include <fastpool/interrupt.h>
#include <fastpool/timeouts.h>

#include "connection/connection.h"

namespace fastpool::driver {

/// The blocking driver: the caller's thread waits in the kernel, in the very call that moves the bytes, bounded by
/// SO_RCVTIMEO / SO_SNDTIMEO. Where signals matter (an active Interrupt) it waits in slices of Interrupt::poll_interval.
/// A value, made per call; used by one thread.
class Blocking {
 public:
  Blocking(const Timeouts& timeouts, const Interrupt& interrupt) noexcept
      : timeouts_(timeouts), interrupt_(interrupt) {}

  /// Writes all the pieces. `written` grows by every byte that the kernel took, also on failure.
  /// The pieces are used up. Errors: write_failed, write_timeout, interrupted.
  [[nodiscard]] Result<void> write_all(connection::Connection& connection, std::span<iovec> pieces,
                                       std::uint64_t& written);

  struct ReadOutcome {
    std::size_t bytes = 0;
    bool end = false;        ///< the peer closed its side
    bool truncated = false;  ///< TLS: without saying so
  };
  /// Reads at least one byte, or sees the end. Errors: read_failed, read_timeout, interrupted.
  [[nodiscard]] Result<ReadOutcome> read(connection::Connection& connection, std::span<char> buffer);

 private:
  const Timeouts& timeouts_;
  const Interrupt& interrupt_;
};

}  // namespace fastpool::driver
