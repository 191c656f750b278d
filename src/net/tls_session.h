#pragma once

#include <string>

namespace fastpool::net {

/// The result of a TLS handshake, as plain values: they outlive the connection, and reading them takes no lock.
/// Made once per handshake and never changed, so any thread may read it.
struct TlsSession {
  std::string version;          ///< "TLSv1.3", "TLSv1.2"
  std::string cipher;           ///< by OpenSSL's name
  std::string cipher_protocol;  ///< the version of TLS that defines it
  int cipher_bits = 0;          ///< secret bits
  std::string alpn_protocol;    ///< what the peer chose; empty: nothing
  std::string server_name;      ///< whom the connection was asked for
  bool resumed = false;
  bool verified = false;        ///< the peer's certificate was; else anybody may stand behind it
  std::string certificate;      ///< the peer's own, DER; empty: it showed none
  std::string channel_binding;  ///< "tls-unique" (RFC 5929 section 3): the first Finished message; empty: none
};

}  // namespace fastpool::net
