#include <array>
#include <memory>
#include <string>
#include <string_view>

#include <arpa/inet.h>
#include <openssl/asn1.h>
#include <openssl/x509v3.h>

#include "tls/context_state.h"

namespace fastpool::tls {

namespace {

constexpr int names_shown = 5;

std::string content_of(BIO* memory) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(memory, &data);
  return size > 0 ? std::string(data, static_cast<std::size_t>(size)) : std::string();
}

std::string words_of(const X509_NAME* name) {
  const BioHandle memory(BIO_new(BIO_s_mem()));
  if (memory == nullptr || name == nullptr) return {};
  X509_NAME_print_ex(memory.get(), name, 0, XN_FLAG_ONELINE & ~ASN1_STRFLGS_ESC_MSB);
  return content_of(memory.get());
}

std::string words_of(const ASN1_TIME* time) {
  const BioHandle memory(BIO_new(BIO_s_mem()));
  if (memory == nullptr || time == nullptr) return {};
  ASN1_TIME_print(memory.get(), time);
  return content_of(memory.get());
}

/// Only what is printable: the text comes from a certificate that has just been refused.
std::string printable(std::string_view text) {
  std::string clean;
  for (const char letter : text)
    clean += letter >= ' ' && letter <= '~' ? letter : '?';
  return clean;
}

std::string words_of(const GENERAL_NAME* name) {
  int type = 0;
  const auto* value = static_cast<const ASN1_STRING*>(GENERAL_NAME_get0_value(name, &type));
  if (type != GEN_DNS && type != GEN_IPADD) return {};
  const unsigned char* data = ASN1_STRING_get0_data(value);
  const auto size = static_cast<std::size_t>(ASN1_STRING_length(value));
  if (type == GEN_DNS) return printable({reinterpret_cast<const char*>(data), size});
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (size != 4 && size != 16) return {};
  ::inet_ntop(size == 4 ? AF_INET : AF_INET6, data, text.data(), text.size());
  return text.data();
}

std::string names_of(const X509* certificate) {
  struct Free {
    void operator()(GENERAL_NAMES* names) const noexcept { GENERAL_NAMES_free(names); }
  };
  const std::unique_ptr<GENERAL_NAMES, Free> names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  std::string listed;
  const int count = names == nullptr ? 0 : sk_GENERAL_NAME_num(names.get());
  for (int index = 0; index < count; ++index) {
    if (index == names_shown) return listed + ", ...";
    const std::string name = words_of(sk_GENERAL_NAME_value(names.get(), index));
    if (!name.empty()) listed += (listed.empty() ? "'" : ", '") + name + "'";
  }
  return listed;
}

}  // namespace

int note_verification(int accepted, X509_STORE_CTX* store) noexcept {
  if (accepted == 1) return accepted;
  auto* ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  auto* note = ssl == nullptr ? nullptr : static_cast<ConnectionNote*>(SSL_get_app_data(ssl));
  if (note == nullptr) return accepted;
  HandshakeFailure& failure = note->failure;
  failure.verify_result = X509_STORE_CTX_get_error(store);
  if (X509* certificate = X509_STORE_CTX_get_current_cert(store); certificate != nullptr) {
    failure.issuer = words_of(X509_get_issuer_name(certificate));
    failure.subject = words_of(X509_get_subject_name(certificate));
    failure.valid_from = words_of(X509_get0_notBefore(certificate));
    failure.valid_until = words_of(X509_get0_notAfter(certificate));
    failure.names = names_of(certificate);
  }
  return accepted;
}

}  // namespace fastpool::tls
