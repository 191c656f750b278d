// The steps of an exchange that read its response; see the table in exchange_steps.cpp.

#include <algorithm>
#include <cstdint>
#include <exception>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "client/append_unset.h"
#include "client/exchange.h"
#include "client/receive_buffer.h"

namespace fastpool::client {

namespace {

using driver::Driver;
using Event = h1::ResponseParser::Event;

// What is appended at once, at most and at least: the string is not left with its end moved far for few bytes.
constexpr std::size_t most_appended = std::size_t{1} << 20U;
constexpr std::size_t least_appended = receive_buffer_size;

}  // namespace

Exchange::Turn Exchange::read_head(Driver& driver) {
  if (over_http2_) return read_head_on_stream(driver);
  if (early_head_) return head_read();
  state_ = State::reading_head;
  auto progress = take_from_peer(driver, nullptr);
  if (!progress) return head_failed(std::move(progress).error());
  if (*progress == Progress::pending) return Turn::wait;
  return *progress == Progress::head ? head_read() : Turn::go_on;
}

// ---- after a switch of protocols -------------------------------------------------------------------------------------

Exchange::Turn Exchange::receive(Driver& driver) {
  if (!kept_->pending.empty()) {  // bytes that arrived with the head
    kept_->current.swap(kept_->pending);
    kept_->pending.clear();
    taken_->push_back(kept_->current);
    return done(true);
  }
  ReceiveBuffer buffer({});
  auto read = driver.read(connection(), buffer.space());
  const std::string_view input = buffer.put_back(read ? read->bytes : 0);
  if (!read) return done(fail(std::move(read).error()));
  if (read->pending) return Turn::wait;
  if (read->truncated)
    return done(fail(Error::make(ErrorCode::read_failed, Phase::read_body, "the TLS connection was cut off")));
  if (read->end) return cancelled() ? done(fail(cancelled_error())) : done(false);
  taken_->push_back(input);
  return done(true);
}

Exchange::Turn Exchange::transmit(Driver& driver) {
  auto written = driver.write(connection(), unsent_, bytes_sent_, false);
  if (!written) return done(fail(std::move(written).error()));
  return *written == Driver::Written::all ? done(true) : Turn::wait;
}

// ---- the head and the body -------------------------------------------------------------------------------------------

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
  kept_->current.swap(kept_->pending);
  kept_->pending.clear();
  auto progress = take_events(kept_->current, &kept_->arrived);
  if (!progress) {
    body_error_ = std::move(progress).error();
  } else if (*progress == Progress::end && kept_->arrived.empty()) {
    complete();
  }
  return done(true);
}

// The connection speaks another protocol from here on: the bytes behind the head (kept_->pending) are that protocol's.
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
  if (over_http2_) return read_body_on_stream(driver);
  std::vector<std::string_view>& pieces = *taken_;
  for (;;) {
    if (whole_ != nullptr && kept_->pending.empty() &&
        kept_->parser.missing() >= least_appended + receive_buffer_size) {
      return append_body(driver);
    }
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

// Reads a part of a long body right into the caller's string. The last part is left to take_from_peer(), which also sees bytes
// behind the end.
Exchange::Turn Exchange::append_body(Driver& driver) {
  const auto room =
      static_cast<std::size_t>(std::min<std::uint64_t>(kept_->parser.missing() - receive_buffer_size, most_appended));
  std::optional<Result<Driver::ReadOutcome>> read;
  std::exception_ptr raised;
  const auto fill = [&](char* space) noexcept -> std::size_t {
    try {
      read.emplace(driver.read(connection(), {space, room}));
    } catch (...) {
      raised = std::current_exception();
    }
    return read && *read ? (**read).bytes : 0;
  };
  append_unset(*whole_, room, std::ref(fill));  // in place: no allocation
  if (raised) std::rethrow_exception(raised);
  if (!*read) return done(fail(std::move(*read).error()));
  const Driver::ReadOutcome& outcome = **read;
  if (outcome.pending) return Turn::wait;
  if (outcome.end) {
    peer_ended_ = true;
    return done(fail(std::move(take_end(outcome.truncated)).error()));  // never the end of a body that misses bytes
  }
  kept_->parser.skip(outcome.bytes);
  appended_ = outcome.bytes;
  return done(true);
}

Result<Exchange::Progress> Exchange::take_from_peer(Driver& driver, std::vector<std::string_view>* pieces,
                                                    bool only_arrived) {
  ReceiveBuffer buffer(kept_->pending);
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
  kept_->pending.clear();
  return take_events(input, pieces);
}

Result<Exchange::Progress> Exchange::take_events(std::string_view input, std::vector<std::string_view>* pieces) {
  for (;;) {
    const auto step = kept_->parser.parse(input);
    input.remove_prefix(step.consumed);
    switch (step.event) {
      case Event::need_more:
        kept_->pending.assign(input);
        return Progress::more;
      case Event::interim:
        continue_seen_ = continue_seen_ || head().status == 100;
        if (interim_ != nullptr && *interim_) (*interim_)(head());
        break;
      case Event::head:
        kept_->pending.assign(input);
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
                           kept_->parser.error_detail());
    }
  }
}

Result<Exchange::Progress> Exchange::take_end(bool truncated) {
  const Phase phase = state_ == State::reading_body ? Phase::read_body : Phase::read_head;
  if (cancelled()) return cancelled_error();  // the end is that of its own shutdown
  const auto step = kept_->parser.finish();
  if (step.event == Event::end && !truncated) {
    spent_ = true;  // the connection is at its end
    state_ = State::body_arrived;
    return Progress::end;
  }
  if (step.event == Event::end)
    return Error::make(ErrorCode::read_failed, phase, "the TLS connection was cut off: the body may not be whole");
  if (!kept_->parser.ended_early()) return Error::make(ErrorCode::remote_protocol, phase, kept_->parser.error_detail());
  return phase == Phase::read_head
             ? lost_before_answer()
             : Error::make(ErrorCode::read_failed, phase, "the server closed the connection before the body was whole");
}

Error Exchange::lost_before_answer() {
  return Error::make(ErrorCode::read_failed, Phase::read_head, "the server closed the connection without an answer");
}

}  // namespace fastpool::client
