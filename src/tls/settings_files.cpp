#include "tls/settings_files.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <map>
#include <system_error>
#include <utility>

#include <dirent.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/descriptor.h"
#include "tls/openssl.h"

namespace fastpool::tls {

namespace {

/// No bundle, certificate or key comes near; an endless file ends here.
constexpr std::size_t most_bytes = std::size_t{64} << 20U;

Error cannot_read(std::string_view role, const std::string& path, int problem) {
  return Error::make(
      ErrorCode::invalid_argument, Phase::none,
      "cannot read " + std::string(role) + " '" + path + "': " + std::generic_category().message(problem), problem);
}

/// Reads a file to its end. \returns 0 or an errno value.
int read_whole(const std::string& path, std::string& content) {
  // Without O_NONBLOCK a FIFO without a writer would hold up the caller in open().
  const net::Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file.valid()) return errno;
  struct stat status{};
  if (::fstat(file.get(), &status) != 0) return errno;
  if (S_ISDIR(status.st_mode)) return EISDIR;
  if (!S_ISREG(status.st_mode) && ::fcntl(file.get(), F_SETFL, O_RDONLY) != 0) return errno;
  // One byte more than it is said to hold, so that its end is met in the same call.
  content.resize(std::min(static_cast<std::size_t>(std::max<off_t>(status.st_size, 0)), most_bytes) + 1);
  std::size_t used = 0;
  while (true) {
    const ssize_t got = ::read(file.get(), content.data() + used, content.size() - used);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno;
    if (got == 0) break;
    used += static_cast<std::size_t>(got);
    if (used > most_bytes) return EFBIG;
    if (used == content.size()) content.resize(2 * used);
  }
  content.resize(used);
  return 0;
}

Result<std::string> read_file(std::string_view role, const std::string& path) {
  if (path.find('\0') != std::string::npos)
    return Error::make(ErrorCode::invalid_argument, Phase::none, std::string(role) + ": the path holds a NUL");
  std::string content;
  if (const int problem = read_whole(path, content); problem != 0) return cannot_read(role, path, problem);
  return content;
}

/// "/a:/b", as OpenSSL splits it.
std::vector<std::string> split(std::string_view list) {
  std::vector<std::string> parts;
  while (!list.empty()) {
    const std::size_t end = std::min(list.find(':'), list.size());
    if (end > 0) parts.emplace_back(list.substr(0, end));
    list.remove_prefix(std::min(end + 1, list.size()));
  }
  return parts;
}

/// As OpenSSL finds its default places: a variable, but not for a program with more rights than its user, or built in.
std::string default_place(const char* variable, const char* built_in) {
  const char* const named = ::secure_getenv(variable);
  return named != nullptr ? named : built_in;
}

struct HashedName {
  unsigned long hash = 0;
  bool revocation = false;
  unsigned number = 0;
};

/// "5ed36f99.0", or "5ed36f99.r0" of a revocation list.
std::optional<HashedName> parse_hashed(std::string_view name) {
  if (name.size() < 10 || name[8] != '.') return std::nullopt;
  HashedName parsed;
  const char* const hash_end = name.data() + 8;
  if (std::from_chars(name.data(), hash_end, parsed.hash, 16).ptr != hash_end) return std::nullopt;
  parsed.revocation = name[9] == 'r';
  const char* const number = hash_end + (parsed.revocation ? 2 : 1);
  const char* const end = name.data() + name.size();
  const auto read = std::from_chars(number, end, parsed.number);
  if (read.ec != std::errc{} || read.ptr != end) return std::nullopt;
  return parsed;
}

/// SHA-256 over parts, each with its length before it.
class Digester {
 public:
  Digester() : context_(EVP_MD_CTX_new()) {
    good_ = context_ != nullptr && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1;
  }
  void add(std::string_view part) {
    const std::uint64_t size = part.size();
    good_ = good_ && EVP_DigestUpdate(context_.get(), &size, sizeof size) == 1 &&
            EVP_DigestUpdate(context_.get(), part.data(), part.size()) == 1;
  }
  [[nodiscard]] bool finish(SettingsFiles::Digest& digest) {
    unsigned size = 0;
    return good_ && EVP_DigestFinal_ex(context_.get(), digest.data(), &size) == 1 && size == digest.size();
  }

 private:
  std::unique_ptr<EVP_MD_CTX, Freed<&EVP_MD_CTX_free>> context_;
  bool good_ = false;
};

}  // namespace

SettingsFiles::~SettingsFiles() {
  OPENSSL_cleanse(private_key_.data(), private_key_.size());
}

Result<std::shared_ptr<const SettingsFiles>> SettingsFiles::read(const TlsSettings& settings, Directories directories) {
  auto files = std::make_shared<SettingsFiles>();
  if (auto done = files->read_trust(settings, directories); !done) return std::move(done).error();
  if (auto done = files->read_certificate(settings); !done) return std::move(done).error();
  if (!files->set_digest())
    return Error::make(ErrorCode::invalid_argument, Phase::none, "OpenSSL computes no SHA-256 digest");
  return std::shared_ptr<const SettingsFiles>(std::move(files));
}

