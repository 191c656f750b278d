#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <fastpool/error.h>
#include <fastpool/origin.h>

#include "connection/proxy_route.h"
#include "h1/response_parser.h"
#include "net/channel.h"
#include "net/socket_address.h"

namespace fastpool::connection {

/// What a client and a proxy say before a tunnel is open, without any I/O.
class TunnelProtocol {
 public:
  struct Step {
    enum class Kind : std::uint8_t {
      more,    ///< more is to come; what was not `consumed` is presented again
      send,    ///< `bytes` are to be sent
      open,    ///< the tunnel is open; bytes behind `consumed` came unasked
      refused  ///< `error`
    };
    Kind kind = Kind::more;
    std::size_t consumed = 0;
    std::string bytes{};
    Error error{};
    bool of_address = false;  ///< `refused` for this address of the origin: another one may be reached
  };

  TunnelProtocol() = default;
  TunnelProtocol(const TunnelProtocol&) = delete;
  TunnelProtocol& operator=(const TunnelProtocol&) = delete;
  virtual ~TunnelProtocol() = default;

  /// What is sent first.
  [[nodiscard]] virtual std::string begin() = 0;
  [[nodiscard]] virtual Step take(std::string_view received) = 0;
};

/// CONNECT (RFC 9110 section 9.3.6). Any 2xx opens the tunnel; the answer's head is at most 64 KiB long, interim ones included.
/// A refusal is proxy_failed with "407 Proxy Authentication Required": status and reason phrase alone.
/// \param answer becomes the head that opens the tunnel, without reason and headers if the answer is longer than 4 KiB: a
/// connection keeps it.
[[nodiscard]] std::unique_ptr<TunnelProtocol> http_tunnel(const ProxyRoute& route, const Origin& origin,
                                                          std::shared_ptr<h1::ResponseHead> answer);

/// SOCKS version 5 (RFC 1928), with a user name and a password (RFC 1929) if the route has them.
/// \param address of the origin, looked up here; without it the proxy looks the host up. Errors: proxy_failed.
[[nodiscard]] std::unique_ptr<TunnelProtocol> socks_tunnel(const ProxyRoute& route, const Origin& origin,
                                                           const std::optional<net::SocketAddress>& address);

/// Opens a tunnel to an origin over a channel to the proxy. Its user drives it as it does a handshake; one thread at a time.
class Tunnel {
 public:
  explicit Tunnel(std::unique_ptr<TunnelProtocol> protocol)
      : protocol_(std::move(protocol)), unsent_(protocol_->begin()) {}

  /// One step: ok (it is open), error (see error()), or want_read / want_write (\see net::Channel::handshake()).
  [[nodiscard]] net::IoResult step(net::Channel& channel, net::IoMode mode);
  /// After step() said error. Errors: proxy_failed for what the proxy said; remote_protocol for what is no answer, or none;
  /// read_failed and write_failed for a connection that broke; interrupted
  /// where code of the application below raised.
  [[nodiscard]] const Error& error() const noexcept { return error_; }
  /// After step() said error: whether the proxy could not reach this address of the origin. A new tunnel to another one may open.
  [[nodiscard]] bool address_unreachable() const noexcept { return address_unreachable_; }

 private:
  [[nodiscard]] net::IoResult fail(Error error) noexcept;
  [[nodiscard]] net::IoResult broke(ErrorCode code, const net::IoResult& io, const net::Channel& channel);
  /// Sends what is unsent, then reads once and acts on it. \returns ok if there is more to do at once.
  [[nodiscard]] net::IoResult exchange(net::Channel& channel, net::IoMode mode);

  std::unique_ptr<TunnelProtocol> protocol_;
  std::string unsent_;
  std::size_t sent_ = 0;
  std::string received_;
  bool open_ = false;
  bool address_unreachable_ = false;
  Error error_;
};

}  // namespace fastpool::connection
