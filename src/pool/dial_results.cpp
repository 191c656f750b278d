// How dials end: what a result brings, whose error a failure is, and what happens where no descriptor is left.

#include <algorithm>
#include <cerrno>

#include "pool/decisions.h"
#include "pool/pool.h"
#include "sync/dial_claim.h"
#include "sync/parking.h"
#include "sync/slot_end.h"

namespace fastpool::pool {

namespace {

bool out_of_descriptors(const Error& error) noexcept {
  return error.os_error == EMFILE || error.os_error == ENFILE;
}

}  // namespace

void Pool::dial_done(Slot& slot, Result<std::unique_ptr<Pooled>> result, DialReport report) {
  Endpoint& endpoint = *slot.endpoint.get();
  const EndpointHold kept = hold(endpoint);
  if (result) {
    tallies_.opened.add();
    if (report.handshake) tallies_.handshakes.add();
    if (report.resumed) tallies_.resumed.add();
    const std::uint32_t seat_serial = next_seat_serial(slot);
    slot.seat_serial.set(seat_serial);
    slot.lease_count.set(0);
    slot.retire_at.set(retirement(clock_.now(), settings_.max_lifetime, jitter()));
    // Before anybody can have it, and so close it.
    result.value()->on_seated(static_cast<std::uint64_t>(seat_serial) << 32 | slot.index);
  } else {
    tallies_.dial_failures.add();
  }

  const bool failed = !result;
  Actions actions;
  bool dropped = false;
  bool held_up = false;
  bool freed = false;
  bool parked = false;
  {
    std::lock_guard lock(endpoint.mutex);
    dropped = !sync::DialClaim::by_report(slot.word);
    if (!dropped) {
      const DialUnderWay dial = take_dial_locked(endpoint, slot);
      if (result) {
        note_success_locked(endpoint, report);
        if (dial.for_lease) {
          connect_lease_locked(endpoint, slot, std::move(result).value());
        } else {
          parked = park_dialed_locked(endpoint, slot, dial, std::move(result).value(), actions);
        }
      } else {
        end_failed_locked(endpoint, slot, dial);
        held_up = share_failure_locked(endpoint, dial, result.error(), actions);
        freed = !dial.for_lease && !held_up;
      }
      // The next dial, where a limit held it back; what is bound to none any more; a bare lease that is first now.
      if (!freed) {
        dispatch_locked(endpoint, actions);
        for (Waiter* const waiter : dial.waiters)
          if (!waiter->done.get() && waiter->dial == nullptr) rest_locked(*waiter);
      } else if (!endpoint.short_of_descriptors && endpoint.lease_dial_waiters.size() > endpoint.bound_lease_dials) {
        start_lease_dials_locked(endpoint, actions);  // capacity_freed() looks at the queue alone
      }
    }
  }
  if (dropped) {
    // That of a dropped dial was not moved.
    end_dropped(slot, std::move(result), report.endpoint);  // NOLINT(bugprone-use-after-move)
    return;
  }
  perform(actions);
  if (freed) {
    capacity_freed(endpoint);
  } else if (held_up) {
    // Its place is free, though not its descriptor.
    for (Endpoint* const other : total_limit_.all_starving())
      dispatch(*other);
  } else if (failed) {
    relieve_if_starving();  // its descriptor is free
  }
  if (parked) {
    LongestIdle::note_ready(slot, none_idle_);
    // The peer hung up, or the pool closed, before the connection was parked: no other thread looks at it again.
    const auto word = slot.word.load();
    if (word.peer_closed() && word.state() == SlotState::idle && try_reap(slot, word)) {
      tallies_.peer_closed.add();
      finish_closing(slot, CloseReason::peer_closed);
    }
    refusal_.parked([this] { cleanup(); });
    relieve_if_starving();
  }
}

// What a dial came to whose slot was reaped. Its endpoint may have been retired, and stand for another origin. \param endpoint the name
// that it had.
void Pool::end_dropped(Slot& slot, Result<std::unique_ptr<Pooled>> result, std::string_view endpoint) noexcept {
  if (result) {
    tallies_.closed.add();
    const std::unique_ptr<Pooled> unwanted = std::move(result).value();
    unwanted->end(refusal_.refusing() ? CloseReason::pool_closed : CloseReason::limit, endpoint);
  }
  sync::SlotEnd::dial_ended(slot.word, dropped_dials_, [&] { slab_.give(slot); });
  relieve_if_starving();  // those who wait for a descriptor
}

// Those who waited for it are bound to none from here on.
DialUnderWay Pool::take_dial_locked(Endpoint& endpoint, const Slot& slot) noexcept {
  const auto known = endpoint.dials.find(&slot);
  DialUnderWay dial = std::move(known->second);
  if (endpoint.latest == &known->second) endpoint.latest = nullptr;
  endpoint.dials.erase(known);
  if (!dial.for_lease) {
    --endpoint.own_dials;
    if (dial.waiters.empty()) --endpoint.spare_dials;
  }
  for (Waiter* const waiter : dial.waiters) {
    waiter->dial = nullptr;
    --(waiter->wants == Waiter::Wants::lease_dial ? endpoint.bound_lease_dials : endpoint.bound);
  }
  return dial;
}

void Pool::end_failed_locked(Endpoint& endpoint, Slot& slot, const DialUnderWay& dial) noexcept {
  if (dial.for_lease) {
    (void)slot.word.end_connect(false);
    return;
  }
  // A linked cell stays as a tombstone.
  if (!endpoint.tombstones.close(slot.word, [&slot] { return slot.word.fail_dial(); }).linked) slab_.give(slot);
  total_limit_.give(endpoint.room);
}

// The dial of a lease that connects on first use.
void Pool::connect_lease_locked(Endpoint& endpoint, Slot& slot, std::unique_ptr<Pooled> pooled) {
  slot.pooled = std::move(pooled);
  slot.lease_count.set(1);
  if (refusal_.closed()) slot.pooled->interrupt();
  (void)slot.word.end_connect(true);
  const auto waits = endpoint.lease_dial_waiters.find(&slot);
  if (waits == endpoint.lease_dial_waiters.end()) return;
  Waiter& waiter = *waits->second;
  endpoint.lease_dial_waiters.erase(waits);
  waiter.fresh = true;
  waiter.done.set(true);
  waiter.wake();
}

void Pool::fail_lease_dial_locked(Endpoint& endpoint, Waiter& waiter, const Error& error) {
  unbind_locked(endpoint, waiter);
  endpoint.lease_dial_waiters.erase(waiter.slot);
  waiter.error = error;
  waiter.done.set(true);
  waiter.wake();
}

// The connection of a dial that is no lease's own. The endpoint's mutex is held.
struct Pool::DialedConnection : sync::ParkingHost {
  Pool& pool;
  Endpoint& endpoint;
  Slot& slot;
  const DialUnderWay& dial;
  Actions& actions;
  const TimePoint now;

