#include "connection/multiplexer.h"

#include <algorithm>
#include <new>
#include <span>
#include <system_error>
#include <utility>

#include "connection/multiplexed_wait.h"
#include "sync/thread_owned.h"

namespace fastpool::connection {

using net::IoMode;
using net::IoResult;
using net::IoStatus;

namespace {

constexpr std::size_t most_kept = 4UL * 1024;  // of an output buffer, between two sends

// Empty without memory.
std::span<char> receive_buffer() noexcept {
  struct Tag {};
  try {
    auto& buffer = sync::ThreadOwned<std::vector<char>, Tag>::get();
    if (buffer.empty()) buffer.resize(64UL * 1024);
    return buffer;
  } catch (const std::bad_alloc&) {
    return {};
  }
}

}  // namespace

// ---- the mutex -------------------------------------------------------------------------------------------------------

namespace {

constinit thread_local const Multiplexer* used_here = nullptr;

}  // namespace

bool Multiplexer::in_use_here() const noexcept {
  return used_here == this;
}

std::unique_lock<std::mutex> Multiplexer::lock() noexcept {
  if (locker_ == nullptr) [[likely]]
    return std::unique_lock(mutex_);
  locker_(mutex_);
  return {mutex_, std::adopt_lock};
}

Multiplexer::Section::Section(Multiplexer& multiplexer, std::unique_lock<std::mutex> lock) noexcept
    : multiplexer_(multiplexer), outer_(std::exchange(used_here, &multiplexer)), lock_(std::move(lock)) {
  multiplexer_.take_given_up_locked();
}

Multiplexer::Section::~Section() {
  leave();
  multiplexer_.given_up_.look_again(*this);
}

bool Multiplexer::Section::try_enter() noexcept {
  lock_ = std::unique_lock(multiplexer_.mutex_, std::try_to_lock);
  if (lock_) used_here = &multiplexer_;
  return lock_.owns_lock();
}

void Multiplexer::Section::serve() noexcept {
  multiplexer_.take_given_up_locked();
  multiplexer_.send_locked();
}

void Multiplexer::Section::leave() noexcept {
  multiplexer_.wake_locked();
  multiplexer_.note_room_locked();
  const auto listener = std::exchange(multiplexer_.room_changed_, false) ? multiplexer_.listener_.lock()
                                                                         : std::shared_ptr<RoomListener>();
  const auto destroyed = std::exchange(multiplexer_.destroyed_later_, {});
  used_here = outer_;
  lock_.unlock();
  if (listener) listener->on_room_changed();
}

Result<std::shared_ptr<Multiplexer>> Multiplexer::create(net::Channel& channel) {
  auto session = h2::Session::create();
  if (!session) return Error::make(ErrorCode::out_of_memory, Phase::connect, {});
  return std::shared_ptr<Multiplexer>(new Multiplexer(channel, std::move(session)));
}

Multiplexer::~Multiplexer() = default;

// ---- streams ---------------------------------------------------------------------------------------------------------

Result<bool> Multiplexer::open(MultiplexedStream& stream, const h2::RequestHead& head, std::string_view body,
                               bool last) {
  const Section section(*this);
  if (lost_ || !session_->may_open()) return false;
  if (auto opened = session_->open(stream, head, last && body.empty()); !opened) return std::move(opened).error();
  if (!body.empty()) session_->write(stream, body, last);
  return true;
}

void Multiplexer::write(MultiplexedStream& stream, std::string_view body, bool last) noexcept {
  const Section section(*this);
  session_->write(stream, body, last);
}

// Whether the socket has taken the body given so far, or the peer wants no more of it. Output that waits for room counts as unsent:
// no other thread may be there to send it.
bool Multiplexer::sent_locked(const MultiplexedStream& stream) const noexcept {
  return stream.stopped() || (stream.unsent().empty() && sent_ == unsent_.size());
}

bool Multiplexer::reached_locked(const MultiplexedStream& stream, Awaited awaited) const noexcept {
  if (stream.ended || stream.failure) return true;
  switch (awaited) {
    case Awaited::sent:
      if (stream.has_head) return true;
      [[fallthrough]];
    case Awaited::rest_sent:
      return sent_locked(stream) || stream.unsent().size() < stream.unsent_when_seen;
    case Awaited::head:
      return stream.has_head || !stream.interim.empty();
    case Awaited::body:
      return !stream.body.empty();
    case Awaited::nothing:
      break;
  }
  return false;
}

bool Multiplexer::look(MultiplexedStream& stream, Awaited awaited, sync::Waker& waker) noexcept {
  const Section section(*this);
  return look_locked(stream, awaited, waker);
}

bool Multiplexer::look_locked(MultiplexedStream& stream, Awaited awaited, sync::Waker& waker) noexcept {
  if (stream.awaited != awaited) stream.unsent_when_seen = stream.unsent().size();
  const bool has_come = reached_locked(stream, awaited);
  stream.awaited = has_come ? Awaited::nothing : awaited;
  stream.waker = has_come ? nullptr : &waker;
  return has_come;
}

void Multiplexer::forget_waker(MultiplexedStream& stream) noexcept {
  const Section section(*this);
  stream.awaited = Awaited::nothing;
  stream.waker = nullptr;
}

std::vector<ResponseHead> Multiplexer::take_interim(MultiplexedStream& stream) noexcept {
  const Section section(*this);
  return std::exchange(stream.interim, {});
}

Multiplexer::Taken Multiplexer::take_body(MultiplexedStream& stream, std::string& piece) noexcept {
  const Section section(*this);
  return take_body_locked(stream, piece);
}

Multiplexer::TakenHead Multiplexer::take_head(MultiplexedStream& stream, std::string& piece) noexcept {
  const Section section(*this);
  TakenHead taken{.interim = std::exchange(stream.interim, {}),
                  .has_head = stream.has_head,
                  .over = stream.ended || stream.failure};
  if (taken.has_head) taken.body = take_body_locked(stream, piece);
  return taken;
}

Multiplexer::Taken Multiplexer::take_body_locked(MultiplexedStream& stream, std::string& piece) noexcept {
  piece.clear();
  piece.swap(stream.body);
  const bool had_output = session_->has_output();  // of others, who see to it
  session_->credit(stream, piece.size());
  const bool failed = stream.failure.has_value();
  return {.ended = stream.ended && !failed,
          .failed = failed,
          .closed = !stream.is_open(),
          .credits = !had_output && session_->has_output()};
}

Multiplexer::Stand Multiplexer::stand_of(const MultiplexedStream& stream) noexcept {
  const Section section(*this);
  return {.sent = sent_locked(stream),
          .has_head = stream.has_head,
          .status = stream.head.status,
          .over = stream.ended || stream.failure};
}

void Multiplexer::stop_sending(MultiplexedStream& stream) noexcept {
  if (in_use_here()) return session_->stop_sending(stream);  // in the channel: nghttp2 does not read the body now
  const Section section(*this);
  session_->stop_sending(stream);
}

void Multiplexer::give_up(std::shared_ptr<MultiplexedStream> stream) noexcept {
  given_up_.leave(std::move(stream));
  if (in_use_here()) return;
  std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock) return;
  const Section section(*this, std::move(lock));
  send_locked();
}

