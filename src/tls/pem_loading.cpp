#include "tls/pem_loading.h"

#include <climits>
#include <memory>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>

#include "tls/openssl.h"

namespace fastpool::tls {

namespace {

using CertificateHandle = std::unique_ptr<X509, Freed<&X509_free>>;
using KeyHandle = std::unique_ptr<EVP_PKEY, Freed<&EVP_PKEY_free>>;

struct FreeCertificates {
  void operator()(STACK_OF(X509) * certificates) const noexcept { sk_X509_pop_free(certificates, X509_free); }
};
using Certificates = std::unique_ptr<STACK_OF(X509), FreeCertificates>;

struct FreeInfos {
  void operator()(STACK_OF(X509_INFO) * infos) const noexcept { sk_X509_INFO_pop_free(infos, X509_INFO_free); }
};
using Infos = std::unique_ptr<STACK_OF(X509_INFO), FreeInfos>;

/// A view as a BIO; null without memory.
BioHandle reader_of(std::string_view bytes) {
  return BioHandle(bytes.size() > INT_MAX ? nullptr : BIO_new_mem_buf(bytes.data(), static_cast<int>(bytes.size())));
}

/// All of a PEM file; null if there is something broken in it.
Infos read_infos(std::string_view pem) {
  const BioHandle reader = reader_of(pem);
  if (reader == nullptr) return nullptr;
  char no_password[] = "";  // as OpenSSL has it for bundles: no prompt
  return Infos(PEM_X509_INFO_read_bio(reader.get(), nullptr, nullptr, no_password));
}

}  // namespace

int add_trust_anchors(X509_STORE* store, std::string_view pem) {
  const Infos infos = read_infos(pem);
  int added = 0;
  for (int i = 0; infos != nullptr && i < sk_X509_INFO_num(infos.get()); ++i) {
    const X509_INFO* const info = sk_X509_INFO_value(infos.get(), i);
    if (info->x509 != nullptr) {
      if (X509_STORE_add_cert(store, info->x509) != 1) return 0;
      ++added;
    }
    if (info->crl != nullptr) {
      if (X509_STORE_add_crl(store, info->crl) != 1) return 0;
      ++added;
    }
  }
  return added;
}

void add_hashed(X509_STORE* store, const SettingsFiles::Hashed& file) {
  const Infos infos = read_infos(file.pem);
  for (int i = 0; infos != nullptr && i < sk_X509_INFO_num(infos.get()); ++i) {
    const X509_INFO* const info = sk_X509_INFO_value(infos.get(), i);
    if (file.revocation) {
      if (info->crl != nullptr &&
          X509_NAME_hash_ex(X509_CRL_get_issuer(info->crl), nullptr, nullptr, nullptr) == file.hash)
        X509_STORE_add_crl(store, info->crl);
    } else if (info->x509 != nullptr && X509_subject_name_hash(info->x509) == file.hash) {
      X509_STORE_add_cert(store, info->x509);
    }
  }
}

bool use_certificate_chain(SSL_CTX* context, std::string_view pem) {
  const BioHandle reader = reader_of(pem);
  if (reader == nullptr) return false;
  pem_password_cb* const password = SSL_CTX_get_default_passwd_cb(context);
  void* const data = SSL_CTX_get_default_passwd_cb_userdata(context);
  const CertificateHandle certificate(PEM_read_bio_X509_AUX(reader.get(), nullptr, password, data));
  if (certificate == nullptr || SSL_CTX_use_certificate(context, certificate.get()) != 1 ||
      SSL_CTX_clear_chain_certs(context) != 1)
    return false;
  ERR_clear_error();
  while (true) {
    CertificateHandle next(PEM_read_bio_X509(reader.get(), nullptr, password, data));
    if (next == nullptr) break;
    if (SSL_CTX_add0_chain_cert(context, next.get()) != 1) return false;
    (void)next.release();
  }
  // The end of the file shows as a certificate that does not begin.
  const unsigned long end = ERR_peek_last_error();
  if (ERR_GET_LIB(end) != ERR_LIB_PEM || ERR_GET_REASON(end) != PEM_R_NO_START_LINE) return false;
  ERR_clear_error();
  return true;
}

bool use_private_key(SSL_CTX* context, std::string_view pem) {
  const BioHandle reader = reader_of(pem);
  if (reader == nullptr) return false;
  const KeyHandle key(PEM_read_bio_PrivateKey(reader.get(), nullptr, SSL_CTX_get_default_passwd_cb(context),
                                              SSL_CTX_get_default_passwd_cb_userdata(context)));
  return key != nullptr && SSL_CTX_use_PrivateKey(context, key.get()) == 1;
}

Pkcs12 use_pkcs12(SSL_CTX* context, std::string_view bytes, const std::string& password) {
  const BioHandle reader = reader_of(bytes);
  if (reader == nullptr) return Pkcs12::unreadable;
  const std::unique_ptr<PKCS12, Freed<&PKCS12_free>> file(d2i_PKCS12_bio(reader.get(), nullptr));
  if (file == nullptr) return Pkcs12::unreadable;
  const bool opens = PKCS12_verify_mac(file.get(), password.c_str(), -1) == 1 ||
                     (password.empty() && PKCS12_verify_mac(file.get(), nullptr, 0) == 1);
  if (!opens) return Pkcs12::wrong_password;
  EVP_PKEY* key = nullptr;
  X509* certificate = nullptr;
  STACK_OF(X509)* chain = nullptr;
  const bool parsed = PKCS12_parse(file.get(), password.c_str(), &key, &certificate, &chain) == 1;
  const KeyHandle key_handle(key);
  const CertificateHandle certificate_handle(certificate);
  const Certificates chain_handle(chain);
  if (!parsed) return Pkcs12::unreadable;
  if (key == nullptr || certificate == nullptr) return Pkcs12::incomplete;
  if (SSL_CTX_use_certificate(context, certificate) != 1 || SSL_CTX_use_PrivateKey(context, key) != 1 ||
      SSL_CTX_clear_chain_certs(context) != 1)
    return Pkcs12::refused;
  for (int index = 0; chain != nullptr && index < sk_X509_num(chain); ++index) {
    if (SSL_CTX_add1_chain_cert(context, sk_X509_value(chain, index)) != 1) return Pkcs12::refused;
  }
  return Pkcs12::used;
}

}  // namespace fastpool::tls
