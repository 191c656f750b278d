#pragma once

#include <memory>
#include <string>

#include "net/tls_session.h"
#include "tls/openssl.h"

namespace fastpool::tls {

/// What the handshake of `ssl`, just done, came to. Within an OpenSslSection.
[[nodiscard]] std::shared_ptr<const net::TlsSession> snapshot_of(const SSL* ssl, const std::string& server_name);

}  // namespace fastpool::tls
