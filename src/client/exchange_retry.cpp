// The steps of an exchange that failed and may begin again; see the table in exchange_steps.cpp and retry.h.

#include <optional>
#include <utility>

#include "client/exchange.h"

namespace fastpool::client {

namespace {

using driver::Driver;

}  // namespace

Retry Exchange::retry_after(const Error& error) const noexcept {
  FailedExchange failed;
  failed.error = error.code;
  failed.fresh = fresh();
  failed.bytes_sent = bytes_sent_;
  failed.response_began = !over_http2_ && kept_->parser.saw_bytes();  // a stream that fails has no head
  failed.peer_ended = peer_ended_;
  failed.replayable = replayable_;
  failed.rewindable = !piece_taken_ || rewindable_;
  return decide_retry(failed);
}

// The request is to be sent again: without its connection, as if it had not begun.
void Exchange::start_over(const Error& error, bool proved_unread) {
  core_->count_retry(proved_unread);
  if (retry_listener_ != nullptr) (*retry_listener_)(error);
  drop_connection();
  tries_left_ = connect_retries_;
}

// After an error: goes to another connection if the table allows it, so that the request can be sent from its beginning,
// else ends the exchange.
Exchange::Turn Exchange::begin_again(Error error) {
  if (cancelled()) return done(fail(std::move(error)));
  switch (retry_after(error)) {
    case Retry::no:
      return done(fail(std::move(error)));
    case Retry::if_unread:
      break;
    case Retry::yes:
      start_over(error, false);
      return reconnect();
  }
  if (over_http2_) return done(fail(std::move(error)));  // a stream's failure says itself whether it was unread
  // The table asks for it only after a read or write has failed.
  watch_.emplace(connection().channel().descriptor(), written_before_,
                 heard_error_ != 0 ? heard_error_ : error.os_error, read_timeout_);
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
  start_over(error, true);
  if (!next_) return reconnect();
  lease_ = std::move(next_);
  return go_to(Step::connected);
}

}  // namespace fastpool::client
