// Waiters of an endpoint: first come, first served. Whatever arrives goes to the head of the queue.

#include "pool/decisions.h"
#include "pool/pool.h"

namespace fastpool::pool {

void Pool::enqueue_locked(Endpoint& endpoint, Waiter& waiter) {
  endpoint.queue.join(waiter);  // one that was handed a dead connection keeps its place
  if (waiter.wants == Waiter::Wants::connection) ++endpoint.connection_waiters;
  refusal_.queued([&] { fail_locked(endpoint, waiter, closed_error()); });
}

// Nothing is done for a waiter any more, whose wait ends.
void Pool::forget_wait_locked(Endpoint& endpoint, Waiter& waiter) noexcept {
  unbind_locked(endpoint, waiter);
  if (waiter.wants == Waiter::Wants::connection) --endpoint.connection_waiters;
}

void Pool::hand_locked(Endpoint& endpoint, Waiter& waiter, LeaseRef ref, bool fresh) noexcept {
  endpoint.queue.end(waiter, [&] {
    forget_wait_locked(endpoint, waiter);
    endpoint.wait_time.add(clock_.now() - waiter.since);
    waiter.slot = ref.slot;
    waiter.generation = ref.generation;
    waiter.fresh = fresh;
  });
}

void Pool::fail_locked(Endpoint& endpoint, Waiter& waiter, const Error& error) {
  endpoint.queue.end(waiter, [&] {
    forget_wait_locked(endpoint, waiter);
    waiter.error = error;
  });
}

bool Pool::awaits_return(const Endpoint& endpoint, std::uint32_t but) const noexcept {
  if (endpoint.idle.waiting() <= but) return false;
  const std::lock_guard lock(endpoint.mutex);
  return endpoint.queue.size() > endpoint.bound + but;
}

void Pool::dispatch_locked(Endpoint& endpoint, Actions& actions) {
  const auto pop = [&] { return pop_idle(endpoint, sync::IdleList::For::waiter); };
  const auto hand = [&](Waiter& first, const Popped& popped) {
    if (popped.live) {
      hand_locked(endpoint, first, {popped.slot, popped.generation}, false);
    } else {
      actions.closing.push_back({popped.slot, popped.reason});
    }
  };
  const auto sweeping = [&] { return endpoint.tombstones.sweeping(); };
  const auto serve_by_dials = [&] { serve_by_dials_locked(endpoint, actions); };
  const bool dials = endpoint.queue.dispatch(pop, hand, sweeping, serve_by_dials);
  if (!dials && endpoint.lease_dial_waiters.size() > endpoint.bound_lease_dials) start_dials_locked(endpoint, actions);
  actions.spared |= std::exchange(endpoint.spared, false);
}

void Pool::serve_by_dials_locked(Endpoint& endpoint, Actions& actions) {
  serve_leases_locked(endpoint, actions);
  if (!endpoint.queue.empty()) drop_vacant_locked(endpoint, actions);
  // A bare lease that was served no longer holds up the callers behind it; once these have dials, the next one is served.
  for (std::uint32_t bound = endpoint.bound;; bound = endpoint.bound) {
    start_dials_locked(endpoint, actions);
    if (endpoint.bound == bound) break;
    serve_leases_locked(endpoint, actions);
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
    if (!ref && reserve_or_starve_locked(endpoint, actions) == Taken::yes) ref = lease_reserved(endpoint);
    if (!ref) return;
    note_leased(*ref.slot);
    hand_locked(endpoint, *waiter, ref, false);
    waiter = next;
  }
}

// A caller waits for a connection: the vacant places make room.
void Pool::drop_vacant_locked(Endpoint& endpoint, Actions& actions) {
  while (const auto vacant = pop_vacant(endpoint)) {
    if (begin_close(vacant)) actions.closing.push_back({vacant.slot, CloseReason::limit});
  }
}

void Pool::dispatch(Endpoint& endpoint) {
  Actions actions;
  {
    std::lock_guard lock(endpoint.mutex);
    dispatch_locked(endpoint, actions);
  }
  perform(actions);
}

void Pool::perform(Actions& actions) {
  // Closings first: where descriptors have run out, the dial needs theirs.
  for (const Ended& ended : actions.closing)
    finish_closing(*ended.slot, ended.reason);
  for (const Dialing& each : actions.dials)
    dialer_.dial(*each.endpoint, *each.slot, each.times);
  for (Slot* const slot : actions.hurried)
    dialer_.hurry(*slot);
  if (actions.spared) relieve_if_starving();
}

}  // namespace fastpool::pool
