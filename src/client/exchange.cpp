#include "client/exchange.h"

#include <array>
#include <cstring>

#include "client/unread_watch.h"
#include "net/descriptor.h"

namespace fastpool::client {

namespace {

using driver::Blocking;
using Event = h1::ResponseParser::Event;

constexpr std::size_t buffer_size = 64UL * 1024;
constexpr std::size_t drain_limit = 64UL * 1024;
constexpr std::size_t parsers_kept = 4;

// One receive buffer per thread: an exchange holds none, so an idle or slow one costs nothing. What was read lies in it
// until this thread reads again.
std::vector<char>& thread_buffer() {
  thread_local std::vector<char> buffer;
  return buffer;
}

// Takes the buffer out of the thread for the time of a wait: a signal handler may make requests of its own on this thread,
// and then finds another.
class ReceiveBuffer {
 public:
  explicit ReceiveBuffer(std::string_view kept) : bytes_(std::exchange(thread_buffer(), {})), kept_(kept.size()) {
    const std::size_t wanted = kept_ + buffer_size / 2;
    if (bytes_.size() < wanted || bytes_.size() > 8 * buffer_size) {
      bytes_ = {};
      bytes_.resize(std::max(wanted, buffer_size));
    }
    std::memcpy(bytes_.data(), kept.data(), kept_);
  }
  [[nodiscard]] std::span<char> space() noexcept { return std::span(bytes_).subspan(kept_); }
  /// Puts it back. \returns what it holds, `received` new bytes included; valid until this thread reads again.
  [[nodiscard]] std::string_view put_back(std::size_t received) noexcept {
    thread_buffer().swap(bytes_);
    return {thread_buffer().data(), kept_ + received};
  }

