#include "support/http2_server.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <stdexcept>
#include <thread>

#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <nghttp2/nghttp2.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <gtest/gtest.h>

#include "net/descriptor.h"
#include "net/epoll.h"
#include "net/socket.h"
#include "net/socket_address.h"

namespace fastpool::support {

namespace {

std::string text(const std::uint8_t* bytes, std::size_t size) {
  return {reinterpret_cast<const char*>(bytes), size};
}

// nghttp2 takes bytes that it only reads as mutable ones.
std::uint8_t* bytes_of(const std::string& text) noexcept {
  return reinterpret_cast<std::uint8_t*>(const_cast<char*>(text.data()));  // NOLINT
}

std::vector<nghttp2_nv> pairs_of(const Http2Fields& fields) {
  std::vector<nghttp2_nv> pairs;
  for (const auto& [name, value] : fields)
    pairs.push_back({bytes_of(name), bytes_of(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE});
  return pairs;
}

Http2Fields with_status(int status, const Http2Fields& fields) {
  Http2Fields all{{":status", std::to_string(status)}};
  all.insert(all.end(), fields.begin(), fields.end());
  return all;
}

int choose_http2(SSL*, const unsigned char** out, unsigned char* size, const unsigned char* in, unsigned int in_size,
                 void*) {
  for (unsigned at = 0; at < in_size; at += 1U + in[at]) {
    if (in[at] != 2 || std::memcmp(in + at + 1, "h2", 2) != 0) continue;
    *out = in + at + 1;
    *size = 2;
    return SSL_TLSEXT_ERR_OK;
  }
  return SSL_TLSEXT_ERR_ALERT_FATAL;
}

/// Whether the peer's kernel has all that was sent, an end too.
bool is_delivered(const net::Descriptor& socket) {
  int unacknowledged = 0;
  return ::ioctl(socket.get(), SIOCOUTQ, &unacknowledged) != 0 || unacknowledged == 0;
}

/// What a socket, plain or TLS, did with bytes.
struct Moved {
  std::size_t bytes = 0;
  bool ended = false;
};

}  // namespace

struct Http2Server::Connection {
  struct Stream {
    explicit Stream(Http2Request made) : request(std::move(made)) {}
    Http2Request request;
    // Of the response.
    std::string body;
    std::size_t sent = 0;  // of it
    Http2Fields trailers;
    bool begun = false;
    bool finished = false;
    bool stops = false;  // RST_STREAM (NO_ERROR) follows its end
    bool deferred = false;
  };

  ~Connection() {
    nghttp2_session_del(session);
    SSL_free(tls);
  }

  void start(const Settings& settings);
  [[nodiscard]] bool shake_hands();
  [[nodiscard]] Moved read(std::string& bytes);
  [[nodiscard]] Moved write(std::string_view bytes);
  [[nodiscard]] bool read_all();
  [[nodiscard]] bool write_all();
  void respond(std::int32_t id, const Http2Fields& head, bool body);

