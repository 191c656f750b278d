#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include <fastpool/export.h>
#include <fastpool/result.h>

namespace fastpool::inline v1 {

/// What the files that TlsSettings name held when read_files() read them; empty: they are read when a context is created.
/// Equal if the contents are. A cheap copy of an immutable object.
class FASTPOOL_EXPORT TlsFiles {
 public:
  TlsFiles() = default;
  [[nodiscard]] explicit operator bool() const noexcept { return read_ != nullptr; }

  friend FASTPOOL_EXPORT bool operator==(const TlsFiles& left, const TlsFiles& right) noexcept;

  /// Internal.
  explicit TlsFiles(std::shared_ptr<const void> read) noexcept : read_(std::move(read)) {}
  [[nodiscard]] const std::shared_ptr<const void>& get() const noexcept { return read_; }

 private:
  std::shared_ptr<const void> read_;
};

/// How TLS is to be spoken. Two connections may be shared only if these are equal. The defaults verify everything:
/// chain and host name, TLS 1.2 or later.
///
/// A client certificate comes from one source: files, PEM in memory, or PKCS #12 in memory.
struct TlsSettings {
  bool verify_peer = true;         ///< false: neither chain nor host name is looked at
  bool verify_hostname = true;     ///< false: the chain is verified, the host name is not
  std::string ca_file{};           ///< a PEM bundle; with `ca` and `ca_directory` also empty: OpenSSL's default places
  std::string ca_directory{};      ///< a directory hashed by c_rehash
  std::string certificate_file{};  ///< client certificate chain (PEM); empty: none
  std::string private_key_file{};  ///< its key (PEM); empty: in certificate_file
  std::string private_key_password{};  ///< of the key, or of the PKCS #12 bytes; empty: none
  std::uint64_t verify_flags = 0;      ///< X509_V_FLAG_* added to OpenSSL's defaults
  int minimum_version = 0x0303;        ///< TLS1_2_VERSION; never below it
  int maximum_version = 0;             ///< 0: the newest
  std::string cipher_list{};           ///< OpenSSL syntax for TLS 1.2 and below; empty: OpenSSL's default
  std::string groups{};                ///< OpenSSL's SSL_CTX_set1_groups_list syntax; empty: default
  int security_level = -1;    ///< OpenSSL security level; -1: as built (a "@SECLEVEL" in cipher_list counts too)
  std::uint64_t options = 0;  ///< SSL_OP_* added to the library's own
  TlsFiles files{};           ///< what the files above held; in place of the files, once they were read
  std::string ca{};           ///< PEM text of trusted certificates, beside those of `ca_file` and `ca_directory`
  std::string certificate{};  ///< client certificate chain as PEM text
  std::string private_key{};  ///< its key as PEM text; empty: in `certificate`
  std::string pkcs12{};       ///< client certificate, chain and key as the bytes of a PKCS #12 file (RFC 7292)

  friend bool operator==(const TlsSettings&, const TlsSettings&) = default;
};

/// Reads the files that the settings name, now, CA directories included: a file that is replaced later changes nothing. Settings
/// whose files were read are returned as they are. Errors: invalid_argument naming the file that cannot be read.
[[nodiscard]] FASTPOOL_EXPORT Result<TlsSettings> read_files(TlsSettings settings);

}  // namespace fastpool::inline v1
