#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "net/channel.h"
#include "tls/context.h"

namespace fastpool::tls {

/// TLS over a TCP socket, or over TLS to a proxy: OpenSSL with a BIO of ours that passes MSG_DONTWAIT by mode. Verifies the peer as the context
/// says, sends SNI (never for an IP address), offers and stores sessions under "host:port" of `session_key`.
class TlsChannel final : public net::Channel {
 public:
  /// \param below plain TCP, whose socket it takes, or an established channel. Stays the caller's if this fails.
  /// \param server_name host name or IP address that the certificate must carry.
  /// \param session_key what sessions are cached under; one origin's sessions are offered to no other.
  /// \param protocols offered by ALPN (RFC 7301).
  [[nodiscard]] static Result<std::unique_ptr<TlsChannel>> create(std::shared_ptr<Context> context,
                                                                  std::unique_ptr<net::Channel>&& below,
                                                                  const std::string& server_name,
                                                                  std::string session_key, Protocols protocols = {});
  ~TlsChannel() override;

  [[nodiscard]] bool established() const noexcept override;
  /// Done by the dial, so that the caller that leases the connection finds it established.
  [[nodiscard]] net::IoResult handshake(net::IoMode mode) noexcept override;
  /// Its words: certificate has expired, host name mismatch, unable to get local issuer certificate, ...
  [[nodiscard]] Error handshake_error() const override;
  [[nodiscard]] bool resumed() const noexcept;
  /// "TLSv1.3", "TLSv1.2".
  [[nodiscard]] std::string version() const;

  [[nodiscard]] net::IoResult read(std::span<char> buffer, net::IoMode mode) noexcept override;
  [[nodiscard]] net::IoResult write(std::span<const iovec> pieces, net::IoMode mode) noexcept override;
  [[nodiscard]] net::Liveness peek() noexcept override;
  void shutdown() noexcept override;
  void say_goodbye() noexcept override;
  [[nodiscard]] int descriptor() const noexcept override;
  [[nodiscard]] std::size_t pending() const noexcept override;
  [[nodiscard]] std::uint64_t bytes_written() const noexcept override;
  [[nodiscard]] std::string last_error() const override;
  [[nodiscard]] std::shared_ptr<const net::TlsSession> tls_session() const noexcept override;
  [[nodiscard]] bool chose_http2() const noexcept override;

 private:
  struct State;
  explicit TlsChannel(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace fastpool::tls
