#pragma once

/// \file
/// The system calls on stream sockets, each as one function that returns what happened. No state, no locks: any thread
/// may call them on a descriptor that it may use. Functions that return `int` return 0 or an errno value.

#include <cstdint>
#include <span>

#include <sys/socket.h>

#include <fastpool/profile.h>
#include <fastpool/timeouts.h>

#include "net/channel.h"
#include "net/descriptor.h"
#include "net/socket_address.h"

namespace fastpool::net {

/// A new stream socket of the family (AF_INET, AF_INET6, AF_UNIX): non-blocking, close-on-exec, noted for the fork handler.
/// \returns an invalid descriptor on failure, with errno set (EMFILE and ENFILE: out of descriptors).
[[nodiscard]] Descriptor open_stream(int family) noexcept;

/// Binds to a local address; with port 0 the port is chosen at connect, so that ports are not used up per address.
[[nodiscard]] int bind_to(int descriptor, const SocketAddress& address) noexcept;

enum class ConnectState : std::uint8_t {
  connected,    ///< at once (Unix sockets, sometimes loopback)
  in_progress,  ///< wait until writable, then ask connect_result()
  failed        ///< `os_error` says why
};

struct ConnectStart {
  ConnectState state = ConnectState::failed;
  int os_error = 0;
};

/// Starts connecting a non-blocking socket. A signal in between counts as in progress. A Unix socket whose backlog is
/// full says EAGAIN, which is `failed`: there is no event to wait for.
[[nodiscard]] ConnectStart connect_start(int descriptor, const sockaddr* address, socklen_t length) noexcept;
[[nodiscard]] ConnectStart connect_start(int descriptor, const SocketAddress& address) noexcept;

/// Once writable after connect_start(): 0 if connected, else the error. Reads it off the socket, so ask once.
[[nodiscard]] int connect_result(int descriptor) noexcept;

/// TCP_NODELAY. Not for Unix sockets.
[[nodiscard]] int set_no_delay(int descriptor) noexcept;
/// Keep-alive probes: first after 60 s without traffic, then every 30 s, dead after 5 without an answer.
[[nodiscard]] int set_keep_alive(int descriptor) noexcept;
/// The options of a profile in their order; stops at the first that fails.
[[nodiscard]] int apply_options(int descriptor, std::span<const SocketOption> options) noexcept;
[[nodiscard]] int set_blocking(int descriptor, bool blocking) noexcept;

/// SO_RCVTIMEO / SO_SNDTIMEO: how long one blocking call may wait. Zero or less: for ever. Rounded up to whole
/// microseconds; a system call each, so callers set them only when the value changes.
[[nodiscard]] int set_receive_timeout(int descriptor, Duration timeout) noexcept;
[[nodiscard]] int set_send_timeout(int descriptor, Duration timeout) noexcept;

/// Ends both directions, wakes threads that wait in recv or send on it; the descriptor stays open.
void shutdown_both(int descriptor) noexcept;

/// Waits until one of the poll() events (POLLIN, POLLOUT) or an error is there, at most that long (zero or less: for ever).
/// \returns the events that are; 0 after the time or a signal.
[[nodiscard]] short wait_until_ready(int descriptor, short events, Duration at_most) noexcept;
/// The same, until a point in time (max(): for ever), or until `bell` is readable (-1: there is none). \returns whether the descriptor is
/// ready.
[[nodiscard]] bool wait_until_ready(int descriptor, short events, int bell, TimePoint until) noexcept;

/// A look at received bytes, without waiting and without taking them: one system call.
[[nodiscard]] Liveness peek(const Descriptor& socket) noexcept;

/// The socket's own address and its peer's; unspecified on failure.
[[nodiscard]] SocketAddress local_address(int descriptor) noexcept;
[[nodiscard]] SocketAddress peer_address(int descriptor) noexcept;

}  // namespace fastpool::net
