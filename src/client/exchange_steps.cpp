// The state machine of an exchange's operations:
//
//   obtain, send:  [enter] -> acquire -> [handshake] -> connected      [in brackets: only where there is something to do]
//   a lease of the caller's: look -> [acquire] ...
//   send, write, finish:  [listen] -> write <-> listen -> head (send, finish)
//   read:  body
//   what failed and may be sent again:  -> acquire;  or, where only the proof allows it:  [next] -> prove -> acquire
//
// A step that would wait leaves everything as it is and is taken again.

#include <array>
#include <new>

#include "client/exchange.h"
#include "client/receive_buffer.h"
#include "net/descriptor.h"

namespace fastpool::client {

namespace {

using driver::Driver;
using Event = h1::ResponseParser::Event;

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
    switch (step_) {
      case Step::settled:
        break;
      case Step::enter:
        turn = enter(driver);
        break;
      case Step::look:
        turn = look();
        break;
      case Step::acquire:
        turn = acquire(driver);
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

Exchange::Turn Exchange::enter(Driver& driver) {
  auto entered = driver.enter(*limit_, core_->pool());
  if (!entered) return Turn::wait;
  if (!*entered) return done(fail(std::move(*entered).error()));
  place_ = std::move(*entered).value();
  return go_to(Step::acquire);
}

// A lease of the caller's may have been idle for long.
Exchange::Turn Exchange::look() {
  if (stream_.ref.slot->connected() && !connection().check_alive()) core_->pool().disconnect(stream_.ref);
  stream_fresh_ = !stream_.ref.slot->connected();
  return stream_fresh_ ? go_to(Step::acquire) : connected();
}

Exchange::Turn Exchange::acquire(Driver& driver) {
  if (stream_) {
    auto seated = driver.connect(core_->pool(), stream_.ref, {.failed_tries = failed_tries()});
    if (!seated) return Turn::wait;
    if (!*seated) return not_connected(std::move(*seated).error());
  } else {
    auto leased = driver.acquire(core_->pool(), *endpoint_, {.failed_tries = failed_tries(), .keep = keep_});
    if (!leased) return Turn::wait;
    if (!*leased) return not_connected(std::move(*leased).error());
    lease_ = std::move(*leased).value();
  }
  return connected();
}

Exchange::Turn Exchange::not_connected(Error error) {
  const bool again = error.code == ErrorCode::connect_failed || error.code == ErrorCode::connect_timeout ||
                     (error.code == ErrorCode::tls_failed && !error.final);
  if (!again || tries_left_ == 0) return done(fail(std::move(error)));
  --tries_left_;
  return go_to(stream_ ? Step::look : Step::acquire);
}

Exchange::Turn Exchange::connected() {
  note_connection();
  if (!connection().channel().established()) return go_to(Step::handshake);
  obtained_ = true;
  if (operation_ == Operation::obtain) return done(true);
  prepare_part();
  return go_to(Step::write);
}

// With an engine of the caller's, the TLS handshake is the first user's to do.
Exchange::Turn Exchange::shake_hands(Driver& driver) {
  if (handshake_began_ == TimePoint{}) handshake_began_ = Clock::now();
  auto shaken = driver.handshake(connection());
  if (!shaken) return Turn::wait;
  const Duration took = Clock::now() - std::exchange(handshake_began_, TimePoint{});
  if (*shaken) {
    core_->pool().note_handshake(*endpoint_, took);
    return connected();
  }
  Error error = std::move(*shaken).error();
  // One that lay idle without it may have been closed by its server in that very moment.
  const bool stale = error.code == ErrorCode::tls_failed && !error.final && !fresh();
  drop_connection();
  if (stale) return go_to(stream_ ? Step::look : Step::acquire);
  return not_connected(std::move(error));
}

// ---- sending ---------------------------------------------------------------------------------------------------------

// One part of the body, or all of it, the head before the first.
void Exchange::prepare_part() {
  std::size_t count = 0;
  const bool chunked = framing_.framing == h1::Framing::chunked;
  if (bytes_sent_ == 0) pieces_[count++] = piece_of(head_bytes_);
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
}

Exchange::Turn Exchange::write_out(Driver& driver) {
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
  if (operation_ != Operation::write) return go_to(Step::head);
  piece_taken_ = true;
  body_sent_ += part_.size();
  return done(true);
}

// Whether the peer has answered already. An error ends the upload there (RFC 9112 section 9.5); any other answer may well
// wait for the rest of the request, and is read when that is sent.
Exchange::Turn Exchange::listen(Driver& driver) {
  step_ = Step::write;
  auto progress = take_from_peer(driver, nullptr, true);
  if (!progress) {
    heeds_ = false;
    if (progress.error().code == ErrorCode::remote_protocol) return done(fail(std::move(progress).error()));
    return Turn::go_on;  // the write will meet it too
  }
  if (*progress == Progress::more || *progress == Progress::pending) return Turn::go_on;
  heeds_ = false;
  if (*progress == Progress::end) return Turn::go_on;
  early_head_ = true;
  if (parser_->head().status < 400) return Turn::go_on;
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

// ---- reading ---------------------------------------------------------------------------------------------------------

Exchange::Turn Exchange::read_head(Driver& driver) {
  if (early_head_) return head_read();
  state_ = State::reading_head;
  auto progress = take_from_peer(driver, nullptr);
  if (!progress) return head_failed(std::move(progress).error());
  if (*progress == Progress::pending) return Turn::wait;
  return *progress == Progress::head ? head_read() : Turn::go_on;
}

Exchange::Turn Exchange::head_failed(Error error) {
  if (write_error_) {
    // A TLS alert tells why the peer stopped reading; a reset or an end says no more than the write has said.
    const std::string said = connection().channel().last_error();
    const bool explained = error.code == ErrorCode::interrupted || (!said.empty() && error.detail == said);
    if (!explained) error = *std::move(write_error_);
    write_error_.reset();
  }
  return begin_again(std::move(error));
}

// Parses the part of the body that arrived with the head; an error in it is reported by the read that reaches it. A response
// without a body is complete before any read; the lease of one whose body has arrived whole ends as it is read.
Exchange::Turn Exchange::head_read() {
  const int status = head().status;
  if (status == 101 || (connect_request_ && status / 100 == 2)) return switch_protocols();
  state_ = State::reading_body;
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
  return done(true);
}

// The connection speaks another protocol from here on: the bytes behind the head (pending_) are that protocol's.
Exchange::Turn Exchange::switch_protocols() {
  spent_ = true;
  if (head().status == 101 && !framing_.upgrade) {
    return done(fail(Error::make(ErrorCode::remote_protocol, Phase::read_head,
                                 "101 Switching Protocols, which the request did not ask for")));
  }
  connection().leave_event_loop();
  state_ = State::switched;
  return done(true);
}

Exchange::Turn Exchange::read_body(Driver& driver) {
  std::vector<std::string_view>& pieces = *taken_;
  for (;;) {
    auto progress = take_from_peer(driver, &pieces);
    if (!progress) {
      // Bytes that arrived before the error are read before it.
      if (pieces.empty()) return done(fail(std::move(progress).error()));
      body_error_ = std::move(progress).error();
      return done(true);
    }
    if (*progress == Progress::pending) return Turn::wait;
    if (*progress == Progress::end) complete();
    if (!pieces.empty()) return done(true);
    if (*progress == Progress::end) return done(false);
  }
}

Result<Exchange::Progress> Exchange::take_from_peer(Driver& driver, std::vector<std::string_view>* pieces,
                                                    bool only_arrived) {
  ReceiveBuffer buffer(pending_);
  auto read =
      only_arrived ? driver.read_arrived(connection(), buffer.space()) : driver.read(connection(), buffer.space());
  const std::string_view input = buffer.put_back(read ? read->bytes : 0);
  if (!read) return std::move(read).error();
  if (read->pending) return Progress::pending;
  if (read->end) {
    peer_ended_ = true;
    if (only_arrived) return Progress::end;  // the end of its side: not yet of the exchange
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
        // Bytes behind the end belong to no response: the connection is closed.
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

// ---- beginning again --------------------------------------------------------------------------------------------------

Retry Exchange::retry_after(const Error& error) const noexcept {
  FailedExchange failed;
  failed.error = error.code;
  failed.fresh = fresh();
  failed.bytes_sent = bytes_sent_;
  failed.response_began = parser_->saw_bytes();
  failed.peer_ended = peer_ended_;
  failed.replayable = replayable_;
  failed.rewindable = !piece_taken_;
  return decide_retry(failed);
}

// After an error: goes to another connection if the table allows it, so that the request can be sent from its beginning,
// else ends the exchange.
Exchange::Turn Exchange::begin_again(Error error) {
  switch (retry_after(error)) {
    case Retry::no:
      return done(fail(std::move(error)));
    case Retry::if_unread:
      break;
    case Retry::yes:
      core_->count_retry(false);
      drop_connection();
      tries_left_ = connect_retries_;
      return go_to(stream_ ? Step::look : Step::acquire);
  }
  // The table asks for it only after a read or write has failed.
  watch_.emplace(connection().channel().descriptor(), written_before_, error.os_error, read_timeout_);
  failed_ = std::move(error);
  if (const Unread verdict = watch_->look(); verdict != Unread::undecided) return judge_unread(verdict);
  // The next connection is acquired while the refusal is on its way, but without a wait at a limit, which this very
  // connection may fill. A lease of the caller's has room for one connection.
  return go_to(lease_ ? Step::next : Step::prove);
}

Exchange::Turn Exchange::acquire_next(Driver& driver) {
  auto leased = driver.acquire(core_->pool(), *endpoint_, {.at_once = true, .keep = keep_});
  if (!leased) return Turn::wait;
  if (*leased) {
    next_ = std::move(*leased).value();
  } else if (leased->error().code == ErrorCode::interrupted) {
    return done(fail(std::move(*leased).error()));
  }
  return go_to(Step::prove);
}

Exchange::Turn Exchange::prove(Driver& driver) {
  UnreadWatch& watch = *watch_;  // NOLINT(bugprone-unchecked-optional-access): begin_again() made it
  const Unread verdict = watch.look();
  if (verdict != Unread::undecided) return judge_unread(verdict);
  const auto waited = driver.wait_for_hang_up(connection(), watch.awaits_end(), watch.pause());
  if (!waited) return Turn::wait;
  if (*waited) return Turn::go_on;
  return done(fail(Error::make(ErrorCode::interrupted, Phase::read_head, "interrupted while reading")));
}

Exchange::Turn Exchange::judge_unread(Unread verdict) {
  watch_.reset();
  Error error = *std::exchange(failed_, std::nullopt);  // NOLINT(bugprone-unchecked-optional-access)
  if (verdict != Unread::proved) return done(fail(std::move(error)));
  core_->count_retry(true);
  drop_connection();
  tries_left_ = connect_retries_;
  if (!next_) return go_to(stream_ ? Step::look : Step::acquire);
  lease_ = std::move(next_);
  return connected();
}

}  // namespace fastpool::client
