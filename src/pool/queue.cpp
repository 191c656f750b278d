// Waiters and dials: late binding. Dials belong to the endpoint; whatever arrives goes to the head of its queue.

#include <algorithm>
#include <cassert>
#include <cerrno>

#include "pool/decisions.h"
#include "pool/pool.h"

namespace fastpool::pool {

void Pool::enqueue_locked(Endpoint& endpoint, Waiter& waiter, bool in_front) {
  // Counted before dispatch_locked() looks at the list: whoever parks pushes first and looks at the count second.
  endpoint.waiting.add();
  if (waiter.wants == Waiter::Wants::connection) ++endpoint.connection_waiters;
  if (in_front) {
    endpoint.queue.push_front(waiter);
  } else {
    endpoint.queue.push_back(waiter);
  }
  if (closed_.get())
    fail_locked(endpoint, waiter, Error::make(ErrorCode::pool_closed, Phase::acquire, "the pool is closed"));
}

void Pool::leave_locked(Endpoint& endpoint, Waiter& waiter) noexcept {
  endpoint.queue.remove(waiter);
  endpoint.waiting.subtract();
  if (waiter.wants == Waiter::Wants::connection) --endpoint.connection_waiters;
}

void Pool::hand_locked(Endpoint& endpoint, Waiter& waiter, LeaseRef ref, bool fresh) noexcept {
  leave_locked(endpoint, waiter);
  waiter.slot = ref.slot;
  waiter.generation = ref.generation;
  waiter.fresh = fresh;
  waiter.done = true;
  waiter.parker.unpark();
}

void Pool::fail_locked(Endpoint& endpoint, Waiter& waiter, const Error& error) {
  leave_locked(endpoint, waiter);
  waiter.error = error;
  waiter.done = true;
  waiter.parker.unpark();
}

void Pool::dispatch_locked(Endpoint& endpoint, Actions& actions) {
  while (!endpoint.queue.empty()) {
    const auto ref = pop_idle(endpoint, actions);
    if (!ref) break;
    hand_locked(endpoint, *endpoint.queue.front(), *ref, false);
  }
  // A sweep has the list out: what it brings back is dispatched when it ends.
  if (!endpoint.queue.empty() && !endpoint.sweeping.get()) {
    serve_leases_locked(endpoint, actions);
    start_dials_locked(endpoint, actions);
    if (!actions.dials.empty()) serve_leases_locked(endpoint, actions);  // those behind whom the dials were started for
  }
  note_connecting_locked(endpoint);
}

// Reserves; where the total limit bars it, the endpoint is listed and one idle connection of another closed.
Pool::Reserved Pool::reserve_or_starve_locked(Endpoint& endpoint, Actions& actions) {
  Reserved reserved = reserve(endpoint);
  if (reserved != Reserved::total_limit) return reserved;
  // Listed first, then another look at the count and at the lists: whoever closes (or parks) does that first and looks at
  // our list second.
  starve_locked(endpoint);
  reserved = reserve(endpoint);
  if (reserved == Reserved::total_limit) {
    // One at a time: its end relieves whoever starves, and that looks for the next.
    Slot* const evicted = actions.closing.empty() ? evict_longest_idle(&endpoint) : nullptr;
    if (evicted != nullptr) actions.closing.push_back({evicted, true});
  }
  return reserved;
}

// Bare leases whose turn has come: those with nobody before them but waiters whose dials are under way, from whom a slot
// takes nothing.
void Pool::serve_leases_locked(Endpoint& endpoint, Actions& actions) {
  std::uint32_t covered = endpoint.dialing;
  for (Waiter* waiter = endpoint.queue.front(); waiter != nullptr;) {
    Waiter* const next = waiter->next;
    if (waiter->wants == Waiter::Wants::connection) {
      if (covered == 0) return;
      --covered;
      waiter = next;
      continue;
    }
    if (reserve_or_starve_locked(endpoint, actions) != Reserved::yes) return;
    Slot* slot = take_slot(endpoint);
    const auto generation = slot != nullptr ? slot->word.reserve_lease() : std::nullopt;
    if (!generation) {
      total_.subtract();
      endpoint.connections.subtract();
      return;
    }
    hand_locked(endpoint, *waiter, {slot, *generation}, false);
    waiter = next;
  }
}

void Pool::start_dials_locked(Endpoint& endpoint, Actions& actions) {
  // A bare lease in front that could not be had bars those behind it.
  if (endpoint.queue.empty() || endpoint.queue.front()->wants == Waiter::Wants::lease) return;
  const std::uint32_t in_use = endpoint.connections.get();
  const std::uint32_t free_limit =
      settings_.max_connections_per_endpoint > in_use ? settings_.max_connections_per_endpoint - in_use : 0;
  std::uint32_t wanted =
      wanted_dials(endpoint.connection_waiters, endpoint.dialing, free_limit, settings_.max_dials_per_endpoint);
  for (; wanted > 0; --wanted) {
    if (reserve_or_starve_locked(endpoint, actions) != Reserved::yes) return;
    Slot* slot = take_slot(endpoint);
    if (slot == nullptr || !slot->word.reserve_dial()) {
      total_.subtract();
      endpoint.connections.subtract();
      return;
    }
    ++endpoint.dialing;
    tallies_.dials.add();
    actions.dials.emplace_back(slot, dial_deadline_locked(endpoint));
  }
}

// A caller's `pool` clock runs until a dial is under way for it (waiters ahead < dials in flight), then its `connect` clock.
void Pool::note_connecting_locked(Endpoint& endpoint) {
  std::uint32_t covered = endpoint.dialing;
  for (Waiter* waiter = endpoint.queue.front(); waiter != nullptr && covered > 0; waiter = waiter->next, --covered) {
    if (waiter->connecting || waiter->wants != Waiter::Wants::connection) continue;
    waiter->connecting = true;
    if (waiter->connect_timeout) waiter->connect_deadline = clock_.now() + *waiter->connect_timeout;
    waiter->parker.unpark();  // its deadline is another one now
  }
}

// Whether a dial is under way for that waiter.
bool Pool::covered_locked(const Endpoint& endpoint, const Waiter& waiter) noexcept {
  std::uint32_t covered = endpoint.dialing;
  for (const Waiter* each = endpoint.queue.front(); each != nullptr && covered > 0; each = each->next, --covered) {
    if (each == &waiter) return true;
  }
  return false;
}

TimePoint Pool::dial_deadline_locked(const Endpoint& endpoint) const {
  Duration longest = settings_.dial_timeout;
  for (const Waiter* waiter = endpoint.queue.front(); waiter != nullptr; waiter = waiter->next) {
    if (waiter->connect_timeout) longest = std::max(longest, *waiter->connect_timeout);
  }
  return clock_.now() + longest;
}

TimePoint Pool::direct_dial_deadline(const Waiter& waiter) const {
  const TimePoint cap = clock_.now() + settings_.dial_timeout;
  return waiter.connect_deadline == TimePoint::max() ? cap : std::max(cap, waiter.connect_deadline);
}

void Pool::share_failure_locked(Endpoint& endpoint, const Error& error) {
  switch (failure_goes_to(error.final, endpoint.connection_waiters, endpoint.dialing)) {
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

void Pool::starve_locked(Endpoint& endpoint) {
  if (endpoint.starved) return;
  endpoint.starved = true;
  std::lock_guard lock(starved_mutex_);
  starved_.push_back(&endpoint);
  starved_count_.add();
}

// An endpoint that was taken off the list and got nothing keeps its place at the head.
void Pool::keep_place_locked(Endpoint& endpoint) {
  std::lock_guard lock(starved_mutex_);
  const auto place = std::find(starved_.rbegin(), starved_.rend(), &endpoint);
  if (place == starved_.rend()) return;
  starved_.erase(std::next(place).base());
  starved_.push_front(&endpoint);
}

void Pool::dispatch(Endpoint& endpoint) {
  Actions actions;
  {
    std::lock_guard lock(endpoint.mutex);
    dispatch_locked(endpoint, actions);
  }
  perform(actions);
}

void Pool::relieve_starvation() {
  // Once round: an endpoint that got something and wants more lists itself again, at the end.
  for (std::uint32_t rounds = starved_count_.get(); rounds > 0; --rounds) {
    Endpoint* endpoint = nullptr;
    {
      std::lock_guard lock(starved_mutex_);
      if (starved_.empty()) return;
      endpoint = starved_.front();
      starved_.pop_front();
      starved_count_.subtract();
    }
    Actions actions;
    bool still_starved = false;
    {
      std::lock_guard lock(endpoint->mutex);
      endpoint->starved = false;
      const std::uint32_t before = endpoint->queue.size();
      dispatch_locked(*endpoint, actions);
      still_starved = endpoint->starved;
      if (still_starved && actions.dials.empty() && endpoint->queue.size() == before) keep_place_locked(*endpoint);
    }
    const bool evicted = !actions.closing.empty();
    perform(actions);
    if (still_starved && !evicted) return;
  }
}

void Pool::perform(Actions& actions) {
  // Closings first: where descriptors have run out, the dial needs theirs.
  for (const Ended& ended : actions.closing)
    finish_closing(*ended.slot, ended.goodbye);
  for (const auto& [slot, deadline] : actions.dials)
    dialer_.dial(*slot->endpoint.get(), *slot, deadline);
}

Result<Lease> Pool::wait(Endpoint& endpoint, Waiter& waiter, TimePoint pool_deadline, const Interrupt& interrupt,
                         Slot* direct) {
  bool interrupted = false;
  bool left = false;
  for (;;) {
    TimePoint deadline;
    {
      std::lock_guard lock(endpoint.mutex);
      deadline = waiter.connecting ? waiter.connect_deadline : pool_deadline;
      const bool late = !waiter.done && deadline != TimePoint::max() && clock_.now() >= deadline;
      if (!waiter.done && (late || interrupted)) {
        if (direct != nullptr) {
          direct->direct_waiter = nullptr;
        } else {
          leave_locked(endpoint, waiter);
          left = true;
        }
        if (interrupted) {
          waiter.error = Error::make(ErrorCode::interrupted, Phase::acquire,
                                     "interrupted while waiting for a connection to " + endpoint.name());
        } else if (waiter.connecting) {
          waiter.error = Error::make(ErrorCode::connect_timeout, Phase::connect,
                                     "no connection to " + endpoint.name() + " within the connect timeout");
        } else {
          tallies_.pool_timeouts.add();
          waiter.error = Error::make(ErrorCode::pool_timeout, Phase::acquire,
                                     "no connection to " + endpoint.name() + " became free within the pool timeout; " +
                                         std::to_string(endpoint.connections.get()) + " are in use there and " +
                                         std::to_string(total_.get()) + " in all");
        }
        waiter.done = true;
      }
      if (waiter.done) break;
    }
    if (interrupt.active()) deadline = std::min(deadline, clock_.now() + Interrupt::poll_interval);
    (void)waiter.parker.park_until(deadline);
    interrupted = interrupt();
  }
  // Those behind moved up: a bare lease may be first now, or a dial under way for another.
  if (left && endpoint.waiting.get() != 0) dispatch(endpoint);
  if (waiter.error) return *std::move(waiter.error);
  return Lease(*this, {waiter.slot, waiter.generation}, waiter.fresh);
}

void Pool::dial_done(Slot& slot, Result<std::unique_ptr<Pooled>> result, DialReport report) {
  Endpoint& endpoint = *slot.endpoint.get();
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

  Actions actions;
  if (evicted != nullptr) actions.closing.push_back({evicted, true});
  bool freed = false;
  bool parked = false;
  {
    std::lock_guard lock(endpoint.mutex);
    if (slot.dial_in_flight && evicted != nullptr && slot.direct_waiter != nullptr) {
      tallies_.dials.add();
      actions.dials.emplace_back(&slot, direct_dial_deadline(*slot.direct_waiter));
    } else if (slot.dial_in_flight) {  // for the lease of this slot
      slot.dial_in_flight = false;
      if (result) {
        slot.pooled = std::move(result).value();
        slot.lease_count.set(1);
        slot.word.clear_peer_closed(slot.word.load().generation);
        slot.connected.set();
        if (closed_.get()) slot.pooled->interrupt();
      }
      if (Waiter* const direct = std::exchange(slot.direct_waiter, nullptr)) {
        direct->slot = &slot;
        direct->generation = slot.word.load().generation;
        direct->fresh = true;
        // NOLINTNEXTLINE(bugprone-use-after-move): only the value was taken; whether there was one stays known
        if (!result) direct->error = result.error();
        direct->done = true;
        direct->parker.unpark();
      }
    } else {
      --endpoint.dialing;
      if (result) {
        slot.pooled = std::move(result).value();
        slot.connected.set();
        slot.idle_since.set(clock_.now());
        slot.idle_deadline.set(idle_deadline(clock_.now(), settings_.idle_timeout, std::nullopt, slot.retire_at.get()));
        if (!endpoint.queue.empty()) {
          slot.lease_count.set(1);
          const auto generation = slot.word.lease_dialed();
          assert(generation);
          hand_locked(endpoint, *endpoint.queue.front(), {&slot, *generation}, true);
          // The next dial, where the cap held it back; a bare lease that is first now.
          dispatch_locked(endpoint, actions);
        } else if (counts_idle_ && !idle_total_.add_below(settings_.max_idle_connections)) {
          const auto generation = slot.word.lease_dialed();
          if (generation && slot.word.begin_close(*generation)) actions.closing.push_back({&slot, true});
        } else {
          [[maybe_unused]] const bool ok = slot.word.park_dialed();
          assert(ok);
          endpoint.idle.push(slot.index, links());
          parked = true;
        }
      } else {
        freed = true;
        slot.word.free_dialing();
        free_slot(slot);
        total_.subtract();
        endpoint.connections.subtract();
        if (evicted == nullptr) share_failure_locked(endpoint, result.error());
        dispatch_locked(endpoint, actions);
      }
      note_connecting_locked(endpoint);
    }
  }
  perform(actions);
  if (freed && starved_count_.get() != 0) relieve_starvation();
  if (parked) {
    // Hung up before it was parked, or the pool closed meanwhile: nobody else will look.
    const auto word = slot.word.load();
    if (word.peer_closed && word.state == SlotState::idle && try_reap(slot, word)) {
      tallies_.peer_closed.add();
      finish_closing(slot, false);
    }
    if (closed_.get()) cleanup();
    if (starved_count_.get() != 0) relieve_starvation();
  }
}

}  // namespace fastpool::pool
