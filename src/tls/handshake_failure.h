#pragma once

#include <string>

#include <fastpool/error.h>

namespace fastpool::tls {

/// What is known when a handshake has failed. Plain values, so the wording is tested without a handshake.
struct HandshakeFailure {
  std::string server_name;
  unsigned long openssl_error = 0;  ///< an OpenSSL error code; 0: none
  int os_error = 0;                 ///< errno of the socket; 0: none
  bool peer_closed = false;         ///< the peer sent FIN
  // what the verification of the certificate said, if that is what failed
  long verify_result = 0;   ///< X509_V_ERR_*; 0: none
  std::string issuer;       ///< of the certificate that was looked at
  std::string subject;      ///< of the same
  std::string valid_from;   ///< of the same, for people
  std::string valid_until;  ///< of the same
  std::string names;        ///< the host names and addresses that it carries: "'a', 'b'"
};

/// tls_failed in plain words. `final` if another try at once would meet the same: a certificate that is not accepted, on
/// either side, or no protocol version and cipher in common.
[[nodiscard]] Error describe(const HandshakeFailure& failure);

/// What a broken TLS connection said, for Channel::last_error(): an alert by its name, else OpenSSL's words.
[[nodiscard]] std::string describe_tls_error(unsigned long openssl_error);

}  // namespace fastpool::tls
