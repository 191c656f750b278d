// The steps of an exchange whose connection speaks HTTP/2: in place of writing to the connection and of parsing what it reads, they open
// a stream of its multiplexer, give it the body, and take what the stream has received. See the table in exchange_steps.cpp.

#include <string>
#include <utility>
#include <vector>

#include "client/dialed_target.h"
#include "client/exchange.h"
#include "h1/request_encoder.h"

namespace fastpool::client {

namespace {

using connection::Awaited;
using driver::Driver;

// How often a request is sent again because the peer has proved that it did nothing with it: a peer may refuse for ever.
constexpr int most_unread_tries = 5;
// The same, of a peer that has served other requests on the connection before its GOAWAY: each of these tries brings one of the
// callers further.
constexpr int most_goodbyes = 50;

Error error_of(const h2::StreamFailure& failure) {
  const bool broken = failure.disconnected;
  std::string detail = failure.detail;
  if (detail.empty()) {
    const char* const what = failure.goodbye   ? "the server closed the connection without serving this request"
                             : failure.by_peer ? "the server reset the stream"
                                               : "the response breaks HTTP/2";
    detail = std::string(what) + " (" + std::string(failure.goodbye ? "GOAWAY" : h2::error_name(failure.code)) + ")";
  }
  return Error::make(broken ? ErrorCode::read_failed : ErrorCode::remote_protocol, Phase::read_head, std::move(detail));
}

}  // namespace

connection::Multiplexer& Exchange::multiplexer() const noexcept {
  return *connection().multiplexer();
}

// ---- sending ---------------------------------------------------------------------------------------------------------

// One part of the body, or all of it, the head before the first.
Exchange::Turn Exchange::send_on_stream(Driver& driver) {
  if (!part_given_) {
    if (stream_at_peer_) {
      multiplexer().write(*stream_at_peer_, part_, last_part_);
      bytes_sent_ += part_.size();
    } else if (const auto turn = open_stream()) {
      return *turn;
    }
    part_given_ = true;
    part_unsent_ = !part_.empty();
    driver.flush(connection());
  }
  if (operation_ == Operation::expect) return part_written();
  return await_sent(driver);
}

// \returns what follows if there is no stream.
std::optional<Exchange::Turn> Exchange::open_stream() {
  stream_at_peer_ = std::make_shared<connection::MultiplexedStream>();
  kept_->stream_trailers.clear();
  const h1::HeadParts parts = h1::parts_of(kept_->head);
  const bool secure = dialed_target(*endpoint_).origin.scheme == Scheme::https;
  auto opened = multiplexer().open(
      *stream_at_peer_, {parts.method, secure ? "https" : "http", parts.target, parts.headers}, part_, last_part_);
  if (!opened) return done(fail(std::move(opened).error()));
  if (!*opened) {  // no room any more (SETTINGS, GOAWAY): nothing was sent
    drop_connection();
    return reconnect();
  }
  core_->count_stream();
  stream_id_ = stream_at_peer_->id();  // written by open() alone
  bytes_sent_ = kept_->head.size() + part_.size();
  return std::nullopt;
}

// Until the part has gone out; an answer of the peer's may end that before.
Exchange::Turn Exchange::await_sent(Driver& driver) {
  const OptionalDuration& patience = driver.timeouts().write;
  for (;;) {
    const auto stand = multiplexer().stand_of(*stream_at_peer_);
    const bool refuses = stand.has_head && stand.status >= 400;
    if (stand.over || refuses) {
      const bool cut_short = !stand.sent;
      if (cut_short) {
        multiplexer().stop_sending(*stream_at_peer_);
        refused_ = true;
      }
      part_unsent_ = false;
      if (operation_ != Operation::write) return go_to(Step::head);
      piece_taken_ = true;
      refused_ = true;
      return done(false);
    }
    if (stand.sent) {
      part_unsent_ = false;
      return part_written();
    }
    auto came =
        driver.await(connection(), stream_at_peer_, stand.has_head ? Awaited::rest_sent : Awaited::sent, patience);
    if (!came) return done(fail(std::move(came).error()));
    if (!*came) return Turn::wait;
    if (cancelled()) return Turn::go_on;
  }
}

// Waits for a 100 (Continue), a final response, or the end of patience.
Exchange::Turn Exchange::await_continue_on_stream(Driver& driver) {
  report_interim_heads(multiplexer().take_interim(*stream_at_peer_));
  if (continue_seen_) return done(true);
  const auto stand = multiplexer().stand_of(*stream_at_peer_);
  if (stand.over && !stand.has_head) return stream_failed();
  if (stand.has_head) {
    refused_ = true;
    return done(false);
  }
  const TimePoint now = Clock::now();
  if (now >= expect_until_) return done(true);
  auto came = driver.await(connection(), stream_at_peer_, Awaited::head, expect_until_ - now);
  if (came) return *came ? Turn::go_on : Turn::wait;
  return came.error().code == ErrorCode::read_timeout ? done(true) : done(fail(std::move(came).error()));
}

// ---- the response ----------------------------------------------------------------------------------------------------

void Exchange::report_interim_heads(const std::vector<ResponseHead>& heads) {
  for (const ResponseHead& head : heads) {
    continue_seen_ = continue_seen_ || head.status == 100;
    if (interim_ != nullptr && *interim_) (*interim_)(head);
  }
}

Exchange::Turn Exchange::read_head_on_stream(Driver& driver) {
  state_ = State::reading_head;
  auto came = driver.await(connection(), stream_at_peer_, Awaited::head, read_timeout_);
  if (!came) return done(fail(std::move(came).error()));
  if (!*came) return Turn::wait;
  const auto taken = multiplexer().take_head(*stream_at_peer_, kept_->current);
  report_interim_heads(taken.interim);
  if (!taken.has_head) return taken.over ? stream_failed() : Turn::go_on;
  kept_->stream_head = std::move(stream_at_peer_->head);  // the multiplexer touches it no more
  state_ = State::reading_body;
  note_taken(driver, taken.body, kept_->arrived);
  if (state_ == State::body_arrived && kept_->arrived.empty()) complete();
  return done(true);
}

Exchange::Turn Exchange::read_body_on_stream(Driver& driver) {
  auto came = driver.await(connection(), stream_at_peer_, Awaited::body, read_timeout_);
  if (!came) return done(fail(std::move(came).error()));
  if (!*came) return Turn::wait;
  note_taken(driver, multiplexer().take_body(*stream_at_peer_, kept_->current), *taken_);
  if (state_ == State::body_arrived) complete();
  if (!taken_->empty()) return done(true);
  if (state_ == State::complete) return done(false);
  if (auto error = std::exchange(body_error_, std::nullopt)) return done(fail(*std::move(error)));
  return Turn::go_on;
}

// What has arrived of the body, in kept_->current; an error behind it is reported by the read that reaches it.
void Exchange::note_taken(Driver& driver, const connection::Multiplexer::Taken& taken,
                          std::vector<std::string_view>& pieces) {
  if (taken.credits) driver.flush(connection());
  if (!kept_->current.empty()) pieces.emplace_back(kept_->current);
  stream_closed_ = taken.closed;
  if (taken.ended) {
    kept_->stream_trailers = std::move(stream_at_peer_->trailers);
    state_ = State::body_arrived;
  } else if (taken.failed) {
    body_error_ = error_of(*stream_at_peer_->failure);
    body_error_->phase = Phase::read_body;
  }
}

// ---- ends ------------------------------------------------------------------------------------------------------------

// Without a head of the response.
Exchange::Turn Exchange::stream_failed() {
  const h2::StreamFailure& failure = *stream_at_peer_->failure;  // NOLINT(bugprone-unchecked-optional-access)
  Error error = error_of(failure);
  peer_ended_ = false;
  if (!failure.unread) return begin_again(std::move(error));
  const bool rewindable = !piece_taken_ || rewindable_;
  if (cancelled() || !rewindable) return done(fail(std::move(error)));
  if (!failure.unsent) {
    int& tries = failure.goodbye ? goodbyes_ : unread_tries_;
    if (tries == (failure.goodbye ? most_goodbyes : most_unread_tries)) return done(fail(std::move(error)));
    ++tries;
  }
  start_over(error, true);
  return reconnect();
}

// Gives the stream and its place back; the connection goes on.
void Exchange::leave_stream() noexcept {
  auto stream = std::exchange(stream_at_peer_, nullptr);
  if (stream && !stream_closed_) {
    if (std::exchange(part_unsent_, false)) multiplexer().stop_sending(*stream);  // the bytes are the caller's
    multiplexer().give_up(std::move(stream));
  }
  stream_closed_ = false;
  part_given_ = false;
}

// Whether the connection of a lease may carry another request.
pool::Reuse Exchange::reuse_after_stream(pool::Reuse reuse) const noexcept {
  if (close_asked_ || multiplexer().ends()) return pool::Reuse::no();
  return reuse.reusable() ? reuse : pool::Reuse::yes();
}

}  // namespace fastpool::client
