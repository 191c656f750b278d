#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "context_factory.h"
#include "dropped_references.h"
#include "net/channel.h"
#include "net/tcp_channel.h"

namespace fastpool::bindings {

/// TLS over a TCP socket by an `ssl.SSLContext` of the application's, through two `ssl.MemoryBIO`: the context does the
/// cryptography and decides whom to trust, the channel carries bytes. The handshake is the first user's.
///
/// Its user is a thread of Python's, with the GIL or with the GIL given away by a WithoutGil: the channel takes it for
/// each look into the SSLObject, and where it waits in the kernel it does not have it if its caller had not. Made, shut down
/// and destroyed it may be anywhere, under any lock: that runs no Python. It says no close_notify at its end, as httpcore.
class ContextChannel final : public net::Channel {
 public:
  ContextChannel(std::shared_ptr<const ContextFactory> factory, net::Descriptor socket, std::string server_name);

  [[nodiscard]] bool established() const noexcept override { return established_; }
  [[nodiscard]] net::IoResult handshake(net::IoMode mode) noexcept override;
  [[nodiscard]] Error handshake_error() const override;
  [[nodiscard]] net::IoResult read(std::span<char> buffer, net::IoMode mode) noexcept override;
  [[nodiscard]] net::IoResult write(std::span<const iovec> given, net::IoMode mode) noexcept override;
  [[nodiscard]] net::Liveness peek() noexcept override;
  void shutdown() noexcept override { socket_.shutdown(); }
  void say_goodbye() noexcept override {}
  [[nodiscard]] int descriptor() const noexcept override { return socket_.descriptor(); }
  [[nodiscard]] std::size_t pending() const noexcept override { return drained_ ? 0 : 1; }
  [[nodiscard]] std::uint64_t bytes_written() const noexcept override { return socket_.bytes_written(); }
  [[nodiscard]] std::string last_error() const override { return last_error_; }
  [[nodiscard]] std::shared_ptr<const void> last_cause() const override { return cause_; }

  /// A Reference to a tuple that begins with the SSLObject.
  [[nodiscard]] std::shared_ptr<const void> engine() const noexcept override {
    return established_ ? session_ : nullptr;
  }

 private:
  /// What a call into the SSLObject came to.
  enum class Outcome : std::uint8_t { done, want_read, end, cut_off, failed };
  /// What the channel keeps of its session, in one tuple, so that one reference ends with it.
  enum class Part : std::uint8_t { object, do_handshake, read, write, incoming, outgoing };

  template <typename Step>
  [[nodiscard]] Outcome in_python(Step step) noexcept;

  // With the GIL.
  [[nodiscard]] PyObject* part(Part which) const noexcept;
  [[nodiscard]] Outcome begin_session() noexcept;
  [[nodiscard]] Outcome shake_hands() noexcept;
  [[nodiscard]] Outcome feed(std::span<const char> cipher, bool eof) noexcept;
  [[nodiscard]] Outcome decrypt(std::span<char> buffer, std::size_t& got) noexcept;
  [[nodiscard]] Outcome encrypt(std::span<const iovec> given, std::size_t from, std::size_t most) noexcept;
  [[nodiscard]] Outcome collect() noexcept;
  [[nodiscard]] Outcome take_raised() noexcept;

  // With it or without.
  [[nodiscard]] net::IoResult feed_and_read(std::span<char> buffer, std::size_t received, bool eof) noexcept;
  [[nodiscard]] net::IoResult feed_more(net::IoMode mode) noexcept;
  [[nodiscard]] net::IoResult send_unsent(net::IoMode mode) noexcept;
  [[nodiscard]] net::IoResult result_of(Outcome outcome) const noexcept;
  [[nodiscard]] net::IoResult handshake_failed(const net::IoResult& io) noexcept;
  [[nodiscard]] std::size_t newly_written() noexcept;

  const std::shared_ptr<const ContextFactory> factory_;
  net::TcpChannel socket_;
  const std::string server_name_;
  std::shared_ptr<const Reference> session_;  // to a tuple, by Part; null before the handshake

  bool shaken_ = false;  // the handshake is done but for sending its end
  bool established_ = false;
  bool eof_ = false;                  // the peer's FIN was passed on to the SSLObject
  bool drained_ = true;               // whatever was received is decrypted
  bool mute_ = false;                 // nothing more is sent
  std::optional<net::IoResult> end_;  // how reading ended, which then stays so

  // Ciphertext. The application's bytes in it count as written in proportion to what the kernel has taken, but never all of
  // them before the last byte.
  std::string unsent_;
  std::size_t sent_ = 0;   // of unsent_
  std::size_t plain_ = 0;  // of the application's, in unsent_
  std::size_t told_ = 0;   // of plain_, as written
  std::size_t ahead_ = 0;  // reported beyond what the caller then gave

  std::string last_error_;
  std::shared_ptr<const void> cause_;
  int os_error_ = 0;
  bool certificate_refused_ = false;
  bool interrupted_ = false;  // code of the application's raised
};

}  // namespace fastpool::bindings
