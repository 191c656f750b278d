#pragma once

#include <cstdint>
#include <optional>

#include <fastpool/timeouts.h>

namespace fastpool::net {

/// What the kernel tells of a TCP connection (Linux: TCP_INFO).
struct TcpState {
  bool closed = false;  ///< TCP_CLOSE: reset by the peer, or given up
  /// How much the peer has acknowledged since the connection was made: its SYN counts as one, then every byte.
  std::uint64_t bytes_acknowledged = 0;
  Duration round_trip{};  ///< smoothed
};

/// One system call. \returns nothing where the platform or its kernel does not tell all of it (Unix sockets, kernels
/// before 4.1, systems that only imitate the structure).
[[nodiscard]] std::optional<TcpState> tcp_state(int descriptor) noexcept;

/// How the bytes from the peer end.
enum class StreamEnd : std::uint8_t {
  open,   ///< not yet
  fin,    ///< in order: recv gave 0. After an error of the socket was fetched recv gives 0 too: then it means nothing
  broken  ///< by an error of the socket, or not within 64 KiB
};

/// Takes and forgets what has arrived, up to its end; never waits. For a socket whose bytes are not wanted any more.
[[nodiscard]] StreamEnd skip_to_end(int descriptor) noexcept;

/// Waits until the connection is reset or closed in both directions, or, with `or_readable`, until there is something to
/// read; at most that long, less after a signal. \returns whether it came.
[[nodiscard]] bool wait_for_hang_up(int descriptor, bool or_readable, Duration at_most) noexcept;

/// Takes the socket's pending error (SO_ERROR); 0 if there is none.
[[nodiscard]] int take_error(int descriptor) noexcept;

}  // namespace fastpool::net