  State* state = nullptr;
  int number = 0;
  net::Descriptor socket;
  SSL* tls = nullptr;
  bool ready = false;  // its handshake is done
  bool reads = true;
  bool looks = false;  // for what came while it did not read
  bool wants_room = false;
  bool ends = false;
  bool resets = false;   // it ends at once, with a reset
  bool lingers = false;  // it has ended, and only waits for the client's end: a close with unread bytes would reset it
  nghttp2_session* session = nullptr;
  std::string unsent;
  std::map<std::int32_t, Stream> streams;
  std::vector<std::pair<std::int32_t, bool>>
      came;  // streams whose head or (true) end came, and whose handler is to be called
};

struct Http2Server::State {
  explicit State(Http2Server& its_server) noexcept : server(its_server) {}
  ~State() { SSL_CTX_free(tls); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  void accept_one();
  void serve();
  void serve(Connection& connection, short events);
  void ring() noexcept { bell.signal(); }
  [[nodiscard]] Connection* find(int number) {
    const auto found = connections.find(number);
    return found == connections.end() ? nullptr : found->second.get();
  }
  /// Does that with a stream, if it is open, and lets the server's thread send.
  template <typename Act>
  void with(const Http2Request& request, Act act) {
    const std::lock_guard lock(mutex);
    Connection* const connection = find(request.connection);
    if (connection == nullptr) return;
    const auto stream = connection->streams.find(request.stream);
    if (stream == connection->streams.end()) return;
    act(*connection, stream->second);
    ring();
  }
  template <typename Act>
  void with(int number, Act act) {
    const std::lock_guard lock(mutex);
    Connection* const connection = find(number);
    if (connection == nullptr) return;
    act(*connection);
    ring();
  }

  Http2Server& server;
  Settings settings;
  Handler at_end;
  SSL_CTX* tls = nullptr;
  net::Descriptor listener;
  std::uint16_t port = 0;
  net::EventFd bell = net::EventFd::open();
  std::thread thread;

  // Guarded by mutex, which handlers find locked by their own thread.
  mutable std::recursive_mutex mutex;
  bool stopping = false;
  int next = 0;
  int accepted = 0;
  int open = 0;
  int most_open = 0;
  int most_open_of_one = 0;
  int goodbyes = 0;
  int pings_answered = 0;
  std::map<std::uint32_t, int> resets;
  std::vector<Http2Request> seen;
  std::map<std::pair<int, std::int32_t>, std::size_t> received;
  std::map<int, std::unique_ptr<Connection>> connections;
};

// ---- a connection ----------------------------------------------------------------------------------------------------

void Http2Server::Connection::start(const Settings& settings) {
  ready = true;
  ++state->accepted;
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_session_callbacks_new(&callbacks);
  nghttp2_session_callbacks_set_on_begin_headers_callback(
      callbacks, [](nghttp2_session*, const nghttp2_frame* frame, void* user) {
        auto& self = *static_cast<Connection*>(user);
        if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
        Http2Request request(self.state->server);
        request.connection = self.number;
        request.stream = frame->hd.stream_id;
        self.streams.try_emplace(frame->hd.stream_id, std::move(request));
        State& all = *self.state;
        all.most_open = std::max(all.most_open, ++all.open);
        all.most_open_of_one = std::max(all.most_open_of_one, static_cast<int>(self.streams.size()));
        return 0;
      });
  nghttp2_session_callbacks_set_on_header_callback(
      callbacks, [](nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name, std::size_t name_size,
                    const std::uint8_t* value, std::size_t value_size, std::uint8_t, void* user) {
        auto& self = *static_cast<Connection*>(user);
        const auto stream = self.streams.find(frame->hd.stream_id);
        if (stream == self.streams.end()) return 0;
        Http2Request& request = stream->second.request;
        const std::string field = text(name, name_size);
        if (field == ":method") {
          request.method = text(value, value_size);
        } else if (field == ":path") {
          request.path = text(value, value_size);
        } else if (!field.starts_with(':')) {
          request.fields.emplace_back(field, text(value, value_size));
        }
        return 0;
      });
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
      callbacks,
      [](nghttp2_session*, std::uint8_t, std::int32_t id, const std::uint8_t* bytes, std::size_t size, void* user) {
        auto& self = *static_cast<Connection*>(user);
        if (self.state->settings.holds_bodies) nghttp2_session_consume_connection(self.session, size);
        if (const auto stream = self.streams.find(id); stream != self.streams.end()) {
          stream->second.request.body += text(bytes, size);
          self.state->received[{self.number, id}] += size;
        }
        return 0;
      });
  nghttp2_session_callbacks_set_on_frame_recv_callback(
      callbacks, [](nghttp2_session*, const nghttp2_frame* frame, void* user) {
        auto& self = *static_cast<Connection*>(user);
        State& all = *self.state;
        if (frame->hd.type == NGHTTP2_RST_STREAM) ++all.resets[frame->rst_stream.error_code];
        if (frame->hd.type == NGHTTP2_GOAWAY) ++all.goodbyes;
        if (frame->hd.type == NGHTTP2_PING && (frame->hd.flags & NGHTTP2_FLAG_ACK) != 0) ++all.pings_answered;
        const auto stream = self.streams.find(frame->hd.stream_id);
        if (stream == self.streams.end()) return 0;
        if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
          all.seen.push_back(stream->second.request);
          self.came.emplace_back(frame->hd.stream_id, false);
        }
        if ((frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS) &&
            (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0)
          self.came.emplace_back(frame->hd.stream_id, true);
        return 0;
      });
  nghttp2_session_callbacks_set_on_frame_send_callback(
      callbacks, [](nghttp2_session* its_session, const nghttp2_frame* frame, void* user) {
        auto& self = *static_cast<Connection*>(user);
        const auto stream = self.streams.find(frame->hd.stream_id);
        const bool ended = frame->hd.type == NGHTTP2_DATA && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
        if (ended && stream != self.streams.end() && stream->second.stops)
          nghttp2_submit_rst_stream(its_session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR);
        return 0;
      });
  nghttp2_session_callbacks_set_on_stream_close_callback(
      callbacks, [](nghttp2_session*, std::int32_t id, std::uint32_t, void* user) {
        auto& self = *static_cast<Connection*>(user);
        if (self.streams.erase(id) != 0) --self.state->open;
        return 0;
      });
  nghttp2_option* option = nullptr;
  nghttp2_option_new(&option);
  nghttp2_option_set_no_auto_window_update(option, settings.holds_bodies ? 1 : 0);
  nghttp2_session_server_new2(&session, callbacks, this, option);
  nghttp2_option_del(option);
  nghttp2_session_callbacks_del(callbacks);
  std::vector<nghttp2_settings_entry> entries;
  if (settings.max_streams) entries.push_back({NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, *settings.max_streams});
  if (settings.window) entries.push_back({NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, *settings.window});
  nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, entries.data(), entries.size());
}

// \returns whether it may go on.
bool Http2Server::Connection::shake_hands() {
  if (ready) return true;
  if (tls != nullptr) {
    ERR_clear_error();
    const int done = SSL_accept(tls);
    if (done != 1) {
      const int why = SSL_get_error(tls, done);
      wants_room = why == SSL_ERROR_WANT_WRITE;
      return wants_room || why == SSL_ERROR_WANT_READ;
    }
  }
  wants_room = false;
  start(state->settings);
  return true;
}

Moved Http2Server::Connection::read(std::string& bytes) {
  bytes.resize(64UL * 1024);
  std::size_t got = 0;
  bool ended = false;
  if (tls != nullptr) {
    ERR_clear_error();
    const int done = SSL_read_ex(tls, bytes.data(), bytes.size(), &got);
    if (done != 1) {
      got = 0;
      ended = SSL_get_error(tls, done) != SSL_ERROR_WANT_READ;
    }
  } else {
    const ssize_t received = ::recv(socket.get(), bytes.data(), bytes.size(), 0);
    ended = received == 0 || (received < 0 && errno != EAGAIN);
    got = received > 0 ? static_cast<std::size_t>(received) : 0;
  }
  bytes.resize(got);
  return {got, ended};
}

Moved Http2Server::Connection::write(std::string_view bytes) {
  if (tls != nullptr) {
    ERR_clear_error();
    std::size_t sent = 0;
    const int done = SSL_write_ex(tls, bytes.data(), bytes.size(), &sent);
    if (done == 1) return {sent, false};
    const int why = SSL_get_error(tls, done);
    return {0, why != SSL_ERROR_WANT_WRITE && why != SSL_ERROR_WANT_READ};
  }
  const ssize_t sent = ::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  if (sent >= 0) return {static_cast<std::size_t>(sent), false};
  return {0, errno != EAGAIN};
}

// \returns whether the connection goes on.
bool Http2Server::Connection::read_all() {
  std::string bytes;
  while (reads && !ends) {
    const Moved moved = read(bytes);
    if (moved.ended) return false;
    if (moved.bytes == 0) return true;
    const auto* const raw = reinterpret_cast<const std::uint8_t*>(bytes.data());
    if (nghttp2_session_mem_recv(session, raw, bytes.size()) < 0) return false;
    for (std::size_t at = 0; at < came.size(); ++at) {
      const auto stream = streams.find(came[at].first);
      if (stream == streams.end()) continue;
      const Http2Request request = stream->second.request;
      const Handler& handler = came[at].second ? state->at_end : state->settings.at_head;
      if (handler && !stream->second.begun) handler(request);
    }
    came.clear();
    if (!write_all()) return false;
  }
  return !ends;
}

// \returns whether the connection goes on.
bool Http2Server::Connection::write_all() {
  wants_room = false;
  if (state->settings.silent) return true;
  while (!ends) {
    if (unsent.empty()) {
      const std::uint8_t* made = nullptr;
      const ssize_t size = nghttp2_session_mem_send(session, &made);
      if (size < 0) return false;
      if (size == 0) return nghttp2_session_want_read(session) != 0 || nghttp2_session_want_write(session) != 0;
      unsent.assign(reinterpret_cast<const char*>(made), static_cast<std::size_t>(size));
    }
    const Moved moved = write(unsent);
    if (moved.ended) return false;
    if (moved.bytes == 0) {
      wants_room = true;
      return true;
    }
    unsent.erase(0, moved.bytes);
  }
  return false;
}

void Http2Server::Connection::respond(std::int32_t id, const Http2Fields& head, bool body) {
  nghttp2_data_provider provider{};
  provider.source.ptr = this;
  provider.read_callback = [](nghttp2_session* its_session, std::int32_t stream_id, std::uint8_t* buffer,
                              std::size_t room, std::uint32_t* flags, nghttp2_data_source* source, void*) -> ssize_t {
    auto& self = *static_cast<Connection*>(source->ptr);
    const auto found = self.streams.find(stream_id);
    if (found == self.streams.end()) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    Stream& stream = found->second;
    if (stream.sent == stream.body.size() && !stream.finished) {
      stream.deferred = true;
      return NGHTTP2_ERR_DEFERRED;
    }
    const std::size_t size = stream.body.copy(reinterpret_cast<char*>(buffer), room, stream.sent);
    stream.sent += size;
    if (stream.sent == stream.body.size() && stream.finished) {
      *flags |= NGHTTP2_DATA_FLAG_EOF;
      if (!stream.trailers.empty()) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        const auto pairs = pairs_of(stream.trailers);
        nghttp2_submit_trailer(its_session, stream_id, pairs.data(), pairs.size());
      }
    }
    return static_cast<ssize_t>(size);
  };
  streams.at(id).begun = true;
  const auto pairs = pairs_of(head);
  nghttp2_submit_response(session, id, pairs.data(), pairs.size(), body ? &provider : nullptr);
}

