#include "tls/handshake_failure.h"

#include <cerrno>
#include <system_error>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include "tls/openssl.h"

namespace fastpool::tls {

namespace {

std::string in_brackets(const std::string& text) {
  return text.empty() ? std::string() : " (" + text + ")";
}

std::string describe_certificate(const HandshakeFailure& failure) {
  const std::string known = X509_verify_cert_error_string(failure.verify_result);
  switch (failure.verify_result) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      return "certificate is not valid for '" + failure.server_name + "'" +
             in_brackets(failure.names.empty() ? "it names no host" : "it names " + failure.names);
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return known + in_brackets(failure.valid_until.empty() ? "" : "it was valid until " + failure.valid_until);
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return known + in_brackets(failure.valid_from.empty() ? "" : "it is valid from " + failure.valid_from);
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
      return known + in_brackets("unknown issuer" + (failure.issuer.empty() ? "" : ": " + failure.issuer));
    default:
      return known + in_brackets(failure.subject);
  }
}

/// The number of a TLS alert (RFC 8446 section 6) that the peer sent, or -1.
int alert_of(unsigned long code) noexcept {
  if (ERR_GET_LIB(code) != ERR_LIB_SSL) return -1;
  const int reason = ERR_GET_REASON(code);
  return reason >= SSL_AD_REASON_OFFSET && reason < SSL_AD_REASON_OFFSET + 256 ? reason - SSL_AD_REASON_OFFSET : -1;
}

std::string name_of_alert(int alert) {
  switch (alert) {  // those of TLS 1.3, for which OpenSSL 3.0 has no words
    case SSL_AD_MISSING_EXTENSION:
      return "missing extension";
    case SSL_AD_CERTIFICATE_REQUIRED:
      return "certificate required";
    case SSL_AD_NO_APPLICATION_PROTOCOL:
      return "no application protocol";
    default:
      return SSL_alert_desc_string_long(alert);
  }
}

/// Whether the server would send the same alert to the same client again.
bool alert_is_final(int alert) noexcept {
  switch (alert) {
    case SSL_AD_HANDSHAKE_FAILURE:
    case SSL_AD_BAD_CERTIFICATE:
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
    case SSL_AD_CERTIFICATE_REVOKED:
    case SSL_AD_CERTIFICATE_EXPIRED:
    case SSL_AD_CERTIFICATE_UNKNOWN:
    case SSL_AD_UNKNOWN_CA:
    case SSL_AD_ACCESS_DENIED:
    case SSL_AD_PROTOCOL_VERSION:
    case SSL_AD_INSUFFICIENT_SECURITY:
    case SSL_AD_UNRECOGNIZED_NAME:
    case SSL_AD_CERTIFICATE_REQUIRED:
    case SSL_AD_NO_APPLICATION_PROTOCOL:
      return true;
    default:
      return false;
  }
}

struct Words {
  std::string text;
  bool final = false;
};

Words describe_alert(int alert) {
  Words words{"the server refused with the TLS alert '" + name_of_alert(alert) + "'", alert_is_final(alert)};
  if (alert == SSL_AD_CERTIFICATE_REQUIRED) words.text += ": it asks for a client certificate";
  if (alert == SSL_AD_PROTOCOL_VERSION) words.text += ": no TLS version in common (at least TLS 1.2 is asked for)";
  return words;
}

Words describe_openssl(unsigned long code) {
  if (const int alert = alert_of(code); alert >= 0) return describe_alert(alert);
  if (ERR_GET_LIB(code) == ERR_LIB_SSL) {
    switch (ERR_GET_REASON(code)) {
      case SSL_R_WRONG_VERSION_NUMBER:
        return {"wrong version number: the server does not answer in TLS; is it speaking plain HTTP?", true};
      case SSL_R_UNSUPPORTED_PROTOCOL:
      case SSL_R_VERSION_TOO_LOW:
        return {"no TLS version in common: the server offers an older one than is allowed (at least TLS 1.2)", true};
      case SSL_R_DH_KEY_TOO_SMALL:
        return {reason_of(code) + " (refused by the security level)", true};
      default:
        break;
    }
  }
  return {reason_of(code), false};
}

Words describe_cause(const HandshakeFailure& failure) {
  if (failure.verify_result != X509_V_OK) return {describe_certificate(failure), true};
  if (failure.openssl_error != 0) return describe_openssl(failure.openssl_error);
  if (failure.os_error == ECONNRESET || failure.os_error == EPIPE) {
    return {"the server reset the connection during the handshake"};
  }
  if (failure.os_error != 0) return {std::generic_category().message(failure.os_error)};
  if (failure.peer_closed) return {"the server closed the connection during the handshake"};
  return {"unknown reason"};
}

}  // namespace

Error describe(const HandshakeFailure& failure) {
  Words words = describe_cause(failure);
  Error error = Error::make(ErrorCode::tls_failed, Phase::tls_handshake,
                            "TLS handshake with '" + failure.server_name + "' failed: " + words.text, failure.os_error);
  error.final = words.final;
  return error;
}

std::string describe_tls_error(unsigned long openssl_error) {
  return describe_openssl(openssl_error).text;
}

}  // namespace fastpool::tls