Result<void> SettingsFiles::read_trust(const TlsSettings& settings, Directories directories) {
  if (!settings.ca_file.empty()) {
    auto content = read_file("CA file", settings.ca_file);
    if (!content) return std::move(content).error();
    ca_file_ = std::move(content).value();
  }
  // A bundle is a sequence of PEM blocks, so two are one.
  if (!settings.ca.empty()) ca_file_ = ca_file_.value_or("") + (ca_file_ ? "\n" : "") + settings.ca;
  if (!settings.ca_directory.empty()) {
    if (settings.ca_directory.find('\0') != std::string::npos)
      return Error::make(ErrorCode::invalid_argument, Phase::none, "CA directory: the path holds a NUL");
    ca_directories_ = split(settings.ca_directory);
    const auto problem_of = [](const std::string& directory) {
      struct stat status{};
      if (::stat(directory.c_str(), &status) != 0) return errno;
      return S_ISDIR(status.st_mode) ? 0 : ENOTDIR;
    };
    if (std::none_of(ca_directories_.begin(), ca_directories_.end(),
                     [&](const std::string& each) { return problem_of(each) == 0; }))
      return cannot_read("CA directory", settings.ca_directory,
                         ca_directories_.empty() ? ENOENT : problem_of(ca_directories_.front()));
  }
  if (settings.verify_peer && settings.ca_file.empty() && settings.ca_directory.empty() && settings.ca.empty()) {
    // A default place that is not there is no error, as with OpenSSL.
    const std::string file = default_place(X509_get_default_cert_file_env(), X509_get_default_cert_file());
    std::string content;
    if (read_whole(file, content) == 0) ca_file_ = std::move(content);
    ca_directories_ = split(default_place(X509_get_default_cert_dir_env(), X509_get_default_cert_dir()));
  }
  if (directories == Directories::read) {
    directories_read_ = true;
    for (const std::string& directory : ca_directories_)
      read_directory(directory);
  }
  return {};
}

/// Reads what OpenSSL would find there: of each hash the files 0, 1, ... up to the first that is missing.
void SettingsFiles::read_directory(const std::string& directory) {
  std::map<std::pair<unsigned long, bool>, std::map<unsigned, std::string>>
      found;  // in an order that is always the same
  DIR* const listing = ::opendir(directory.c_str());
  if (listing == nullptr) return;
  while (const dirent* const entry = ::readdir(listing)) {  // NOLINT(concurrency-mt-unsafe): a listing of our own
    if (const auto name = parse_hashed(entry->d_name))
      found[{name->hash, name->revocation}].emplace(name->number, directory + '/' + entry->d_name);
  }
  ::closedir(listing);
  for (const auto& [kind, files] : found) {
    unsigned expected = 0;
    for (const auto& [number, path] : files) {
      std::string pem;
      if (number != expected++ || read_whole(path, pem) != 0) break;
      hashed_.push_back({kind.first, kind.second, std::move(pem)});
    }
  }
}

Result<void> SettingsFiles::read_certificate(const TlsSettings& settings) {
  const int sources = (settings.certificate_file.empty() ? 0 : 1) + (settings.certificate.empty() ? 0 : 1) +
                      (settings.pkcs12.empty() ? 0 : 1);
  if (sources > 1) {
    return Error::make(
        ErrorCode::invalid_argument, Phase::none,
        "a client certificate comes from a file, from PEM in memory, or from PKCS #12: give one of them");
  }
  if (!settings.certificate.empty()) {
    certificate_ = settings.certificate;
    private_key_ = settings.private_key.empty() ? settings.certificate : settings.private_key;
    return {};
  }
  if (settings.certificate_file.empty()) return {};
  auto certificate = read_file("client certificate", settings.certificate_file);
  if (!certificate) return std::move(certificate).error();
  certificate_ = std::move(certificate).value();
  if (settings.private_key_file.empty()) {
    private_key_ = certificate_;
    return {};
  }
  auto key = read_file("private key", settings.private_key_file);
  if (!key) return std::move(key).error();
  private_key_ = std::move(key).value();
  return {};
}

bool SettingsFiles::set_digest() {
  initialize();
  if (ended()) return false;
  const OpenSslSection inside;
  Digester digester;
  digester.add(ca_file_.value_or(""));
  digester.add(std::to_string(ca_directories_.size()));
  for (const std::string& directory : ca_directories_)
    digester.add(directory);
  digester.add(directories_read_ ? "read" : "left");
  for (const Hashed& each : hashed_) {
    digester.add(std::to_string(each.hash) + (each.revocation ? "r" : ""));
    digester.add(each.pem);
  }
  digester.add("client certificate");
  digester.add(certificate_);
  digester.add(private_key_);
  const bool done = digester.finish(digest_);
  ERR_clear_error();
  return done;
}

}  // namespace fastpool::tls

namespace fastpool::inline v1 {

bool operator==(const TlsFiles& left, const TlsFiles& right) noexcept {
  if (left.read_ == right.read_) return true;
  return left.read_ != nullptr && right.read_ != nullptr &&
         tls::files_of(left)->digest() == tls::files_of(right)->digest();
}

Result<TlsSettings> read_files(TlsSettings settings) {
  if (settings.files) return settings;
  auto read = tls::SettingsFiles::read(settings, tls::SettingsFiles::Directories::read);
  if (!read) return std::move(read).error();
  settings.files = TlsFiles(std::shared_ptr<const void>(std::move(read).value()));
  return settings;
}

}  // namespace fastpool::inline v1
