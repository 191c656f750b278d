// Dials: late binding. They belong to the endpoint (but for those of a lease that connects on first use); what they bring
// goes to the head of the queue, and while they fail they are put off and come one at a time.

#include <algorithm>
#include <cerrno>

#include "pool/decisions.h"
#include "pool/pool.h"

namespace fastpool::pool {

// ---- beginning -------------------------------------------------------------------------------------------------------

void Pool::start_dials_locked(Endpoint& endpoint, Actions& actions) {
  // A bare lease in front that could not be had bars those behind it.
  if (endpoint.queue.empty() || endpoint.queue.front()->wants == Waiter::Wants::lease) return;
  const std::uint32_t in_use = endpoint.connections.get();
  const std::uint32_t free_limit =
      settings_.max_connections_per_endpoint > in_use ? settings_.max_connections_per_endpoint - in_use : 0;
  std::uint32_t wanted = wanted_dials(endpoint.connection_waiters, endpoint.dialing, free_limit,
                                      dial_cap(settings_.max_dials_per_endpoint, endpoint.failures));
  for (; wanted > 0; --wanted) {
    if (reserve_or_starve_locked(endpoint, actions) != Reserved::yes) return;
    if (!start_dial_locked(endpoint, actions)) return;
  }
}

// On a place that was reserved; gives the place back if there is no slot for it.
bool Pool::start_dial_locked(Endpoint& endpoint, Actions& actions) {
  Slot* const slot = take_slot(endpoint);
  if (slot == nullptr || !slot->word.reserve_dial()) {
    unreserve(endpoint);
    return false;
  }
  ++endpoint.dialing;
  tallies_.dials.add();
  const TimePoint start = dial_start_locked(endpoint);
  const Duration longest = std::max(settings_.dial_timeout, endpoint.longest_connect);
  actions.dials.push_back({slot, {start, later(start, longest)}});
  return true;
}

void Pool::start_seat_dial_locked(Endpoint& endpoint, Slot& slot, const Waiter& waiter, Actions& actions) {
  tallies_.dials.add();
  const TimePoint start = dial_start_locked(endpoint);
  const TimePoint cap = later(start, settings_.dial_timeout);
  const bool extended = waiter.connect_deadline != TimePoint::max() && waiter.connect_deadline > cap;
  actions.dials.push_back({&slot, {start, extended ? waiter.connect_deadline : cap}});
}

TimePoint Pool::dial_start_locked(const Endpoint& endpoint) const {
  return std::max(clock_.now(), endpoint.dial_not_before);
}

// ---- ending ----------------------------------------------------------------------------------------------------------

void Pool::dial_done(Slot& slot, Result<std::unique_ptr<Pooled>> result, DialReport report) {
  Endpoint& endpoint = *slot.endpoint.get();
  const EndpointHold kept = hold(endpoint);
  if (result) {
    tallies_.opened.add();
    if (report.handshake) tallies_.handshakes.add();
    if (report.resumed) tallies_.resumed.add();
    const std::uint32_t seating = next_seating(slot);
    slot.seating.set(seating);
    slot.lease_count.set(0);
    slot.retire_at.set(retirement(clock_.now(), settings_.max_lifetime, jitter()));
    // Before anybody can have it, and so close it.
    result.value()->on_seated(static_cast<std::uint64_t>(seating) << 32 | slot.index);
  } else {
    tallies_.dial_failures.add();
  }
  // Out of descriptors: one idle connection less, and another try.
  Slot* evicted = nullptr;
  if (!result && (result.error().os_error == EMFILE || result.error().os_error == ENFILE))
    evicted = evict_longest_idle(nullptr);
  // Which is no failure of the endpoint's.
  const Error* const error = result || evicted != nullptr ? nullptr : &result.error();

  Actions actions;
  if (evicted != nullptr) actions.closing.push_back({evicted, true});
  bool freed = false;
  bool parked = false;
  {
    std::lock_guard lock(endpoint.mutex);
    const bool failing = endpoint.failures > 0;
    if (result || error != nullptr) note_dial_locked(endpoint, error, report);
    if (slot.word.load().state() == SlotState::leased) {
      seat_dialed_locked(endpoint, slot, result, evicted != nullptr, actions);
    } else {
      --endpoint.dialing;
      if (result) {
        parked = park_dialed_locked(endpoint, slot, std::move(result).value(), actions);
      } else {
        freed = true;
        drop_failed_locked(endpoint, slot, error, failing);
      }
      note_connecting_locked(endpoint);
    }
  }
  perform(actions);
  if (freed) capacity_freed(endpoint);
  if (parked) {
    note_idle(slot);
    // Hung up before it was parked, or the pool closed meanwhile: nobody else will look.
    const auto word = slot.word.load();
    if (word.peer_closed() && word.state() == SlotState::idle && try_reap(slot, word)) {
      tallies_.peer_closed.add();
      finish_closing(slot, false);
    }
    if (refusing_.get()) cleanup();
    if (starved_count_.get() != 0) relieve_starvation();
  }
}

// What the endpoint learns of a dial: how long it took, or when to try again.
void Pool::note_dial_locked(Endpoint& endpoint, const Error* error, const DialReport& report) {
  if (error == nullptr) {
    endpoint.failures = 0;
    endpoint.dial_not_before = TimePoint::min();
    endpoint.last_failure.reset();
    endpoint.create_time.add(report.create_time);
    if (report.handshake) endpoint.handshake_time.add(report.handshake_time);
    return;
  }
  ++endpoint.failures;
  endpoint.dial_not_before = clock_.now() + dial_backoff(endpoint.failures, jitter());
  endpoint.last_failure = *error;
}

void Pool::note_handshake(Endpoint& endpoint, Duration took) {
  tallies_.handshakes.add();
  const std::lock_guard lock(endpoint.mutex);
  endpoint.handshake_time.add(took);
}

// The dial of a lease that connects on first use. `again`: there is room for another try.
void Pool::seat_dialed_locked(Endpoint& endpoint, Slot& slot, Result<std::unique_ptr<Pooled>>& result, bool again,
                              Actions& actions) {
  const auto waits = endpoint.seat_waiters.find(&slot);
  if (again && waits != endpoint.seat_waiters.end()) {
    start_seat_dial_locked(endpoint, slot, *waits->second, actions);
    return;
  }
  const bool connected = result.ok();
  if (connected) {
    slot.pooled = std::move(result).value();
    slot.lease_count.set(1);
    if (closed_.get()) slot.pooled->interrupt();
  }
  const auto word = slot.word.end_connect(connected);
  if (waits == endpoint.seat_waiters.end() || !word) return;
  Waiter& waiter = *waits->second;
  endpoint.seat_waiters.erase(waits);
  waiter.slot = &slot;
  waiter.generation = word->generation();
  waiter.fresh = true;
  // NOLINTNEXTLINE(bugprone-use-after-move): only a value was taken, and there was none
  if (!connected) waiter.error = result.error();
  waiter.done = true;
  waiter.waker->wake();
}

// \returns whether it was parked as idle.
bool Pool::park_dialed_locked(Endpoint& endpoint, Slot& slot, std::unique_ptr<Pooled> pooled, Actions& actions) {
  const TimePoint now = clock_.now();
  slot.pooled = std::move(pooled);
  slot.since.set(now);
  if (!endpoint.queue.empty()) {
    slot.lease_count.set(1);
    if (const auto generation = slot.word.lease_dialed())
      hand_locked(endpoint, *endpoint.queue.front(), {&slot, *generation}, true);
    // The next dial, where the cap held it back; a bare lease that is first now.
    dispatch_locked(endpoint, actions);
    return false;
  }
  if (counts_idle_ && !idle_total_.add_below(settings_.max_idle_connections)) {
    const auto generation = slot.word.lease_dialed();
    if (generation && slot.word.begin_close(*generation)) actions.closing.push_back({&slot, true});
    return false;
  }
  slot.idle_deadline.set(idle_deadline(now, settings_.idle_timeout, std::nullopt, slot.retire_at.get()));
  if (slot.word.park_dialed()) {
    (void)endpoint.idle.push(slot.index, links());  // nobody can have joined: that is done under this lock
  }
  return true;
}

void Pool::drop_failed_locked(Endpoint& endpoint, Slot& slot, const Error* error, bool failing) {
  slot.word.free_dialing();
  slab_.give(slot);
  unreserve(endpoint);
  if (error != nullptr) share_failure_locked(endpoint, *error, failing);
}

void Pool::share_failure_locked(Endpoint& endpoint, const Error& error, bool failing) {
  switch (failure_goes_to(error.final, failing, endpoint.connection_waiters, endpoint.dialing)) {
    case FailureGoesTo::nobody:
      break;
    case FailureGoesTo::newest_waiter: {
      Waiter* newest = endpoint.queue.back();
      while (newest != nullptr && newest->wants != Waiter::Wants::connection)
        newest = newest->previous;
      if (newest != nullptr) fail_locked(endpoint, *newest, error);
      break;
    }
    case FailureGoesTo::all_waiters:
      for (Waiter* waiter = endpoint.queue.front(); waiter != nullptr;) {
        Waiter* const next = waiter->next;
        if (waiter->wants == Waiter::Wants::connection) fail_locked(endpoint, *waiter, error);
        waiter = next;
      }
      break;
  }
}

}  // namespace fastpool::pool
