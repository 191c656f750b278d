#pragma once

#include <memory>
#include <string>
#include <vector>

#include <fastpool/proxy.h>
#include <fastpool/tls_settings.h>

namespace fastpool::inline v1 {

/// One option for every socket of a profile, as setsockopt takes it.
struct SocketOption {
  int level = 0;
  int name = 0;
  std::string value{};  ///< the raw bytes
  friend bool operator==(const SocketOption&, const SocketOption&) = default;
};

/// The versions of HTTP that connections may speak. Over TLS the server chooses (ALPN, RFC 7301; HTTP/2 is offered first). Without TLS,
/// HTTP/2 is spoken only where HTTP/1.1 is not allowed (prior knowledge, RFC 9113 section 3.3).
struct Protocols {
  bool http1 = true;   ///< HTTP/1.1
  bool http2 = false;  ///< HTTP/2
  friend bool operator==(const Protocols&, const Protocols&) = default;
};

/// What else must match, beside the origin, to share a connection.
struct Profile {
  TlsSettings tls{};
  std::string server_name{};  ///< overrides SNI and the name that the certificate must carry; empty: the origin's host
  std::string local_address{};  ///< an IP address to bind to (its family restricts the dial); empty: any
  std::string unix_socket{};    ///< a path, or "\0" and an abstract name: connect there instead of to host and port
  std::vector<SocketOption> socket_options{};
  Proxy proxy{};          ///< connects through it; not together with `unix_socket`
  Protocols protocols{};  ///< at least one of them
  /// Internal: a TLS engine that a binding brings. Null: the library's own.
  std::shared_ptr<const void> engine{};

  friend bool operator==(const Profile&, const Profile&) = default;
};

}  // namespace fastpool::inline v1
