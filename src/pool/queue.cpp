// Waiters: first come, first served, within an endpoint and among those that the total limit holds up. Whatever arrives
// goes to the head of the queue.

#include <algorithm>

#include "pool/decisions.h"
#include "pool/pool.h"

namespace fastpool::pool {

void Pool::enqueue_locked(Endpoint& endpoint, Waiter& waiter) {
  // Counted before dispatch_locked() looks at the list: a thread that parks pushes first and looks at the count second.
  endpoint.idle.join();
  if (waiter.wants == Waiter::Wants::connection) ++endpoint.connection_waiters;
  if (waiter.turn == 0) {
    waiter.turn = ++endpoint.last_turn;
    endpoint.queue.push_back(waiter);
  } else {  // its turn had come, and it was handed a dead connection: it keeps its place
    endpoint.queue.insert(waiter);
  }
  if (closed_.get()) fail_locked(endpoint, waiter, closed_error());
}

void Pool::leave_locked(Endpoint& endpoint, Waiter& waiter) noexcept {
  unbind_locked(endpoint, waiter);
  endpoint.queue.remove(waiter);
  endpoint.idle.leave();
  if (waiter.wants == Waiter::Wants::connection) --endpoint.connection_waiters;
}

void Pool::hand_locked(Endpoint& endpoint, Waiter& waiter, LeaseRef ref, bool fresh) noexcept {
  leave_locked(endpoint, waiter);
  endpoint.wait_time.add(clock_.now() - waiter.since);
  waiter.slot = ref.slot;
  waiter.generation = ref.generation;
  waiter.fresh = fresh;
  waiter.done = true;
  waiter.waker->wake();
}

void Pool::fail_locked(Endpoint& endpoint, Waiter& waiter, const Error& error) {
  leave_locked(endpoint, waiter);
  waiter.fail(error);
}

void Pool::dispatch_locked(Endpoint& endpoint, Actions& actions) {
  serve_idle_locked(endpoint, actions);
  // A sweep has the list out: what it brings back is dispatched when it ends.
  if (!endpoint.queue.empty() && !endpoint.sweeping.get()) {
    serve_leases_locked(endpoint, actions);
    if (!endpoint.queue.empty()) drop_vacant_locked(endpoint, actions);
    // A bare lease that was served no longer holds up the callers behind it; once these have dials, the next one is served.
    for (std::uint32_t bound = endpoint.bound;; bound = endpoint.bound) {
      start_dials_locked(endpoint, actions);
      if (endpoint.bound == bound) break;
      serve_leases_locked(endpoint, actions);
    }
  } else if (endpoint.seat_waiters.size() > endpoint.bound_seats) {
    start_dials_locked(endpoint, actions);
  }
  actions.spared |= std::exchange(endpoint.spared, false);
}

void Pool::serve_idle_locked(Endpoint& endpoint, Actions& actions) {
  while (!endpoint.queue.empty()) {
    const Popped popped = pop_idle(endpoint, sync::IdleList::For::waiter);
    if (popped.slot == nullptr) return;
    if (popped.live) {
      hand_locked(endpoint, *endpoint.queue.front(), {popped.slot, popped.generation}, false);
    } else {
      actions.closing.push_back({popped.slot, popped.goodbye});
    }
  }
}

// A bare lease is served once every waiter ahead of it has a dial: its slot costs them nothing.
void Pool::serve_leases_locked(Endpoint& endpoint, Actions& actions) {
  for (Waiter* waiter = endpoint.queue.front(); waiter != nullptr;) {
    Waiter* const next = waiter->next;
    if (waiter->wants == Waiter::Wants::connection) {
      if (waiter->dial == nullptr) return;
      waiter = next;
      continue;
    }
    auto ref = pop_vacant(endpoint);
    if (!ref && reserve_or_starve_locked(endpoint, actions) == Reserved::yes) ref = lease_reserved(endpoint);
    if (!ref) return;
    note_leased(*ref.slot);
    hand_locked(endpoint, *waiter, ref, false);
    waiter = next;
  }
}

// A caller waits for a connection: the vacant places make room.
void Pool::drop_vacant_locked(Endpoint& endpoint, Actions& actions) {
  while (const auto vacant = pop_vacant(endpoint)) {
    if (begin_close(vacant)) actions.closing.push_back({vacant.slot, false});
  }
}

// ---- the total limit -------------------------------------------------------------------------------------------------

// Reserves; where a limit bars it, a dial of the endpoint's that no caller waits for is dropped. Where that is the total limit,
// the endpoint is listed, and else one idle connection (or such a dial) of another is closed.
Pool::Reserved Pool::reserve_or_starve_locked(Endpoint& endpoint, Actions& actions) {
  Reserved reserved = reserve(endpoint);
  if (reserved == Reserved::endpoint_limit) (void)drop_spare_dial_locked(endpoint, actions);
  if (reserved != Reserved::total_limit) return reserved;
  // Listed before the count and the lists are checked again. A thread that closes (or parks) does that first and reads the list
  // second: one side always sees the other.
  starve_locked(endpoint);
  reserved = reserve(endpoint);
  if (reserved == Reserved::total_limit && !drop_spare_dial_locked(endpoint, actions)) {
    // One at a time: its end relieves the starving endpoints, and that evicts the next.
    Slot* const evicted = actions.closing.empty() ? evict_longest_idle(&endpoint) : nullptr;
    if (evicted != nullptr) actions.closing.push_back({evicted, true});
  }
  return reserved;
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

// Whether the first whom the total limit holds up came before the first who waits at this endpoint: then a connection that
// comes back here is closed in favour of that one.
bool Pool::yields_to_starving(Endpoint& endpoint) {
  const auto waits_since = [](Endpoint& there) {
    std::lock_guard lock(there.mutex);
    return there.queue.empty() ? TimePoint::max() : there.queue.front()->since;
  };
  if (endpoint.idle.waiting() == 0) return false;  // it becomes idle, and may be evicted
  Endpoint* first = nullptr;
  {
    std::lock_guard lock(starved_mutex_);
    if (!starved_.empty()) first = starved_.front();
  }
  return first != nullptr && first != &endpoint && waits_since(*first) < waits_since(endpoint);
}

void Pool::relieve_starvation() {
  // What it closes frees room, which would bring it here again, and again: one round after another instead.
  thread_local const Pool* relieving = nullptr;
  thread_local bool again = false;
  if (relieving == this) {
    again = true;
    return;
  }
  const Pool* const outer = std::exchange(relieving, this);
  do {
    again = false;
    relieve_once();
  } while (again && starved_count_.get() != 0);
  relieving = outer;
}

void Pool::relieve_once() {
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
      endpoint->short_of_descriptors = false;
      const std::uint32_t before = endpoint->queue.size();
      dispatch_locked(*endpoint, actions);
      still_starved = endpoint->starved;
      if (still_starved && actions.dials.empty() && endpoint->queue.size() == before) keep_place_locked(*endpoint);
    }
    const bool evicted = !actions.closing.empty();
    perform(actions);
    if (still_starved && !evicted) {
      retry_seats();
      return;
    }
  }
}

// Leases that connect on first use have their place already: they do not queue behind callers that wait for a place.
void Pool::retry_seats() {
  std::deque<Endpoint*> behind;
  {
    const std::lock_guard lock(starved_mutex_);
    behind = starved_;
  }
  for (Endpoint* const endpoint : behind) {
    Actions actions;
    {
      const std::lock_guard lock(endpoint->mutex);
      if (!endpoint->short_of_descriptors) continue;
      start_seat_dials_locked(*endpoint, actions);
    }
    perform(actions);
  }
}

void Pool::perform(Actions& actions) {
  // Closings first: where descriptors have run out, the dial needs theirs.
  for (const Ended& ended : actions.closing)
    finish_closing(*ended.slot, ended.goodbye);
  for (const Dialing& each : actions.dials)
    dialer_.dial(*each.endpoint, *each.slot, each.times);
  for (Slot* const slot : actions.hurried)
    dialer_.hurry(*slot);
  if (actions.spared && starved_count_.get() != 0) relieve_starvation();
}

}  // namespace fastpool::pool
