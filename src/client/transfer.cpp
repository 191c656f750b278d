#include "client/transfer.h"

#include <algorithm>
#include <exception>
#include <functional>
#include <limits>
#include <new>
#include <stdexcept>
#include <utility>

#include <fastpool/origin.h>

#include "client/dialed_target.h"
#include "client/errors.h"
#include "client/expected_size.h"
#include "client/headers.h"
#include "client/lease_state.h"
#include "client/receive_buffer.h"
#include "driver/blocking.h"
#include "pool/decisions.h"

namespace fastpool::client {

namespace {

// Beyond this a body grows as it comes: a length is a promise.
constexpr std::size_t most_reserved = std::size_t{64} << 20U;
// Pieces up to this size are copied out of the thread's receive buffer, so that a slow stream holds no buffer.
constexpr std::size_t most_copied = 4UL * 1024;

// Returns "/path?query" of a URL; "/" where there is none. A fragment never goes out (RFC 9110 section 4.2.3).
// `completed` holds what is not a part of the URL.
std::string_view target_of(std::string_view url, std::string& completed) {
  url = url.substr(0, url.find('#'));
  const std::size_t scheme_end = url.find("://");
  if (scheme_end == std::string_view::npos) return "/";
  url.remove_prefix(scheme_end + 3);
  // find_first_of() calls memchr() for each byte.
  const auto begins = [](char byte) { return byte == '/' || byte == '?'; };
  url.remove_prefix(static_cast<std::size_t>(std::find_if(url.begin(), url.end(), begins) - url.begin()));
  if (url.empty()) return "/";
  if (url.front() == '/') return url;
  completed.assign(1, '/').append(url);
  return completed;
}

bool expects_continue(const Request& request) noexcept {
  return std::any_of(request.headers.begin(), request.headers.end(), [](const auto& header) {
    return equals_ignoring_case(header.first, "expect") && equals_ignoring_case(header.second, "100-continue");
  });
}

}  // namespace

Transfer::~Transfer() {
  stop_.reset();
  if (events_.open()) [[unlikely]] {
    const Error unread = Error::make(ErrorCode::cancelled, Phase::none, "the response was not read to its end");
    report_end(exchange_->body_arrived() ? nullptr : &unread);
  }
  if (exchange_) exchange_->close();
  give_buffer_back();
}

const ResponseHead& Transfer::no_head() noexcept {
  static const ResponseHead none;
  return none;
}

// ---- opening ---------------------------------------------------------------------------------------------------------

Result<void> Transfer::prepare(const Request& request, std::optional<pool::LeaseRef> lease) {
  if (!lease && call_.lease != nullptr) {
    auto chosen = leased(*call_.lease);
    if (!chosen) return std::move(chosen).error();
    lease = *chosen;
  }
  if (call_.total || wants_info_) began_ = Clock::now();
  if (call_.total) deadline_ = pool::later(began_, *call_.total);
  auto origin = Origin::parse(request.url);
  if (!origin) return std::move(origin).error();

  std::optional<std::uint64_t> size = request.body.size();
  const bool produced = request.body.kind() == Body::Kind::file || request.body.kind() == Body::Kind::pull;
  if (produced) {
    auto told = source_.emplace(request.body).size();
    if (!told) return std::move(told).error();
    size = *told;
  }
  std::vector<Header> headers;
  headers.reserve(request.headers.size() + 2);
  for (const auto& [name, value] : request.headers)
    headers.push_back({name, value});
  std::string completed_target;
  const std::string_view target =
      request.target.empty() ? target_of(request.url, completed_target) : std::string_view(request.target);

  std::optional<EndpointUse> endpoint;
  const pool::Endpoint* there = nullptr;
  if (lease) {
    there = lease->slot->endpoint.get();
    if (!leads_to(*there, *origin)) {
      return Error::make(ErrorCode::invalid_argument, Phase::none,
                         "this lease is of " + there->name() + ", and the request is for " + origin->to_string());
    }
  } else {
    auto found = client_->endpoint(*origin, call_.profile);
    if (!found) return std::move(found).error();
    there = &*endpoint.emplace(std::move(found).value());
  }
  std::string storage;
  const CompletedHeaders completed(origin_text(*there, *origin, storage), request.method, std::move(headers), size);
  const RequestView view{request.method, target, completed.headers(), &*origin};
  Core& core = client_->core.get();
  auto prepared = lease ? exchange_.emplace(core, *lease).prepare_on(*lease, view)
                        : exchange_.emplace(core, *std::move(endpoint)).prepare(view);
  if (!prepared) {
    exchange_.reset();
    return prepared;
  }

  request_ = &request;
  exchange_->configure(nullptr, nullptr, call_.connect_retries);
  expects_ = expects_continue(request) && (produced || size.value_or(1) != 0);
  if (expects_ || call_.on_interim) exchange_->report_interim(&call_.on_interim);
  if (call_.idempotent) exchange_->set_replayable();
  if (source_ && source_->rewindable()) exchange_->set_rewindable();
  if (wants_info_) exchange_->set_timed();
  if (may_cancel()) exchange_->set_cancellation(cancellation_);
  if (call_.stop.stop_possible()) stop_.emplace(call_.stop, Cancel{*this});
  if (!wants_lease_) events_.begin(core, *origin, request, target);
  exchange_->report_retries(events_.on_retry());
  return {};
}

void Transfer::begin_open() {
  goal_ = Goal::open;
  if (request_->body.kind() == Body::Kind::bytes && !expects_) {
    exchange_->begin_send(request_->body.bytes());
    step_ = Step::head;
  } else {
    exchange_->begin_obtain();
    step_ = Step::obtain;
  }
}

void Transfer::begin_lease() {
  goal_ = Goal::lease;
  step_ = Step::obtain;
  exchange_->set_unshared();
  exchange_->begin_obtain();
}

Result<Lease> Transfer::take_lease() {
  pool::LeaseLimit::Place place = exchange_->take_origin_place();
  auto lease = exchange_->take_lease();
  if (!lease) return Error::make(ErrorCode::cancelled, Phase::acquire, "cancelled by the caller");
  auto state = std::make_unique<Lease::State>(client_, lease.ref(), std::move(place), net::fork_epoch());
  (void)lease.detach();
  return Lease(std::move(state));
}

void Transfer::begin_collect(Response& response) {
  response.status = 0;
  response.reason.clear();
  response.headers.clear();
  response.body.clear();
  response.trailers.clear();
  response_ = &response;
  if (request_->body.kind() == Body::Kind::written) {
    early_ = end(Error::make(ErrorCode::invalid_argument, Phase::none,
                             "a body that is written needs a stream: Client::open(), not send()"));
    return;
  }
  begin_open();
  goal_ = Goal::collect;
}

// ---- steps -----------------------------------------------------------------------------------------------------------

std::optional<Result<bool>> Transfer::advance(driver::Driver& driver) {
  try {
    auto result = take_steps(driver);
    if (result) step_ = Step::none;
    return result;
  } catch (const std::bad_alloc&) {
  } catch (const std::length_error&) {      // beyond what a string can hold
  } catch (const std::exception& raised) {  // a function of the caller's
    return end(Error::make(ErrorCode::cancelled, Phase::none,
                           std::string("a function of the caller threw: ") + raised.what()));
  }
  const Error error = no_memory(bytes_sent());
  if (exchange_) exchange_->abandon();
  report_end(&error);
  return error;
}

std::optional<Result<bool>> Transfer::take_steps(driver::Driver& driver) {
  if (auto early = std::exchange(early_, std::nullopt)) return early;
  for (;;) {
    auto stepped = exchange_->advance(driver);
    if (!stepped) return std::nullopt;
    if (!*stepped) return fail(std::move(*stepped).error());
    if (auto done = after_step(**stepped)) return done;
  }
}

// What follows a step that has succeeded: nothing, and another step is begun; or the operation's result.
std::optional<Result<bool>> Transfer::after_step(bool result) {
  if (source_ && exchange_->take_rewind()) return body_again();
  switch (step_) {
    case Step::obtain:
      if (goal_ == Goal::lease) return true;
      if (expects_) {
        exchange_->begin_expect(call_.expect_timeout);
        step_ = Step::expect;
        return std::nullopt;
      }
      return begin_body();
    case Step::expect:
    case Step::piece:
      if (step_ == Step::expect && request_->body.kind() == Body::Kind::written) return true;
      if (!result) {
        exchange_->begin_finish();
        step_ = Step::head;
        return std::nullopt;
      }
      return step_ == Step::expect ? begin_body() : next_piece();
    case Step::head:
      return head_arrived();
    case Step::body:
      return take_pieces(result);
    case Step::written:
    case Step::none:
      break;
  }
  return result;
}

std::optional<Result<bool>> Transfer::begin_body() {
  switch (request_->body.kind()) {
    case Body::Kind::written:
      return true;
    case Body::Kind::bytes:
      exchange_->begin_send(request_->body.bytes());
      step_ = Step::head;
      return std::nullopt;
    case Body::Kind::file:
    case Body::Kind::pull:
      break;
  }
  return next_piece();
}

std::optional<Result<bool>> Transfer::next_piece() {
  auto piece = source_->next();
  if (!piece) return end(std::move(piece).error());
  if (piece->empty()) {
    exchange_->begin_finish();
    step_ = Step::head;
  } else {
    exchange_->begin_write(*piece);
    step_ = Step::piece;
  }
  return std::nullopt;
}

std::optional<Result<bool>> Transfer::body_again() {
  if (auto rewound = source_->rewind(); !rewound) return end(std::move(rewound).error());
  return next_piece();
}

std::optional<Result<bool>> Transfer::head_arrived() {
  request_ = nullptr;
  source_.reset();
  if (wants_info_) head_at_ = Clock::now();
  if (call_.max_body != Call::unlimited && !exchange_->body_arrived()) {
    const std::size_t length = expected_size(head(), std::numeric_limits<std::size_t>::max());
    if (length > call_.max_body) return count(length);
  }
  if (goal_ != Goal::collect) return true;
  begin_part();
  step_ = Step::body;
  return std::nullopt;
}

// Of a body that is collected.
void Transfer::begin_part() {
  std::string& body = response_->body;
  if (!std::exchange(sized_, true) && !exchange_->body_arrived())
    body.reserve(std::max(expected_size(exchange_->head(), most_reserved), body.capacity()));
  exchange_->begin_read(pieces_, &body);
}

// ---- the response ----------------------------------------------------------------------------------------------------

std::optional<Result<bool>> Transfer::count(std::uint64_t bytes) {
  received_ += bytes;
  if (received_ <= call_.max_body) return std::nullopt;
  return end(Error::make(
      ErrorCode::body_too_large, Phase::read_body,
      "the body of the response is larger than the " + std::to_string(call_.max_body) + " bytes that the call allows"));
}

std::optional<Result<bool>> Transfer::take_pieces(bool more) {
  std::size_t arrived = exchange_->appended();
  for (const std::string_view piece : pieces_)
    arrived += piece.size();
  if (!exchange_->switched()) {
    if (auto too_large = count(arrived)) return too_large;
  }
  if (!more) report_end(nullptr);
  if (goal_ == Goal::read) {
    next_ = 0;
    if (more) keep_pieces();
    piece_ = more ? pieces_[next_++] : std::string_view();
    return true;
  }
  if (!more) {
    finish_response();
    return true;
  }
  for (const std::string_view piece : pieces_)
    response_->body.append(piece);
  begin_part();
  return std::nullopt;
}

void Transfer::finish_response() {
  ResponseHead& head = exchange_->head();
  response_->status = head.status;
  std::swap(response_->reason, head.reason);
  std::swap(response_->headers, head.headers);
  std::swap(response_->trailers, exchange_->trailers());
}

void Transfer::begin_read() {
  goal_ = Goal::read;
  if (next_ < pieces_.size()) {
    piece_ = pieces_[next_++];
    early_ = true;
    return;
  }
  give_buffer_back();
  step_ = Step::body;
  if (switched()) {
    exchange_->begin_receive(pieces_);
  } else {
    exchange_->begin_read(pieces_);
  }
}

// The views look into the thread's receive buffer until this thread reads again, for whatever stream: the bytes become this
// transfer's own.
void Transfer::keep_pieces() {
  const std::vector<char>& buffer = thread_buffer();
  const auto lies_in = [&](std::string_view piece) {
    return std::less_equal<>()(buffer.data(), piece.data()) &&
           std::less<>()(piece.data(), buffer.data() + buffer.size());
  };
  if (!std::any_of(pieces_.begin(), pieces_.end(), lies_in)) return;
  std::size_t size = 0;
  for (const std::string_view piece : pieces_)
    size += piece.size();
  if (size > most_copied) {
    held_.swap(thread_buffer());
    return;
  }
  copy_.clear();
  for (const std::string_view piece : pieces_)
    copy_.append(piece);
  pieces_.assign(1, copy_);
}

void Transfer::give_buffer_back() noexcept {
  if (held_.empty()) return;
  if (thread_buffer().empty()) thread_buffer().swap(held_);
  held_ = {};
}

const StreamInfo& Transfer::info() {
  if (head_at_ == TimePoint{} || !info_.peer_address.empty()) return info_;
  const Exchange::Obtained& obtained = exchange_->obtained();
  if (const auto& addresses = exchange_->addresses()) {
    info_.local_address = addresses->local.to_string();
    info_.peer_address = addresses->peer.to_string();
  }
  info_.reused = !obtained.fresh;
  info_.wait = obtained.at - began_;
  info_.first_byte = head_at_ - began_;
  if (obtained.fresh) {
    info_.resolve = obtained.dialed.resolve;
    info_.connect = obtained.dialed.connect;
    info_.tls = obtained.dialed.tls_handshake;
  }
  return info_;
}

// ---- a body that is written ------------------------------------------------------------------------------------------

void Transfer::begin_write(std::string_view piece) {
  goal_ = Goal::write;
  step_ = Step::written;
  if (switched()) {
    exchange_->begin_transmit(piece);
  } else {
    exchange_->begin_write(piece);
  }
}

void Transfer::begin_finish() {
  goal_ = Goal::finish;
  step_ = Step::head;
  exchange_->begin_finish();
}

// ---- ends ------------------------------------------------------------------------------------------------------------

Result<bool> Transfer::run() {
  const Interrupt none;
  driver::Blocking driver(call_.timeouts, none, may_cancel() ? &cancellation_ : nullptr);
  driver.set_deadline(deadline_);
  auto result = advance(driver);
  return *std::move(result);  // NOLINT(bugprone-unchecked-optional-access): it never says pending
}

// An error that the exchange has met.
Error Transfer::fail(Error error) {
  error = client_->explained(std::move(error));
  report_end(&error);
  return error;
}

// One of the transfer's own, which ends the exchange.
Error Transfer::end(Error error) {
  step_ = Step::none;
  if (exchange_) {
    error.bytes_sent = exchange_->bytes_sent();
    exchange_->abandon();
  }
  client_->core.get().count_error(error.code);
  report_end(&error);
  return error;
}

void Transfer::report_end(const Error* error) noexcept {
  if (events_.open()) [[unlikely]]
    events_.end(head().status, exchange_->connection_number(), error);
}

}  // namespace fastpool::client
