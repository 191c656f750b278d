#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include <sys/uio.h>

#include <nanobind/nanobind.h>

#include "bindings/interpreter/dropped_references.h"
#include "bindings/interpreter/gil.h"
#include "bindings/tls/context_factory.h"

namespace fastpool::bindings {

/// One `ssl.SSLObject` of an application's context, between two `ssl.MemoryBIO`: turns ciphertext into plaintext and back,
/// and keeps what the object raised. Owned by its ContextChannel; does no I/O.
///
/// Its user is a thread of Python's. All steps run inside in_python(). It may be destroyed on any thread, under any lock:
/// that runs no Python.
class ContextSession {
 public:
  /// What a step came to.
  enum class Outcome : std::uint8_t { done, want_read, end, cut_off, failed };

  /// The most that one TLS record carries.
  static constexpr std::size_t record_size = 16UL * 1024;

  /// \param protocols offered by ALPN.
  ContextSession(std::shared_ptr<const ContextFactory> factory, std::string server_name, Protocols protocols)
      : factory_(std::move(factory)), server_name_(std::move(server_name)), protocols_(protocols) {}

  /// Takes the GIL for a step, unless something raised on this thread already.
  template <typename Step>
  [[nodiscard]] Outcome in_python(Step step) noexcept {
    return with_gil([&] {
      if (PyErr_Occurred() == nullptr) return step();
      interrupted_ = true;
      return Outcome::failed;
    });
  }

  // Steps, with the GIL. What is encrypted is appended to `unsent`.

  /// Creates the SSLObject. Once, before the other steps.
  [[nodiscard]] Outcome begin() noexcept;
  [[nodiscard]] Outcome shake_hands(std::string& unsent) noexcept;
  /// Hands over received bytes, then the peer's FIN if `eof`.
  [[nodiscard]] Outcome feed(std::span<const char> cipher, bool eof) noexcept;
  /// Decrypts until the buffer is full, or more is needed, or something other than bytes arrived. What arrived with bytes
  /// before it is met again by the next call. Advances `got`.
  [[nodiscard]] Outcome decrypt(std::span<char> buffer, std::size_t& got) noexcept;
  /// Encrypts the bytes of `given` from `from` on until `plain`, which it advances, is `most`.
  [[nodiscard]] Outcome encrypt(std::span<const iovec> given, std::size_t from, std::size_t most, std::size_t& plain,
                                std::string& unsent) noexcept;
  /// Takes what the SSLObject wants to send of its own: key updates, certificates asked for later.
  [[nodiscard]] Outcome collect(std::string& unsent) noexcept;

  // Without the GIL too.

  [[nodiscard]] bool begun() const noexcept { return session_ != nullptr; }
  /// Whether all bytes that were fed are decrypted.
  [[nodiscard]] bool drained() const noexcept { return drained_; }
  /// Reading is over: what is left undecrypted stays so.
  void set_drained() noexcept { drained_ = true; }
  /// Keeps the error there is: later errors only say that the connection is over.
  void keep_error() noexcept { keeps_error_ = true; }
  /// Whether code of the application's raised: the caller is to raise that.
  [[nodiscard]] bool interrupted() const noexcept { return interrupted_; }
  /// Whether the peer has chosen HTTP/2; after the handshake.
  [[nodiscard]] bool chose_http2() const noexcept { return chose_http2_; }
  [[nodiscard]] bool certificate_refused() const noexcept { return certificate_refused_; }
  [[nodiscard]] const std::string& last_error() const noexcept { return last_error_; }
  [[nodiscard]] const std::shared_ptr<const void>& last_cause() const noexcept { return cause_; }
  /// A Reference to a tuple that begins with the SSLObject; null before begin().
  [[nodiscard]] const std::shared_ptr<const Reference>& engine() const noexcept { return session_; }

 private:
  /// What is kept of the session, in one tuple, so that one reference ends with it.
  enum class Part : std::uint8_t { object, do_handshake, read, write, incoming, outgoing };

  [[nodiscard]] PyObject* part(Part which) const noexcept;
  [[nodiscard]] Outcome take_raised() noexcept;

  const std::shared_ptr<const ContextFactory> factory_;
  const std::string server_name_;
  const Protocols protocols_;
  std::shared_ptr<const Reference> session_;  // to a tuple, by Part; null before begin()

  bool eof_ = false;     // the peer's FIN was passed on to the SSLObject
  bool drained_ = true;  // whatever was received is decrypted
  bool keeps_error_ = false;
  bool chose_http2_ = false;
  bool certificate_refused_ = false;
  bool interrupted_ = false;  // code of the application's raised
  std::string last_error_;
  std::shared_ptr<const void> cause_;
};

/// The SSLObject of the channel whose engine that is; None for the core's own. With the GIL.
[[nodiscard]] nanobind::object ssl_object_of(const std::shared_ptr<const void>& engine);

}  // namespace fastpool::bindings
