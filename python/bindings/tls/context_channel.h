#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "bindings/interpreter/gil.h"
#include "bindings/tls/context_factory.h"
#include "bindings/tls/context_session.h"
#include "net/channel.h"

namespace fastpool::bindings {

/// TLS over another channel, mostly a TCP socket, by an `ssl.SSLContext` of the application's, through two `ssl.MemoryBIO`: the context does the
/// cryptography and decides whom to trust, the channel carries bytes. The handshake is the first user's.
///
/// Its user is a thread of Python's, with the GIL or with the GIL given away by a WithoutGil: the channel takes it for
/// each look into the SSLObject, and where it waits in the kernel it does not have it if its caller had not. Made, shut down
/// and destroyed it may be anywhere, under any lock: that runs no Python. It says no close_notify at its end, as httpcore.
class ContextChannel final : public net::Channel {
 public:
  ContextChannel(std::shared_ptr<const ContextFactory> factory, std::unique_ptr<net::Channel>&& below,
                 std::string server_name, Protocols protocols);

  [[nodiscard]] bool established() const noexcept override { return established_; }
  [[nodiscard]] net::IoResult handshake(net::IoMode mode) noexcept override;
  [[nodiscard]] Error handshake_error() const override;
  [[nodiscard]] net::IoResult read(std::span<char> buffer, net::IoMode mode) noexcept override;
  [[nodiscard]] net::IoResult write(std::span<const iovec> given, net::IoMode mode) noexcept override;
  [[nodiscard]] net::Liveness peek() noexcept override;
  void shutdown() noexcept override { below_->shutdown(); }
  void say_goodbye() noexcept override {}
  [[nodiscard]] int descriptor() const noexcept override { return below_->descriptor(); }
  [[nodiscard]] std::size_t pending() const noexcept override { return session_.drained() ? 0 : 1; }
  [[nodiscard]] std::uint64_t bytes_written() const noexcept override { return below_->bytes_written(); }
  [[nodiscard]] std::string last_error() const override { return session_.last_error(); }
  [[nodiscard]] std::shared_ptr<const void> last_cause() const override {
    auto own = session_.last_cause();
    return own != nullptr ? own : below_->last_cause();
  }

  /// A Reference to a tuple that begins with the SSLObject.
  [[nodiscard]] std::shared_ptr<const void> engine() const noexcept override {
    return established_ ? session_.engine() : nullptr;
  }

  /// Its calls take the GIL.
  [[nodiscard]] Locker locker() const noexcept override { return &lock_without_gil; }
  [[nodiscard]] bool chose_http2() const noexcept override { return established_ && session_.chose_http2(); }

 private:
  using Outcome = ContextSession::Outcome;

  [[nodiscard]] net::IoResult feed_and_read(std::span<char> buffer, std::size_t received, bool eof) noexcept;
  [[nodiscard]] net::IoResult feed_more(net::IoMode mode) noexcept;
  [[nodiscard]] net::IoResult send_unsent(net::IoMode mode) noexcept;
  [[nodiscard]] net::IoResult result_of(Outcome outcome) const noexcept;
  [[nodiscard]] net::IoResult end_reading(const net::IoResult& how) noexcept;
  [[nodiscard]] net::IoResult handshake_failed(const net::IoResult& io) noexcept;
  [[nodiscard]] std::size_t newly_written() noexcept;

  ContextSession session_;
  const std::unique_ptr<net::Channel> below_;

  bool shaken_ = false;  // the handshake is done but for sending its end
  bool established_ = false;
  bool mute_ = false;                 // nothing more is sent
  std::optional<net::IoResult> end_;  // how reading ended, which then stays so

  // Ciphertext. The application's bytes in it count as written in proportion to what the kernel has taken, but never all of
  // them before the last byte.
  std::string unsent_;
  std::size_t sent_ = 0;   // of unsent_
  std::size_t plain_ = 0;  // of the application's, in unsent_
  std::size_t told_ = 0;   // of plain_, as written
  std::size_t ahead_ = 0;  // reported beyond what the caller then gave

  int os_error_ = 0;
};

}  // namespace fastpool::bindings