  DialedConnection(Pool& its_pool, Endpoint& its_endpoint, Slot& its_slot, const DialUnderWay& its_dial,
                   Actions& its_actions) noexcept
      : pool(its_pool),
        endpoint(its_endpoint),
        slot(its_slot),
        dial(its_dial),
        actions(its_actions),
        now(its_pool.clock_.now()) {}

  [[nodiscard]] bool awaited() const noexcept { return !endpoint.queue.empty(); }
  void hand_to_first() {
    slot.lease_count.set(1);
    Waiter& first = *endpoint.queue.front();
    DialUnderWay* const left = first.dial;
    if (const auto generation = slot.word.lease_dialed()) pool.hand_locked(endpoint, first, {&slot, *generation}, true);
    // In exchange, who waited for this dial takes over the one that the first leaves, unless that is much older.
    if (left != nullptr && left->waiters.empty() && !left->for_lease && !dial.waiters.empty()) {
      Waiter& other = *dial.waiters.front();
      if (!other.done.get() && other.dial == nullptr &&
          stands_for_own_dial(left->start, left->given_up, std::max(dial.start, left->start), endpoint.dial_patience))
        (void)pool.bind_locked(endpoint, other, *left, now);
    }
  }
  [[nodiscard]] bool count() noexcept {
    return !pool.counts_idle_ || pool.idle_total_.add_below(pool.settings_.max_idle_connections);
  }
  void close() {
    const auto generation = slot.word.lease_dialed();
    if (generation && pool.begin_close({&slot, *generation})) actions.closing.push_back({&slot, CloseReason::limit});
  }
  [[nodiscard]] SlotWord::Step make_ready() noexcept {
    slot.idle_deadline.set(idle_deadline(now, pool.settings_.idle_timeout, std::nullopt, slot.retire_at.get()));
    return slot.word.park_dialed();
  }
  [[nodiscard]] bool list(SlotWord::Step parked) noexcept {
    return endpoint.idle.put(slot.index, parked, pool.links());
  }
};

// \returns whether it was parked as idle.
bool Pool::park_dialed_locked(Endpoint& endpoint, Slot& slot, const DialUnderWay& dial, std::unique_ptr<Pooled> pooled,
                              Actions& actions) {
  DialedConnection dialed(*this, endpoint, slot, dial, actions);
  slot.pooled = std::move(pooled);
  slot.since.set(dialed.now);
  return sync::Parking::park_dialed_locked(dialed);
}

// What the endpoint learns of a dial: how long it took, or how to go on.
void Pool::note_success_locked(Endpoint& endpoint, const DialReport& report) {
  endpoint.failures = 0;
  endpoint.dead = false;
  endpoint.paced_full_at = endpoint.dial_not_before = TimePoint::min();
  endpoint.dial_patience = patience_after_success(report.create_time);
  endpoint.create_time.add(report.create_time);
  if (report.handshake) endpoint.handshake_time.add(report.handshake_time);
}

void Pool::note_failure_locked(Endpoint& endpoint, const Error& error) {
  ++endpoint.failures;
  // A timeout is that of the callers: it says that they had little patience, or that the peer is slow. No host is asked often
  // so.
  if (error.code != ErrorCode::connect_timeout) endpoint.dead = true;
  endpoint.dial_not_before = clock_.now() + dial_backoff(endpoint.failures, jitter());
}

void Pool::note_handshake(Endpoint& endpoint, Duration took) {
  tallies_.handshakes.add();
  const std::lock_guard lock(endpoint.mutex);
  endpoint.handshake_time.add(took);
}

// Tells those who waited for a dial that failed. Those whose error it is not are bound to none, and get another.
// \returns whether they are held up until a descriptor is closed.
bool Pool::share_failure_locked(Endpoint& endpoint, const DialUnderWay& dial, const Error& error, Actions& actions) {
  if (dial.restarted) return false;
  if (!out_of_descriptors(error)) {
    note_failure_locked(endpoint, error);
  } else if (!dial.waiters.empty()) {
    if (Slot* const evicted = evict_longest_idle(nullptr)) {
      actions.closing.push_back({evicted, CloseReason::limit});  // one idle connection less, and another try
      return false;
    }
    if (hold_up_locked(endpoint, dial, actions)) return true;
  }
  for (Waiter* const waiter : dial.waiters) {
    if (!failure_is_the_callers(waiter->since, dial.start)) continue;
    if (waiter->wants == Waiter::Wants::lease_dial) {
      fail_lease_dial_locked(endpoint, *waiter, error);
    } else {
      fail_locked(endpoint, *waiter, error);
    }
  }
  if (!out_of_descriptors(error)) return false;
  // Nothing comes back: callers whose own dials met the same fail now, and not one after another.
  for (Waiter* waiter = endpoint.queue.front(); waiter != nullptr;) {
    Waiter* const next = waiter->next;
    if (waiter->held_up && waiter->dial == nullptr) fail_locked(endpoint, *waiter, error);
    waiter = next;
  }
  return false;
}

// Nothing is being dialed for it: its `pool` clock runs again.
void Pool::rest_locked(Waiter& waiter) noexcept {
  waiter.connect_clock_runs = false;
  waiter.connect_deadline = TimePoint::max();
  waiter.waker->wake();
}

// Until a connection of the pool comes back: as at the total limit. \returns whether there is one that may.
bool Pool::hold_up_locked(Endpoint& endpoint, const DialUnderWay& dial, Actions& actions) {
  // Listed before the check. A thread that gives a descriptor back, or parks a connection, does that first and reads the list
  // second: one side always sees the other.
  endpoint.short_of_descriptors = true;
  total_limit_.list_locked(endpoint.room);
  Slot* const evicted = evict_longest_idle(nullptr);
  if (evicted != nullptr) {
    actions.closing.push_back({evicted, CloseReason::limit});
  } else if (!others_hold_descriptors()) {
    endpoint.short_of_descriptors = false;
    return false;
  }
  for (Waiter* const waiter : dial.waiters) {
    waiter->held_up = true;
    rest_locked(*waiter);
  }
  return true;
}

// Whether connections or dials of the pool are under way that give theirs back some time.
bool Pool::others_hold_descriptors() const {
  if (dropped_dials_.get() != 0) return true;
  bool held = false;
  slab_.for_each([&](const Slot& slot) {
    const auto word = slot.word.load();
    const bool leased = word.state() == SlotState::leased && (word.seated() || word.connecting());
    const bool closing = word.state() == SlotState::closing && !word.emptied();
    // One that has just become idle: its holder looks at the list of those that starve.
    held = held || leased || closing || word.state() == SlotState::dialing || word.state() == SlotState::idle;
  });
  return held;
}

}  // namespace fastpool::pool
