#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <fastpool/profile.h>
#include <fastpool/result.h>

namespace fastpool::tls {

/// The contents of the files that TLS settings name, each opened and read once, and of what they give in memory in place of
/// files. A context is built from these bytes, and
/// settings are equal only if the digests of the bytes are, so a replaced file never changes what a name already stands
/// for, and never stands for what it replaced. Immutable; any thread may use it.
class SettingsFiles {
 public:
  /// Whether the certificates of CA directories are read too. OpenSSL looks into directories during handshakes: a context
  /// that is shared by several clients needs what was there when each of them was made.
  enum class Directories : std::uint8_t { left_to_openssl, read };

  /// A file of a CA directory, named as c_rehash does: hash of the subject (of a CRL: of the issuer), then a number.
  struct Hashed {
    unsigned long hash = 0;
    bool revocation = false;
    std::string pem;
  };
  using Digest = std::array<unsigned char, 32>;

  /// \returns invalid_argument naming the file for one that cannot be read.
  [[nodiscard]] static Result<std::shared_ptr<const SettingsFiles>> read(const TlsSettings& settings,
                                                                         Directories directories);
  SettingsFiles() = default;
  SettingsFiles(const SettingsFiles&) = delete;
  SettingsFiles& operator=(const SettingsFiles&) = delete;
  ~SettingsFiles();  ///< overwrites the private key

  /// The CA file, or OpenSSL's default one; nothing if there is none.
  [[nodiscard]] const std::optional<std::string>& ca_file() const noexcept { return ca_file_; }
  /// CA directories, OpenSSL's default ones included.
  [[nodiscard]] const std::vector<std::string>& ca_directories() const noexcept { return ca_directories_; }
  /// What they held, if they were read.
  [[nodiscard]] const std::vector<Hashed>& hashed() const noexcept { return hashed_; }
  [[nodiscard]] bool directories_read() const noexcept { return directories_read_; }

  /// PEM, of a file or given in memory.
  [[nodiscard]] std::string_view certificate() const noexcept { return certificate_; }
  [[nodiscard]] std::string_view private_key() const noexcept { return private_key_; }

  /// SHA-256 over all of it.
  [[nodiscard]] const Digest& digest() const noexcept { return digest_; }

 private:
  [[nodiscard]] Result<void> read_trust(const TlsSettings& settings, Directories directories);
  [[nodiscard]] Result<void> read_certificate(const TlsSettings& settings);
  void read_directory(const std::string& directory);
  [[nodiscard]] bool set_digest();

  std::optional<std::string> ca_file_;
  std::vector<std::string> ca_directories_;
  std::vector<Hashed> hashed_;
  bool directories_read_ = false;
  std::string certificate_;
  std::string private_key_;
  Digest digest_{};
};

/// What the files of these settings held, if they were read.
[[nodiscard]] inline std::shared_ptr<const SettingsFiles> files_of(const TlsFiles& files) noexcept {
  return std::static_pointer_cast<const SettingsFiles>(files.get());
}

}  // namespace fastpool::tls
