#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <openssl/ssl.h>

#include "tls/settings_files.h"

namespace fastpool::tls {

// What OpenSSL's functions for files do, for bytes. Call them in an OpenSslSection; errors are left in OpenSSL's queue.

/// As X509_load_cert_crl_file. \returns how many certificates and revocation lists there were; 0: none, or no PEM.
int add_trust_anchors(X509_STORE* store, std::string_view pem);
/// As a lookup in a CA directory: adds what the file's name promises.
void add_hashed(X509_STORE* store, const SettingsFiles::Hashed& file);

/// As SSL_CTX_use_certificate_chain_file.
[[nodiscard]] bool use_certificate_chain(SSL_CTX* context, std::string_view pem);
/// As SSL_CTX_use_PrivateKey_file, with the context's password callback.
[[nodiscard]] bool use_private_key(SSL_CTX* context, std::string_view pem);

enum class Pkcs12 : std::uint8_t { used, unreadable, wrong_password, incomplete, refused };
/// Uses certificate, chain and key of the bytes of a PKCS #12 file (RFC 7292).
[[nodiscard]] Pkcs12 use_pkcs12(SSL_CTX* context, std::string_view bytes, const std::string& password);

}  // namespace fastpool::tls
