#include "driver/loop_operation.h"

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "driver/loop_registration.h"
#include "pool/decisions.h"
#include "pool/pool.h"

namespace fastpool::driver {

using connection::Connection;
using net::IoMode;
using net::IoStatus;

namespace {

Error no_registration(ErrorCode code, Phase phase) {
  return Error::make(code, phase, "the event loop cannot watch the socket: " + std::generic_category().message(errno),
                     errno);
}

}  // namespace

// ---- the wait --------------------------------------------------------------------------------------------------------

void LoopOperation::wait_until(TimePoint when) {
  waiting_ = true;
  loop_->enlist(*this);
  loop_->deadlines_.set(alarm_, when);
  loop_->ring_at(when);
}

bool LoopOperation::put_off() {
  rest();
  if (loop_->closed()) return false;
  woken_before_ = true;
  wait_until(TimePoint::max());
  loop_->post(*this);
  return true;
}

// Waits for news of the connection. \returns false if the time for that is over.
bool LoopOperation::wait_for(EventLoop::Entry& entry, const OptionalDuration& timeout) {
  if (pausing_) rest();
  if (expired_) {
    rest();
    return false;
  }
  if (waiting_ && watched_ == &entry) return true;
  rest();
  entry.waiting = this;
  watched_ = &entry;
  wait_until(std::min(deadline(), timeout ? pool::later(Clock::now(), *timeout) : TimePoint::max()));
  return true;
}

void LoopOperation::rest() noexcept {
  expired_ = false;
  pausing_ = false;
  if (awaited_) [[unlikely]]
    forget_stream();
  if (!std::exchange(waiting_, false)) return;
  loop_->strike_off(*this);
  // Of a connection that is gone by now the entry may be another's.
  if (EventLoop::Entry* const entry = std::exchange(watched_, nullptr); entry != nullptr && entry->waiting == this)
    entry->waiting = nullptr;
}

// Of the wait: nobody wakes this for its news any more.
void LoopOperation::forget_stream() noexcept {
  const auto stream = std::exchange(awaited_, nullptr);
  std::exchange(multiplexer_, nullptr)->forget_waker(*stream);
}

void LoopOperation::leak() noexcept {
  acquisition_.leak();
  entry_.leak();
  (void)admission_.release();
  // The multiplexer's mutex may be locked for ever: its references are leaked, too.
  if (awaited_) {
    (void)new auto(std::move(awaited_));
    (void)new auto(std::move(multiplexer_));
  }
  if (beside_) (void)new auto(std::move(beside_));
  woken_before_ = false;
}

void LoopOperation::leave_queues() noexcept {
  acquisition_.reset();
  entry_.reset();
  admission_.reset();
}

void LoopOperation::forget() noexcept {
  if (loop_->epoch_ != net::fork_epoch()) leak();  // queues and locks are the parent's
  beside_.reset();
  leave_queues();
  rest();
  if (!std::exchange(woken_before_, false)) return;
  loop_->drop_mail(*this);
  if (queued_) loop_->ready_.remove(*this);
}

// ---- connections -----------------------------------------------------------------------------------------------------

std::optional<Result<pool::LeaseLimit::Place>> LoopOperation::enter(pool::LeaseLimit& limit, pool::Pool& pool) {
  if (!entry_) {
    if (auto place = limit.try_enter()) [[likely]]
      return *std::move(place);
    entry_.emplace(limit, pool, patience_for_place(), waker());
    woken_before_ = true;
  }
  expired_ = false;
  auto entered = entry_->poll();
  if (!entered) {
    if (overdue()) {
      entry_.reset();
      rest();
      return total_timed_out(Phase::acquire);
    }
    wait_until(std::min(deadline(), entry_->deadline()));
    return std::nullopt;
  }
  entry_.reset();
  rest();
  return entered;
}

std::optional<Result<pool::Lease>> LoopOperation::acquire(pool::Pool& pool, pool::Endpoint& endpoint, Attempt attempt) {
  if (!acquisition_) {
    const OptionalDuration patience = patience_for_connection();
    if (pool::Lease lease = pool.try_acquire(endpoint, true)) [[likely]]
      return lease;
    woken_before_ = true;
    acquisition_.emplace(pool, endpoint, options(attempt.at_once ? Duration::zero() : patience, attempt), waker());
  }
  return poll_acquisition();
}

pool::AcquireOptions LoopOperation::options(OptionalDuration pool_timeout, Attempt attempt) const noexcept {
  return {pool_timeout, timeouts_.connect, true, {}, attempt.keep, attempt.failed_tries, deadline()};
}

std::optional<Result<pool::LeaseRef>> LoopOperation::lease(pool::Pool& pool, pool::Endpoint& endpoint) {
  if (!acquisition_) {
    const OptionalDuration patience = patience_for_connection();
    if (const auto ref = pool.try_lease(endpoint)) return *ref;
    woken_before_ = true;
    acquisition_.emplace(pool, endpoint, pool::AcquireOptions{patience, std::nullopt, false, {}}, waker(),
                         pool::Waiter::Wants::lease);
  }
  auto leased = poll_acquisition();
  if (!leased) return std::nullopt;
  if (!*leased) return std::move(*leased).error();
  return leased->value().detach();
}

std::optional<Result<void>> LoopOperation::connect(pool::Pool& pool, pool::LeaseRef lease, Attempt attempt) {
  if (!acquisition_) {
    woken_before_ = true;
    acquisition_.emplace(pool, lease, options(patience_for_connection(), attempt), waker());
  }
  auto seated = poll_acquisition();
  if (!seated) return std::nullopt;
  if (!*seated) return std::move(*seated).error();
  (void)seated->value().detach();  // the lease is the caller's
  return Result<void>();
}

std::optional<Result<pool::Lease>> LoopOperation::poll_acquisition() {
  expired_ = false;
  auto leased = acquisition_->poll();
  if (!leased) {
    wait_until(acquisition_->deadline());
    return std::nullopt;
  }
  acquisition_.reset();
  rest();
  return leased;
}

std::optional<Result<void>> LoopOperation::handshake(Connection& connection) {
  EventLoop::Registration* const registration = loop_->registration_of(connection);
  if (registration == nullptr) {
    if (loop_->closed()) return std::nullopt;  // until it goes on in another loop
    return no_registration(ErrorCode::connect_failed, Phase::tls_handshake);
  }
  const net::IoResult io = connection.channel().handshake(IoMode::dont_wait);
  if (io.status == IoStatus::want_read || io.status == IoStatus::want_write) {
    if (wait_for(registration->entry(), timeouts_.connect)) return std::nullopt;
    return late(handshake_timed_out());
  }
  rest();
  if (io.status == IoStatus::ok) return Result<void>();
  return connection.channel().handshake_error();
}

// ---- bytes -----------------------------------------------------------------------------------------------------------

Result<Driver::Written> LoopOperation::write(Connection& connection, std::span<iovec>& pieces, std::uint64_t& written,
                                             bool heed) {
  EventLoop::Registration* const registration = loop_->registration_of(connection);
  if (registration == nullptr) {
    if (loop_->closed()) return Written::pending;
    return no_registration(ErrorCode::write_failed, Phase::write);
  }
  EventLoop::Entry& entry = registration->entry();
  drop_written(pieces, 0);
  // As httpx's asynchronous transports have it, whose await of a write is over before it begins.
  if (!pieces.empty() && timeouts_.write && *timeouts_.write <= Duration::zero()) return write_timed_out();
  while (!pieces.empty()) {
    if (overdue()) {
      rest();
      return total_timed_out(Phase::write);
    }
    if (entry.writable) {
      const net::IoResult io = connection.channel().write(pieces, IoMode::dont_wait);
      if (io.status == IoStatus::ok) {
        written += io.bytes;
        drop_written(pieces, io.bytes);
        rest();  // each piece of progress has a time of its own
        continue;
      }
      if (io.status == IoStatus::want_write) {
        entry.writable = false;
      } else if (io.status != IoStatus::want_read) {
        rest();
        return failure(ErrorCode::write_failed, Phase::write, io, connection);
      }
    }
    if (heed && entry.readable) return Written::heard;
    return wait_for(entry, timeouts_.write) ? Result<Written>(Written::pending) : late(write_timed_out());
  }
  return Written::all;
}

Result<Driver::ReadOutcome> LoopOperation::read(Connection& connection, std::span<char> buffer) {
  // At the end of its time the socket itself is asked: a turn takes a bounded number of events, and the one of bytes that
  // have arrived may be among those that are left.
  if (expired_ && watched_ != nullptr) watched_->readable = true;
  if (overdue() && !expired_) {
    rest();
    return total_timed_out(Phase::read_head);
  }
  auto outcome = read_arrived(connection, buffer);
  if (!outcome || !outcome->pending) {
    rest();
    return outcome;
  }
  EventLoop::Registration* const registration = loop_->registration_of(connection);
  if (registration == nullptr || wait_for(registration->entry(), timeouts_.read)) return outcome;
  return late(read_timed_out());
}

Result<Driver::ReadOutcome> LoopOperation::read_arrived(Connection& connection, std::span<char> buffer) {
  EventLoop::Registration* const registration = loop_->registration_of(connection);
  if (registration == nullptr) {
    if (loop_->closed()) return ReadOutcome{.pending = true};
    return no_registration(ErrorCode::read_failed, Phase::read_head);
  }
  EventLoop::Entry& entry = registration->entry();
  if (!entry.readable && connection.channel().pending() == 0) return ReadOutcome{.pending = true};
  const net::IoResult io = connection.channel().read(buffer, IoMode::dont_wait);
  if (io.status == IoStatus::want_read) entry.readable = false;
  // Less than there was room for: the socket is empty, and the next bytes are reported. A peer's end is reported only once.
  if (io.status == IoStatus::ok && io.emptied && !entry.hung_up) entry.readable = false;
  if (auto outcome = read_outcome(io, connection)) return *outcome;
  return ReadOutcome{.pending = true};
}

std::optional<bool> LoopOperation::wait_for_hang_up(Connection& connection, bool, Duration at_most) {
  rest();
  if (EventLoop::Registration* const registration = loop_->registration_of(connection)) {
    registration->entry().waiting = this;
    watched_ = &registration->entry();
  }
  pausing_ = true;
  wait_until(Clock::now() + at_most);
  return std::nullopt;
}

// ---- HTTP/2 ----------------------------------------------------------------------------------------------------------

std::optional<Result<connection::Home::Admission>> LoopOperation::admit(connection::Homes& homes, pool::Pool&,
                                                                        pool::Endpoint& endpoint, Attempt attempt) {
  if (!admission_) {
    connection::Home& home = home_in(homes);
    const OptionalDuration patience = patience_for_connection();
    connection::Home::Admission admission;
    admission.place = home.try_enter(endpoint);
    if (admission.place) return admission;
    woken_before_ = true;
    admission_ = std::make_unique<connection::Home::Entry>(
        home, endpoint, connection::Home::Options{options(patience, attempt), attempt.limit}, waker());
  }
  expired_ = false;
  auto admitted = admission_->poll();
  if (!admitted) {
    wait_until(admission_->deadline());
    return std::nullopt;
  }
  admission_.reset();
  rest();
  return admitted;
}

void LoopOperation::flush(Connection& connection) {
  loop_->flush(connection.multiplexer());
}

// A connection that a home has lent to this loop stays with the home's, whose threads may be in the middle of the same.
// \returns false if the kernel refuses, with errno set.
bool LoopOperation::watch_shared(Connection& connection) {
  if (connection.multiplexer()->belongs_to(loop_.get())) return loop_->registration_of(connection) != nullptr;
  const auto* const known = static_cast<const EventLoop::Registration*>(beside_.get());
  if (known == nullptr || known->entry().multiplexer != connection.multiplexer())
    beside_ = loop_->registration_beside(connection);
  return beside_ != nullptr;
}

Result<bool> LoopOperation::await(Connection& connection, const std::shared_ptr<connection::MultiplexedStream>& stream,
                                  connection::Awaited awaited, const OptionalDuration& patience) {
  if (!watch_shared(connection)) {
    if (loop_->closed()) return false;  // until it goes on in another loop
    return no_registration(ErrorCode::read_failed, Phase::read_head);
  }
  connection::Multiplexer& multiplexer = *connection.multiplexer();
  woken_before_ = true;
  if (overdue() && !expired_) {
    rest();
    return total_timed_out(Phase::read_head);
  }
  if (awaited_ != nullptr && awaited_ != stream) rest();
  const auto has_come = [&] {
    if (!multiplexer.look(*stream, awaited, waker())) return false;
    awaited_ = nullptr;
    rest();
    return true;
  };
  if (has_come()) return true;
  const bool waited = waiting_ && awaited_ == stream;
  if (waited && !expired_) return false;
  // A turn takes a bounded number of events: what has arrived counts.
  if (waited && (multiplexer.pump(), has_come())) return true;
  awaited_ = nullptr;
  rest();  // from another wait
  awaited_ = stream;
  multiplexer_ = connection.multiplexer();
  if (waited) {
    rest();
    return late(await_timed_out(awaited));
  }
  wait_until(std::min(deadline(), patience ? pool::later(Clock::now(), *patience) : TimePoint::max()));
  return false;
}

}  // namespace fastpool::driver
