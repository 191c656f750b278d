// How dials begin: late binding. They belong to the endpoint, but for those of a lease that connects on first use, and what they
// bring goes to the head of the queue.

#include <algorithm>

#include "pool/decisions.h"
#include "pool/pool.h"

namespace fastpool::pool {

// For those that are bound to no dial, as far as the limits go.
void Pool::start_dials_locked(Endpoint& endpoint, Actions& actions) {
  if (endpoint.short_of_descriptors) return;
  if (endpoint.lease_dial_waiters.size() > endpoint.bound_lease_dials) start_lease_dials_locked(endpoint, actions);
  if (endpoint.connection_waiters == endpoint.bound) return;
  const TimePoint now = clock_.now();
  DialUnderWay* shared = shared_dial_locked(endpoint, now);
  for (Waiter* waiter = endpoint.queue.front(); waiter != nullptr; waiter = waiter->next) {
    // A bare lease that is still waiting for room: no dials begin for the callers behind it.
    if (waiter->wants == Waiter::Wants::lease) return;
    if (waiter->dial != nullptr || bind_to_spare_locked(endpoint, *waiter, now)) continue;
    while (waiter->dial == nullptr) {
      DialUnderWay* dial = shared != nullptr && shared->start > now ? shared : nullptr;
      if (dial == nullptr) dial = start_callers_dial_locked(endpoint, *waiter, now, actions);
      if (dial == nullptr) dial = shared;  // at a limit, where dials fail: the next one's result is everybody's
      if (dial == nullptr) return;
      if (!bind_locked(endpoint, *waiter, *dial, now)) shared = nullptr;
    }
    if (endpoint.dead) shared = waiter->dial;
  }
}

// The dial that callers of a dead endpoint share: it has not begun yet.
DialUnderWay* Pool::shared_dial_locked(const Endpoint& endpoint, TimePoint now) noexcept {
  DialUnderWay* const latest = endpoint.latest;
  return endpoint.dead && latest != nullptr && latest->start > now ? latest : nullptr;
}

DialUnderWay* Pool::start_callers_dial_locked(Endpoint& endpoint, const Waiter& waiter, TimePoint now,
                                              Actions& actions) {
  if (endpoint.own_dials >= settings_.max_dials_per_endpoint) {
    (void)drop_spare_dial_locked(endpoint, actions);
    return nullptr;
  }
  if (reserve_or_starve_locked(endpoint, actions) != Taken::yes) return nullptr;
  const TimePoint start = callers_start_locked(endpoint, now);
  DialUnderWay* const dial = start_dial_locked(endpoint, start, later(start, patience_of(waiter)), actions);
  endpoint.latest = dial;
  return dial;
}

// On a place that was reserved; gives the place back if there is no slot for it.
DialUnderWay* Pool::start_dial_locked(Endpoint& endpoint, TimePoint start, TimePoint deadline, Actions& actions) {
  Slot* const slot = take_slot(endpoint);
  if (slot == nullptr || !slot->word.reserve_dial()) {
    total_limit_.give(endpoint.room);
    return nullptr;
  }
  ++endpoint.own_dials;
  return &note_begun_locked(endpoint, {.slot = slot, .start = start, .deadline = deadline}, actions);
}

// A dial that no caller waits for, from its beginning.
bool Pool::start_warming_dial_locked(Endpoint& endpoint, Actions& actions) {
  const TimePoint start = std::max(clock_.now(), endpoint.dial_not_before);
  DialUnderWay* const dial = start_dial_locked(endpoint, start, later(start, settings_.dial_timeout), actions);
  if (dial == nullptr) return false;
  spare_locked(endpoint, *dial);
  return true;
}

// The dials of leases that connect on first use and could not begin before.
void Pool::start_lease_dials_locked(Endpoint& endpoint, Actions& actions) {
  std::vector<Waiter*> unbound;
  for (const auto& [slot, waiter] : endpoint.lease_dial_waiters) {
    if (waiter->dial == nullptr) unbound.push_back(waiter);
  }
  for (Waiter* const waiter : unbound)
    start_lease_dial_locked(endpoint, *waiter, actions);
}

// For a caller in `lease_dial_waiters` that is bound to no dial.
void Pool::start_lease_dial_locked(Endpoint& endpoint, Waiter& waiter, Actions& actions) {
  const TimePoint now = clock_.now();
  if (DialUnderWay* const shared = shared_dial_locked(endpoint, now);
      shared != nullptr && bind_locked(endpoint, waiter, *shared, now))
    return;
  if (!waiter.slot->word.begin_connect(waiter.generation)) {
    fail_lease_dial_locked(endpoint, waiter, stale_lease_error());
    return;
  }
  const TimePoint start = callers_start_locked(endpoint, now);
  DialUnderWay& dial = note_begun_locked(
      endpoint, {.slot = waiter.slot, .start = start, .deadline = later(start, patience_of(waiter)), .for_lease = true},
      actions);
  endpoint.latest = &dial;
  (void)bind_locked(endpoint, waiter, dial, now);  // a lease's own dial is never dropped
}

// A dial that an earlier caller gave up waiting for serves as well, if it is no older than one that begins now would be;
// else one takes its place.
void Pool::join_lease_dial_locked(Endpoint& endpoint, Waiter& waiter, Actions& actions) {
  const TimePoint now = clock_.now();
  DialUnderWay& dial = endpoint.dials.at(waiter.slot);
  if (!stands_for_own_dial(dial.start, dial.given_up, now, endpoint.dial_patience)) {
    dial.restarted = true;
    actions.hurried.push_back(waiter.slot);
  }
  (void)bind_locked(endpoint, waiter, dial, now);
}

Error Pool::stale_lease_error() {
  return Error::make(ErrorCode::stale_lease, Phase::acquire, "this lease was given back already");
}

DialUnderWay& Pool::note_begun_locked(Endpoint& endpoint, DialUnderWay dial, Actions& actions) {
  tallies_.dials.add();
  // Held until the dialer has it: the dial may have been dropped by then, and its place given away.
  actions.dials.push_back({hold(endpoint), dial.slot, {dial.start, dial.deadline}});
  return endpoint.dials[dial.slot] = std::move(dial);
}

// When a caller's own dial begins: now, but for the pace of those to a dead endpoint.
TimePoint Pool::callers_start_locked(Endpoint& endpoint, TimePoint now) noexcept {
  if (!endpoint.dead) return now;
  const TimePoint start = paced_start(now, endpoint.paced_full_at);
  endpoint.paced_full_at = paced_full_at(start, endpoint.paced_full_at);
  return start;
}

// How long a dial may take for that caller.
Duration Pool::patience_of(const Waiter& waiter) const noexcept {
  return waiter.connect_timeout.value_or(settings_.dial_timeout);
}

TimePoint Pool::dial_deadline(const Slot& slot) const {
  const Endpoint& endpoint = *slot.endpoint.get();
  const std::lock_guard lock(endpoint.mutex);
  const auto known = endpoint.dials.find(&slot);
  return known == endpoint.dials.end() || known->second.restarted ? TimePoint::min() : known->second.deadline;
}

}  // namespace fastpool::pool
