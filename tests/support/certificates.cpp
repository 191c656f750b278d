#include "support/certificates.h"

#include <cstdio>
#include <stdexcept>

#include <openssl/pem.h>
#include <openssl/x509v3.h>

namespace fastpool::support {

namespace {

void must(bool done, const char* what) {
  if (!done) throw std::runtime_error(std::string("OpenSSL: ") + what);
}

struct CloseFile {
  void operator()(std::FILE* file) const noexcept { (void)std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

File open_for_writing(const std::string& path) {
  File file(std::fopen(path.c_str(), "w"));
  if (file == nullptr) throw std::runtime_error("cannot write " + path);
  return file;
}

EVP_PKEY* new_key() {
  EVP_PKEY* key = EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256");
  must(key != nullptr, "no key");
  return key;
}

void set_name(X509_NAME* name, const std::string& common_name) {
  const auto* text = reinterpret_cast<const unsigned char*>(common_name.c_str());
  must(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, text, -1, -1, 0) == 1, "no name");
}

void add_extension(X509* certificate, X509* issuer, int identifier, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, identifier, value.c_str());
  must(extension != nullptr && X509_add_ext(certificate, extension, -1) == 1, value.c_str());
  X509_EXTENSION_free(extension);
}

X509* new_certificate(EVP_PKEY* key, const std::string& common_name, long serial, long from, long until) {
  X509* certificate = X509_new();
  must(certificate != nullptr, "no certificate");
  X509_set_version(certificate, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial);
  X509_gmtime_adj(X509_getm_notBefore(certificate), from);
  X509_gmtime_adj(X509_getm_notAfter(certificate), until);
  X509_set_pubkey(certificate, key);
  set_name(X509_get_subject_name(certificate), common_name);
  return certificate;
}

}  // namespace

CertificateAuthority::CertificateAuthority(const std::string& common_name) : key_(new_key()) {
  certificate_.reset(new_certificate(key_.get(), common_name, 1, -2L * 24 * 3600, 10L * 24 * 3600));
  X509* certificate = certificate_.get();
  X509_set_issuer_name(certificate, X509_get_subject_name(certificate));
  add_extension(certificate, certificate, NID_basic_constraints, "critical,CA:TRUE");
  add_extension(certificate, certificate, NID_key_usage, "critical,keyCertSign,cRLSign");
  add_extension(certificate, certificate, NID_subject_key_identifier, "hash");
  must(X509_sign(certificate, key_.get(), EVP_sha256()) > 0, "cannot sign");
  ca_file_ = directory_.path("ca.pem");
  must(PEM_write_X509(open_for_writing(ca_file_).get(), certificate) == 1, "cannot write");
}

CertificateFiles CertificateAuthority::issue(const CertificateWish& wish) {
  ++issued_;
  const std::unique_ptr<EVP_PKEY, FreeKey> key(new_key());
  const std::unique_ptr<X509, FreeCertificate> certificate(
      new_certificate(key.get(), wish.common_name, 100 + issued_, wish.valid_from, wish.valid_until));
  X509_set_issuer_name(certificate.get(), X509_get_subject_name(certificate_.get()));
  add_extension(certificate.get(), certificate_.get(), NID_basic_constraints, "critical,CA:FALSE");
  add_extension(certificate.get(), certificate_.get(), NID_key_usage, "critical,digitalSignature");
  add_extension(certificate.get(), certificate_.get(), NID_ext_key_usage,
                wish.for_client ? "clientAuth" : "serverAuth");
  add_extension(certificate.get(), certificate_.get(), NID_subject_key_identifier, "hash");
  add_extension(certificate.get(), certificate_.get(), NID_authority_key_identifier, "keyid");
  std::string names;
  for (const std::string& name : wish.names)
    names += (names.empty() ? "" : ",") + name;
  if (!names.empty()) add_extension(certificate.get(), certificate_.get(), NID_subject_alt_name, names);
  must(X509_sign(certificate.get(), key_.get(), EVP_sha256()) > 0, "cannot sign");

  return write(certificate.get(), key.get(), wish.key_password);
}

CertificateFiles CertificateAuthority::write(X509* certificate, EVP_PKEY* key, const std::string& key_password) {
  const std::string stem = std::to_string(issued_);
  CertificateFiles files{directory_.path(stem + ".pem"), directory_.path(stem + ".key")};
  must(PEM_write_X509(open_for_writing(files.certificate).get(), certificate) == 1, "cannot write");
  const auto* password = reinterpret_cast<const unsigned char*>(key_password.data());
  const bool encrypt = !key_password.empty();
  must(PEM_write_PrivateKey(open_for_writing(files.key).get(), key, encrypt ? EVP_aes_256_cbc() : nullptr,
                            encrypt ? password : nullptr, static_cast<int>(key_password.size()), nullptr, nullptr) == 1,
       "cannot write");
  return files;
}

CertificateFiles CertificateAuthority::issue_self_signed() {
  ++issued_;
  const std::unique_ptr<EVP_PKEY, FreeKey> key(new_key());
  const std::unique_ptr<X509, FreeCertificate> certificate(
      new_certificate(key.get(), "localhost", 100 + issued_, -3600, 24L * 3600));
  X509_set_issuer_name(certificate.get(), X509_get_subject_name(certificate.get()));
  add_extension(certificate.get(), certificate.get(), NID_subject_alt_name, "DNS:localhost");
  must(X509_sign(certificate.get(), key.get(), EVP_sha256()) > 0, "cannot sign");
  return write(certificate.get(), key.get(), {});
}

CertificateFiles CertificateAuthority::issue_localhost() {
  return issue({.common_name = "localhost", .names = {"DNS:localhost", "IP:127.0.0.1", "IP:::1"}});
}

}  // namespace fastpool::support
