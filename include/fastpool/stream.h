#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <fastpool/export.h>
#include <fastpool/headers.h>
#include <fastpool/message.h>
#include <fastpool/result.h>
#include <fastpool/timeouts.h>

namespace fastpool::inline v1 {

/// Where a request went, and how long its parts took. Durations of parts that did not happen are zero.
struct StreamInfo {
  std::string local_address = {};  ///< "192.0.2.1:40000", "[2001:db8::1]:40000", or the path of a Unix socket
  std::string peer_address = {};
  bool reused = false;    ///< the connection had carried a request before
  Duration wait{};        ///< from the call to the connection, dial included
  Duration resolve{};     ///< of the dial, where it was made for this request: the look-up,
  Duration connect{};     ///< the connect,
  Duration tls{};         ///< and the TLS handshake
  Duration first_byte{};  ///< from the call to the head of the response
};

/// One request and its response, in pieces. Made by Client::open() or Lease::open().
///
///     auto stream = client.open({.url = "https://host/events"});
///     if (!stream) return stream.error();
///     for (;;) {
///       const auto piece = stream->read();
///       if (!piece) return piece.error();
///       if (piece->empty()) break;
///       use(*piece);
///     }
///
/// Move-only. Used by one thread at a time, but for cancel(), which any thread may call while the stream lives and is not
/// moved. Destroying it ends the request: a rest of the body that has already arrived (at most 64 KiB) is drained without
/// waiting and the connection kept; else the connection is closed. It may outlive its client, whose end closes its connection.
/// In the child of a fork every call fails with `forked`.
class FASTPOOL_EXPORT Stream {
 public:
  Stream(Stream&&) noexcept;
  Stream& operator=(Stream&&) noexcept;
  ~Stream();

  // ---- the request's body, of Body::written() alone ----

  /// Sends a piece of the body; returns when the kernel has taken it. Returns false once the server has answered with an error or
  /// stopped reading: more is not wanted, call finish(). Errors: write_failed, write_timeout, total_timeout, cancelled,
  /// local_protocol (more than the size that was announced).
  [[nodiscard]] Result<bool> write(std::string_view piece);
  /// Ends the body and waits for the head of the response. Errors: those of write(), and read_failed, read_timeout,
  /// remote_protocol.
  [[nodiscard]] Result<void> finish();

  // ---- the response ----

  /// Status and headers. Valid while the stream lives; empty before finish() of a body that is written.
  [[nodiscard]] const ResponseHead& head() const noexcept;
  /// Waits until a piece of the body has arrived, and returns it; empty at the end, from then on. The view lasts until the next
  /// call of this stream. Errors: read_failed, read_timeout, total_timeout, remote_protocol, body_too_large, cancelled.
  [[nodiscard]] Result<std::string_view> read();
  /// Fields behind a body in chunks (RFC 9110 section 6.5); complete once read() has returned the end.
  [[nodiscard]] const HeaderList& trailers() const noexcept;
  /// Addresses and timings, as of the head. Before it: empty.
  [[nodiscard]] const StreamInfo& info() const noexcept;

  // ---- after a switch of protocols ----

  /// Whether the server agreed to another protocol (101), or opened a tunnel (2xx to CONNECT). Then read() and write() carry
  /// that protocol's bytes, unframed, bytes that came with the head first; the connection never goes back to the pool.
  [[nodiscard]] bool switched() const noexcept;

  // ---- at any time ----

  /// The socket, for poll() or getsockopt(); -1 once the connection has gone back. TLS and buffered bytes lie above it: never
  /// read or write it.
  [[nodiscard]] int native_handle() const noexcept;
  /// Ends the request from any thread: a call under way, and every later one, fails with `cancelled`. Never waits.
  void cancel() noexcept;

  /// Internal.
  struct FASTPOOL_LOCAL State;
  explicit Stream(std::unique_ptr<State> state) noexcept;
  [[nodiscard]] State& state() noexcept { return *state_; }

 private:
  std::unique_ptr<State> state_;
};

}  // namespace fastpool::inline v1
