#include "pool/acquisition.h"

#include <algorithm>
#include <string>
#include <utility>

#include "pool/decisions.h"
#include "pool/pool.h"

namespace fastpool::pool {

namespace {

// When to look again while the idle list is being swept.
constexpr Duration sweep_patience = std::chrono::microseconds(100);

}  // namespace

Acquisition::Acquisition(Pool& pool, Endpoint& endpoint, const AcquireOptions& options, sync::Waker& waker,
                         Wants wants) noexcept
    : pool_(pool),
      endpoint_(endpoint),
      pool_timeout_(options.pool_timeout),
      check_(options.check),
      keep_(options.keep),
      failed_tries_(options.failed_tries),
      last_moment_(options.deadline) {
  waiter_.wants = wants;
  waiter_.connect_timeout = options.connect_timeout;
  waiter_.waker = &waker;
}

Acquisition::Acquisition(Pool& pool, LeaseRef held, const AcquireOptions& options, sync::Waker& waker) noexcept
    : pool_(pool),
      endpoint_(*held.slot->endpoint.get()),
      held_(held),
      pool_timeout_(options.pool_timeout),
      check_(false),
      keep_(nullptr),
      failed_tries_(options.failed_tries),
      last_moment_(options.deadline) {
  waiter_.wants = Wants::lease_dial;
  waiter_.slot = held.slot;
  waiter_.generation = held.generation;
  waiter_.connect_timeout = options.connect_timeout;
  waiter_.waker = &waker;
}

Acquisition::~Acquisition() {
  if (state_ != State::waiting) return;
  {
    const std::lock_guard lock(endpoint_.mutex);
    give_up_locked({});
  }
  auto rest = finish();
  if (!rest || !rest->ok()) return;
  if (waiter_.wants == Wants::lease_dial) {
    (void)rest->value().detach();  // the lease is the caller's
  } else {
    rest->value().release(Reuse::unused(), keep_);  // handed over in that very moment, never used: the next may have it
  }
}

std::optional<Result<Lease>> Acquisition::poll() {
  for (;;) {
    if (state_ == State::ended) return settle(std::exchange(waiter_.error, std::nullopt).value_or(Error{}));
    if (state_ != State::waiting) {
      if (overdue()) return settle(overdue_error());
      if (rests()) return std::nullopt;
      if (auto early = waiter_.wants == Wants::lease_dial ? begin_connect() : begin()) return early;
    }
    {
      const std::lock_guard lock(endpoint_.mutex);
      if (!waiter_.done.get()) {
        deadline_ = std::min(last_moment_, waiter_.connect_clock_runs ? waiter_.connect_deadline : pool_deadline_);
        const TimePoint now = pool_.clock_.now();
        if (deadline_ == TimePoint::max() || now < deadline_) return std::nullopt;
        if (endpoint_.tombstones.sweeping()) {  // what is idle is out of sight for a moment
          deadline_ = now + sweep_patience;
          return std::nullopt;
        }
        give_up_locked(late_locked());
      }
    }
    if (auto result = finish()) return result;
  }
}

bool Acquisition::covered() const {
  const std::lock_guard lock(endpoint_.mutex);
  return waiter_.done.get() || waiter_.dial != nullptr;
}

void Acquisition::stop(Error error) {
  if (state_ == State::resting) {
    waiter_.error = std::move(error);
    state_ = State::ended;
    return;
  }
  if (state_ != State::waiting) return;
  const std::lock_guard lock(endpoint_.mutex);
  give_up_locked(std::move(error));
}

// Whether a try that repeats others is still put off.
bool Acquisition::rests() {
  if (state_ == State::fresh && failed_tries_ > 0 && waiter_.turn == 0) {
    rests_until_ = later(pool_.clock_.now(), dial_backoff(failed_tries_, pool_.jitter()));
    state_ = State::resting;
  }
  if (state_ != State::resting) return false;
  deadline_ = std::min(last_moment_, rests_until_);
  return pool_.clock_.now() < rests_until_ && !pool_.refusing();
}

// A lease at once, an error, or (nothing) it is queued now.
std::optional<Result<Lease>> Acquisition::begin() {
  const bool first_time = waiter_.turn == 0;
  // A caller that has queued once is served even while the pool drains.
  if (first_time && pool_.refusing()) return settle(Pool::closed_error());
  while (first_time && waiter_.wants == Wants::connection) {
    const LeaseRef ref = pool_.take_idle(endpoint_);
    if (!ref) break;
    Lease lease(pool_, ref, false);
    if (passes_check(lease)) return settle(std::move(lease));
    lease.release(Reuse::no());
  }
  if (first_time) {
    waiter_.since = pool_.clock_.now();
    if (pool_timeout_) pool_deadline_ = later(waiter_.since, *pool_timeout_);
  }
  state_ = State::waiting;
  Pool::Actions actions;
  {
    const std::lock_guard lock(endpoint_.mutex);
    pool_.enqueue_locked(endpoint_, waiter_);
    if (!dead_) pool_.dispatch_locked(endpoint_, actions);
  }
  pool_.perform(actions);
  if (dead_) {
    dead_.release(Reuse::no());  // frees a place, which is this waiter's unless others came before it
    pool_.dispatch(endpoint_);
  }
  return std::nullopt;
}

std::optional<Result<Lease>> Acquisition::begin_connect() {
  Slot& slot = *held_.slot;
  if (const auto word = slot.word.load(); word.generation() == held_.generation && word.seated())
    return settle(Lease(pool_, held_, false));
  Pool::Actions actions;
  {
    const std::lock_guard lock(endpoint_.mutex);
    // Under the lock: close() sets the flag first and tells those who wait for a lease's dial, under it, second.
    if (pool_.closed()) return settle(Pool::closed_error());
    const auto word = slot.word.load();
    if (word.state() != SlotState::leased || word.generation() != held_.generation)
      return settle(Pool::stale_lease_error());
    if (word.seated()) return settle(Lease(pool_, held_, false));
    if (const auto other = endpoint_.lease_dial_waiters.find(&slot); other != endpoint_.lease_dial_waiters.end()) {
      if (other->second->generation == held_.generation)
        return settle(Error::make(ErrorCode::stale_lease, Phase::acquire, "another caller is connecting this lease"));
      pool_.fail_lease_dial_locked(endpoint_, *other->second, Pool::stale_lease_error());
    }
    waiter_.since = pool_.clock_.now();
    if (pool_timeout_) pool_deadline_ = later(waiter_.since, *pool_timeout_);
    endpoint_.lease_dial_waiters[&slot] = &waiter_;
    if (word.connecting()) {
      pool_.join_lease_dial_locked(endpoint_, waiter_, actions);
    } else if (!endpoint_.short_of_descriptors) {
      pool_.start_lease_dial_locked(endpoint_, waiter_, actions);
    }
  }
  state_ = State::waiting;
  pool_.perform(actions);
  return std::nullopt;
}

// What came of the wait; nothing: a connection that had died, so it begins anew.
std::optional<Result<Lease>> Acquisition::finish() {
  // This waiter left the queue, so a bare lease may be first now, and its dial may make room for others.
  if (std::exchange(left_, false)) pool_.capacity_freed(endpoint_);
  if (auto error = std::exchange(waiter_.error, std::nullopt)) return settle(*std::move(error));
  const auto handed = [this] { return Lease(pool_, {waiter_.slot, waiter_.generation}, waiter_.fresh); };
  if (waiter_.wants == Wants::lease_dial) return settle(handed());
  Lease lease = pool_.refusal_.take_queued(handed, [this](Lease& late) { late.release(Reuse::unused(), keep_); });
  if (!lease) return settle(Pool::closed_error());
  if (passes_check(lease)) return settle(std::move(lease));
  dead_ = std::move(lease);
  state_ = State::fresh;
  waiter_.done.set(false);
  waiter_.connect_clock_runs = false;
  waiter_.connect_deadline = TimePoint::max();
  return std::nullopt;
}

bool Acquisition::passes_check(const Lease& lease) const noexcept {
  if (!check_ || lease.fresh() || waiter_.wants != Wants::connection || (*lease).check_alive()) return true;
  pool_.tallies_.discarded.add();
  return false;
}

Result<Lease> Acquisition::settle(Result<Lease> result) noexcept {
  state_ = State::ended;
  return result;
}

// Unless its wait has ended: what it was handed in that very moment is its own.
void Acquisition::give_up_locked(Error error) noexcept {
  const auto tell = [&] {
    if (waiter_.dial != nullptr && !withdrawn_) waiter_.dial->given_up = true;
    pool_.forget_wait_locked(endpoint_, waiter_);
    left_ = true;
    if (error.code == ErrorCode::pool_timeout) pool_.tallies_.pool_timeouts.add();
    waiter_.error = std::move(error);
  };
  if (waiter_.wants != Wants::lease_dial) {
    endpoint_.queue.give_up(waiter_, tell);
  } else if (!waiter_.done.get()) {
    endpoint_.lease_dial_waiters.erase(held_.slot);
    tell();
    waiter_.done.set(true);
  }
}

bool Acquisition::overdue() const noexcept {
  return last_moment_ != TimePoint::max() && pool_.clock_.now() >= last_moment_;
}

Error Acquisition::overdue_error() const {
  return Error::make(ErrorCode::total_timeout, Phase::acquire,
                     "no connection to " + endpoint_.name() + " within the total timeout of the request");
}

Error Acquisition::late_locked() const {
  if (overdue()) return overdue_error();
  if (waiter_.connect_clock_runs) {
    return Error::make(ErrorCode::connect_timeout, Phase::connect,
                       "no connection to " + endpoint_.name() + " within the connect timeout");
  }
  return Error::make(ErrorCode::pool_timeout, Phase::acquire,
                     "no connection to " + endpoint_.name() + " became free within the pool timeout; " +
                         std::to_string(endpoint_.room.places()) + " are in use there and " +
                         std::to_string(pool_.total_limit_.taken()) + " in all" +
                         (endpoint_.short_of_descriptors ? "; the process has no file descriptor left" : ""));
}

}  // namespace fastpool::pool