// ---- a request -------------------------------------------------------------------------------------------------------

std::string Http2Request::field(std::string_view name) const {
  for (const auto& [each, value] : fields)
    if (each == name) return value;
  return {};
}

void Http2Request::answer(int status, std::string_view content, const Http2Fields& head,
                          const Http2Fields& trailers) const {
  server_->state_->with(*this, [&](auto& of, auto& response) {
    response.body = content;
    response.trailers = trailers;
    response.finished = true;
    of.respond(stream, with_status(status, head), !content.empty() || !trailers.empty());
  });
}

void Http2Request::begin(int status, const Http2Fields& head) const {
  server_->state_->with(*this, [&](auto& of, auto&) { of.respond(stream, with_status(status, head), true); });
}

void Http2Request::send(std::string_view piece) const {
  server_->state_->with(*this, [&](auto& of, auto& response) {
    response.body += piece;
    if (std::exchange(response.deferred, false)) nghttp2_session_resume_data(of.session, stream);
  });
}

void Http2Request::finish(const Http2Fields& trailers) const {
  server_->state_->with(*this, [&](auto& of, auto& response) {
    response.finished = true;
    response.trailers = trailers;
    if (std::exchange(response.deferred, false)) nghttp2_session_resume_data(of.session, stream);
  });
}

