#include "support/loopback_server.h"

#include <array>
#include <atomic>
#include <cerrno>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "net/socket.h"

namespace fastpool::support {

namespace {

/// Fails the test if the last call on a server's socket ended because of server_wait_limit.
void report_limit(bool reached, const char* what) {
  if (reached) ADD_FAILURE() << "the test server " << waited_in_vain(what, server_wait_limit);
}

}  // namespace

ServerConnection::~ServerConnection() {
  if (tls_ != nullptr) {
    SSL_set_shutdown(tls_, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(tls_);
  }
}

std::string ServerConnection::read_some(std::size_t most) {
  std::string bytes(most, '\0');
  std::size_t got = 0;
  if (tls_ != nullptr) {
    ERR_clear_error();
    if (const int done = SSL_read_ex(tls_, bytes.data(), bytes.size(), &got); done != 1) {
      got = 0;
      report_limit(SSL_get_error(tls_, done) == SSL_ERROR_WANT_READ, "its client sends or closes");
    }
  } else {
    const ssize_t received = ::recv(socket_.get(), bytes.data(), bytes.size(), 0);
    report_limit(received < 0 && errno == EAGAIN, "its client sends or closes");
    got = received > 0 ? static_cast<std::size_t>(received) : 0;
  }
  bytes.resize(got);
  return bytes;
}

std::string ServerConnection::read_exactly(std::size_t size) {
  std::string all;
  while (all.size() < size) {
    const std::string more = read_some(size - all.size());
    if (more.empty()) break;
    all += more;
  }
  return all;
}

std::string ServerConnection::read_until(std::string_view mark) {
  std::string all;
  while (all.size() < mark.size() || all.compare(all.size() - mark.size(), mark.size(), mark) != 0) {
    const std::string more = read_some(1);
    if (more.empty()) break;
    all += more;
  }
  return all;
}

bool ServerConnection::write(std::string_view bytes) {
  while (!bytes.empty()) {
    std::size_t sent = 0;
    if (tls_ != nullptr) {
      ERR_clear_error();
      if (const int done = SSL_write_ex(tls_, bytes.data(), bytes.size(), &sent); done != 1) {
        report_limit(SSL_get_error(tls_, done) == SSL_ERROR_WANT_WRITE, "its client reads");
        return false;
      }
    } else {
      const ssize_t moved = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (moved < 0) {
        report_limit(errno == EAGAIN, "its client reads");
        return false;
      }
      sent = static_cast<std::size_t>(moved);
    }
    bytes.remove_prefix(sent);
  }
  return true;
}

void ServerConnection::read_to_end() {
  while (!read_some().empty()) {
  }
}

void ServerConnection::say_goodbye() {
  ERR_clear_error();
  if (tls_ != nullptr) SSL_shutdown(tls_);
}

void ServerConnection::close_writing() {
  ::shutdown(socket_.get(), SHUT_WR);
}

void ServerConnection::reset() {
  const linger now{1, 0};
  ::setsockopt(socket_.get(), SOL_SOCKET, SO_LINGER, &now, sizeof(now));
  // The number stays in use: the server's destructor must not shut down a descriptor of other code.
  const sockaddr unspecified{AF_UNSPEC, {}};
  (void)::connect(socket_.get(), &unspecified, sizeof(unspecified));
}

void ServerConnection::wait_until_delivered() const {
  EXPECT_TRUE(eventually("the client's kernel acknowledges what was sent", [this] {
    int unacknowledged = 1;
    return ::ioctl(socket_.get(), SIOCOUTQ, &unacknowledged) == 0 && unacknowledged == 0;
  }));
}

namespace {

void free_string(void*, void* value, CRYPTO_EX_DATA*, int, long, void*) {
  delete static_cast<std::string*>(value);
}

/// Where a connection keeps what its client offered.
int offered_index() {
  static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, free_string);
  return index;
}

int choose_protocol(SSL* ssl, const unsigned char** out, unsigned char* size, const unsigned char* in,
                    unsigned int in_size, void* wanted) {
  const std::string& protocol = *static_cast<const std::string*>(wanted);
  auto offered = std::make_unique<std::string>();
  *out = nullptr;
  for (unsigned at = 0; at < in_size; at += 1U + in[at]) {
    const std::string_view each(reinterpret_cast<const char*>(in + at + 1), in[at]);
    if (!offered->empty()) *offered += ',';
    *offered += each;
    if (*out != nullptr || (!protocol.empty() && each != protocol)) continue;
    *out = in + at + 1;
    *size = in[at];
  }
  const bool chosen = *out != nullptr;
  SSL_set_ex_data(ssl, offered_index(), offered.release());
  return chosen ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

}  // namespace

std::string ServerConnection::offered_protocols() const {
  const auto* offered = static_cast<const std::string*>(SSL_get_ex_data(tls_, offered_index()));
  return offered == nullptr ? std::string() : *offered;
}

struct LoopbackServer::State {
  Handler handler;
  SSL_CTX* tls = nullptr;
  std::string protocol;
  net::Descriptor listener;
  std::uint16_t port = 0;
  std::atomic<int> connections{0};
  std::atomic<int> full{0};
  std::atomic<int> resumed{0};
  std::thread acceptor;

  std::mutex mutex;
  bool stopping = false;
  std::vector<int> open;
  std::vector<std::thread> workers;

  void serve(net::Descriptor socket, int which);
  void accept_all();
};

void LoopbackServer::State::serve(net::Descriptor socket, int which) {
  // OpenSSL writes without MSG_NOSIGNAL
  sigset_t pipe;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  ::pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
  const int number = socket.get();
  SSL* ssl = nullptr;
  bool ready = true;
  if (tls != nullptr) {
    ssl = SSL_new(tls);
    SSL_set_fd(ssl, number);
    ERR_clear_error();
    ready = SSL_accept(ssl) == 1;
    if (ready) (SSL_session_reused(ssl) == 1 ? resumed : full).fetch_add(1);
  }
  ServerConnection connection(std::move(socket), ssl, which);
  if (ready) handler(connection);
  const std::lock_guard lock(mutex);
  std::erase(open, number);  // before the descriptor closes: other code may then reuse its number
}

void LoopbackServer::State::accept_all() {
  while (true) {
    net::Descriptor socket(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    const std::lock_guard lock(mutex);
    if (stopping) return;
    if (!socket.valid()) continue;
    (void)net::set_no_delay(socket.get());
    (void)net::set_receive_timeout(socket.get(), server_wait_limit);
    (void)net::set_send_timeout(socket.get(), server_wait_limit);
    const int which = connections.fetch_add(1);
    open.push_back(socket.get());
    workers.emplace_back([this, which, accepted = std::move(socket)]() mutable { serve(std::move(accepted), which); });
  }
}

LoopbackServer::LoopbackServer(Handler handler) : state_(std::make_unique<State>()) {
  state_->handler = std::move(handler);
  start();
}

LoopbackServer::LoopbackServer(const ServerTls& tls, Handler handler) : state_(std::make_unique<State>()) {
  state_->handler = std::move(handler);
  SSL_CTX* context = SSL_CTX_new(TLS_server_method());
  state_->tls = context;
  const auto must = [](bool done, const char* what) {
    if (!done) throw std::runtime_error(std::string("test server: ") + what);
  };
  must(context != nullptr, "no context");
  if (tls.maximum_version != 0 && tls.maximum_version < TLS1_2_VERSION) SSL_CTX_set_security_level(context, 0);
  must(SSL_CTX_use_certificate_chain_file(context, tls.certificate.certificate.c_str()) == 1, "certificate");
  must(SSL_CTX_use_PrivateKey_file(context, tls.certificate.key.c_str(), SSL_FILETYPE_PEM) == 1, "key");
  must(SSL_CTX_set_min_proto_version(context, tls.minimum_version) == 1, "minimum version");
  must(SSL_CTX_set_max_proto_version(context, tls.maximum_version) == 1, "maximum version");
  must(SSL_CTX_set_num_tickets(context, static_cast<std::size_t>(tls.tickets)) == 1, "tickets");
  state_->protocol = tls.protocol;
  SSL_CTX_set_alpn_select_cb(context, choose_protocol, &state_->protocol);
  const unsigned char session_context = 1;
  SSL_CTX_set_session_id_context(context, &session_context, 1);
  if (!tls.client_ca_file.empty()) {
    must(SSL_CTX_load_verify_file(context, tls.client_ca_file.c_str()) == 1, "client CA");
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  }
  start();
}

void LoopbackServer::start() {
  State& state = *state_;
  state.listener = net::Descriptor(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto address = *net::SocketAddress::from_ip("127.0.0.1", 0);
  if (::bind(state.listener.get(), address.data(), address.size()) != 0 || ::listen(state.listener.get(), 128) != 0) {
    throw std::runtime_error("test server: cannot listen");
  }
  state.port = net::local_address(state.listener.get()).port();
  state.acceptor = std::thread([&state] { state.accept_all(); });
}

LoopbackServer::~LoopbackServer() {
  State& state = *state_;
  {
    const std::lock_guard lock(state.mutex);
    state.stopping = true;
    for (const int number : state.open)
      ::shutdown(number, SHUT_RDWR);
  }
  ::shutdown(state.listener.get(), SHUT_RDWR);
  state.acceptor.join();
  for (std::thread& worker : state.workers)
    worker.join();
  SSL_CTX_free(state.tls);
}

std::uint16_t LoopbackServer::port() const noexcept {
  return state_->port;
}
int LoopbackServer::connections() const noexcept {
  return state_->connections.load();
}
int LoopbackServer::full_handshakes() const noexcept {
  return state_->full.load();
}
int LoopbackServer::resumed_handshakes() const noexcept {
  return state_->resumed.load();
}

net::Descriptor LoopbackServer::connect() const {
  net::Descriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto address = *net::SocketAddress::from_ip("127.0.0.1", state_->port);
  if (::connect(socket.get(), address.data(), address.size()) != 0) throw std::runtime_error("cannot connect");
  return socket;
}

void echo(ServerConnection& connection) {
  while (true) {
    const std::string bytes = connection.read_some();
    if (bytes.empty() || !connection.write(bytes)) return;
  }
}

}  // namespace fastpool::support
