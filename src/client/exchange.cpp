#include "client/exchange.h"

#include <cerrno>
#include <new>

#include "client/connection_authentication.h"
#include "client/dialed_target.h"
#include "client/receive_buffer.h"
#include "driver/blocking.h"
#include "net/descriptor.h"
#include "sync/thread_owned.h"

namespace fastpool::client {

namespace {

constexpr std::size_t drain_limit = 64UL * 1024;
constexpr std::size_t most_kept = 64;              // as many exchanges as an event loop may well have at once
constexpr std::size_t most_capacity = 4UL * 1024;  // of a buffer that is kept

Result<void> without_value(Result<bool> result) {
  if (!result) return std::move(result).error();
  return {};
}

}  // namespace

Exchange::Exchange(Core& core, EndpointUse endpoint) noexcept
    : core_(&core), endpoint_(std::move(endpoint)), epoch_(net::fork_epoch()) {}

Exchange::Exchange(Core& core, pool::LeaseRef lease) noexcept
    : Exchange(core, EndpointUse(*lease.slot->endpoint.get())) {}  // the lease keeps it

Exchange::~Exchange() {
  abandon();
  give_kept(std::move(kept_));
}

// ---- what is kept of it ----------------------------------------------------------------------------------------------

Exchange::KeptList& Exchange::kept_by_thread() {
  struct Tag {};
  return sync::ThreadOwned<KeptList, Tag>::get();
}

std::unique_ptr<Exchange::Kept> Exchange::take_kept() {
  KeptList& list = kept_by_thread();
  if (list.empty()) return std::make_unique<Kept>();
  auto kept = std::move(list.back());
  list.pop_back();
  return kept;
}

void Exchange::give_kept(std::unique_ptr<Kept> kept) {
  if (!kept) return;
  KeptList& list = kept_by_thread();
  if (list.size() >= most_kept) return;
  for (std::string* const buffer : {&kept->head, &kept->pending, &kept->current}) {
    buffer->clear();
    if (buffer->capacity() > most_capacity) [[unlikely]]
      *buffer = std::string();
  }
  if (kept->stream_head.status != 0) [[unlikely]] {
    kept->stream_head = {};
    kept->stream_trailers = {};
  }
  kept->arrived.clear();
  if (kept->arrived.capacity() * sizeof(std::string_view) > most_capacity) [[unlikely]]
    kept->arrived = std::vector<std::string_view>();
  list.push_back(std::move(kept));
}

// ---- opening ---------------------------------------------------------------------------------------------------------

Result<Exchange> Exchange::open(Core& core, EndpointUse endpoint, const RequestView& request) {
  Exchange exchange(core, std::move(endpoint));
  if (auto prepared = exchange.prepare(request); !prepared) return std::move(prepared).error();
  return exchange;
}

Result<Exchange> Exchange::open_on(Core& core, pool::LeaseRef lease, const RequestView& request) {
  Exchange exchange(core, lease);
  if (auto prepared = exchange.prepare_on(lease, request); !prepared) return std::move(prepared).error();
  return exchange;
}

Result<void> Exchange::prepare(const RequestView& request) {
  if (auto encoded = encode_for_target(request); !encoded) return encoded;
  if (authenticates_connection_) [[unlikely]] {
    auto isolated = endpoint_.isolate();
    if (!isolated) return std::move(isolated).error();
    if (!*isolated) close_asked_ = unshared_ = true;  // callers that know nothing of each other share the endpoint
  }
  homes_ = dialed_target(*endpoint_).homes.get();
  origin_limit_ = endpoint_.limit(core_->origin_limits());
  return {};
}

Result<void> Exchange::prepare_on(pool::LeaseRef lease, const RequestView& request) {
  if (auto encoded = encode_for_target(request); !encoded) return encoded;
  if (!core_->pool().begin_stream(lease)) {
    return Error::make(ErrorCode::stale_lease, Phase::acquire,
                       "this connection id was returned already, or another thread is using it");
  }
  stream_.ref = lease;
  return {};
}

Result<void> Exchange::encode_for_target(const RequestView& request) {
  const connection::Target& target = dialed_target(*endpoint_);
  if (target.proxy == nullptr) [[likely]]
    return encode(request);
  if (target.forwards) return encode_forwarded(request, target);
  if (auto encoded = encode(request); !encoded) return encoded;
  authenticates_connection_ = authenticates_connection_ || target.proxy->authenticates_connections;
  return {};
}

// In absolute-form (RFC 9112 section 3.2.2), with the proxy's headers under the request's.
Result<void> Exchange::encode_forwarded(const RequestView& request, const connection::Target& target) {
  const Origin* const origin = request.origin != nullptr ? request.origin : endpoint_.origin();
  if (origin == nullptr) {
    return Error::make(ErrorCode::invalid_argument, Phase::none,
                       "a request on a lease of " + target.name + " must name its origin");
  }
  std::string absolute(request.target);
  if (request.target.starts_with('/') || request.target == "*") {
    absolute = "http://" + origin->host_header();
    if (request.target != "*") absolute += request.target;
  }
  const std::vector<Header> merged = target.proxy->merged_under({request.headers.begin(), request.headers.end()});
  return encode({request.method, absolute, merged});
}

Result<void> Exchange::encode(const RequestView& request) {
  kept_ = take_kept();
  auto encoded = h1::encode_head(kept_->head, request.method, request.target, request.headers);
  if (!encoded) return std::move(encoded).error();
  framing_ = *encoded;
  close_asked_ = framing_.close;
  head_request_ = request.method == "HEAD";
  authenticates_connection_ = authenticates_connection(request.headers);
  connect_request_ = request.method == "CONNECT";
  replayable_ = h1::is_idempotent(request.method);
  if (!replayable_) {
    for (const Header& header : request.headers) {
      if (equals_ignoring_case(header.name, "idempotency-key") ||
          equals_ignoring_case(header.name, "x-idempotency-key"))
        replayable_ = true;
    }
  }
  kept_->parser.start(head_request_);
  return {};
}

void Exchange::note_connection() {
  if (cancellation_ != nullptr) {
    if (!over_http2_) {
      cancellation_->attach(connection());
    } else {
      (void)cancellation_->detach();  // others use the connection
    }
  }
  if (timed_) obtained_how_ = {Clock::now(), fresh(), connection().dial_timings()};
  addresses_ = connection().addresses();
  connection_number_ = connection().number();
  if (!over_http2_) written_before_ = connection().channel().bytes_written();  // else others may be writing
  engine_ = connection().channel().engine();
  tls_session_ = connection().channel().tls_session();
  // The caller's lease may go on with the connection that is authenticated now, but no other caller.
  if (authenticates_connection_ && stream_) [[unlikely]]
    core_->pool().close_after_lease(stream_.ref);
}

connection::Connection& Exchange::connection() const noexcept {
  if (shared_) return shared_.connection();
  pool::Slot* slot = lease_ ? lease_.ref().slot : stream_.ref.slot;
  return static_cast<connection::Connection&>(*slot->pooled);
}

std::shared_ptr<const h1::ResponseHead> Exchange::tunnel_answer() const noexcept {
  return holds() ? connection().tunnel_answer() : nullptr;
}

int Exchange::descriptor() const noexcept {
  return holds() && epoch_ == net::fork_epoch() ? connection().channel().descriptor() : -1;
}

Error Exchange::lost_error() {
  return Error::make(
      ErrorCode::forked, Phase::none,
      "this exchange belongs to the parent process, or other code has closed its socket: make the request "
      "anew");
}

std::optional<Error> Exchange::check_process() const {
  if (epoch_ == net::fork_epoch()) return std::nullopt;
  return lost_error();
}

// ---- operations ------------------------------------------------------------------------------------------------------

bool Exchange::may_begin(Operation operation) {
  operation_ = operation;
  step_ = Step::settled;
  if (auto forked = check_process()) {
    result_ = *std::move(forked);
    return false;
  }
  const bool sends = operation == Operation::write || operation == Operation::finish || operation == Operation::expect;
  if (sends && state_ != State::ready && state_ != State::sending) {
    result_ = Error::make(ErrorCode::local_protocol, Phase::write, "the body was finished already");
    return false;
  }
  return true;
}

void Exchange::start_connecting() noexcept {
  tries_left_ = connect_retries_;
  enters_limit_ = limit_ != nullptr && !shares_connections();
  step_ = stream_ ? Step::look : enters_limit_ || origin_limit_ != nullptr ? Step::enter : Step::acquire;
}

void Exchange::begin_obtain() {
  if (may_begin(Operation::obtain)) start_connecting();
}

void Exchange::begin_send(std::string_view body) {
  if (!may_begin(Operation::send)) return;
  const bool sized = framing_.framing == h1::Framing::content_length;
  if ((sized && framing_.content_length != body.size()) || (framing_.framing == h1::Framing::none && !body.empty())) {
    result_ = fail(Error::make(ErrorCode::local_protocol, Phase::write,
                               "the headers announce a body of " + std::to_string(framing_.content_length) +
                                   " bytes, but it has " + std::to_string(body.size())));
    return;
  }
  part_ = body;
  last_part_ = true;
  if (!obtained_) return start_connecting();
  step_ = Step::write;
  prepare_part();
}

void Exchange::begin_expect(Duration at_most) {
  if (!may_begin(Operation::expect)) return;
  expect_timeout_ = at_most;
  part_ = {};
  last_part_ = false;
  step_ = Step::write;
  prepare_part();
}

void Exchange::begin_write(std::string_view piece) {
  if (!may_begin(Operation::write)) return;
  const bool chunked = framing_.framing == h1::Framing::chunked;
  if (write_error_ || refused_) {
    result_ = false;
  } else if (!chunked && body_sent_ + piece.size() > framing_.content_length) {
    result_ = fail(Error::make(
        ErrorCode::local_protocol, Phase::write,
        "more body than the " + std::to_string(framing_.content_length) + " bytes announced by Content-Length"));
  } else if (chunked && piece.empty() && (!over_http2_ || stream_at_peer_)) {
    result_ = true;  // an empty chunk would end the body
  } else {
    part_ = piece;
    last_part_ = false;
    // What the peer may have said meanwhile is looked for before each piece but the first.
    step_ = bytes_sent_ > 0 && heeds_ ? Step::listen : Step::write;
    prepare_part();
  }
}

void Exchange::begin_finish() {
  if (!may_begin(Operation::finish)) return;
  const bool chunked = framing_.framing == h1::Framing::chunked;
  const bool cut_short = write_error_ || refused_;
  if (!cut_short && framing_.framing == h1::Framing::content_length && body_sent_ != framing_.content_length) {
    result_ = fail(Error::make(ErrorCode::local_protocol, Phase::write,
                               "less body than announced by Content-Length: " + std::to_string(body_sent_) + " of " +
                                   std::to_string(framing_.content_length) + " bytes"));
    return;
  }
  part_ = {};
  last_part_ = true;
  const bool all_sent = cut_short || (!over_http2_ && !chunked && bytes_sent_ > 0);  // HTTP/2 marks the end
  step_ = all_sent ? Step::head : Step::write;
  if (!all_sent) prepare_part();
}

void Exchange::begin_read(std::vector<std::string_view>& pieces, std::string* whole) {
  pieces.clear();
  appended_ = 0;
  if (!may_begin(Operation::read)) return;
  if (!kept_->arrived.empty()) {
    pieces.swap(kept_->arrived);
    if (state_ == State::body_arrived) complete();
    result_ = true;
  } else if (auto error = std::exchange(body_error_, std::nullopt)) {
    result_ = fail(*std::move(error));
  } else if (state_ == State::complete || state_ == State::switched) {
    result_ = false;
  } else if (state_ != State::reading_body) {
    result_ =
        Error::make(ErrorCode::local_protocol, Phase::read_body, "there is no body to read: the exchange was closed");
  } else {
    taken_ = &pieces;
    whole_ = whole;
    step_ = Step::body;
  }
}

void Exchange::begin_receive(std::vector<std::string_view>& pieces) {
  pieces.clear();
  if (!may_begin(Operation::receive)) return;
  if (state_ != State::switched || !holds()) {
    result_ = Error::make(ErrorCode::read_failed, Phase::read_body, "the connection was closed", EBADF);
    return;
  }
  taken_ = &pieces;
  step_ = Step::receive;
}

void Exchange::begin_transmit(std::string_view bytes) {
  if (!may_begin(Operation::transmit)) return;
  if (state_ != State::switched || !holds()) {
    result_ = Error::make(ErrorCode::write_failed, Phase::write, "the connection was closed", EBADF);
    return;
  }
  part_ = bytes;
  pieces_[0] = {const_cast<char*>(bytes.data()), bytes.size()};  // NOLINT: sendmsg reads only
  unsent_ = std::span(pieces_).first(1);
  step_ = Step::transmit;
}

Result<bool> Exchange::run(const CallOptions& options) {
  driver::Blocking driver(options.timeouts, options.interrupt, cancellation_);
  driver.set_deadline(options.deadline);
  auto result = advance(driver);
  return *std::move(result);  // NOLINT(bugprone-unchecked-optional-access): it never says pending
}

Result<void> Exchange::obtain(const CallOptions& options) {
  connect_retries_ = options.connect_retries;
  begin_obtain();
  return without_value(run(options));
}

Result<void> Exchange::send(std::string_view body, const CallOptions& options) {
  connect_retries_ = options.connect_retries;
  begin_send(body);
  return without_value(run(options));
}

Result<bool> Exchange::write(std::string_view piece, const CallOptions& options) {
  begin_write(piece);
  return run(options);
}

Result<void> Exchange::finish(const CallOptions& options) {
  begin_finish();
  return without_value(run(options));
}

Result<bool> Exchange::read(std::vector<std::string_view>& pieces, const CallOptions& options) {
  begin_read(pieces);
  return run(options);
}

// ---- after a switch of protocols -------------------------------------------------------------------------------------

Result<net::IoResult> Exchange::receive(std::span<char> buffer) {
  if (!switched() || !holds() || check_process()) {
    return Error::make(ErrorCode::read_failed, Phase::read_body, "the connection was closed", EBADF);
  }
  if (kept_->pending.empty()) {
    return handed_over(ErrorCode::read_failed, Phase::read_body,
                       connection().channel().read(buffer, net::IoMode::dont_wait));
  }
  const std::size_t size = kept_->pending.copy(buffer.data(), buffer.size());
  kept_->pending.erase(0, size);
  return net::IoResult{.bytes = size};
}

Result<net::IoResult> Exchange::transmit(std::string_view bytes) {
  if (!switched() || !holds() || check_process()) {
    return Error::make(ErrorCode::write_failed, Phase::write, "the connection was closed", EBADF);
  }
  const iovec piece{const_cast<char*>(bytes.data()), bytes.size()};  // NOLINT: sendmsg reads only
  return handed_over(ErrorCode::write_failed, Phase::write,
                     connection().channel().write(std::span(&piece, 1), net::IoMode::dont_wait));
}

Result<net::IoResult> Exchange::handed_over(ErrorCode code, Phase phase, const net::IoResult& io) {
  if (io.status == net::IoStatus::error) return driver::failure(code, phase, io, connection());
  return io;
}

// ---- ending ----------------------------------------------------------------------------------------------------------

void Exchange::complete() noexcept {
  state_ = State::complete;
  if (over_http2_) return release(pool::Reuse::yes());
  const bool reusable = kept_->parser.reusable() && !spent_ && !close_asked_ && kept_->parser.keep_alive_max() != 0;
  OptionalDuration keep_alive;
  if (const long seconds = kept_->parser.keep_alive_timeout(); seconds >= 0) keep_alive = std::chrono::seconds(seconds);
  release(reusable ? pool::Reuse::yes(keep_alive) : pool::Reuse::no());
}

void Exchange::release(pool::Reuse reuse) noexcept {
  // Detached before the connection goes to another request. One that a cancel() has shut down goes to none.
  if (cancellation_ != nullptr && epoch_ == net::fork_epoch() && cancellation_->detach()) reuse = pool::Reuse::no();
  if (over_http2_ && holds()) {
    leave_stream();
    if (!shared_) reuse = reuse_after_stream(reuse);
  }
  shared_.leave(keep_);
  connecting_.end();
  if (lease_) lease_.release(reuse, keep_);
  if (stream_) {
    core_->pool().end_stream(stream_.take(), reuse);
  }
  next_.release(pool::Reuse::unused(), keep_);  // nothing went over it
  place_.leave();
  origin_place_.leave();
  endpoint_.release();
}

void Exchange::drop_connection() noexcept {
  if (cancellation_ != nullptr) (void)cancellation_->detach();
  if (over_http2_) leave_stream();
  shared_.leave(keep_);
  connecting_.end();
  if (lease_) lease_.release(pool::Reuse::no());
  if (stream_) core_->pool().disconnect(stream_.ref);
  bytes_sent_ = 0;
  peer_ended_ = false;
  heeds_ = true;
  early_head_ = false;
  kept_->pending.clear();
  kept_->arrived.clear();
  body_error_.reset();
  spent_ = false;
  refused_ = false;
  continue_seen_ = false;
  heard_error_ = 0;
  if (piece_taken_) {
    rewinds_ = true;
    state_ = State::ready;
    piece_taken_ = false;
    body_sent_ = 0;
  }
  kept_->parser.start(head_request_, reports_interim_);
}

void Exchange::close() noexcept {
  if (state_ == State::reading_body && epoch_ == net::fork_epoch() && holds() && !over_http2_) {
    std::size_t budget = drain_limit;
    bool more = !body_error_;
    while (more && budget > 0) {
      ReceiveBuffer buffer(kept_->pending);
      const auto io = connection().channel().read(buffer.space(), net::IoMode::dont_wait);
      const std::string_view input = buffer.put_back(io.bytes);
      if (io.status != net::IoStatus::ok) break;
      budget -= std::min(budget, io.bytes);
      kept_->pending.clear();
      const auto progress = take_events(input, nullptr);
      more = progress && *progress == Progress::more;
    }
  }
  abandon();
}

pool::Lease Exchange::take_lease() noexcept {
  const bool cancelled = cancellation_ != nullptr && cancellation_->detach();  // then it was shut down
  pool::Lease taken;
  if (!cancelled) taken = std::move(lease_);
  abandon();
  return taken;
}

void Exchange::abandon() noexcept {
  if (epoch_ != net::fork_epoch()) {  // the connection is the parent's
    (void)lease_.detach();
    (void)next_.detach();
    endpoint_.detach();
    (void)stream_.take();
    place_.detach();
    origin_place_.detach();
    shared_.detach();
    connecting_.detach();
    stream_at_peer_.reset();
  }
  if (state_ == State::body_arrived && holds())
    complete();  // all of it is here, so nothing is broken by not reading it
  if (state_ != State::complete) state_ = State::ended;
  release(pool::Reuse::no());
}

Error Exchange::cancelled_error() {
  return Error::make(ErrorCode::cancelled, Phase::none, "cancelled by the caller");
}

// Ends the exchange and tells where it happened.
Error Exchange::fail(Error error) noexcept {
  if (error.code != ErrorCode::out_of_memory && cancelled()) {
    const Phase phase = error.phase;
    error = cancelled_error();  // whatever the shutdown of its connection looks like
    error.phase = phase;
  }
  error.bytes_sent = bytes_sent_;
  // What failed because the descriptors are gone: while nothing was sent, a new exchange may try anew.
  if (epoch_ != net::fork_epoch() && bytes_sent_ == 0 && error.code != ErrorCode::interrupted) [[unlikely]]
    error = lost_error();
  core_->count_error(error.code);
  if (error.phase == Phase::read_head && state_ == State::reading_body) error.phase = Phase::read_body;
  try {
    const bool broke = error.code == ErrorCode::read_failed || error.code == ErrorCode::write_failed;
    if (broke && core_->pool().closed()) error.detail = "the pool was closed while the request was under way";
    if (error.code == ErrorCode::out_of_memory) error.detail = "no memory for the request or its response";
    if (endpoint_ && error.detail.find(endpoint_->name()) == std::string::npos)
      error.detail = endpoint_->name() + ": " + error.detail;
  } catch (const std::bad_alloc&) {  // then without these words
  }
  state_ = State::ended;
  release(pool::Reuse::no());
  return error;
}

}  // namespace fastpool::client