void Multiplexer::take_given_up_locked() noexcept {
  given_up_.take([this](MultiplexedStream& stream) {
    stream.waker = nullptr;
    session_->reset(stream);
  });
}

// ---- bytes -----------------------------------------------------------------------------------------------------------

bool Multiplexer::pump(ReadUntil until) noexcept {
  const Section section(*this);
  read_locked(until);
  send_locked();
  return !drained_;
}

void Multiplexer::flush() noexcept {
  const Section section(*this);
  send_locked();
}

void Multiplexer::read_locked(ReadUntil until) noexcept {
  std::size_t read = 0;
  drained_ = false;
  const std::span<char> buffer = receive_buffer();
  if (buffer.empty() && !lost_) lose_locked("no memory");
  while (!lost_ && read < most_read) {
    const IoResult io = channel_->read(buffer, IoMode::dont_wait);
    if (io.status == IoStatus::want_read || io.status == IoStatus::want_write) {
      drained_ = true;
      return;
    }
    if (io.status != IoStatus::ok) {
      lose_locked(io);
      return;
    }
    read += io.bytes;
    received_ += io.bytes;
    if (session_->feed({buffer.data(), io.bytes})) {
      if (!io.emptied || until == ReadUntil::blocked) continue;
      drained_ = true;
      return;
    }
    send_locked();  // what was wrong (GOAWAY)
    lose_locked("the connection has failed");
    channel_->shutdown();
  }
  if (lost_) drained_ = true;
}

void Multiplexer::lose_locked(const IoResult& io) noexcept {
  try {
    std::string how = "the server closed the connection";
    if (io.status == IoStatus::truncated) how = "the TLS connection was cut off";
    if (io.status == IoStatus::error) {
      how = channel_->last_error();
      if (how.empty() && io.os_error != 0) how = std::generic_category().message(io.os_error);
    }
    lose_locked(how);
  } catch (const std::bad_alloc&) {
    lose_locked(std::string_view());
  }
}

