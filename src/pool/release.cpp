// How a lease ends: its connection is parked, closed, or goes to a caller that waits.

#include <algorithm>

#include "pool/decisions.h"
#include "pool/hints.h"
#include "pool/pool.h"
#include "sync/lease_end.h"
#include "sync/parking.h"

namespace fastpool::pool {

void Lease::give(Pool& pool, LeaseRef ref, Reuse reuse, KeepAliveLimit* keep) noexcept {
  pool.release(ref, reuse, keep);
}

// A lease that ends, with no stream open.
struct Pool::EndedLease {
  Pool& pool;
  // Not a LeaseRef: one wide load of what was just written in pieces stalls the store buffer.
  Slot& slot;
  std::uint32_t generation;
  Reuse reuse;
  KeepAliveLimit* keep;

  [[nodiscard]] LeaseRef ref() const noexcept { return {&slot, generation}; }

  [[nodiscard]] bool drains() const noexcept { return !reuse.reusable(); }
  [[nodiscard]] bool end_connection(SlotWord::View seen) noexcept {
    if (reuse.reusable() && seen.reusable()) [[likely]] {
      if (pool.total_limit_.has_starving() && pool.yields_to_starving(*slot.endpoint.get())) [[unlikely]] {
        if (!pool.close_lease(ref(), CloseReason::limit)) return false;
        pool.tallies_.evicted.add();
        return true;
      }
      const auto awaited = [this] { return slot.endpoint.get()->idle.waiting() != 0; };
      const auto close_idle = [this] { pool.cleanup(); };
      if (pool.refusal_.park(awaited, [this] { return pool.park(ref(), reuse, keep); }, close_idle)) [[likely]]
        return true;
    }
    if (!pool.close_lease(ref(), pool.why_not_parked(slot, seen, reuse))) return false;
    if (reuse.reusable()) pool.tallies_.discarded.add();
    return true;
  }
  [[nodiscard]] bool abandon_dial() noexcept { return pool.abandon_dial(ref()); }
  [[nodiscard]] bool end_bare() noexcept {
    const auto close_idle = [this] { pool.cleanup(); };
    const auto vacate = [this] { return pool.vacate(ref()); };
    if (reuse.reusable() && pool.refusal_.park([] { return false; }, vacate, close_idle)) return true;
    return pool.close_lease(ref(), CloseReason::not_reusable);
  }
};

bool Pool::release(LeaseRef ref, Reuse reuse, KeepAliveLimit* keep) noexcept {
  return sync::LeaseEnd::release(ref.slot->word, ref.generation,
                                 EndedLease{*this, *ref.slot, ref.generation, reuse, keep});
}

void Pool::end_stream(LeaseRef ref, Reuse reuse) noexcept {
  Slot& slot = *ref.slot;
  // The lease goes on; a connection that must not be used again does not. Taken away while the stream still bars others.
  if (!reuse.reusable()) {
    disconnect(ref);
  } else if (!slot.word.load().reusable()) {
    discard(ref);
  } else if (reuse.used()) {
    // What the server promised counts from now on, whenever the lease ends.
    slot.idle_deadline.set(
        idle_deadline(clock_.coarse_now(), settings_.idle_timeout, reuse.keep_alive(), slot.retire_at.get()));
  }
  sync::LeaseEnd::end_stream(slot.word, ref.generation, EndedLease{*this, slot, ref.generation, reuse, nullptr});
}

// Why a connection was not kept at the end of its lease.
CloseReason Pool::why_not_parked(const Slot& slot, SlotWord::View word, Reuse reuse) const noexcept {
  if (!reuse.reusable()) return CloseReason::not_reusable;
  if (word.peer_closed()) return CloseReason::peer_closed;
  if (refusal_.refusing()) return CloseReason::pool_closed;
  return clock_.coarse_now() < slot.retire_at.get() ? CloseReason::limit : CloseReason::lifetime;
}

// A lease whose connection becomes idle.
struct Pool::ReturnedConnection : sync::ParkingHost {
  Pool& pool;
  LeaseRef ref;
  Reuse reuse;
  KeepAliveLimit* keep;
  TimePoint now;
  TimePoint retire_at;
  Endpoint& endpoint;
  bool too_many = false;

  ReturnedConnection(Pool& its_pool, LeaseRef its_ref, Reuse its_reuse, KeepAliveLimit* its_keep, TimePoint its_now,
                     TimePoint retires_at) noexcept
      : pool(its_pool),
        ref(its_ref),
        reuse(its_reuse),
        keep(its_keep),
        now(its_now),
        retire_at(retires_at),
        endpoint(*its_ref.slot->endpoint.get()) {}

