#pragma once

#include <algorithm>
#include <cstdint>

#include <fastpool/timeouts.h>

#include "client/unread.h"

namespace fastpool::client {

/// Looks at the socket of a failed exchange for the proof that its request was not read. Takes and forgets whatever
/// still arrives there, so the connection must not be used any more, but must live as long as this. One thread's.
class UnreadWatch {
 public:
  /// \param written_before what the channel had handed to the kernel before the request.
  /// \param os_error what the exchange failed with.
  /// \param read_timeout the caller's; the watch is never longer.
  UnreadWatch(int descriptor, std::uint64_t written_before, int os_error, OptionalDuration read_timeout) noexcept
      : descriptor_(descriptor), began_(Clock::now()), read_timeout_(read_timeout) {
    seen_.written_before = written_before;
    seen_.os_error = os_error;
  }

  /// One look, without waiting. Unproved where the platform does not tell enough.
  [[nodiscard]] Unread look() noexcept;
  /// While undecided: how long to wait before the next look, at most unread_patience() in all.
  [[nodiscard]] Duration pause() const noexcept { return std::min<Duration>(slice, seen_.patience - seen_.waited); }
  /// Whether the peer's end is still to come, and with it a reason to look.
  [[nodiscard]] bool awaits_end() const noexcept { return !seen_.fin; }

 private:
  /// Acknowledgements wake no thread: this often they are looked for.
  static constexpr Duration slice = std::chrono::milliseconds(10);

  int descriptor_;
  TimePoint began_;
  OptionalDuration read_timeout_;
  UnreadEvidence seen_;
};

}  // namespace fastpool::client
