#include "tls/context.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include <openssl/err.h>

#include "tls/context_state.h"
#include "tls/pem_loading.h"
#include "tls/settings_files.h"

namespace fastpool::tls {

namespace {

constexpr std::array<unsigned char, 9> alpn_http1{8, 'h', 't', 't', 'p', '/', '1', '.', '1'};
/// Two whole records of TLS 1.3 and OpenSSL's alignment. Without reading ahead OpenSSL asks twice per record, for its head
/// and for the rest. Larger buffers gain little: it moves what is left to the front at every record.
constexpr std::size_t read_ahead_size = 2 * (std::size_t{SSL3_RT_MAX_PLAIN_LENGTH} + 22) + 16;

Error refuse(std::string detail) {
  ERR_clear_error();
  return Error::make(ErrorCode::invalid_argument, Phase::none, std::move(detail));
}

std::string in_quotes(std::string_view text) {
  return "'" + std::string(text) + "'";
}

std::string openssl_words() {
  return reason_of(take_last_error());
}

Result<void> set_protocol(SSL_CTX* context, const TlsSettings& settings) {
  // a stricter system-wide policy, which OpenSSL has already read, stands
  const auto floor = static_cast<int>(SSL_CTX_get_min_proto_version(context));
  const int minimum = std::max({settings.minimum_version, TLS1_2_VERSION, floor});
  if (SSL_CTX_set_min_proto_version(context, minimum) != 1) return refuse("minimum TLS version: " + openssl_words());
  if (settings.maximum_version != 0) {
    if (settings.maximum_version < minimum)
      return refuse("maximum TLS version is below the minimum (at least TLS 1.2)");
    if (SSL_CTX_set_max_proto_version(context, settings.maximum_version) != 1) {
      return refuse("maximum TLS version: " + openssl_words());
    }
  }
  // as Python's ssl module sets them
  SSL_CTX_set_options(context,
                      (SSL_OP_ALL & ~SSL_OP_DONT_INSERT_EMPTY_FRAGMENTS) | SSL_OP_NO_COMPRESSION | settings.options);
  SSL_CTX_set_mode(context,
                   SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_read_ahead(context, 1);
  SSL_CTX_set_default_read_buffer_len(context, read_ahead_size);
  if (!settings.cipher_list.empty() && SSL_CTX_set_cipher_list(context, settings.cipher_list.c_str()) != 1) {
    return refuse("cipher list " + in_quotes(settings.cipher_list) + ": " + openssl_words());
  }
  if (!settings.groups.empty() && SSL_CTX_set1_groups_list(context, settings.groups.c_str()) != 1) {
    return refuse("groups " + in_quotes(settings.groups) + ": not a list of groups that OpenSSL knows");
  }
  if (settings.security_level > 5) return refuse("security level must be 0 to 5");
  if (settings.security_level >= 0) SSL_CTX_set_security_level(context, settings.security_level);
  if (SSL_CTX_set_alpn_protos(context, alpn_http1.data(), static_cast<unsigned>(alpn_http1.size())) != 0) {
    return refuse("ALPN: " + openssl_words());
  }
  return {};
}

Result<void> set_trust(SSL_CTX* context, const TlsSettings& settings, const SettingsFiles& files) {
  X509_STORE* const store = SSL_CTX_get_cert_store(context);
  if (files.ca_file() && add_trust_anchors(store, *files.ca_file()) == 0) {
    if (!settings.ca_file.empty())
      return refuse("CA file " + in_quotes(settings.ca_file) + " holds no certificates in PEM: " + openssl_words());
    if (!settings.ca.empty())
      return refuse("the CA text given in memory holds no certificates in PEM: " + openssl_words());
  }
  for (const SettingsFiles::Hashed& each : files.hashed())
    add_hashed(store, each);
  for (const std::string& directory : files.ca_directories()) {
    if (SSL_CTX_load_verify_dir(context, directory.c_str()) != 1) {
      return refuse("CA directory " + in_quotes(directory) + ": " + openssl_words());
    }
  }
  ERR_clear_error();  // of default places and directories, where OpenSSL too skips what it cannot use
  if (!settings.verify_peer) {
    SSL_CTX_set_verify(context, SSL_VERIFY_NONE, nullptr);
    return {};
  }
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, note_verification);
  if (settings.verify_flags != 0) {
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(context), static_cast<unsigned long>(settings.verify_flags));
  }
  return {};
}

/// The password of a key file, and whether OpenSSL asked for it: that tells "encrypted" from "not a key".
struct Password {
  const std::string& text;
  bool asked = false;
};

int give_password(char* buffer, int size, int, void* data) noexcept {
  auto& password = *static_cast<Password*>(data);
  password.asked = true;
  if (password.text.empty() || password.text.size() > static_cast<std::size_t>(size)) return -1;
  std::copy(password.text.begin(), password.text.end(), buffer);
  return static_cast<int>(password.text.size());
}

/// Without a callback OpenSSL would ask on the terminal.
int give_no_password(char*, int, int, void*) noexcept {
  return -1;
}

Result<void> load_certificate(SSL_CTX* context, const TlsSettings& settings, const SettingsFiles& files,
                              Password& password) {
  const bool in_memory = !settings.certificate.empty();
  const std::string certificate = in_memory ? "given in memory" : in_quotes(settings.certificate_file);
  const std::string key =
      in_memory || settings.private_key_file.empty() ? certificate : in_quotes(settings.private_key_file);
  if (!use_certificate_chain(context, files.certificate())) {
    return refuse("client certificate " + certificate + " cannot be used: " + openssl_words());
  }
  password.asked = false;
  if (!use_private_key(context, files.private_key())) {
    const unsigned long code = take_last_error();
    if (ERR_GET_LIB(code) == ERR_LIB_X509 && ERR_GET_REASON(code) == X509_R_KEY_VALUES_MISMATCH) {
      return refuse("private key " + key + " does not belong to client certificate " + certificate);
    }
    if (password.asked && settings.private_key_password.empty()) {
      return refuse("private key " + key + " is encrypted and no password was given");
    }
    if (password.asked) return refuse("private key " + key + " cannot be decrypted: wrong password?");
    return refuse("private key " + key + " cannot be used: " + reason_of(code));
  }
  if (SSL_CTX_check_private_key(context) != 1) {
    return refuse("private key " + key + " does not belong to client certificate " + certificate);
  }
  return {};
}

Result<void> load_pkcs12(SSL_CTX* context, const TlsSettings& settings) {
  switch (use_pkcs12(context, settings.pkcs12, settings.private_key_password)) {
    case Pkcs12::used:
      return {};
    case Pkcs12::unreadable:
      return refuse("the PKCS #12 bytes of the client certificate cannot be read: " + openssl_words());
    case Pkcs12::wrong_password:
      return refuse("the PKCS #12 bytes of the client certificate cannot be decrypted: wrong password?");
    case Pkcs12::incomplete:
      return refuse("the PKCS #12 bytes hold no client certificate with its private key");
    case Pkcs12::refused:
      break;
  }
  return refuse("the client certificate of the PKCS #12 bytes cannot be used: " + openssl_words());
}

Result<void> set_certificate(SSL_CTX* context, const TlsSettings& settings, const SettingsFiles& files) {
  if (!settings.pkcs12.empty()) return load_pkcs12(context, settings);
  if (settings.certificate_file.empty() && settings.certificate.empty()) {
    if (!settings.private_key_file.empty()) {
      return refuse("private key " + in_quotes(settings.private_key_file) + " was given without a client certificate");
    }
    if (!settings.private_key.empty()) return refuse("a private key was given without a client certificate");
    return {};
  }
  Password password{settings.private_key_password};
  SSL_CTX_set_default_passwd_cb(context, give_password);
  SSL_CTX_set_default_passwd_cb_userdata(context, &password);
  auto loaded = load_certificate(context, settings, files, password);
  SSL_CTX_set_default_passwd_cb(context, give_no_password);
  SSL_CTX_set_default_passwd_cb_userdata(context, nullptr);
  return loaded;
}

/// How many certificates and revocation lists a context has in memory.
int trusted_objects(SSL_CTX* context) {
  X509_STORE* const store = SSL_CTX_get_cert_store(context);
  X509_STORE_lock(store);
  const int count = sk_X509_OBJECT_num(X509_STORE_get0_objects(store));
  X509_STORE_unlock(store);
  return count;
}

/// \returns 1: the reference is ours now.
int store_session(SSL* ssl, SSL_SESSION* session) noexcept {
  auto* note = static_cast<ConnectionNote*>(SSL_get_app_data(ssl));
  if (note == nullptr || note->sessions == nullptr) return 0;
  note->sessions->store(note->session_key, SessionHandle(session));
  return 1;
}

}  // namespace

