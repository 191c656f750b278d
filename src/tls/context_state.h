#pragma once

#include <optional>
#include <string>

#include "tls/context.h"
#include "tls/handshake_failure.h"
#include "tls/openssl.h"
#include "tls/session_cache.h"

namespace fastpool::tls {

/// What stands behind a Context; for tls/ alone. Immutable but for the cache, which guards itself.
struct Context::State {
  SslContextHandle handle;
  bool verify_peer = true;
  bool verify_hostname = true;
  std::optional<int> trusted_at_first;  ///< certificates and revocation lists, if OpenSSL may add others of a directory
  SessionCache sessions;
};

/// What OpenSSL's callbacks need to know of the connection that they are called for: they find it as the SSL's app data.
/// Belongs to the TlsChannel and, like it, to one thread at a time.
struct ConnectionNote {
  SessionCache* sessions = nullptr;
  std::string session_key;
  HandshakeFailure failure;  ///< filled by the verification when it refuses a certificate
};

/// SSL_CTX_set_verify's callback: writes down what was wrong with which certificate, changes no decision.
int note_verification(int accepted, X509_STORE_CTX* store) noexcept;

}  // namespace fastpool::tls
