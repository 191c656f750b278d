#pragma once

#include <cstdint>

#include "net/channel.h"
#include "tls/openssl.h"

namespace fastpool::tls {

/// How the next OpenSSL call may use the socket, and what the socket said. One per TLS channel; its owner sets `mode` and
/// begins each call with begin(); the BIO, which points to it, reads and writes it. Same thread rules as the channel.
struct SocketIo {
  enum class Mode : std::uint8_t {
    wait,          ///< recv and send as the socket is set: blocking, within its timeouts; a signal shows as "retry"
    dont_wait,     ///< MSG_DONTWAIT
    buffered_only  ///< no system call at all: only what was read ahead
  };

  int descriptor = -1;
  net::Channel* below = nullptr;  ///< reads and writes in place of the socket's own: TLS to a proxy
  unsigned epoch = 0;             ///< of the descriptor; in a later one (net::fork_epoch()) every call fails with EBADF
  Mode mode = Mode::dont_wait;
  bool peer_closed = false;   ///< recv gave 0
  int os_error = 0;           ///< errno of the last failure since begin(), other than "would block"
  std::uint64_t written = 0;  ///< bytes that send took, ever

  void begin(Mode next) noexcept {
    mode = next;
    os_error = 0;
  }
};

/// A BIO that sends and receives on `io`'s socket, or over the channel below, and never raises SIGPIPE.
///
/// It does not tell OpenSSL of the end of the stream (BIO_eof is false): OpenSSL would answer a missing close_notify with
/// a fatal alert on the wire and forget the session. Readers look at `peer_closed` instead.
/// \param io outlives the BIO. \returns null without memory.
[[nodiscard]] BioHandle make_socket_bio(SocketIo& io) noexcept;

}  // namespace fastpool::tls