void Multiplexer::lose_locked(std::string_view how) noexcept {
  session_->disconnect(how);
  lost_ = true;
  drained_ = true;
}

void Multiplexer::send_locked() noexcept {
  while (!lost_) {
    if (sent_ == unsent_.size()) {
      unsent_.clear();
      sent_ = 0;
      if (unsent_.capacity() > most_kept && !session_->has_output()) unsent_ = std::string();
      if (!session_->pull(unsent_)) return lose_locked("no memory");
      if (unsent_.empty()) {
        if (session_->failed()) lose_locked("the connection has failed");
        return;
      }
    }
    const iovec piece{unsent_.data() + sent_, unsent_.size() - sent_};
    const IoResult io = channel_->write({&piece, 1}, IoMode::dont_wait);
    if (io.status == IoStatus::ok) {
      sent_ += io.bytes;
      continue;
    }
    if (io.status == IoStatus::want_write || io.status == IoStatus::want_read) {
      blocked_ = true;
      reader_role_.wake_reader();  // it is to wait for room, too
      return;
    }
    // What the peer has sent before it closed is read first.
    read_locked();
    if (!lost_) lose_locked(io);
    return;
  }
}

void Multiplexer::wake_locked() noexcept {
  while (const h2::Stream* const changed = session_->take_changed())
    wake_if_reached_locked(*changed);
  if (!blocked_ || sent_ < unsent_.size()) return;
  blocked_ = false;
  for (const h2::Stream* const each : session_->streams())  // those that wait for this room
    wake_if_reached_locked(*each);
}

void Multiplexer::wake_if_reached_locked(const h2::Stream& changed) noexcept {
  const auto& stream = static_cast<const MultiplexedStream&>(changed);
  if (stream.waker != nullptr && reached_locked(stream, stream.awaited)) stream.waker->wake();
}

void Multiplexer::note_room_locked() noexcept {
  const bool ends = lost_ || session_->failed() || session_->draining() || session_->resets() >= most_resets;
  const std::uint32_t most = ends ? 0 : session_->max_streams();
  if (most == most_streams_.get() && ends == ends_.get()) return;
  most_streams_.set(most);
  ends_.set(ends);
  room_changed_ = true;
}

void Multiplexer::stand_by(TimePoint now) noexcept {
  if (runs_foreign_code()) return;
  std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock) return;
  const Section section(*this, std::move(lock));
  if (lost_) return;
  if (!reader_role_.taken()) read_locked();
  const bool heard = std::exchange(received_when_seen_, received_) != received_;
  if (heard || session_->open_streams() == 0 || heard_at_ == TimePoint::min()) heard_at_ = now;
  if (session_->pings_unanswered() > 0) {
    if (now - std::max(pinged_at_, heard_at_) >= ping_patience) {
      lose_locked("the server did not answer a PING");
      channel_->shutdown();
    }
  } else if (now - heard_at_ >= ping_after) {
    session_->ping();
    pinged_at_ = now;
  }
  const bool of_no_use = session_->open_streams() == 0 && (session_->draining() || session_->failed());
  if (of_no_use) session_->say_goodbye();
  send_locked();
  if (!of_no_use) return;
  if (!lost_) {
    channel_->say_goodbye();
    lose_locked("the server said goodbye");
  }
  channel_->shutdown();  // so that the pool's watch sees it end
}

// ---- the connection --------------------------------------------------------------------------------------------------

bool Multiplexer::check_alive() noexcept {
  const Section section(*this);
  if (lost_) return false;
  read_locked();
  send_locked();
  note_room_locked();
  return !ends_.get();
}

std::uint32_t Multiplexer::open_streams() noexcept {
  const Section section(*this);
  return session_->open_streams();
}

void Multiplexer::set_listener(std::weak_ptr<RoomListener> listener) noexcept {
  const Section section(*this);
  listener_.swap(listener);
}

void Multiplexer::say_goodbye() noexcept {
  if (runs_foreign_code()) return;
  const Section section(*this);
  if (lost_) return;
  session_->say_goodbye();
  send_locked();
  channel_->say_goodbye();
  lose_locked("the connection was closed");
}

void Multiplexer::detach() noexcept {
  const Section section(*this);
  lose_locked("the connection was closed");
  channel_ = nullptr;
}

}  // namespace fastpool::connection
