#include "h2/session.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <new>
#include <utility>

#include <nghttp2/nghttp2.h>

namespace fastpool::h2 {

namespace {

/// Until the peer's SETTINGS come (as Go's client assumes).
constexpr std::uint32_t assumed_max_streams = 100;
constexpr std::size_t most_interim = 100;
/// What RFC 9113 section 6.5.2 adds to name and value.
constexpr std::size_t field_overhead = 32;

std::string_view view(const std::uint8_t* bytes, std::size_t size) noexcept {
  return {reinterpret_cast<const char*>(bytes), size};
}

// nghttp2 takes bytes that it only reads as mutable ones.
std::uint8_t* bytes_of(std::string_view text) noexcept {
  return reinterpret_cast<std::uint8_t*>(const_cast<char*>(text.data()));  // NOLINT
}

// For people: none where there is no memory for them.
std::string words_of(std::string_view text) noexcept {
  try {
    return std::string(text);
  } catch (const std::bad_alloc&) {
    return {};
  }
}

Error no_memory() {
  Error error;
  error.code = ErrorCode::out_of_memory;
  return error;
}

}  // namespace

// What nghttp2 calls. No exception may leave any of these.
struct Session::Callbacks {
  static Session& session_of(void* user_data) noexcept { return *static_cast<Session*>(user_data); }

  static Stream* stream_of(nghttp2_session* session, std::int32_t id) noexcept {
    return static_cast<Stream*>(nghttp2_session_get_stream_user_data(session, id));
  }

  static int on_begin_headers(nghttp2_session* session, const nghttp2_frame* frame, void* /*user_data*/) noexcept {
    Stream* const stream = stream_of(session, frame->hd.stream_id);
    if (stream == nullptr || frame->hd.type != NGHTTP2_HEADERS) return 0;
    stream->block_ = stream->has_head ? Stream::Block::trailers : Stream::Block::head;
    stream->block_bytes_ = 0;
    stream->pending_.headers.clear();
    stream->pending_.status = 0;
    return 0;
  }

  static int on_header(nghttp2_session* session, const nghttp2_frame* frame, const std::uint8_t* name,
                       std::size_t name_size, const std::uint8_t* value, std::size_t value_size, std::uint8_t /*flags*/,
                       void* user_data) noexcept {
    Session& self = session_of(user_data);
    Stream* const stream = stream_of(session, frame->hd.stream_id);
    if (stream == nullptr) return 0;
    stream->block_bytes_ += name_size + value_size + field_overhead;
    if (stream->block_bytes_ > self.settings_.max_header_bytes) {
      self.fail(*stream, {.code = NGHTTP2_ENHANCE_YOUR_CALM, .detail = "the header block is longer than allowed"});
      return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    try {
      const std::string_view field = view(name, name_size);
      const std::string_view text = view(value, value_size);
      if (field == ":status") {
        std::from_chars(text.data(), text.data() + text.size(), stream->pending_.status);
      } else if (stream->block_ == Stream::Block::trailers) {
        stream->trailers.add(field, text);
      } else {
        stream->pending_.headers.add(field, text);
      }
    } catch (const std::bad_alloc&) {
      self.no_memory_ = true;
      return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    return 0;
  }

  static int on_invalid_header(nghttp2_session* session, const nghttp2_frame* frame, const std::uint8_t* /*name*/,
                               std::size_t /*name_size*/, const std::uint8_t* /*value*/, std::size_t /*value_size*/,
                               std::uint8_t /*flags*/, void* user_data) noexcept {
    if (Stream* const stream = stream_of(session, frame->hd.stream_id)) {
      session_of(user_data).fail(
          *stream, {.code = NGHTTP2_PROTOCOL_ERROR, .detail = "the response has an invalid header field"});
    }
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  }

  static int on_frame(nghttp2_session* session, const nghttp2_frame* frame, void* user_data) noexcept {
    Session& self = session_of(user_data);
    switch (frame->hd.type) {
      case NGHTTP2_SETTINGS:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0) return 0;
        self.settled_ = true;
        return self.refuse_unsent_beyond_limit();
      case NGHTTP2_PING:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0) self.pings_unanswered_ = 0;
        return 0;
      case NGHTTP2_GOAWAY:
        self.draining_ = true;
        self.last_served_ = frame->goaway.last_stream_id;
        return 0;
      case NGHTTP2_HEADERS:
      case NGHTTP2_DATA:
        break;
      default:
        return 0;
    }
    Stream* const stream = stream_of(session, frame->hd.stream_id);
    if (stream == nullptr) return 0;
    if (frame->hd.type == NGHTTP2_HEADERS &&
        std::exchange(stream->block_, Stream::Block::none) == Stream::Block::head) {
      if (const int failed = self.take_head(*stream); failed != 0) return failed;
    }
    if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) stream->ended = true;
    if (stream->is_open()) self.note(*stream);
    return 0;
  }