void Http2Request::inform(int status, const Http2Fields& head) const {
  server_->state_->with(*this, [&](auto& of, auto&) {
    const Http2Fields all = with_status(status, head);
    const auto pairs = pairs_of(all);
    nghttp2_submit_headers(of.session, NGHTTP2_FLAG_NONE, stream, nullptr, pairs.data(), pairs.size(), nullptr);
  });
}

void Http2Request::reset(std::uint32_t code) const {
  server_->state_->with(
      *this, [&](auto& of, auto&) { nghttp2_submit_rst_stream(of.session, NGHTTP2_FLAG_NONE, stream, code); });
}

void Http2Request::stop_after_answer() const {
  server_->state_->with(*this, [](auto&, auto& response) { response.stops = true; });
}

void Http2Request::credit(std::size_t bytes) const {
  server_->state_->with(*this, [&](auto& of, auto&) { nghttp2_session_consume_stream(of.session, stream, bytes); });
}

// ---- the server ------------------------------------------------------------------------------------------------------

Http2Server::Http2Server(const Settings& settings, Handler at_end) : state_(std::make_unique<State>(*this)) {
  State& state = *state_;
  state.settings = settings;
  state.at_end = std::move(at_end);
  const auto must = [](bool done, const char* what) {
    if (!done) throw std::runtime_error(std::string("test server of HTTP/2: ") + what);
  };
  if (settings.certificate) {
    state.tls = SSL_CTX_new(TLS_server_method());
    must(state.tls != nullptr, "no context");
    must(SSL_CTX_use_certificate_chain_file(state.tls, settings.certificate->certificate.c_str()) == 1, "certificate");
    must(SSL_CTX_use_PrivateKey_file(state.tls, settings.certificate->key.c_str(), SSL_FILETYPE_PEM) == 1, "key");
    SSL_CTX_set_mode(state.tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_alpn_select_cb(state.tls, choose_http2, nullptr);
  }
  must(state.bell.valid(), "no eventfd");
  state.listener = net::Descriptor(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const auto address = *net::SocketAddress::from_ip("127.0.0.1", 0);
  must(::bind(state.listener.get(), address.data(), address.size()) == 0 && ::listen(state.listener.get(), 128) == 0,
       "cannot listen");
  state.port = net::local_address(state.listener.get()).port();
  state.thread = std::thread([&state] { state.serve(); });
}

Http2Server::~Http2Server() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopping = true;
  }
  state_->ring();
  state_->thread.join();
}

