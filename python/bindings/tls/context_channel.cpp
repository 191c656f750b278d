#include "bindings/tls/context_channel.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

namespace fastpool::bindings {

using net::IoMode;
using net::IoResult;
using net::IoStatus;
using net::Liveness;

namespace {

/// One write() ends after about this much, so that a caller with a long body looks at its clock and signals in between.
constexpr std::size_t write_stride = 4 * ContextSession::record_size;

std::size_t size_of(std::span<const iovec> pieces) noexcept {
  std::size_t size = 0;
  for (const iovec& piece : pieces)
    size += piece.iov_len;
  return size;
}

// TLS that ends below without close_notify is a FIN here: what it means is for this TLS to say.
bool is_end(IoStatus status) noexcept {
  return status == IoStatus::end || status == IoStatus::truncated;
}

bool is_want(IoStatus status) noexcept {
  return status == IoStatus::want_read || status == IoStatus::want_write;
}

}  // namespace

ContextChannel::ContextChannel(std::shared_ptr<const ContextFactory> factory, std::unique_ptr<net::Channel>&& below,
                               std::string server_name, Protocols protocols)
    : session_(std::move(factory), std::move(server_name), protocols), below_(std::move(below)) {}

IoResult ContextChannel::result_of(Outcome outcome) const noexcept {
  switch (outcome) {
    case Outcome::done:
      return {IoStatus::ok, 0, 0};
    case Outcome::want_read:
      return {IoStatus::want_read, 0, 0};
    case Outcome::end:
      return {IoStatus::end, 0, 0};
    case Outcome::cut_off:
      return {IoStatus::truncated, 0, 0};
    case Outcome::failed:
      break;
  }
  return {IoStatus::error, 0, session_.interrupted() ? ECANCELED : 0};
}

/// Sends until all is sent, or what the kernel says in between; some of it may have gone out then.
IoResult ContextChannel::send_unsent(IoMode mode) noexcept {
  while (sent_ < unsent_.size()) {
    const iovec rest{unsent_.data() + sent_, unsent_.size() - sent_};
    const IoResult io = below_->write({&rest, 1}, mode);
    if (io.status == IoStatus::error) {
      mute_ = true;
      os_error_ = io.os_error;
    }
    if (io.status != IoStatus::ok) return io;
    sent_ += io.bytes;
  }
  return {IoStatus::ok, 0, 0};
}

/// Returns what every later read() returns.
IoResult ContextChannel::end_reading(const IoResult& how) noexcept {
  if (how.status == IoStatus::error) session_.keep_error();
  end_ = how;
  return how;
}

IoResult ContextChannel::handshake_failed(const IoResult& io) noexcept {
  mute_ = true;
  if (io.os_error != 0 && !session_.interrupted()) os_error_ = io.os_error;
  return end_reading({IoStatus::error, 0, io.os_error});
}

IoResult ContextChannel::handshake(IoMode mode) noexcept {
  if (end_) return *end_;
  for (bool waited = false;;) {
    const IoResult sent = send_unsent(mode);
    if (is_want(sent.status)) return sent;
    if (sent.status != IoStatus::ok) return handshake_failed(sent);
    unsent_.clear();
    sent_ = 0;
    if (shaken_) {
      established_ = true;
      return {IoStatus::ok, 0, 0};
    }
    Outcome outcome = Outcome::done;
    if (!session_.begun()) {
      outcome = session_.in_python([this] {
        const Outcome begun = session_.begin();
        return begun == Outcome::done ? session_.shake_hands(unsent_) : begun;
      });
    } else {
      if (waited && mode == IoMode::wait) return {IoStatus::want_read, 0, 0};
      std::array<char, ContextSession::record_size>
          buffer;  // NOLINT(cppcoreguidelines-pro-type-member-init): written before it is read
      const IoResult io = below_->read(buffer, mode);
      if (is_want(io.status)) return io;
      if (io.status == IoStatus::error) return handshake_failed(io);
      waited = true;
      outcome = session_.in_python([&] {
        const Outcome fed = session_.feed(std::span(buffer).first(io.bytes), is_end(io.status));
        return fed == Outcome::done ? session_.shake_hands(unsent_) : fed;
      });
    }
    if (outcome == Outcome::done) {
      shaken_ = true;
    } else if (outcome != Outcome::want_read) {
      (void)send_unsent(IoMode::dont_wait);  // the alert that tells the peer
      os_error_ = 0;
      return handshake_failed({IoStatus::error, 0, session_.interrupted() ? ECANCELED : 0});
    }
  }
}

Error ContextChannel::handshake_error() const {
  std::string text = session_.last_error();
  // Its own code raised, or that of a context that speaks to a proxy below.
  const bool interrupted = session_.interrupted() || os_error_ == ECANCELED;
  if (text.empty()) text = os_error_ != 0 ? std::generic_category().message(os_error_) : "the TLS handshake failed";
  Error error = Error::make(interrupted ? ErrorCode::interrupted : ErrorCode::tls_failed, Phase::tls_handshake,
                            std::move(text), interrupted ? 0 : os_error_);
  error.final = session_.certificate_refused();
  error.cause = last_cause();
  return error;
}

/// Gives the SSLObject what was received into the buffer, and reads into it.
IoResult ContextChannel::feed_and_read(std::span<char> buffer, std::size_t received, bool eof) noexcept {
  std::size_t got = 0;
  const Outcome outcome = session_.in_python([&] {
    Outcome step = session_.feed(buffer.first(received), eof);
    if (step == Outcome::done) step = session_.decrypt(buffer, got);
    const Outcome collected = session_.collect(unsent_);
    return collected == Outcome::done ? step : collected;
  });
  if (plain_ == 0 && !mute_) (void)send_unsent(IoMode::dont_wait);
  const IoResult result = result_of(outcome);
  if (outcome != Outcome::done && outcome != Outcome::want_read) {
    session_.set_drained();
    (void)end_reading(result);
  }
  return got > 0 ? IoResult{IoStatus::ok, got, 0} : result;
}

IoResult ContextChannel::read(std::span<char> buffer, IoMode mode) noexcept {
  if (end_) return *end_;
  if (session_.interrupted()) return result_of(Outcome::failed);
  if (!established_) return {IoStatus::error, 0, ENOTCONN};
  if (!session_.drained()) {
    const IoResult result = feed_and_read(buffer, 0, false);
    if (result.status != IoStatus::want_read) return result;
  }
  for (;;) {
    const IoResult io = below_->read(buffer, mode);
    if (is_want(io.status)) return io;
    if (io.status == IoStatus::error) return end_reading(io);
    const IoResult result = feed_and_read(buffer, io.bytes, is_end(io.status));
    if (result.status != IoStatus::want_read || mode == IoMode::wait) return result;
  }
}

/// For a write that cannot go on without the peer.
IoResult ContextChannel::feed_more(IoMode mode) noexcept {
  std::array<char, ContextSession::record_size>
      buffer;  // NOLINT(cppcoreguidelines-pro-type-member-init): written before it is read
  const IoResult io = below_->read(buffer, mode);
  if (io.status != IoStatus::ok && !is_end(io.status)) return io;
  return result_of(
      session_.in_python([&] { return session_.feed(std::span(buffer).first(io.bytes), is_end(io.status)); }));
}

std::size_t ContextChannel::newly_written() noexcept {
  std::size_t now = plain_;
  if (sent_ < unsent_.size()) {
    now = plain_ == 0 ? 0 : std::max(told_, std::min(plain_ - 1, plain_ * sent_ / unsent_.size()));
  }
  return now - std::exchange(told_, now);
}

IoResult ContextChannel::write(std::span<const iovec> given, IoMode mode) noexcept {
  if (session_.interrupted()) return result_of(Outcome::failed);
  if (!established_ || mute_) return {IoStatus::error, 0, os_error_ != 0 ? os_error_ : EPIPE};
  const std::size_t given_bytes = size_of(given);
  std::size_t total = std::min(ahead_, given_bytes);
  ahead_ -= total;
  for (;;) {
    const IoResult io = send_unsent(mode);
    const std::size_t fresh = newly_written();
    const std::size_t taken = std::min(fresh, given_bytes - total);
    ahead_ += fresh - taken;
    total += taken;
    if (io.status != IoStatus::ok) return total > 0 ? IoResult{IoStatus::ok, total, 0} : io;
    unsent_.clear();
    sent_ = plain_ = told_ = 0;
    if (total == given_bytes || total >= write_stride) return {IoStatus::ok, total, 0};

    const std::size_t most = std::min(given_bytes - total, write_stride - total);
    const Outcome outcome = session_.in_python([&] { return session_.encrypt(given, total, most, plain_, unsent_); });
    if (outcome == Outcome::done) continue;
    IoResult result = result_of(outcome);
    if (outcome == Outcome::want_read) {
      result = feed_more(mode);
      if (result.status == IoStatus::ok) continue;
    } else {
      mute_ = true;
      result = {IoStatus::error, 0, result.os_error};
    }
    return total > 0 ? IoResult{IoStatus::ok, total, 0} : result;
  }
}

Liveness ContextChannel::peek() noexcept {
  if (end_ || mute_) return Liveness::dead;
  if (!established_) return !session_.begun() ? below_->peek() : Liveness::dead;
  if (session_.drained()) {
    const Liveness raw = below_->peek();
    if (raw != Liveness::unexpected) return raw;
  }
  // Session tickets and the like are taken and seen to; anything for the application was not asked for.
  std::array<char, ContextSession::record_size>
      buffer;  // NOLINT(cppcoreguidelines-pro-type-member-init): written before it is read
  for (;;) {
    if (!session_.drained()) {
      const IoResult result = feed_and_read(buffer, 0, false);
      if (result.status == IoStatus::ok) return Liveness::unexpected;
      if (session_.interrupted()) return Liveness::alive;  // the next use, at once, raises that
      if (result.status != IoStatus::want_read) return Liveness::dead;
    }
    const IoResult io = below_->read(buffer, IoMode::dont_wait);
    if (io.status == IoStatus::want_read) return Liveness::alive;
    if (io.status != IoStatus::ok) return Liveness::dead;
    const IoResult result = feed_and_read(buffer, io.bytes, false);
    if (result.status == IoStatus::ok) return Liveness::unexpected;
    if (session_.interrupted()) return Liveness::alive;
    if (result.status != IoStatus::want_read) return Liveness::dead;
  }
}

}  // namespace fastpool::bindings
