#include "tls/session_snapshot.h"

#include <algorithm>

#include <openssl/err.h>
#include <openssl/evp.h>

namespace fastpool::tls {

namespace {

std::string der_of(const X509* certificate) {
  const int size = certificate == nullptr ? 0 : i2d_X509(certificate, nullptr);
  if (size <= 0) return {};
  std::string der(static_cast<std::size_t>(size), '\0');
  auto* end = reinterpret_cast<unsigned char*>(der.data());  // moved on by OpenSSL
  i2d_X509(certificate, &end);
  return der;
}

/// The first Finished message of the handshake: the client's, but the server's where a session was resumed.
std::string first_finished(const SSL* ssl, bool resumed) {
  std::string message(EVP_MAX_MD_SIZE, '\0');
  const std::size_t size = resumed ? SSL_get_peer_finished(ssl, message.data(), message.size())
                                   : SSL_get_finished(ssl, message.data(), message.size());
  message.resize(std::min(size, message.size()));
  return message;
}

}  // namespace

std::shared_ptr<const net::TlsSession> snapshot_of(const SSL* ssl, const std::string& server_name) {
  auto session = std::make_shared<net::TlsSession>();
  session->version = SSL_get_version(ssl);
  if (const SSL_CIPHER* cipher = SSL_get_current_cipher(ssl); cipher != nullptr) {
    session->cipher = SSL_CIPHER_get_name(cipher);
    session->cipher_protocol = SSL_CIPHER_get_version(cipher);
    session->cipher_bits = SSL_CIPHER_get_bits(cipher, nullptr);
  }
  const unsigned char* protocol = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(ssl, &protocol, &size);
  if (size > 0) session->alpn_protocol.assign(reinterpret_cast<const char*>(protocol), size);
  session->server_name = server_name;
  session->resumed = SSL_session_reused(ssl) == 1;
  session->verified = (SSL_get_verify_mode(ssl) & SSL_VERIFY_PEER) != 0;
  session->certificate = der_of(SSL_get0_peer_certificate(ssl));
  session->channel_binding = first_finished(ssl, session->resumed);
  ERR_clear_error();
  return session;
}

}  // namespace fastpool::tls
