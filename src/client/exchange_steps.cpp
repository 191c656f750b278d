// The state machine of an exchange's operations:
//
//   obtain, send:  [enter] -> acquire -> [handshake] -> connected      [in brackets: only where there is something to do]
//   a lease of the caller's: look -> [acquire] ...
//   send, write, finish:  [listen] -> write <-> listen -> head (send, finish)
//   read:  body
//   what failed and may be sent again:  -> acquire;  or, where only the proof allows it:  [next] -> prove -> acquire
//
// A step that would wait leaves everything as it is and is taken again. Here: the order of the steps, connecting, sending. The
// steps that read are in exchange_reading.cpp, those that begin again in exchange_retry.cpp.

#include <array>
#include <new>

#include "client/exchange.h"
#include "net/descriptor.h"

namespace fastpool::client {

namespace {

using driver::Driver;

iovec piece_of(std::string_view text) noexcept {
  return {const_cast<char*>(text.data()), text.size()};  // NOLINT: sendmsg reads only
}

}  // namespace

std::optional<Result<bool>> Exchange::advance(Driver& driver) {
  try {
    return take_steps(driver);
  } catch (const std::bad_alloc&) {
    step_ = Step::settled;
    operation_ = Operation::none;
    const bool reading = state_ == State::reading_head || state_ == State::reading_body;
    return fail(Error::make(ErrorCode::out_of_memory, reading ? Phase::read_body : Phase::write, {}));
  }
}

std::optional<Result<bool>> Exchange::take_steps(Driver& driver) {
  read_timeout_ = driver.timeouts().read;
  for (;;) {
    Turn turn = Turn::done;
    if (cancelled() && step_ != Step::settled) [[unlikely]] {
      step_ = Step::settled;
      result_ = fail(cancelled_error());
    }
    switch (step_) {
      case Step::settled:
        break;
      case Step::enter:
        turn = enter(driver);
        break;
      case Step::look:
        turn = look(driver);
        break;
      case Step::acquire:
        turn = acquire(driver);
        break;
      case Step::connected:
        turn = connected(driver);
        break;
      case Step::handshake:
        turn = shake_hands(driver);
        break;
      case Step::listen:
        turn = listen(driver);
        break;
      case Step::write:
        turn = write_out(driver);
        break;
      case Step::head:
        turn = read_head(driver);
        break;
      case Step::body:
        turn = read_body(driver);
        break;
      case Step::next:
        turn = acquire_next(driver);
        break;
      case Step::prove:
        turn = prove(driver);
        break;
      case Step::await_continue:
        turn = await_continue(driver);
        break;
      case Step::receive:
        turn = receive(driver);
        break;
      case Step::transmit:
        turn = transmit(driver);
        break;
    }
    if (turn == Turn::wait) {
      if (epoch_ == net::fork_epoch()) [[likely]]
        return std::nullopt;
      // Other code closed the library's descriptors, and what it waits for will never come.
      turn = done(fail(lost_error()));
    }
    if (turn == Turn::done) {
      step_ = Step::settled;
      operation_ = Operation::none;
      return std::exchange(result_, std::nullopt);
    }
  }
}

// ---- connecting ------------------------------------------------------------------------------------------------------

// The transport's own limit first: a caller that waits there takes nothing from other transports of the origin.
Exchange::Turn Exchange::enter(Driver& driver) {
  const bool own = enters_limit_ && !place_;
  if (!own && (origin_limit_ == nullptr || origin_place_)) return go_to(Step::acquire);
  auto entered = driver.enter(own ? *limit_ : *origin_limit_, core_->pool());
  if (!entered) return Turn::wait;
  if (!*entered) return done(fail(std::move(*entered).error()));
  (own ? place_ : origin_place_) = std::move(*entered).value();
  return Turn::go_on;
}

// A lease of the caller's may have been idle for long.
Exchange::Turn Exchange::look(Driver& driver) {
  if (stream_.ref.slot->connected() && !connection().check_alive()) core_->pool().discard(stream_.ref);
  stream_fresh_ = !stream_.ref.slot->connected();
  return stream_fresh_ ? go_to(Step::acquire) : connected(driver);
}

Exchange::Turn Exchange::acquire(Driver& driver) {
  if (stream_) {
    auto seated = driver.connect(core_->pool(), stream_.ref, {.failed_tries = failed_tries()});
    if (!seated) return Turn::wait;
    if (!*seated) return not_connected(std::move(*seated).error());
  } else if (shares_connections()) {
    auto admitted = driver.admit(*homes_, core_->pool(), *endpoint_,
                                 {.failed_tries = failed_tries(), .keep = keep_, .limit = limit_});
    if (!admitted) return Turn::wait;
    if (!*admitted) return not_connected(std::move(*admitted).error());
    connection::Home::Admission& got = admitted->value();
    shared_ = std::move(got.place);
    lease_ = std::move(got.lease);
    connecting_ = std::move(got.connecting);
  } else {
    auto leased = driver.acquire(core_->pool(), *endpoint_, {.failed_tries = failed_tries(), .keep = keep_});
    if (!leased) return Turn::wait;
    if (!*leased) return not_connected(std::move(*leased).error());
    lease_ = std::move(*leased).value();
  }
  return connected(driver);
}

Exchange::Turn Exchange::not_connected(Error error) {
  const bool again = error.code == ErrorCode::connect_failed || error.code == ErrorCode::connect_timeout ||
                     (error.code == ErrorCode::tls_failed && !error.final);
  if (!again || tries_left_ == 0) return done(fail(std::move(error)));
  --tries_left_;
  return reconnect();
}

Exchange::Turn Exchange::connected(Driver& driver) {
  if (connection().channel().established()) {
    over_http2_ = connection().multiplexer() != nullptr;
    if (!over_http2_ && homes_ != nullptr) {
      if (const Turn turn = connected_by_http1(); turn != Turn::done) return turn;
    } else if (over_http2_ && lease_ && homes_ != nullptr && !unshared_) {
      shared_ = driver.home_in(*homes_).adopt(std::move(lease_), std::move(connecting_));
    }
  }
  note_connection();
  if (!connection().channel().established()) return go_to(Step::handshake);
  obtained_ = true;
  if (operation_ == Operation::obtain || rewinds_) return done(true);
  prepare_part();
  return go_to(Step::write);
}

// Its connection counts under the transport's own limit, which one of HTTP/2 does not. \returns done: it is under it.
Exchange::Turn Exchange::connected_by_http1() {
  connecting_.found_http1();
  if (limit_ == nullptr || place_ || stream_) return Turn::done;
  if (auto place = limit_->try_enter()) {
    place_ = *std::move(place);
    return Turn::done;
  }
  lease_.release(pool::Reuse::unused(), keep_);
  origin_place_.leave();  // callers inside the transport's limit may wait for this place
  enters_limit_ = true;
  return go_to(Step::enter);
}

// With an engine of the caller's, the TLS handshake is the first user's to do.
Exchange::Turn Exchange::shake_hands(Driver& driver) {
  if (handshake_began_ == TimePoint{}) handshake_began_ = Clock::now();
  auto shaken = driver.handshake(connection());
  if (!shaken) return Turn::wait;
  const Duration took = Clock::now() - std::exchange(handshake_began_, TimePoint{});
  if (*shaken) {
    core_->pool().note_handshake(*endpoint_, took);
    core_->settle(connection());
    return connected(driver);
  }
  Error error = std::move(*shaken).error();
  // One that lay idle without it may have been closed by its server in that very moment.
  const bool stale = error.code == ErrorCode::tls_failed && !error.final && !fresh();
  drop_connection();
  if (stale) return reconnect();
  return not_connected(std::move(error));
}

// ---- sending ---------------------------------------------------------------------------------------------------------

// One part of the body, or all of it, the head before the first.
void Exchange::prepare_part() {
  std::size_t count = 0;
  const bool chunked = framing_.framing == h1::Framing::chunked;
  if (bytes_sent_ == 0) pieces_[count++] = piece_of(kept_->head);
  if (!part_.empty()) {
    if (chunked) {
      chunk_head_.clear();
      h1::encode_chunk_size(chunk_head_, part_.size());
      pieces_[count++] = piece_of(chunk_head_);
    }
    pieces_[count++] = piece_of(part_);
    if (chunked) pieces_[count++] = piece_of(h1::chunk_end);
  }
  if (last_part_ && chunked) pieces_[count++] = piece_of(h1::last_chunk);
  unsent_ = std::span(pieces_).first(count);
  state_ = State::sending;
  part_given_ = false;
}

Exchange::Turn Exchange::write_out(Driver& driver) {
  if (over_http2_) return send_on_stream(driver);
  auto written = driver.write(connection(), unsent_, bytes_sent_, heeds_);
  if (!written) return write_failed(std::move(written).error());
  switch (*written) {
    case Driver::Written::all:
      return part_written();
    case Driver::Written::heard:
      return go_to(Step::listen);
    case Driver::Written::pending:
      break;
  }
  return Turn::wait;
}

Exchange::Turn Exchange::part_written() {
  if (operation_ == Operation::expect) {
    expect_until_ = Clock::now() + expect_timeout_;
    return go_to(Step::await_continue);
  }
  if (operation_ != Operation::write) return go_to(Step::head);
  piece_taken_ = true;
  body_sent_ += part_.size();
  return done(true);
}

// Waits for a 100 (Continue), a final response, or the end of patience. What the peer says before it is asked is read first.
Exchange::Turn Exchange::await_continue(Driver& driver) {
  if (over_http2_) return await_continue_on_stream(driver);
  auto progress = take_from_peer(driver, nullptr, true);
  if (!progress) return head_failed(std::move(progress).error());
  if (*progress == Progress::end) return head_failed(lost_before_answer());
  if (*progress == Progress::head) {
    early_head_ = true;
    heeds_ = false;
    refused_ = true;
    spent_ = true;  // the server may wait for the body, or not (RFC 9110 section 10.1.1)
    return done(false);
  }
  if (continue_seen_) return done(true);
  const TimePoint now = Clock::now();
  if (now >= expect_until_) return done(true);
  if (*progress == Progress::more) return Turn::go_on;
  const auto waited = driver.wait_for_hang_up(connection(), true, expect_until_ - now);
  if (!waited) return Turn::wait;
  if (*waited) return Turn::go_on;
  return done(fail(Error::make(ErrorCode::interrupted, Phase::read_head, "interrupted while reading")));
}

// Whether the peer has answered already. An error ends the upload there (RFC 9112 section 9.5); any other answer may well
// wait for the rest of the request, and is read when that is sent.
Exchange::Turn Exchange::listen(Driver& driver) {
  step_ = Step::write;
  if (over_http2_) return Turn::go_on;
  auto progress = take_from_peer(driver, nullptr, true);
  if (!progress) {
    heeds_ = false;
    if (progress.error().code == ErrorCode::remote_protocol) return done(fail(std::move(progress).error()));
    // The write will meet the end of the connection too, but not the error, which can be fetched once.
    heard_error_ = progress.error().os_error;
    return Turn::go_on;
  }
  if (*progress == Progress::more || *progress == Progress::pending) return Turn::go_on;
  heeds_ = false;
  if (*progress == Progress::end) return Turn::go_on;
  early_head_ = true;
  if (kept_->parser.head().status < 400) return Turn::go_on;
  refused_ = true;
  spent_ = true;
  if (operation_ != Operation::write) return head_read();
  piece_taken_ = true;
  return done(false);
}

Exchange::Turn Exchange::write_failed(Error error) {
  const bool streamed = operation_ == Operation::write;
  if (error.code != ErrorCode::write_failed) return done(fail(std::move(error)));
  // With nothing sent the part at hand is all that there was before it, so it may go out on another connection.
  if (bytes_sent_ == 0 && retry_after(error) == Retry::yes) return begin_again(std::move(error));
  // The peer stopped reading; it may have answered before (413, 401, ...), or said why in a TLS alert.
  spent_ = true;
  write_error_ = std::move(error);
  if (!streamed) return go_to(Step::head);
  piece_taken_ = true;
  return done(false);
}

}  // namespace fastpool::client
