#pragma once

#include <memory>
#include <string>
#include <vector>

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "support/temporary_directory.h"

namespace fastpool::support {

/// A certificate and its key as PEM files.
struct CertificateFiles {
  std::string certificate;
  std::string key;
};

/// The contents of a certificate.
struct CertificateWish {
  std::string common_name = "fastpool test";
  std::vector<std::string> names = {};  ///< "DNS:localhost", "IP:127.0.0.1"
  long valid_from = -3600;              ///< seconds from now
  long valid_until = 24L * 3600;        ///< seconds from now
  std::string key_password = {};        ///< not empty: the key file is encrypted with it
  bool for_client = false;
};

/// A new certificate authority with its files in a directory of its own. Throws std::runtime_error if a call of OpenSSL
/// fails.
class CertificateAuthority {
 public:
  explicit CertificateAuthority(const std::string& common_name = "fastpool test CA");

  /// The PEM bundle for clients to trust.
  [[nodiscard]] const std::string& ca_file() const noexcept { return ca_file_; }
  /// A new key and a certificate for it, signed by this authority. Files last as long as the authority.
  [[nodiscard]] CertificateFiles issue(const CertificateWish& wish);
  /// The default server certificate: "localhost" and 127.0.0.1, ::1.
  [[nodiscard]] CertificateFiles issue_localhost();

  /// A server certificate for "localhost" that is self-signed.
  [[nodiscard]] CertificateFiles issue_self_signed();

  [[nodiscard]] const TemporaryDirectory& directory() const noexcept { return directory_; }

 private:
  struct FreeKey {
    void operator()(EVP_PKEY* key) const noexcept { EVP_PKEY_free(key); }
  };
  struct FreeCertificate {
    void operator()(X509* certificate) const noexcept { X509_free(certificate); }
  };

  CertificateFiles write(X509* certificate, EVP_PKEY* key, const std::string& key_password);

  TemporaryDirectory directory_;
  std::unique_ptr<EVP_PKEY, FreeKey> key_;
  std::unique_ptr<X509, FreeCertificate> certificate_;
  std::string ca_file_;
  int issued_ = 0;
};

}  // namespace fastpool::support
