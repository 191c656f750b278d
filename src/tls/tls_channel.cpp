#include "tls/tls_channel.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>
#include <utility>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "net/socket.h"
#include "net/socket_address.h"
#include "tls/context_state.h"
#include "tls/handshake_failure.h"
#include "tls/session_snapshot.h"
#include "tls/socket_bio.h"

namespace fastpool::tls {

using net::IoMode;
using net::IoResult;
using net::IoStatus;
using net::Liveness;

namespace {

/// The most that one TLS record carries (RFC 8446 section 5.1).
constexpr std::size_t record_size = SSL3_RT_MAX_PLAIN_LENGTH;
/// One write() ends after about this much, so that a caller with a long body looks at its clock and signals in between.
constexpr std::size_t write_stride = 4 * record_size;

/// As RFC 7301 has them, in place of the context's, which offers HTTP/1.1 alone.
constexpr std::string_view alpn_both = "\x02h2\x08http/1.1";
constexpr std::string_view alpn_http2 = "\x02h2";

SocketIo::Mode mode_of(IoMode mode) noexcept {
  return mode == IoMode::wait ? SocketIo::Mode::wait : SocketIo::Mode::dont_wait;
}

long now_in_seconds() noexcept {
  const auto since = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<long>(std::chrono::duration_cast<std::chrono::seconds>(since).count());
}

/// Walks over the caller's pieces, record by record.
class Pieces {
 public:
  explicit Pieces(std::span<const iovec> pieces) noexcept : pieces_(pieces) { settle(); }

  [[nodiscard]] bool empty() const noexcept { return pieces_.empty(); }

  void skip(std::size_t bytes) noexcept {
    while (bytes > 0 && !empty()) {
      const std::size_t step = std::min(bytes, pieces_.front().iov_len - offset_);
      offset_ += step;
      bytes -= step;
      settle();
    }
  }

  /// The next bytes for one record: the front piece itself if it fills one or nothing follows it, else as much of all
  /// pieces as fits, copied to `room`, so that a head and its body leave as one record in one packet.
  [[nodiscard]] std::span<const char> next(std::span<char, record_size> room) const noexcept {
    const auto front = rest_of(0);
    if (pieces_.size() == 1 || front.size() >= record_size) return front.first(std::min(front.size(), record_size));
    std::size_t used = 0;
    for (std::size_t index = 0; index < pieces_.size() && used < room.size(); ++index) {
      const auto piece = rest_of(index);
      const std::size_t step = std::min(piece.size(), room.size() - used);
      if (step > 0) std::memcpy(room.data() + used, piece.data(), step);
      used += step;
    }
    return {room.data(), used};
  }

 private:
  [[nodiscard]] std::span<const char> rest_of(std::size_t index) const noexcept {
    const iovec& piece = pieces_[index];
    const std::size_t skipped = index == 0 ? offset_ : 0;
    return {static_cast<const char*>(piece.iov_base) + skipped, piece.iov_len - skipped};
  }

  void settle() noexcept {
    while (!pieces_.empty() && offset_ == pieces_.front().iov_len) {
      pieces_ = pieces_.subspan(1);
      offset_ = 0;
    }
  }

  std::span<const iovec> pieces_;
  std::size_t offset_ = 0;  ///< in the first of pieces_
};

}  // namespace

struct TlsChannel::State {
  std::shared_ptr<Context> context;
  net::Descriptor socket;               // or
  std::unique_ptr<net::Channel> below;  // what it goes over
  SocketIo io;
  ConnectionNote note;
  std::string server_name;                         ///< as given
  std::shared_ptr<const net::TlsSession> session;  ///< once established
  std::string last_error;
  bool established = false;
  bool broken = false;               ///< it has failed: no more than reading what is left may be tried
  std::optional<IoResult> read_end;  ///< how reading ended, which then stays so
  // A record that OpenSSL has begun and could not send: it must get these very bytes again, however the caller cuts them.
  std::string unsent;
  std::size_t ahead = 0;  ///< bytes that went out with such a record beyond what the caller then gave
  SslHandle ssl;          ///< last: it goes first, while all that it points to is there