  static int on_data(nghttp2_session* session, std::uint8_t /*flags*/, std::int32_t id, const std::uint8_t* data,
                     std::size_t size, void* user_data) noexcept {
    Session& self = session_of(user_data);
    // Gives the connection's credit on receipt: one slow reader must not stop the other streams.
    (void)nghttp2_session_consume_connection(session, size);
    Stream* const stream = stream_of(session, id);
    if (stream == nullptr) {
      (void)nghttp2_session_consume_stream(session, id, size);
      return 0;
    }
    try {
      stream->body.append(view(data, size));
    } catch (const std::bad_alloc&) {
      self.no_memory_ = true;
      return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    self.note(*stream);
    return 0;
  }

  static int on_close(nghttp2_session* session, std::int32_t id, std::uint32_t code, void* user_data) noexcept {
    Session& self = session_of(user_data);
    Stream* const stream = stream_of(session, id);
    if (stream == nullptr) return 0;
    if (stream->ended && stream->has_head) {
      stream->stopped_ = !stream->sent();  // it has answered, and wants no more of the request
      self.finish(*stream);
      return 0;
    }
    const bool unread = code == NGHTTP2_REFUSED_STREAM;
    const bool goodbye = unread && self.draining_ && self.last_served_ > 0 && id > self.last_served_;
    self.fail(*stream, {.code = code, .unread = unread, .goodbye = goodbye, .by_peer = true});
    return 0;
  }

  static int on_invalid_frame(nghttp2_session* session, const nghttp2_frame* frame, int code,
                              void* user_data) noexcept {
    if (Stream* const stream = frame->hd.stream_id == 0 ? nullptr : stream_of(session, frame->hd.stream_id)) {
      session_of(user_data).fail(*stream, {.code = NGHTTP2_PROTOCOL_ERROR}, nghttp2_strerror(code));
    }
    return 0;
  }

  static int on_not_sent(nghttp2_session* session, const nghttp2_frame* frame, int code, void* user_data) noexcept {
    if (frame->hd.type != NGHTTP2_HEADERS) return 0;
    if (Stream* const stream = stream_of(session, frame->hd.stream_id))
      session_of(user_data).fail(*stream, {.code = NGHTTP2_REFUSED_STREAM, .unread = true, .unsent = true},
                                 nghttp2_strerror(code));
    return 0;
  }

  // A long head goes out in pieces, and on_sent() comes with the last: from its first on it is not unsent.
  static int before_send(nghttp2_session* session, const nghttp2_frame* frame, void* /*user_data*/) noexcept {
    if (frame->hd.type != NGHTTP2_HEADERS) return 0;
    if (Stream* const stream = stream_of(session, frame->hd.stream_id)) stream->head_pulled_ = true;
    return 0;
  }

  static int on_sent(nghttp2_session* /*session*/, const nghttp2_frame* frame, void* user_data) noexcept {
    Session& self = session_of(user_data);
    if (frame->hd.type == NGHTTP2_DATA) {
      self.guard_.note_data_sent();
      return 0;
    }
    // nghttp2's own: the peer broke the protocol. It says in the frame what was wrong.
    if (frame->hd.type != NGHTTP2_GOAWAY || frame->goaway.error_code == NGHTTP2_NO_ERROR) return 0;
    self.failed_ = true;
    try {
      self.complaint_.assign(view(frame->goaway.opaque_data, frame->goaway.opaque_data_len));
    } catch (const std::bad_alloc&) {
      self.no_memory_ = true;
    }
    return 0;
  }

  static ssize_t read_body(nghttp2_session* session, std::int32_t id, std::uint8_t* buffer, std::size_t room,
                           std::uint32_t* flags, nghttp2_data_source* /*source*/, void* user_data) noexcept {
    Stream* const stream = stream_of(session, id);
    if (stream == nullptr) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;  // given up
    const std::size_t size = std::min(room, stream->unsent_.size());
    if (size == 0 && !stream->last_) {
      stream->deferred_ = true;
      return NGHTTP2_ERR_DEFERRED;
    }
    if (size > 0) std::memcpy(buffer, stream->unsent_.data(), size);
    stream->unsent_.remove_prefix(size);
    if (stream->unsent_.empty() && stream->last_) *flags |= NGHTTP2_DATA_FLAG_EOF;
    session_of(user_data).note(*stream);
    return static_cast<ssize_t>(size);
  }

  struct Free {
    void operator()(nghttp2_session_callbacks* callbacks) const noexcept { nghttp2_session_callbacks_del(callbacks); }
    void operator()(nghttp2_option* option) const noexcept { nghttp2_option_del(option); }
  };

  static std::unique_ptr<nghttp2_session_callbacks, Free> make() noexcept {
    nghttp2_session_callbacks* made = nullptr;
    if (nghttp2_session_callbacks_new(&made) != 0) return nullptr;
    nghttp2_session_callbacks_set_on_begin_headers_callback(made, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(made, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(made, on_invalid_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(made, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(made, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(made, on_close);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(made, on_invalid_frame);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(made, on_not_sent);
    nghttp2_session_callbacks_set_before_frame_send_callback(made, before_send);
    nghttp2_session_callbacks_set_on_frame_send_callback(made, on_sent);
    return std::unique_ptr<nghttp2_session_callbacks, Free>(made);
  }

  // Credit is ours to give, and a peer that never acknowledges its limits is none of ours to wait for.
  static std::unique_ptr<nghttp2_option, Free> options() noexcept {
    nghttp2_option* made = nullptr;
    if (nghttp2_option_new(&made) != 0) return nullptr;
    nghttp2_option_set_no_auto_window_update(made, 1);
    nghttp2_option_set_peer_max_concurrent_streams(made, assumed_max_streams);
    return std::unique_ptr<nghttp2_option, Free>(made);
  }
};

void Session::Deleter::operator()(nghttp2_session* session) const noexcept {
  nghttp2_session_del(session);
}

std::unique_ptr<Session> Session::create(const SessionSettings& settings) {
  std::unique_ptr<Session> made(new (std::nothrow) Session(settings));
  const auto callbacks = Callbacks::make();
  const auto options = Callbacks::options();
  nghttp2_session* session = nullptr;
  if (!made || !callbacks || !options ||
      nghttp2_session_client_new2(&session, callbacks.get(), made.get(), options.get()) != 0)
    return nullptr;
  made->session_.reset(session);
  const nghttp2_settings_entry entries[] = {
      {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, settings.stream_window},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, static_cast<std::uint32_t>(settings.max_header_bytes)}};
  const auto window = static_cast<std::int32_t>(settings.connection_window);
  if (nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, entries, std::size(entries)) != 0 ||
      nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0, window) != 0)
    return nullptr;
  return made;
}

Session::~Session() = default;

// ---- streams ---------------------------------------------------------------------------------------------------------

std::uint32_t Session::max_streams() const noexcept {
  return settled_ ? nghttp2_session_get_remote_settings(session_.get(), NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)
                  : assumed_max_streams;
}

bool Session::draining() const noexcept {
  return draining_ || nghttp2_session_check_request_allowed(session_.get()) == 0;
}

bool Session::may_open() const noexcept {
  return !failed_ && !draining() && streams_.size() < max_streams();
}

Result<void> Session::open(Stream& stream, const RequestHead& request, bool end) {
  if (!may_open())
    return Error::make(ErrorCode::unsupported, Phase::write, "the connection takes no further request now");
  try {
    auto fields = RequestFields::of(request);
    if (!fields) return std::move(fields).error();
    std::vector<nghttp2_nv> pairs;
    pairs.reserve(fields->fields().size());
    for (const auto& [name, value] : fields->fields())
      pairs.push_back({bytes_of(name), bytes_of(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE});
    streams_.reserve(streams_.size() + 1);
    changed_.reserve(changed_.size() + streams_.size() + 1);  // note() allocates nothing
    nghttp2_data_provider body{};
    body.read_callback = Callbacks::read_body;
    const std::int32_t id =
        nghttp2_submit_request(session_.get(), nullptr, pairs.data(), pairs.size(), end ? nullptr : &body, &stream);
    if (id == NGHTTP2_ERR_NOMEM) return no_memory();
    if (id < 0) return Error::make(ErrorCode::unsupported, Phase::write, nghttp2_strerror(id));
    stream.id_ = id;
    stream.open_ = true;
    stream.last_ = end;
    streams_.push_back(&stream);
    return {};
  } catch (const std::bad_alloc&) {
    return no_memory();
  }
}

void Session::write(Stream& stream, std::string_view bytes, bool last) noexcept {
  if (!stream.is_open()) return;
  stream.unsent_ = bytes;
  stream.last_ = last;
  if (std::exchange(stream.deferred_, false)) (void)nghttp2_session_resume_data(session_.get(), stream.id_);
}

void Session::stop_sending(Stream& stream) noexcept {
  if (!stream.is_open()) return;
  stream.unsent_ = {};
  stream.last_ = false;
}

void Session::credit(Stream& stream, std::size_t bytes) noexcept {
  if (stream.is_open() && bytes > 0) (void)nghttp2_session_consume_stream(session_.get(), stream.id_, bytes);
}

void Session::reset(Stream& stream, std::uint32_t code) noexcept {
  const bool was_open = stream.is_open();
  finish(stream);
  if (std::exchange(stream.changed_, false)) std::erase(changed_, &stream);
  if (!was_open) return;
  ++resets_;
  (void)nghttp2_submit_rst_stream(session_.get(), NGHTTP2_FLAG_NONE, stream.id_, code);
}

Stream* Session::take_changed() noexcept {
  if (changed_.empty()) return nullptr;
  Stream* const first = changed_.front();
  changed_.erase(changed_.begin());
  first->changed_ = false;
  return first;
}

void Session::note(Stream& stream) noexcept {
  if (!std::exchange(stream.changed_, true)) changed_.push_back(&stream);
}

// nghttp2 and the session know it no more.
void Session::finish(Stream& stream) noexcept {
  if (!std::exchange(stream.open_, false)) return;
  (void)nghttp2_session_set_stream_user_data(session_.get(), stream.id_, nullptr);
  std::erase(streams_, &stream);
  note(stream);
}

void Session::fail(Stream& stream, StreamFailure failure, const char* detail) noexcept {
  if (!stream.is_open()) return;
  if (detail != nullptr) failure.detail = words_of(detail);
  stream.failure = std::move(failure);
  ++resets_;
  finish(stream);
}

// The peer's limit has fallen below the number of streams that are open: nghttp2 would keep the requests that were not sent until
// others end, for as long as these take. They may go over another connection. \returns what the callback is to return.
int Session::refuse_unsent_beyond_limit() noexcept {
  const std::size_t most = max_streams();
  while (streams_.size() > most) {
    const auto last =
        std::find_if(streams_.rbegin(), streams_.rend(), [](const Stream* each) { return !each->head_pulled_; });
    if (last == streams_.rend()) return 0;
    Stream& stream = **last;
    const std::int32_t id = stream.id_;
    fail(stream, {.code = NGHTTP2_REFUSED_STREAM, .unread = true, .unsent = true}, "the server allows fewer streams");
    --resets_;  // the peer does not hear of it
    if (const int failed = nghttp2_submit_rst_stream(session_.get(), NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
        failed != 0)
      return failed;
  }
  return 0;
}

// \returns what the callback is to return.
int Session::take_head(Stream& stream) noexcept {
  const int status = stream.pending_.status;
  stream.pending_.version_major = 2;
  stream.pending_.version_minor = 0;
  if (status >= 200) {
    stream.head = std::move(stream.pending_);
    stream.has_head = true;
    return 0;
  }
  // 101 has no meaning here (RFC 9113 section 8.6).
  if (status < 100 || status == 101 || stream.interim.size() >= most_interim) {
    fail(stream, {.code = NGHTTP2_PROTOCOL_ERROR},
         status == 101 ? "the response switches protocols" : "too many interim responses");
    return nghttp2_submit_rst_stream(session_.get(), NGHTTP2_FLAG_NONE, stream.id_, NGHTTP2_PROTOCOL_ERROR);
  }
  try {
    stream.interim.push_back(std::move(stream.pending_));
  } catch (const std::bad_alloc&) {
    no_memory_ = true;
    return NGHTTP2_ERR_CALLBACK_FAILURE;
  }
  return 0;
}

// ---- bytes -----------------------------------------------------------------------------------------------------------

Result<void> Session::feed(std::string_view bytes) {
  if (failed_) return Error::make(ErrorCode::remote_protocol, Phase::read_head, "the connection has failed before");
  const char* const flood = guard_.take(bytes);
  int taken = 0;
  try {
    taken = receive_headers_whole(bytes);
  } catch (const std::bad_alloc&) {
    no_memory_ = true;
  }
  if (no_memory_ || taken == NGHTTP2_ERR_NOMEM) {
    (void)end("no memory");
    return no_memory();
  }
  const char* const broken = taken < 0 ? nghttp2_strerror(taken) : flood;
  if (broken != nullptr) (void)nghttp2_session_terminate_session(session_.get(), NGHTTP2_ENHANCE_YOUR_CALM);
  // What nghttp2 found wrong with the connection it says in a GOAWAY, which goes before any DATA.
  if (auto flushed = flush(outbox_, most_at_once); !flushed) return flushed;
  if (broken != nullptr) return end(broken);
  if (failed_) return end(complaint_.empty() ? "the peer broke the protocol" : complaint_);
  return {};
}

// nghttp2 counts a CONTINUATION frame once for each piece that its header comes in.
int Session::receive_headers_whole(std::string_view bytes) {
  if (!held_.empty()) {
    const std::string_view rest = bytes.substr(0, FrameGuard::header_size - held_.size());
    held_ += rest;
    bytes.remove_prefix(rest.size());
    if (held_.size() < FrameGuard::header_size) return 0;
    const int taken = receive(held_);
    held_.clear();
    if (taken < 0) return taken;
  }
  held_ = bytes.substr(bytes.size() - std::min(bytes.size(), guard_.partial_header()));
  bytes.remove_suffix(held_.size());
  return receive(bytes);
}

int Session::receive(std::string_view bytes) noexcept {
  const ssize_t taken =
      nghttp2_session_mem_recv(session_.get(), reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  return taken < 0 ? static_cast<int>(taken) : 0;
}

Result<void> Session::flush(std::string& out, std::size_t most) {
  try {
    while (out.size() < most) {
      const std::uint8_t* bytes = nullptr;
      const ssize_t size = nghttp2_session_mem_send(session_.get(), &bytes);
      if (size == 0) break;
      if (size < 0) return size == NGHTTP2_ERR_NOMEM ? no_memory() : end(nghttp2_strerror(static_cast<int>(size)));
      out.append(view(bytes, static_cast<std::size_t>(size)));
    }
    return {};
  } catch (const std::bad_alloc&) {
    return no_memory();
  }
}

Result<void> Session::pull(std::string& out, std::size_t most) {
  try {
    out.append(outbox_);
    outbox_.clear();
  } catch (const std::bad_alloc&) {
    return no_memory();
  }
  if (failed_) return {};
  auto flushed = flush(out, most);
  if (failed_) (void)end(complaint_.empty() ? "the peer broke the protocol" : complaint_);
  return flushed;
}

bool Session::has_output() const noexcept {
  return !outbox_.empty() || (!failed_ && nghttp2_session_want_write(session_.get()) != 0);
}

Error Session::end(std::string detail) {
  failed_ = true;
  while (!streams_.empty())
    fail(*streams_.back(), {.code = NGHTTP2_PROTOCOL_ERROR}, detail.c_str());
  return Error::make(ErrorCode::remote_protocol, Phase::read_head, std::move(detail));
}

void Session::disconnect(std::string_view detail) noexcept {
  failed_ = true;
  while (!streams_.empty()) {
    Stream& stream = *streams_.back();
    fail(stream, {.code = NGHTTP2_CONNECT_ERROR,
                  .unread = !stream.head_pulled_,
                  .unsent = !stream.head_pulled_,
                  .by_peer = true,
                  .disconnected = true,
                  .detail = words_of(detail)});
  }
}

std::string_view error_name(std::uint32_t code) noexcept {
  const std::string_view name = nghttp2_http2_strerror(code);
  return name == "unknown" ? std::string_view("unknown error") : name;
}

// ---- the connection --------------------------------------------------------------------------------------------------

void Session::ping() noexcept {
  if (!failed_ && nghttp2_submit_ping(session_.get(), NGHTTP2_FLAG_NONE, nullptr) == 0) ++pings_unanswered_;
}

void Session::say_goodbye() noexcept {
  draining_ = true;
  if (!failed_) (void)nghttp2_submit_goaway(session_.get(), NGHTTP2_FLAG_NONE, 0, NGHTTP2_NO_ERROR, nullptr, 0);
}

}  // namespace fastpool::h2
