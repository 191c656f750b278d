#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>

#include <sys/uio.h>

#include <fastpool/error.h>

#include "net/descriptor.h"
#include "net/tls_session.h"

namespace fastpool::net {

/// How a call behaves where the kernel would wait. The same socket serves both: sockets are in blocking mode once dialed,
/// `dont_wait` passes MSG_DONTWAIT, so a connection moves between threads and event loops without fcntl.
enum class IoMode : std::uint8_t {
  wait,      ///< waits in the kernel, at most the socket's SO_RCVTIMEO / SO_SNDTIMEO, which shows as want_*
  dont_wait  ///< never waits
};

enum class IoStatus : std::uint8_t {
  ok,         ///< `bytes` > 0 were moved (or the step, such as a handshake, is done)
  want_read,  ///< nothing moved; try again when readable (in IoMode::wait: the receive timeout passed, or a signal came)
  want_write,  ///< nothing moved; try again when writable (in IoMode::wait: the send timeout passed, or a signal came)
  end,         ///< the peer closed its side in order (FIN; under TLS: close_notify)
  truncated,   ///< under TLS: FIN without close_notify
  error        ///< `os_error` or, under TLS, Channel::last_error() says what. ECANCELED: the channel ran code of the
               ///< application, and that raised (Channel::last_cause()): ErrorCode::interrupted, nothing is tried again
};

struct IoResult {
  IoStatus status = IoStatus::ok;
  std::size_t bytes = 0;
  int os_error = 0;
  bool emptied = false;  ///< of a read: there was less than room for, so the socket has nothing more now (plain TCP)
};

/// What a non-blocking look at an idle connection finds.
enum class Liveness : std::uint8_t {
  alive,      ///< nothing to read, or only TLS post-handshake messages, now consumed
  dead,       ///< closed, reset
  unexpected  ///< bytes that belong to no response: the connection must not be used
};

/// Bytes to and from a peer: TCP, TLS over TCP, or scripted in tests. Knows nothing of HTTP.
/// Owned by a connection; used by one thread at a time (the lease's holder). The one exception is shutdown(), which
/// another thread may call while the owner keeps the channel alive: it wakes a thread that waits in read() or write().
/// Destruction closes the descriptor.
class Channel {
 public:
  Channel() = default;
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;
  virtual ~Channel() = default;

  /// False while a handshake is still to be done; until then neither read() nor write(). peek() may be asked: a channel may
  /// lie idle without its handshake.
  [[nodiscard]] virtual bool established() const noexcept { return true; }
  /// One step of the handshake, by the lease's holder: ok (established() from now on), error (see
  /// handshake_error(); a peer that closes is one, too), or want_read / want_write: to be called again. In IoMode::dont_wait
  /// that is once the socket is readable / writable, for it has met EAGAIN that way. In IoMode::wait the step has waited in
  /// the kernel (SO_RCVTIMEO, SO_SNDTIMEO), so it is at once, after a look at clock and signals.
  [[nodiscard]] virtual IoResult handshake(IoMode /*mode*/) noexcept { return {}; }
  /// After handshake() said error: tls_failed in Phase::tls_handshake with what was wrong in plain words, `final` where
  /// another try would meet it again (certificates); `interrupted` where the status came with ECANCELED. With last_cause().
  [[nodiscard]] virtual Error handshake_error() const { return {}; }

  /// Reads at least one byte or says why not. `buffer` must not be empty.
  [[nodiscard]] virtual IoResult read(std::span<char> buffer, IoMode mode) noexcept = 0;
  /// Writes some of the pieces, in order, in one go; `bytes` may fall short of all.
  [[nodiscard]] virtual IoResult write(std::span<const iovec> pieces, IoMode mode) noexcept = 0;
  /// The checkout peek; never waits.
  [[nodiscard]] virtual Liveness peek() noexcept = 0;
  /// Ends both directions at once without closing the descriptor; wakes a waiting owner. Thread-safe against the owner.
  virtual void shutdown() noexcept = 0;
  /// The polite goodbye (TLS: close_notify, never waits; TCP: nothing). The destructor does not do it.
  virtual void say_goodbye() noexcept = 0;

  [[nodiscard]] virtual int descriptor() const noexcept = 0;
  /// Gives the socket away if the channel adds nothing to it (plain TCP), and is unusable then; invalid otherwise. For a
  /// channel that is put on top of this one.
  [[nodiscard]] virtual Descriptor take_socket() noexcept { return {}; }
  /// Locks a mutex under which this channel is used by others, too. Null: by waiting. For a channel whose calls run code that needs a
  /// lock of its own (Python's): gives that away to wait, since the mutex's holder may want it.
  using Locker = void (*)(std::mutex& mutex) noexcept;
  [[nodiscard]] virtual Locker locker() const noexcept { return nullptr; }
  /// Bytes already decrypted and not yet read (TLS); 0 for plain TCP.
  [[nodiscard]] virtual std::size_t pending() const noexcept { return 0; }
  /// Bytes handed to the kernel since the channel was made; under TLS those of its records, handshake included.
  [[nodiscard]] virtual std::uint64_t bytes_written() const noexcept = 0;
  /// For people, after IoStatus::error under TLS; empty otherwise.
  [[nodiscard]] virtual std::string last_error() const { return {}; }
  /// After IoStatus::error: what the engine itself raised, for Error::cause; null for an engine of ours.
  [[nodiscard]] virtual std::shared_ptr<const void> last_cause() const { return {}; }
  /// Once it is established: what speaks TLS here, for the binding that brought it; null for an engine of ours.
  [[nodiscard]] virtual std::shared_ptr<const void> engine() const noexcept { return {}; }
  /// Once it is established: what TLS settled on, where an engine of ours speaks it; null otherwise.
  [[nodiscard]] virtual std::shared_ptr<const TlsSession> tls_session() const noexcept { return {}; }
  /// Once it is established: whether the peer has chosen HTTP/2 (ALPN "h2", RFC 7301).
  [[nodiscard]] virtual bool chose_http2() const noexcept { return false; }
};

}  // namespace fastpool::net