void Http2Server::answer_it(const Http2Request& request) {
  request.answer(200, request.body.empty() ? "hello" : request.body);
}

void Http2Server::State::accept_one() {
  net::Descriptor socket(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!socket.valid()) return;
  (void)net::set_no_delay(socket.get());
  auto made = std::make_unique<Connection>();
  made->state = this;
  made->number = next++;
  made->socket = std::move(socket);
  if (tls != nullptr) {
    made->tls = SSL_new(tls);
    SSL_set_fd(made->tls, made->socket.get());
  }
  connections.emplace(made->number, std::move(made));
}

void Http2Server::State::serve(Connection& connection, short events) {
  if (!connection.lingers) {
    bool goes_on = !connection.ends && connection.shake_hands();
    if (goes_on && connection.ready) {
      if (std::exchange(connection.looks, false) || events != 0) goes_on = connection.read_all();
      goes_on = goes_on && connection.write_all();
    }
    if (goes_on) return;
    open -= static_cast<int>(connection.streams.size());
    connection.streams.clear();
    connection.lingers = connection.reads = true;
    connection.wants_room = false;
    if (!connection.resets) ::shutdown(connection.socket.get(), SHUT_WR);
  }
  std::array<char, 65536> discarded{};
  ssize_t got = 0;
  do {
    got = ::recv(connection.socket.get(), discarded.data(), discarded.size(), 0);
  } while (got > 0);
  if (connection.resets || got == 0 || errno != EAGAIN) connections.erase(connection.number);
}

void Http2Server::State::serve() {
  // OpenSSL writes without MSG_NOSIGNAL
  sigset_t pipe;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  ::pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
  for (;;) {
    std::vector<pollfd> waiting{{bell.descriptor(), POLLIN, 0}, {listener.get(), POLLIN, 0}};
    std::vector<int> numbers;
    {
      const std::lock_guard lock(mutex);
      if (stopping) {
        connections.clear();
        return;
      }
      for (const auto& [number, connection] : connections) {
        const int events = (connection->reads ? POLLIN : 0) | (connection->wants_room ? POLLOUT : 0);
        // One that asks for nothing would report a hang-up again and again.
        waiting.push_back({events == 0 ? -1 : connection->socket.get(), static_cast<short>(events), 0});
        numbers.push_back(number);
      }
    }
    (void)::poll(waiting.data(), waiting.size(), -1);
    const std::lock_guard lock(mutex);
    (void)bell.drain();
    if (waiting[1].revents != 0) accept_one();
    for (std::size_t at = 0; at < numbers.size(); ++at) {
      Connection* const connection = find(numbers[at]);
      if (connection != nullptr) serve(*connection, waiting[at + 2].revents);
    }
  }
}

