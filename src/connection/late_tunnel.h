#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "connection/target.h"
#include "connection/tunnel.h"
#include "net/channel.h"

namespace fastpool::connection {

/// A connection to an `https` proxy whose TLS engine is the profile's own: only the first user may run it, so the tunnel and the
/// TLS inside of it are the first user's, too. That is of an engine of the profile's as well: OpenSSL calls the channel below within its
/// own locks, where no code of an application may run. All are steps of handshake():
///
///   securing_proxy -> tunneling -> securing_origin -> established
///
/// Afterwards it is the channel to the origin. Rules of ownership and threads: \see net::Channel.
class LateTunnel final : public net::Channel {
 public:
  /// \param to_proxy made by the engine, its handshake still to be done. \param answer \see http_tunnel()
  LateTunnel(std::shared_ptr<const Target> target, std::unique_ptr<net::Channel> to_proxy,
             std::shared_ptr<h1::ResponseHead> answer);

  [[nodiscard]] bool established() const noexcept override { return stage_ == Stage::established; }
  [[nodiscard]] net::IoResult handshake(net::IoMode mode) noexcept override;
  /// Of the step that failed: tls_failed, or what Tunnel::error() says.
  [[nodiscard]] Error handshake_error() const override;

  [[nodiscard]] net::IoResult read(std::span<char> buffer, net::IoMode mode) noexcept override {
    return channel_->read(buffer, mode);
  }
  [[nodiscard]] net::IoResult write(std::span<const iovec> pieces, net::IoMode mode) noexcept override {
    return channel_->write(pieces, mode);
  }
  [[nodiscard]] net::Liveness peek() noexcept override { return channel_->peek(); }
  void shutdown() noexcept override;
  void say_goodbye() noexcept override { channel_->say_goodbye(); }
  [[nodiscard]] int descriptor() const noexcept override { return descriptor_; }
  [[nodiscard]] std::size_t pending() const noexcept override { return channel_->pending(); }
  [[nodiscard]] std::uint64_t bytes_written() const noexcept override { return channel_->bytes_written(); }
  [[nodiscard]] std::string last_error() const override { return channel_->last_error(); }
  [[nodiscard]] std::shared_ptr<const void> last_cause() const override { return channel_->last_cause(); }
  [[nodiscard]] std::shared_ptr<const void> engine() const noexcept override { return channel_->engine(); }
  [[nodiscard]] std::shared_ptr<const net::TlsSession> tls_session() const noexcept override {
    return channel_->tls_session();
  }
  [[nodiscard]] Locker locker() const noexcept override { return channel_->locker(); }
  [[nodiscard]] bool chose_http2() const noexcept override { return channel_->chose_http2(); }

 private:
  enum class Stage : std::uint8_t { securing_proxy, tunneling, securing_origin, established };

  [[nodiscard]] net::IoResult step(net::IoMode mode);
  void secure();

  const std::shared_ptr<const Target> target_;
  const std::shared_ptr<h1::ResponseHead> answer_;
  const int descriptor_;
  const unsigned epoch_;                   // of the descriptor
  std::unique_ptr<net::Channel> channel_;  // to the proxy, and later to the origin
  Stage stage_ = Stage::securing_proxy;
  std::optional<Tunnel> tunnel_;
  std::optional<Error> failed_;
};

}  // namespace fastpool::connection
