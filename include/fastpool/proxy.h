#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <fastpool/tls_settings.h>

namespace fastpool::inline v1 {

/// A proxy between the client and its origins.
///
///     fastpool::Client client({}, {.proxy = {.url = "http://proxy.example:3128"}});
///
/// - An `http` or `https` proxy (the connection to it is TLS then) forwards requests to `http://` origins, whose connections
///   are shared by all origins, and opens a tunnel (CONNECT, RFC 9110 section 9.3.6) to each `https://` origin, through which
///   TLS is spoken with the origin itself.
/// - A `socks5` or `socks5h` proxy (RFC 1928) opens a tunnel to every origin. The name of the origin is looked up here with
///   `socks5`, and the first address given to the proxy; with `socks5h` the proxy looks it up.
///
/// Connections are shared only by profiles whose proxies are equal, credentials included. Neither credentials nor headers of a
/// tunnel's proxy go to the origin, nor into messages, names or statistics.
struct Proxy {
  std::string
      url{};  ///< "http://host:port"; user info in it counts if `username` and `password` are empty. Empty: no proxy
  std::string username{};  ///< Basic credentials (RFC 7617), or of SOCKS (RFC 1929); both empty: none
  std::string password{};
  /// To an HTTP proxy: with each CONNECT, and under the headers of each forwarded request, which take precedence.
  std::vector<std::pair<std::string, std::string>> headers{};
  TlsSettings tls{};  ///< to an `https` proxy
  /// Internal: a TLS engine that a binding brings, for an `https` proxy. Null: the library's own.
  std::shared_ptr<const void> engine{};

  friend bool operator==(const Proxy&, const Proxy&) = default;
};

}  // namespace fastpool::inline v1
