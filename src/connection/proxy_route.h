#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fastpool/headers.h>
#include <fastpool/origin.h>
#include <fastpool/proxy.h>
#include <fastpool/result.h>

#include "net/channel_factory.h"
#include "tls/context.h"

namespace fastpool::connection {

/// A profile's proxy as its dials use it: address, protocol, credentials and headers. Immutable; shared by the targets of a profile.
struct ProxyRoute {
  enum class Kind : std::uint8_t { http, https, socks5, socks5h };

  Kind kind = Kind::http;
  std::string host;
  std::uint16_t port = 0;
  std::string name;      ///< for people: "http://proxy.example:3128"
  std::string username;  ///< of SOCKS, at most 255 bytes each; both empty: none
  std::string password;
  std::vector<std::pair<std::string, std::string>> headers;  ///< to an HTTP proxy, its credentials first
  std::shared_ptr<tls::Context> tls;  ///< to an `https` proxy; null where the engine is the profile's
  std::shared_ptr<const void> engine;
  bool authenticates_connections = false;  ///< its headers have credentials of NTLM, Negotiate or Kerberos

  /// Errors: invalid_argument, which quotes no credentials. The result has no TLS context yet.
  [[nodiscard]] static Result<ProxyRoute> of(const Proxy& proxy);

  [[nodiscard]] bool speaks_http() const noexcept { return kind == Kind::http || kind == Kind::https; }
  /// Whether requests to that scheme are sent to the proxy itself, and not through a tunnel.
  [[nodiscard]] bool forwards(Scheme scheme) const noexcept { return speaks_http() && scheme == Scheme::http; }

  [[nodiscard]] const net::ChannelFactory* engine_of_proxy() const noexcept {
    return static_cast<const net::ChannelFactory*>(engine.get());
  }

  /// The headers of a request with the proxy's under them: a name that the request has stands there alone. The views last as long as
  /// this object and the request's.
  [[nodiscard]] std::vector<Header> merged_under(std::vector<Header> request) const;
};

}  // namespace fastpool::connection