Context::Context(std::unique_ptr<State> state) : state_(std::move(state)) {}
Context::~Context() = default;

Result<std::shared_ptr<Context>> Context::create(const TlsSettings& settings) {
  net::install_fork_handler();
  initialize();
  if (ended()) return Error::make(ErrorCode::tls_failed, Phase::tls_handshake, std::string(ended_words));
  sync::ForkGate::at_thread_end(&OPENSSL_thread_stop);  // else OpenSSL does it itself, outside
  std::shared_ptr<const SettingsFiles> files = files_of(settings.files);
  if (files == nullptr) {
    auto read = SettingsFiles::read(settings, SettingsFiles::Directories::left_to_openssl);
    if (!read) return std::move(read).error();
    files = std::move(read).value();
  }
  const OpenSslSection inside;
  ERR_clear_error();
  auto state = std::make_unique<State>();
  state->handle.reset(SSL_CTX_new(TLS_client_method()));
  SSL_CTX* context = state->handle.get();
  if (context == nullptr) return refuse("OpenSSL: " + openssl_words());
  state->verify_peer = settings.verify_peer;
  state->verify_hostname = settings.verify_peer && settings.verify_hostname;

  if (auto done = set_protocol(context, settings); !done) return std::move(done).error();
  if (auto done = set_trust(context, settings, *files); !done) return std::move(done).error();
  if (auto done = set_certificate(context, settings, *files); !done) return std::move(done).error();

  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(context, store_session);
  if (files->directories_read() && !files->ca_directories().empty()) state->trusted_at_first = trusted_objects(context);
  ERR_clear_error();
  return std::shared_ptr<Context>(new Context(std::move(state)));
}

bool Context::outgrown() const {
  if (!state_->trusted_at_first || ended()) return false;
  const OpenSslSection inside;
  return trusted_objects(state_->handle.get()) != *state_->trusted_at_first;
}

}  // namespace fastpool::tls