std::uint16_t Http2Server::port() const noexcept {
  return state_->port;
}

std::string Http2Server::url(std::string_view path) const {
  const std::string origin = state_->tls != nullptr ? "https://localhost:" : "http://127.0.0.1:";
  return origin + std::to_string(state_->port) + std::string(path);
}

void Http2Server::say_goodbye(int connection, std::optional<std::int32_t> last) {
  state_->with(connection, [&](Connection& of) {
    const std::int32_t id = last.value_or(nghttp2_session_get_last_proc_stream_id(of.session));
    nghttp2_submit_goaway(of.session, NGHTTP2_FLAG_NONE, id, NGHTTP2_NO_ERROR, nullptr, 0);
  });
}

void Http2Server::limit_streams(int connection, std::uint32_t most) {
  state_->with(connection, [&](Connection& of) {
    const nghttp2_settings_entry entry{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, most};
    nghttp2_submit_settings(of.session, NGHTTP2_FLAG_NONE, &entry, 1);
  });
}

void Http2Server::stop_reading(int connection) {
  state_->with(connection, [](Connection& of) { of.reads = false; });
}

void Http2Server::go_on_reading(int connection) {
  state_->with(connection, [](Connection& of) { of.reads = of.looks = true; });
}

void Http2Server::close(int connection) {
  state_->with(connection, [](Connection& of) { of.ends = true; });
}

void Http2Server::reset(int connection) {
  state_->with(connection, [](Connection& of) {
    const linger now{1, 0};
    ::setsockopt(of.socket.get(), SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    of.ends = of.resets = true;
  });
}

void Http2Server::ping(int connection) {
  state_->with(connection, [](Connection& of) { nghttp2_submit_ping(of.session, NGHTTP2_FLAG_NONE, nullptr); });
}

int Http2Server::connections() const {
  const std::lock_guard lock(state_->mutex);
  return state_->accepted;
}
int Http2Server::open_connections() const {
  const std::lock_guard lock(state_->mutex);
  return static_cast<int>(std::count_if(state_->connections.begin(), state_->connections.end(), [](const auto& each) {
    const Connection& connection = *each.second;
    return connection.ready && (!connection.lingers || !is_delivered(connection.socket));
  }));
}
int Http2Server::open_streams() const {
  const std::lock_guard lock(state_->mutex);
  return state_->open;
}
int Http2Server::most_open_streams() const {
  const std::lock_guard lock(state_->mutex);
  return state_->most_open;
}
int Http2Server::most_open_streams_of_connection() const {
  const std::lock_guard lock(state_->mutex);
  return state_->most_open_of_one;
}
std::vector<Http2Request> Http2Server::requests() const {
  const std::lock_guard lock(state_->mutex);
  return state_->seen;
}
int Http2Server::count(std::string_view path) const {
  const std::lock_guard lock(state_->mutex);
  return static_cast<int>(std::count_if(state_->seen.begin(), state_->seen.end(),
                                        [&](const Http2Request& each) { return each.path == path; }));
}
std::map<std::uint32_t, int> Http2Server::resets() const {
  const std::lock_guard lock(state_->mutex);
  return state_->resets;
}
int Http2Server::goodbyes() const {
  const std::lock_guard lock(state_->mutex);
  return state_->goodbyes;
}
int Http2Server::pings_answered() const {
  const std::lock_guard lock(state_->mutex);
  return state_->pings_answered;
}
std::size_t Http2Server::received(const Http2Request& request) const {
  const std::lock_guard lock(state_->mutex);
  const auto found = state_->received.find({request.connection, request.stream});
  return found == state_->received.end() ? 0 : found->second;
}

}  // namespace fastpool::support