  IoResult result_of(int returned);
  IoResult after_the_end();
  IoResult read_some(std::span<char> buffer, SocketIo::Mode mode);
  IoResult write_record(std::span<const char> record, IoMode mode);
};

/// What an SSL call that did not succeed means. Leaves the error queue empty.
IoResult TlsChannel::State::result_of(int returned) {
  const int kind = SSL_get_error(ssl.get(), returned);
  const unsigned long code = take_first_error();
  switch (kind) {
    case SSL_ERROR_WANT_READ:
      return {IoStatus::want_read, 0, 0};
    case SSL_ERROR_WANT_WRITE:
      return {IoStatus::want_write, 0, 0};
    case SSL_ERROR_ZERO_RETURN:
      return {IoStatus::end, 0, 0};
    default:
      break;
  }
  broken = true;
  if (code != 0) note.failure.openssl_error = code;
  note.failure.os_error = io.os_error;
  note.failure.peer_closed = io.peer_closed;
  // once it has failed with a word of its own it says no more than "failed"
  const bool silent = code == 0 && io.os_error == 0 && last_error.empty();
  if (silent && io.peer_closed) return {IoStatus::truncated, 0, 0};
  // The first word is the reason; later ones only say that the connection is over.
  if (code != 0 && last_error.empty()) last_error = describe_tls_error(code);
  return {IoStatus::error, 0, io.os_error};
}

/// OpenSSL is gone: the socket alone is left.
IoResult TlsChannel::State::after_the_end() {
  broken = true;
  last_error = ended_words;
  return {IoStatus::error, 0, 0};
}

IoResult TlsChannel::State::read_some(std::span<char> buffer, SocketIo::Mode mode) {
  if (read_end) return *read_end;
  if (ended()) return after_the_end();
  const OpenSslSection inside;
  ERR_clear_error();
  io.begin(mode);
  std::size_t got = 0;
  const int returned = SSL_read_ex(ssl.get(), buffer.data(), buffer.size(), &got);
  if (returned == 1) return {IoStatus::ok, got, 0};
  const IoResult result = result_of(returned);
  if (result.status != IoStatus::want_read && result.status != IoStatus::want_write) read_end = result;
  return result;
}

IoResult TlsChannel::State::write_record(std::span<const char> record, IoMode mode) {
  if (ended()) return after_the_end();
  const OpenSslSection inside;
  ERR_clear_error();
  io.begin(mode_of(mode));
  std::size_t sent = 0;
  const int returned = SSL_write_ex(ssl.get(), record.data(), record.size(), &sent);
  if (returned == 1) return {IoStatus::ok, sent, 0};
  return result_of(returned);
}

TlsChannel::TlsChannel(std::unique_ptr<State> state) : state_(std::move(state)) {}

TlsChannel::~TlsChannel() {
  // Without it OpenSSL takes the missing close_notify for a reason never to resume this session. Sends nothing.
  if (state_->established && !state_->broken && !ended()) SSL_set_shutdown(state_->ssl.get(), SSL_SENT_SHUTDOWN);
}

Result<std::unique_ptr<TlsChannel>> TlsChannel::create(std::shared_ptr<Context> context,
                                                       std::unique_ptr<net::Channel>&& below,
                                                       const std::string& server_name, std::string session_key,
                                                       Protocols protocols) {
  const auto refuse = [](std::string detail) {
    ERR_clear_error();
    return Error::make(ErrorCode::invalid_argument, Phase::tls_handshake, std::move(detail));
  };
  std::string name = server_name;
  if (name.size() > 1 && name.back() == '.')
    name.pop_back();  // an absolute name: certificates and SNI have no dot there
  // a leading dot would make OpenSSL accept every name below
  if (name.empty() || name.front() == '.' || name.find('\0') != std::string::npos) {
    return refuse("'" + server_name + "' is no server name that a certificate could carry");
  }

  if (ended()) return Error::make(ErrorCode::tls_failed, Phase::tls_handshake, std::string(ended_words));
  const OpenSslSection inside;
  ERR_clear_error();
  auto state = std::make_unique<State>();
  state->ssl.reset(SSL_new(context->state_->handle.get()));
  if (state->ssl == nullptr) return refuse("OpenSSL: " + reason_of(take_last_error()));
  state->io.descriptor = below->descriptor();
  BioHandle bio = make_socket_bio(state->io);
  if (bio == nullptr) return refuse("OpenSSL: " + reason_of(take_last_error()));
  SSL* ssl = state->ssl.get();
  BIO* const both_ways = bio.release();
  SSL_set_bio(ssl, both_ways, both_ways);  // takes one reference when they are the same

  if (protocols.http2) {
    const std::string_view offer = protocols.http1 ? alpn_both : alpn_http2;
    if (SSL_set_alpn_protos(ssl, reinterpret_cast<const unsigned char*>(offer.data()),
                            static_cast<unsigned>(offer.size())) != 0)
      return refuse("OpenSSL: no memory for ALPN");
  }

  const bool address = net::is_ip_address(name);
  const std::string bare_address = address ? name.substr(0, name.find('%')) : std::string();
  // SSL_set_tlsext_host_name, which is a macro with a C cast in it; OpenSSL copies the name
  if (!address && SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, name.data()) != 1) {
    return refuse("'" + name + "' is too long for a server name");
  }
  if (context->state_->verify_hostname) {
    X509_VERIFY_PARAM* checks = SSL_get0_param(ssl);
    // as Python's ssl module: "f*.example" matches nothing, and a common name counts only where there is no alternative name
    X509_VERIFY_PARAM_set_hostflags(checks, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    const int set = address ? X509_VERIFY_PARAM_set1_ip_asc(checks, bare_address.c_str())
                            : X509_VERIFY_PARAM_set1_host(checks, name.data(), name.size());
    if (set != 1) return refuse("'" + name + "' is no server name that a certificate could carry");
  }

  state->note.sessions = &context->state_->sessions;
  state->note.session_key = std::move(session_key) + '\n' + name;  // never resumed where another name was verified
  state->note.failure.server_name = name;
  SSL_set_app_data(ssl, &state->note);
  if (const auto session = context->state_->sessions.take(state->note.session_key, now_in_seconds())) {
    SSL_set_session(ssl, session.get());  // if it does not fit, the handshake is a full one
  }
  SSL_set_connect_state(ssl);
  ERR_clear_error();
  state->server_name = server_name;
  state->context = std::move(context);
  state->io.written = below->bytes_written();
  state->socket = below->take_socket();
  if (state->socket.valid()) {
    state->io.epoch = state->socket.epoch();
  } else {
    state->io.epoch = net::fork_epoch();
    state->below = std::move(below);
    state->io.below = state->below.get();
  }
  return std::unique_ptr<TlsChannel>(new TlsChannel(std::move(state)));
}

bool TlsChannel::established() const noexcept {
  return state_->established;
}

IoResult TlsChannel::handshake(IoMode mode) noexcept {
  State& state = *state_;
  if (ended()) return state.after_the_end();
  const OpenSslSection inside;
  ERR_clear_error();
  state.io.begin(mode_of(mode));
  const int returned = SSL_do_handshake(state.ssl.get());
  if (returned == 1) {
    state.established = true;
    state.session = snapshot_of(state.ssl.get(), state.server_name);
    return {IoStatus::ok, 0, 0};
  }
  IoResult result = state.result_of(returned);
  if (result.status == IoStatus::end || result.status == IoStatus::truncated) {
    state.broken = true;
    state.note.failure.peer_closed = true;
    result.status = IoStatus::error;
  }
  return result;
}

Error TlsChannel::handshake_error() const {
  return describe(state_->note.failure);
}

bool TlsChannel::resumed() const noexcept {
  return SSL_session_reused(state_->ssl.get()) == 1;
}

std::string TlsChannel::version() const {
  return SSL_get_version(state_->ssl.get());
}

IoResult TlsChannel::read(std::span<char> buffer, IoMode mode) noexcept {
  State& state = *state_;
  IoResult result = state.read_some(buffer, mode_of(mode));
  // what else is there already, without asking the kernel: a large answer comes as records of 16 KiB
  while (result.status == IoStatus::ok && result.bytes < buffer.size() && !ended() &&
         SSL_has_pending(state.ssl.get()) == 1) {
    const IoResult more = state.read_some(buffer.subspan(result.bytes), SocketIo::Mode::buffered_only);
    if (more.status != IoStatus::ok) break;  // an end or an error stays: the next call meets it again
    result.bytes += more.bytes;
  }
  return result;
}

IoResult TlsChannel::write(std::span<const iovec> given, IoMode mode) noexcept {
  State& state = *state_;
  Pieces pieces(given);
  std::size_t total = 0;
  const auto account = [&](std::size_t bytes) {
    pieces.skip(bytes);
    total += bytes;
  };

  if (state.ahead > 0) {
    std::size_t given_bytes = 0;
    for (const iovec& piece : given)
      given_bytes += piece.iov_len;
    const std::size_t gone = std::min(state.ahead, given_bytes);
    state.ahead -= gone;
    account(gone);
  }

  std::array<char, record_size> room;  // NOLINT(cppcoreguidelines-pro-type-member-init): written before it is read
  while (!pieces.empty() && total < write_stride) {
    const auto fresh = pieces.next(room);
    const bool again = !state.unsent.empty();
    const std::span<const char> record = again ? std::span<const char>(state.unsent) : fresh;
    const IoResult result = state.write_record(record, mode);
    if (result.status != IoStatus::ok) {
      if (!again) state.unsent.assign(record.data(), record.size());
      if (total > 0) break;  // what moved counts first; the next call meets the obstacle again
      return result;
    }
    if (!again) {
      account(result.bytes);
      continue;
    }
    std::size_t offered = 0;
    for (const iovec& piece : given)
      offered += piece.iov_len;
    const std::size_t taken = std::min(result.bytes, offered - total);
    state.unsent.erase(0, result.bytes);
    state.ahead = result.bytes - taken;
    account(taken);
  }
  return {IoStatus::ok, total, 0};
}

Liveness TlsChannel::peek() noexcept {
  State& state = *state_;
  if (!state.established || state.broken || state.read_end || ended()) return Liveness::dead;
  SSL* ssl = state.ssl.get();
  if (SSL_has_pending(ssl) == 0) {
    const Liveness raw = state.below ? state.below->peek() : net::peek(state.socket);
    if (raw != Liveness::unexpected) return raw;
  }
  // session tickets or key updates are taken and seen to; anything for the application stays, and is unexpected
  const OpenSslSection inside;
  ERR_clear_error();
  state.io.begin(SocketIo::Mode::dont_wait);
  char byte = 0;
  std::size_t seen = 0;
  const int returned = SSL_peek_ex(ssl, &byte, 1, &seen);
  if (returned == 1) return Liveness::unexpected;
  const IoResult result = state.result_of(returned);
  if (result.status == IoStatus::want_read) return Liveness::alive;
  if (result.status != IoStatus::want_write) state.read_end = result;
  return Liveness::dead;
}

void TlsChannel::shutdown() noexcept {
  if (state_->below) return state_->below->shutdown();
  if (!state_->socket.inherited()) net::shutdown_both(state_->socket.get());
}

void TlsChannel::say_goodbye() noexcept {
  State& state = *state_;
  // not inside a half-sent record: the peer would take the alert for its rest
  if (!state.established || state.broken || !state.unsent.empty() || state.io.epoch != net::fork_epoch() || ended())
    return;
  const OpenSslSection inside;
  ERR_clear_error();
  state.io.begin(SocketIo::Mode::dont_wait);
  SSL_shutdown(state.ssl.get());
  ERR_clear_error();
}

int TlsChannel::descriptor() const noexcept {
  return state_->io.descriptor;
}

std::size_t TlsChannel::pending() const noexcept {
  const int bytes = ended() ? 0 : SSL_pending(state_->ssl.get());
  return (bytes > 0 ? static_cast<std::size_t>(bytes) : 0) + (state_->below ? state_->below->pending() : 0);
}

std::uint64_t TlsChannel::bytes_written() const noexcept {
  return state_->io.written;
}

std::string TlsChannel::last_error() const {
  return state_->last_error;
}

std::shared_ptr<const net::TlsSession> TlsChannel::tls_session() const noexcept {
  return state_->session;
}

bool TlsChannel::chose_http2() const noexcept {
  return state_->session != nullptr && state_->session->alpn_protocol == "h2";
}

}  // namespace fastpool::tls