  [[nodiscard]] bool count() noexcept {
    if (pool.counts_idle_ && !pool.idle_total_.add_below(pool.settings_.max_idle_connections)) {
      if (endpoint.idle.waiting() == 0) return false;
      pool.idle_total_.add();  // for a moment only: a waiter takes it
      too_many = true;
    }
    if (keep != nullptr) [[unlikely]]
      pool.join_keep(*ref.slot, *keep);
    return true;
  }
  void discount() noexcept {
    if (pool.counts_idle_) pool.idle_total_.subtract();
    if (keep != nullptr) pool.leave_keep(*ref.slot);
  }
  [[nodiscard]] SlotWord::Step make_ready() noexcept {
    Slot& slot = *ref.slot;
    slot.since.set(now);
    TimePoint deadline = idle_deadline(now, pool.settings_.idle_timeout, reuse.keep_alive(), retire_at);
    if (keep != nullptr) [[unlikely]]
      deadline = std::min(deadline, keep->expires(now));
    slot.idle_deadline.set(reuse.used() ? deadline : std::min(deadline, slot.idle_deadline.get()));
    return slot.word.park(ref.generation);
  }
  [[nodiscard]] bool list(SlotWord::Step parked) noexcept {
    Hints::note(endpoint, ref.slot->index);
    return endpoint.idle.put(ref.slot->index, parked, pool.links());
  }
  void serve() { pool.dispatch(endpoint); }
  void note_ready() noexcept { LongestIdle::note_ready(*ref.slot, pool.none_idle_); }
  // Also if a caller waited here: it may have given up meanwhile and left the connection idle.
  void relieve() {
    if (pool.total_limit_.has_starving() && ref.slot->word.load().state() == SlotState::idle) [[unlikely]]
      pool.relieve_starving();
  }
  void close_surplus() noexcept {
    if (keep != nullptr) [[unlikely]]
      pool.close_surplus(*keep, *ref.slot);
    if (too_many) [[unlikely]] {
      const auto word = ref.slot->word.load();
      if (word.state() == SlotState::idle && pool.try_reap(*ref.slot, word))
        pool.finish_closing(*ref.slot, CloseReason::limit);
    }
  }
};

// Makes the connection idle, and serves the callers that may need it or its place. A step of refusal_.park(). False: it must not
// stay idle.
bool Pool::park(LeaseRef ref, Reuse reuse, KeepAliveLimit* keep) noexcept {
  const TimePoint now = clock_.coarse_now();
  const TimePoint retire_at = ref.slot->retire_at.get();
  if (now >= retire_at) return false;
  if (keep != nullptr && keep->keeps_none()) [[unlikely]]
    return false;
  return sync::Parking::park(ReturnedConnection(*this, ref, reuse, keep, now, retire_at));
}

// Counts a connection that is about to be parked.
void Pool::join_keep(const Slot& slot, KeepAliveLimit& keep) noexcept {
  if (!keep.counts()) return;
  keep.share_.join(slab_.kept_under(slot.index), &keep);
  if (!any_kept_.get()) any_kept_.set();
}

void Pool::leave_keep(const Slot& slot) noexcept {
  BasicIdleShare<Slab>::discount(slab_.kept_under(slot.index), [](KeepAliveLimit& limit) { limit.leave(); });
}

// A bare lease whose place becomes vacant.
struct Pool::ReturnedPlace : sync::ParkingHost {
  Pool& pool;
  LeaseRef ref;
  Endpoint& endpoint;

  ReturnedPlace(Pool& its_pool, LeaseRef its_ref) noexcept
      : pool(its_pool), ref(its_ref), endpoint(*its_ref.slot->endpoint.get()) {}

  [[nodiscard]] bool make_ready() noexcept { return ref.slot->word.park_vacant(ref.generation); }
  [[nodiscard]] bool list(bool) noexcept {
    endpoint.vacant.push(ref.slot->index, pool.links());
    return endpoint.idle.waiting() != 0;
  }
  void serve() { pool.dispatch(endpoint); }
  void note_ready() noexcept { LongestIdle::note_ready(*ref.slot, pool.none_idle_); }
  void relieve() { pool.relieve_if_starving(); }
};

// The place stays with the endpoint for its next bare lease, until another caller needs the room. A step of refusal_.park().
bool Pool::vacate(LeaseRef ref) noexcept {
  return sync::Parking::park(ReturnedPlace(*this, ref));
}

// Ends a lease in Closing: finish_closing() comes next. False: it is not that lease any more, or in use.
bool Pool::begin_close(LeaseRef ref) noexcept {
  return ref.slot->endpoint.get()
      ->tombstones.close(ref.slot->word, [ref] { return ref.slot->word.begin_close(ref.generation); })
      .made;
}

bool Pool::close_lease(LeaseRef ref, CloseReason reason) noexcept {
  if (!begin_close(ref)) return false;
  finish_closing(*ref.slot, reason);
  return true;
}

// Its own dial goes on as the endpoint's.
bool Pool::abandon_dial(LeaseRef ref) noexcept {
  Slot& slot = *ref.slot;
  Endpoint& endpoint = *slot.endpoint.get();
  Actions actions;
  {
    std::lock_guard lock(endpoint.mutex);
    if (!slot.word.abandon_dial(ref.generation)) return false;
    if (const auto waits = endpoint.lease_dial_waiters.find(&slot); waits != endpoint.lease_dial_waiters.end())
      fail_lease_dial_locked(endpoint, *waits->second, stale_lease_error());
    DialUnderWay& dial = endpoint.dials.at(&slot);
    dial.for_lease = false;
    ++endpoint.own_dials;
    if (dial.waiters.empty()) spare_locked(endpoint, dial);
    dispatch_locked(endpoint, actions);  // a waiter has this dial now, and a bare lease behind it may be served
  }
  perform(actions);
  return true;
}

void Pool::discard(LeaseRef ref) noexcept {
  if (disconnect(ref)) tallies_.discarded.add();
}

bool Pool::disconnect(LeaseRef ref) noexcept {
  Slot& slot = *ref.slot;
  Endpoint& endpoint = *slot.endpoint.get();
  const EndpointHold kept = hold(endpoint);
  std::unique_ptr<Pooled> pooled;
  {
    std::lock_guard lock(endpoint.mutex);
    // Not leased_as(): the stream on a lease that was given back still has its connection.
    if (!slot.word.unseat(ref.generation)) return false;
    pooled = unseat_locked(slot);
  }
  if (pooled) pooled->end(CloseReason::not_reusable, endpoint.name());
  pooled.reset();
  relieve_if_starving();  // its descriptor is free
  return true;
}

}  // namespace fastpool::pool