 private:
  std::vector<char> bytes_;
  std::size_t kept_;
};

std::vector<std::unique_ptr<h1::ResponseParser>>& parser_cache() {
  thread_local std::vector<std::unique_ptr<h1::ResponseParser>> cache;
  return cache;
}

std::unique_ptr<h1::ResponseParser> take_parser() {
  auto& cache = parser_cache();
  if (cache.empty()) return std::make_unique<h1::ResponseParser>();
  auto parser = std::move(cache.back());
  cache.pop_back();
  return parser;
}

void give_parser(std::unique_ptr<h1::ResponseParser> parser) {
  auto& cache = parser_cache();
  if (parser && cache.size() < parsers_kept) cache.push_back(std::move(parser));
}

iovec piece_of(std::string_view text) noexcept {
  return {const_cast<char*>(text.data()), text.size()};  // NOLINT: sendmsg reads only
}

}  // namespace

Exchange::Exchange(Core& core, pool::EndpointHold endpoint) noexcept
    : core_(&core), endpoint_(std::move(endpoint)), epoch_(net::fork_epoch()) {}

Exchange::~Exchange() {
  abandon();
  give_parser(std::move(parser_));
}

// ---- opening ---------------------------------------------------------------------------------------------------------

Result<Exchange> Exchange::open(Core& core, pool::EndpointHold endpoint, const RequestView& request) {
  Exchange exchange(core, std::move(endpoint));
  if (auto prepared = exchange.prepare(request); !prepared) return std::move(prepared).error();
  return exchange;
}

Result<Exchange> Exchange::open_on(Core& core, pool::LeaseRef lease, const RequestView& request) {
  Exchange exchange(core, pool::EndpointHold(*lease.slot->endpoint.get()));  // the lease keeps it
  if (auto prepared = exchange.prepare(request); !prepared) return std::move(prepared).error();
  if (!core.pool().begin_stream(lease)) {
    return Error::make(ErrorCode::stale_lease, Phase::acquire,
                       "this connection id was returned already, or another thread is using it");
  }
  exchange.stream_.ref = lease;
  return exchange;
}

Result<void> Exchange::prepare(const RequestView& request) {
  auto encoded = h1::encode_head(head_bytes_, request.method, request.target, request.headers);
  if (!encoded) return std::move(encoded).error();
  framing_ = *encoded;
  close_asked_ = framing_.close;
  head_request_ = request.method == "HEAD";
  replayable_ = h1::is_idempotent(request.method);
  if (!replayable_) {
    for (const Header& header : request.headers) {
      if (equals_ignoring_case(header.name, "idempotency-key") ||
          equals_ignoring_case(header.name, "x-idempotency-key"))
        replayable_ = true;
    }
  }
  parser_ = take_parser();
  parser_->start(head_request_);
  return {};
}

Result<void> Exchange::obtain(const CallOptions& options) {
  if (auto forked = check_process()) return *std::move(forked);
  const pool::AcquireOptions acquire{options.timeouts.pool, options.timeouts.connect, true, options.interrupt};
  for (int tries_left = options.connect_retries;; --tries_left) {
    std::optional<Error> error;
    if (stream_) {
      if (stream_.ref.slot->connected() && !connection().check_alive()) core_->pool().disconnect(stream_.ref);
      stream_fresh_ = !stream_.ref.slot->connected();
      if (auto connected = core_->pool().connect(stream_.ref, acquire); !connected)
        error = std::move(connected).error();
    } else {
      auto leased = core_->pool().acquire(*endpoint_, acquire);
      if (leased) {
        lease_ = std::move(leased).value();
      } else {
        error = std::move(leased).error();
      }
    }
    if (!error) {
      note_connection();
      return {};
    }
    const bool again =
        (error->code == ErrorCode::connect_failed || error->code == ErrorCode::connect_timeout) && tries_left > 0;
    if (!again) return fail(*std::move(error));
  }
}

void Exchange::note_connection() {
  addresses_ = connection().addresses();
  written_before_ = connection().channel().bytes_written();
}

connection::Connection& Exchange::connection() const noexcept {
  pool::Slot* slot = lease_ ? lease_.ref().slot : stream_.ref.slot;
  return static_cast<connection::Connection&>(*slot->pooled);
}

int Exchange::descriptor() const noexcept {
  return holds() && epoch_ == net::fork_epoch() ? connection().channel().descriptor() : -1;
}

std::optional<Error> Exchange::check_process() const {
  if (epoch_ == net::fork_epoch()) return std::nullopt;
  return Error::make(ErrorCode::forked, Phase::none,
                     "this exchange belongs to the parent process; make the request anew in the child");
}

// ---- sending ---------------------------------------------------------------------------------------------------------

Result<void> Exchange::send(std::string_view body, const CallOptions& options) {
  if (auto forked = check_process()) return *std::move(forked);
  const bool sized = framing_.framing == h1::Framing::content_length;
  if ((sized && framing_.content_length != body.size()) || (framing_.framing == h1::Framing::none && !body.empty())) {
    return fail(Error::make(ErrorCode::local_protocol, Phase::write,
                            "the headers announce a body of " + std::to_string(framing_.content_length) +
                                " bytes, but it has " + std::to_string(body.size())));
  }
  for (;;) {
    auto sent = send_once(body, options);
    if (sent) return {};
    if (auto again = begin_again(std::move(sent).error(), options, true); !again) return again;
  }
}

Result<void> Exchange::send_once(std::string_view body, const CallOptions& options) {
  Blocking driver(options.timeouts, options.interrupt);
  std::string chunk_head;
  std::array<iovec, 4> pieces{};
  std::size_t count = 0;
  pieces[count++] = piece_of(head_bytes_);
  if (framing_.framing == h1::Framing::chunked) {
    if (!body.empty()) {
      h1::encode_chunk_size(chunk_head, body.size());
      pieces[count++] = piece_of(chunk_head);
      pieces[count++] = piece_of(body);
      pieces[count++] = piece_of("\r\n0\r\n\r\n");
    } else {
      pieces[count++] = piece_of(h1::last_chunk);
    }
  } else if (!body.empty()) {
    pieces[count++] = piece_of(body);
  }
  state_ = State::sending;
  auto written = driver.write_all(connection(), std::span(pieces).first(count), bytes_sent_);
  if (!written) {
    if (written.error().code != ErrorCode::write_failed || bytes_sent_ == 0) return written;
    // The peer stopped reading; it may have answered before (413, 401, ...).
    spent_ = true;
    if (auto answered = read_head(options); answered) return {};
    return written;
  }
  return read_head(options);
}

// One part of a streamed body, the head before the first. \returns false if the peer takes no more: the error is kept.
Result<bool> Exchange::send_part(std::string_view piece, bool last, const CallOptions& options) {
  Blocking driver(options.timeouts, options.interrupt);
  const bool chunked = framing_.framing == h1::Framing::chunked;
  for (;;) {
    std::string chunk_head;
    std::array<iovec, 5> pieces{};
    std::size_t count = 0;
    if (bytes_sent_ == 0) pieces[count++] = piece_of(head_bytes_);
    if (!piece.empty()) {
      if (chunked) {
        h1::encode_chunk_size(chunk_head, piece.size());
        pieces[count++] = piece_of(chunk_head);
      }
      pieces[count++] = piece_of(piece);
      if (chunked) pieces[count++] = piece_of(h1::chunk_end);
    }
    if (last && chunked) pieces[count++] = piece_of(h1::last_chunk);
    state_ = State::sending;
    auto sent = driver.write_all(connection(), std::span(pieces).first(count), bytes_sent_);
    if (sent) return true;
    if (bytes_sent_ == 0 && retry_after(sent.error(), true) == Retry::yes) {
      if (auto again = begin_again(std::move(sent).error(), options, true); !again) return std::move(again).error();
      continue;
    }
    if (sent.error().code != ErrorCode::write_failed) return fail(std::move(sent).error());
    write_error_ = std::move(sent).error();
    spent_ = true;
    return false;
  }
}

Result<bool> Exchange::write(std::string_view piece, const CallOptions& options) {
  if (auto forked = check_process()) return *std::move(forked);
  if (write_error_) return false;
  if (state_ != State::ready && state_ != State::sending)
    return Error::make(ErrorCode::local_protocol, Phase::write, "the body was finished already");
  const bool chunked = framing_.framing == h1::Framing::chunked;
  if (!chunked && body_sent_ + piece.size() > framing_.content_length) {
    return fail(Error::make(
        ErrorCode::local_protocol, Phase::write,
        "more body than the " + std::to_string(framing_.content_length) + " bytes announced by Content-Length"));
  }
  if (chunked && piece.empty()) return true;  // an empty chunk would end the body

  auto sent = send_part(piece, false, options);
  piece_taken_ = true;
  if (sent && *sent) body_sent_ += piece.size();
  return sent;
}

Result<void> Exchange::finish(const CallOptions& options) {
  if (auto forked = check_process()) return *std::move(forked);
  if (state_ != State::ready && state_ != State::sending)
    return Error::make(ErrorCode::local_protocol, Phase::write, "the body was finished already");
  const bool chunked = framing_.framing == h1::Framing::chunked;
  if (!write_error_ && framing_.framing == h1::Framing::content_length && body_sent_ != framing_.content_length) {
    return fail(Error::make(ErrorCode::local_protocol, Phase::write,
                            "less body than announced by Content-Length: " + std::to_string(body_sent_) + " of " +
                                std::to_string(framing_.content_length) + " bytes"));
  }
  for (;;) {
    if (!write_error_ && (chunked || bytes_sent_ == 0)) {
      if (auto sent = send_part({}, true, options); !sent) return std::move(sent).error();
    }
    auto answered = read_head(options);
    if (answered) return {};
    Error error = write_error_ ? *std::move(write_error_) : std::move(answered).error();
    write_error_.reset();
    // Without a piece all of the request is head and end, which are still here.
    if (auto again = begin_again(std::move(error), options, !piece_taken_); !again) return again;
  }
}

// ---- reading ---------------------------------------------------------------------------------------------------------

Result<void> Exchange::read_head(const CallOptions& options) {
  state_ = State::reading_head;
  Blocking driver(options.timeouts, options.interrupt);
  for (;;) {
    auto progress = take_from_peer(driver, nullptr);
    if (!progress) return std::move(progress).error();
    if (*progress == Progress::head) break;
  }
  state_ = State::reading_body;
  // What came of the body with the head is taken apart here; what is wrong with it is told to whoever reads it. A response
  // without a body is complete, before anybody reads; of one whose body has come whole the lease ends as it is read.
  current_.swap(pending_);
  pending_.clear();
  if (!current_.empty())
    current_.reserve(64);  // on the heap, however short: arrived_ looks into it, and exchanges move
  auto progress = take_events(current_, &arrived_);
  if (!progress) {
    body_error_ = std::move(progress).error();
  } else if (*progress == Progress::end && arrived_.empty()) {
    complete();
  }
  return {};
}

Result<Exchange::Progress> Exchange::take_from_peer(Blocking& driver, std::vector<std::string_view>* pieces) {
  ReceiveBuffer buffer(pending_);
  auto read = driver.read(connection(), buffer.space());
  const std::string_view input = buffer.put_back(read ? read->bytes : 0);
  if (!read) return std::move(read).error();
  if (read->end) {
    peer_ended_ = true;
    return take_end(read->truncated);
  }
  pending_.clear();
  return take_events(input, pieces);
}

Result<Exchange::Progress> Exchange::take_events(std::string_view input, std::vector<std::string_view>* pieces) {
  for (;;) {
    const auto step = parser_->parse(input);
    input.remove_prefix(step.consumed);
    switch (step.event) {
      case Event::need_more:
        pending_.assign(input);
        return Progress::more;
      case Event::head:
        pending_.assign(input);
        return Progress::head;
      case Event::body:
        if (pieces != nullptr && !step.body.empty()) pieces->push_back(step.body);
        break;
      case Event::end:
        // Bytes behind the end belong to nobody: the connection goes with them.
        if (!input.empty()) spent_ = true;
        state_ = State::body_arrived;
        return Progress::end;
      case Event::error:
        return Error::make(ErrorCode::remote_protocol,
                           state_ == State::reading_body ? Phase::read_body : Phase::read_head,
                           parser_->error_detail());
    }
  }
}

Result<Exchange::Progress> Exchange::take_end(bool truncated) {
  const Phase phase = state_ == State::reading_body ? Phase::read_body : Phase::read_head;
  const auto step = parser_->finish();
  if (step.event == Event::end && !truncated) {
    spent_ = true;  // the connection is at its end
    state_ = State::body_arrived;
    return Progress::end;
  }
  if (step.event == Event::end)
    return Error::make(ErrorCode::read_failed, phase, "the TLS connection was cut off: the body may not be whole");
  if (!parser_->ended_early()) return Error::make(ErrorCode::remote_protocol, phase, parser_->error_detail());
  return Error::make(ErrorCode::read_failed, phase,
                     phase == Phase::read_head ? "the server closed the connection without an answer"
                                               : "the server closed the connection before the body was whole");
}

Result<bool> Exchange::read(std::vector<std::string_view>& pieces, const CallOptions& options) {
  pieces.clear();
  if (auto forked = check_process()) return *std::move(forked);
  if (!arrived_.empty()) {
    pieces.swap(arrived_);
    if (state_ == State::body_arrived) complete();
    return true;
  }
  // NOLINTNEXTLINE(bugprone-unchecked-optional-access): exchange() gives what was there, and that was checked
  if (body_error_) return fail(*std::exchange(body_error_, std::nullopt));
  if (state_ == State::complete) return false;
  if (state_ != State::reading_body)
    return Error::make(ErrorCode::local_protocol, Phase::read_body,
                       "there is no body to read: the exchange was closed");
  Blocking driver(options.timeouts, options.interrupt);
  for (;;) {
    auto progress = take_from_peer(driver, &pieces);
    if (!progress) {
      // What came before the error is told before it.
      if (pieces.empty()) return fail(std::move(progress).error());
      body_error_ = std::move(progress).error();
      return true;
    }
    if (*progress == Progress::end) complete();
    if (!pieces.empty()) return true;
    if (*progress == Progress::end) return false;
  }
}

// ---- beginning again --------------------------------------------------------------------------------------------------

Retry Exchange::retry_after(const Error& error, bool rewindable) const noexcept {
  FailedExchange failed;
  failed.error = error.code;
  failed.fresh = lease_ ? lease_.fresh() : stream_fresh_;
  failed.bytes_sent = bytes_sent_;
  failed.response_began = parser_->saw_bytes();
  failed.peer_ended = peer_ended_;
  failed.replayable = replayable_;
  failed.rewindable = rewindable;
  return decide_retry(failed);
}

// After an error: goes to another connection if the table allows it, so that the request can be sent from its beginning,
// else ends the exchange.
Result<void> Exchange::begin_again(Error error, const CallOptions& options, bool rewindable) {
  switch (retry_after(error, rewindable)) {
    case Retry::no:
      return fail(std::move(error));
    case Retry::if_unread:
      return begin_again_if_unread(std::move(error), options);
    case Retry::yes:
      break;
  }
  core_->count_retry(false);
  drop_connection();
  return obtain(options);
}

Result<void> Exchange::begin_again_if_unread(Error error, const CallOptions& options) {
  UnreadWatch watch(connection().channel().descriptor(), written_before_, error.os_error, options.timeouts.read);
  Unread verdict = watch.look();
  pool::Lease next;
  if (verdict == Unread::undecided) {
    // The next connection is acquired while the refusal is on its way; but nobody is waited for at a limit, where this
    // very connection may be what fills it. A lease of the caller's has room for one connection.
    if (lease_) {
      const pool::AcquireOptions at_once{Duration::zero(), options.timeouts.connect, true, options.interrupt};
      if (auto leased = core_->pool().acquire(*endpoint_, at_once)) {
        next = std::move(leased).value();
      } else if (leased.error().code == ErrorCode::interrupted) {
        return fail(std::move(leased).error());
      }
    }
    verdict = watch.wait(options.interrupt);
  }
  if (verdict != Unread::proved) {
    next.end(pool::Reuse::unused());  // nothing went over it
    if (verdict == Unread::undecided)
      return fail(Error::make(ErrorCode::interrupted, Phase::read_head, "interrupted while reading"));
    return fail(std::move(error));
  }
  core_->count_retry(true);
  drop_connection();
  if (!next) return obtain(options);
  lease_ = std::move(next);
  note_connection();
  return {};
}

// ---- ending ----------------------------------------------------------------------------------------------------------

void Exchange::complete() noexcept {
  state_ = State::complete;
  const bool reusable = parser_->reusable() && !spent_ && !close_asked_ && parser_->keep_alive_max() != 0;
  OptionalDuration keep_alive;
  if (const long seconds = parser_->keep_alive_timeout(); seconds >= 0) keep_alive = std::chrono::seconds(seconds);
  release(reusable ? pool::Reuse::yes(keep_alive) : pool::Reuse::no());
}

void Exchange::release(pool::Reuse reuse) noexcept {
  if (lease_) lease_.end(reuse);
  if (stream_) {
    core_->pool().end_stream(stream_.take(), reuse);
  }
}

void Exchange::drop_connection() noexcept {
  if (lease_) lease_.end(pool::Reuse::no());
  if (stream_) core_->pool().disconnect(stream_.ref);
  bytes_sent_ = 0;
  peer_ended_ = false;
  pending_.clear();
  arrived_.clear();
  body_error_.reset();
  spent_ = false;
  parser_->start(head_request_);
}

void Exchange::close() noexcept {
  if (state_ == State::reading_body && epoch_ == net::fork_epoch() && holds()) {
    std::size_t budget = drain_limit;
    bool more = !body_error_;
    while (more && budget > 0) {
      ReceiveBuffer buffer(pending_);
      const auto io = connection().channel().read(buffer.space(), net::IoMode::dont_wait);
      const std::string_view input = buffer.put_back(io.bytes);
      if (io.status != net::IoStatus::ok) break;
      budget -= std::min(budget, io.bytes);
      pending_.clear();
      const auto progress = take_events(input, nullptr);
      more = progress && *progress == Progress::more;
    }
  }
  abandon();
}

void Exchange::abandon() noexcept {
  if (epoch_ != net::fork_epoch()) {  // the connection is the parent's
    (void)lease_.detach();
    endpoint_.detach();
    (void)stream_.take();
  }
  if (state_ == State::body_arrived && holds())
    complete();  // all of it is here, so nothing is broken by not reading it
  if (state_ != State::complete) state_ = State::ended;
  release(pool::Reuse::no());
}

// Ends the exchange and tells where it happened.
Error Exchange::fail(Error error) noexcept {
  error.bytes_sent = bytes_sent_;
  core_->count_error(error.code);
  if (error.phase == Phase::read_head && state_ == State::reading_body) error.phase = Phase::read_body;
  if (error.detail.find(endpoint_->name()) == std::string::npos) error.detail = endpoint_->name() + ": " + error.detail;
  state_ = State::ended;
  release(pool::Reuse::no());
  return error;
}

}  // namespace fastpool::client
