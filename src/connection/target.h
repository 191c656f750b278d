#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <fastpool/origin.h>
#include <fastpool/profile.h>
#include <fastpool/timeouts.h>

#include "connection/home.h"
#include "connection/proxy_route.h"
#include "tls/context.h"

namespace fastpool::connection {

/// What a dial is to reach. Immutable and shared by all dials of one endpoint.
struct Target {
  std::string name;  ///< for people: its endpoint's
  Origin origin;     ///< of a forwarding endpoint: the proxy itself
  Profile profile;
  std::shared_ptr<tls::Context> tls;        ///< null for http, and where the profile brings its own engine
  Duration dns_lifetime{};                  ///< of a cached look-up; zero: each dial looks up
  std::shared_ptr<const ProxyRoute> proxy;  ///< null: connections go to the origin directly
  bool forwards = false;                    ///< the proxy gets the requests of many origins, and no tunnel is opened
  std::shared_ptr<Homes> homes;             ///< null: its connections never speak HTTP/2

  [[nodiscard]] bool tunnels() const noexcept { return proxy != nullptr && !forwards; }
  [[nodiscard]] const std::string& host() const noexcept { return tunnels() ? proxy->host : origin.host; }
  [[nodiscard]] std::uint16_t port() const noexcept { return tunnels() ? proxy->port : origin.port; }
  /// Whom the peer's certificate must name.
  [[nodiscard]] const std::string& server_name() const noexcept {
    return profile.server_name.empty() ? origin.host : profile.server_name;
  }
  /// What TLS sessions are cached under: those of one origin, way and verified name are offered to no other. TLS settings differ
  /// by context already.
  [[nodiscard]] std::string session_key() const;
};

}  // namespace fastpool::connection
