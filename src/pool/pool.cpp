#include "pool/pool.h"

#include <cassert>

#include "pool/decisions.h"

namespace fastpool::pool {

namespace {

// Pools of one process begin their generations far apart (multiples of the golden ratio), so that an id of one is stale in
// every other.
std::uint32_t next_first_generation() noexcept {
  static sync::Tally pools;
  pools.add();
  return static_cast<std::uint32_t>(pools.get() * 0x9e3779b9U);
}

}  // namespace

Pool::Pool(const PoolSettings& settings, const PoolClock& clock, Dialer& dialer)
    : settings_(settings),
      clock_(clock),
      dialer_(dialer),
      counts_idle_(settings.max_idle_connections < settings.max_connections),
      slab_(next_first_generation()) {}

Pool::~Pool() {
  close();
}

Result<Endpoint*> Pool::add_endpoint(std::string name, std::shared_ptr<const void> target) {
  std::lock_guard lock(endpoints_mutex_);
  if (endpoints_.size() >= settings_.max_endpoints) {
    return Error::make(ErrorCode::invalid_argument, Phase::acquire,
                       "the pool already serves " + std::to_string(endpoints_.size()) +
                           " endpoints, its maximum (max_endpoints); cannot add " + name);
  }
  endpoints_.push_back(std::make_unique<Endpoint>(std::move(name), std::move(target)));
  return endpoints_.back().get();
}

// ---- taking ----------------------------------------------------------------------------------------------------------

std::optional<LeaseRef> Pool::pop_idle(Endpoint& endpoint, Actions& actions) noexcept {
  for (;;) {
    const std::uint32_t index = endpoint.idle.pop(links());
    if (index == sync::TaggedList::none) return std::nullopt;
    Slot& slot = *slab_.at(index);
    const auto word = slot.word.try_lease();
    if (!word) {  // a tombstone
      endpoint.tombstones.subtract();
      if (slot.word.finish_unlinked()) {
        slot.word.free_closed();
        free_slot(slot);
      }
      continue;
    }
    if (counts_idle_) idle_total_.subtract();
    const bool expired = clock_.coarse_now() >= slot.idle_deadline.get();
    if (expired || !word->reusable()) {
      (expired ? tallies_.expired : tallies_.peer_closed).add();
      if (slot.word.begin_close(word->generation)) actions.closing.push_back({&slot, expired});
      continue;
    }
    slot.lease_count.add(1);
    return LeaseRef{&slot, word->generation};
  }
}

Pool::Reserved Pool::reserve(Endpoint& endpoint) noexcept {
  if (!endpoint.connections.add_below(settings_.max_connections_per_endpoint)) return Reserved::endpoint_limit;
  if (!total_.add_below(settings_.max_connections)) {
    endpoint.connections.subtract();
    return Reserved::total_limit;
  }
  return Reserved::yes;
}

Slot* Pool::take_slot(Endpoint& endpoint) {
  Slot* slot = slab_.take();
  if (slot != nullptr) slot->endpoint.set(&endpoint);
  return slot;
}

Result<Lease> Pool::acquire(Endpoint& endpoint, const AcquireOptions& options) {
  std::optional<TimePoint> pool_deadline;
  bool in_front = false;  // a waiter whose turn had come, and who got a dead connection, keeps its place
  for (;;) {
    if (closed_.get()) return Error::make(ErrorCode::pool_closed, Phase::acquire, "the pool is closed");
    Lease lease;
    if (endpoint.waiting.get() == 0) {
      Actions actions;
      if (const auto ref = pop_idle(endpoint, actions)) lease = Lease(*this, *ref, false);
      if (!actions.empty()) perform(actions);
    }
    if (!lease) {
      if (!pool_deadline) {
        pool_deadline = options.pool_timeout ? clock_.now() + *options.pool_timeout : TimePoint::max();
      }
      Waiter waiter;
      waiter.connect_timeout = options.connect_timeout;
      Actions actions;
      {
        std::lock_guard lock(endpoint.mutex);
        enqueue_locked(endpoint, waiter, in_front);
        dispatch_locked(endpoint, actions);
      }
      perform(actions);
      auto waited = wait(endpoint, waiter, *pool_deadline, options.interrupt, nullptr);
      if (!waited) return std::move(waited).error();
      lease = std::move(waited).value();
      in_front = true;
    }
    if (options.check && !lease.fresh() && !(*lease).check_alive()) {
      tallies_.discarded.add();
      lease.end(Reuse::no());
      continue;
    }
    // close() marks what it finds leased; one that was idle when it looked is ended here.
    if (closed_.get()) return Error::make(ErrorCode::pool_closed, Phase::acquire, "the pool is closed");
    return lease;
  }
}

std::optional<LeaseRef> Pool::try_lease(Endpoint& endpoint) {
  if (closed_.get()) return std::nullopt;
  if (endpoint.waiting.get() == 0) {
    Actions actions;
    auto ref = pop_idle(endpoint, actions);
    if (!actions.empty()) perform(actions);
    if (ref) return unless_closed(*ref);
  } else {
    // What is idle or comes back is theirs; but a slot of one's own takes nothing from waiters who all have their dials.
    std::lock_guard lock(endpoint.mutex);
    if (endpoint.queue.size() > endpoint.dialing) return std::nullopt;
  }

  Reserved reserved = reserve(endpoint);
  if (reserved == Reserved::total_limit) {
    if (Slot* evicted = evict_longest_idle(&endpoint)) {
      finish_closing(*evicted, true);
      reserved = reserve(endpoint);
    }
    // Until it met the total limit, reserve() held a place of the endpoint's, which may have barred who queued meanwhile.
    if (reserved == Reserved::total_limit && endpoint.waiting.get() != 0) dispatch(endpoint);
  }
  if (reserved != Reserved::yes) return std::nullopt;
  Slot* slot = take_slot(endpoint);
  std::optional<std::uint32_t> generation;
  if (slot != nullptr) generation = slot->word.reserve_lease();
  if (!generation) {
    total_.subtract();
    endpoint.connections.subtract();
    return std::nullopt;
  }
  return unless_closed(LeaseRef{slot, *generation});
}

// close() marks what it finds leased; what was not yet when it looked is ended here.
std::optional<LeaseRef> Pool::unless_closed(LeaseRef ref) noexcept {
  if (!closed_.get()) return ref;
  release(ref, Reuse::yes());
  return std::nullopt;
}

Result<LeaseRef> Pool::lease(Endpoint& endpoint, const AcquireOptions& options) {
  if (const auto ref = try_lease(endpoint)) return *ref;
  if (closed_.get()) return Error::make(ErrorCode::pool_closed, Phase::acquire, "the pool is closed");
  Waiter waiter;
  waiter.wants = Waiter::Wants::lease;
  Actions actions;
  {
    std::lock_guard lock(endpoint.mutex);
    enqueue_locked(endpoint, waiter, false);
    dispatch_locked(endpoint, actions);
  }
  perform(actions);
  const TimePoint deadline = options.pool_timeout ? clock_.now() + *options.pool_timeout : TimePoint::max();
  auto waited = wait(endpoint, waiter, deadline, options.interrupt, nullptr);
  if (!waited) return std::move(waited).error();
  if (closed_.get()) return Error::make(ErrorCode::pool_closed, Phase::acquire, "the pool is closed");
  return waited->detach();
}

Result<void> Pool::connect(LeaseRef ref, const AcquireOptions& options) {
  Slot& slot = *ref.slot;
  if (slot.connected.get()) return {};
  Endpoint& endpoint = *slot.endpoint.get();
  Waiter waiter;
  Actions actions;
  {
    std::lock_guard lock(endpoint.mutex);
    if (slot.pooled) return {};
    // Under the lock: close() sets the flag first and tells the direct waiters, under it, second.
    if (closed_.get()) return Error::make(ErrorCode::pool_closed, Phase::acquire, "the pool is closed");
    waiter.connecting = true;
    if (options.connect_timeout) waiter.connect_deadline = clock_.now() + *options.connect_timeout;
    slot.direct_waiter = &waiter;
    if (!slot.dial_in_flight) {
      slot.dial_in_flight = true;
      tallies_.dials.add();
      actions.dials.emplace_back(&slot, direct_dial_deadline(waiter));
    }
  }
  perform(actions);
  auto waited = wait(endpoint, waiter, TimePoint::max(), options.interrupt, &slot);
  if (!waited) return std::move(waited).error();
  (void)waited->detach();  // the lease is the caller's already
  return {};
}

Result<std::uint32_t> Pool::warm(Endpoint& endpoint, std::uint32_t count, const AcquireOptions& options) {
  count = std::min(
      {count, settings_.max_connections_per_endpoint, settings_.max_connections, settings_.max_idle_connections});
  if (closed_.get()) return Error::make(ErrorCode::pool_closed, Phase::acquire, "the pool is closed");
  // As many waiters as connections wanted: the queue's own rules then count the idle ones, dial the rest at once, and
  // tell errors. All are given back together.
  std::deque<Waiter> waiters(count);
  Actions actions;
  {
    std::lock_guard lock(endpoint.mutex);
    for (Waiter& waiter : waiters) {
      waiter.connect_timeout = options.connect_timeout;
      enqueue_locked(endpoint, waiter, false);
    }
    dispatch_locked(endpoint, actions);
  }
  perform(actions);
  const TimePoint deadline = options.pool_timeout ? clock_.now() + *options.pool_timeout : TimePoint::max();
  std::vector<Lease> leases;
  std::optional<Error> error;
  bool left = false;
  for (Waiter& waiter : waiters) {
    {
      std::lock_guard lock(endpoint.mutex);
      // The caller's patience is at its end for all of them alike; and nobody waits for room with leases in hand: two
      // warm-ups, each holding what the other needs, would wait for ever.
      const bool out_of_patience =
          error && (error->code == ErrorCode::interrupted || error->code == ErrorCode::pool_timeout);
      const bool for_room = !leases.empty() && !covered_locked(endpoint, waiter);
      if (!waiter.done && (out_of_patience || for_room)) {
        leave_locked(endpoint, waiter);
        left = true;
        continue;
      }
    }
    auto waited = wait(endpoint, waiter, deadline, options.interrupt, nullptr);
    if (waited) {
      leases.push_back(std::move(waited).value());
    } else if (!error) {
      error = std::move(waited).error();
    }
  }
  if (left && endpoint.waiting.get() != 0) dispatch(endpoint);  // others moved up
  const auto warmed = static_cast<std::uint32_t>(leases.size());
  for (Lease& lease : leases)
    lease.end(Reuse::yes());
  if (error && warmed == 0) return *std::move(error);
  return warmed;
}

// ---- giving back -----------------------------------------------------------------------------------------------------

void Lease::end(Reuse reuse) noexcept {
  if (pool_ != nullptr) std::exchange(pool_, nullptr)->release(ref_, reuse);
}

bool Pool::park(LeaseRef ref, Reuse reuse) noexcept {
  Slot& slot = *ref.slot;
  Endpoint& endpoint = *slot.endpoint.get();
  const TimePoint now = clock_.coarse_now();
  const TimePoint retire_at = slot.retire_at.get();
  if (now >= retire_at) return false;
  if (counts_idle_ && !idle_total_.add_below(settings_.max_idle_connections)) {
    if (endpoint.waiting.get() == 0) return false;
    idle_total_.add();  // for a moment only: a waiter takes it
  }
  slot.idle_since.set(now);
  slot.idle_deadline.set(idle_deadline(now, settings_.idle_timeout, reuse.keep_alive, retire_at));
  if (!slot.word.park(ref.generation)) {
    if (counts_idle_) idle_total_.subtract();
    return false;
  }
  endpoint.idle.push(slot.index, links());
  // Pushed; now look: the other side of this pair is in enqueue (count first, then look at the list) and in close().
  if (endpoint.waiting.get() != 0) dispatch(endpoint);
  // Also if somebody waited here, who may have given up meanwhile and left the connection idle.
  if (starved_count_.get() != 0 && slot.word.load().state == SlotState::idle) relieve_starvation();
  if (closed_.get()) cleanup();
  return true;
}

bool Pool::release(LeaseRef ref, Reuse reuse) noexcept {
  Slot& slot = *ref.slot;
  // Once more if a stream ended on another thread between the look that found it open and end_later().
  while (slot.word.leased_as(ref.generation)) {
    const bool connected = slot.connected.get();
    if (!connected) {
      if (release_unconnected(ref)) return true;
    } else if (reuse.reusable && !closed_.get() && park(ref, reuse)) {
      return true;
    } else if (begin_close_quietly(ref)) {
      if (reuse.reusable) tallies_.discarded.add();
      finish_closing(slot, reuse.reusable);
      return true;
    }
    if (slot.word.end_later(ref.generation, connected && !reuse.reusable)) return true;
  }
  return false;
}

// Not while a dial is under way for it: `connected` may have been another connection's.
bool Pool::begin_close_quietly(LeaseRef ref) noexcept {
  std::lock_guard lock(ref.slot->endpoint.get()->mutex);
  return ref.slot->word.leased_as(ref.generation) && !ref.slot->dial_in_flight &&
         ref.slot->word.begin_close(ref.generation);
}

// False: stale, or a stream is open on it.
bool Pool::release_unconnected(LeaseRef ref) noexcept {
  Slot& slot = *ref.slot;
  Endpoint& endpoint = *slot.endpoint.get();
  {
    std::lock_guard lock(endpoint.mutex);
    const auto now = slot.word.load();
    if (now.generation != ref.generation || now.state != SlotState::leased) return false;
    if (slot.dial_in_flight) {  // its own dial goes on, for whoever comes
      if (!slot.word.abandon_dial(ref.generation)) return false;
      slot.dial_in_flight = false;
      ++endpoint.dialing;
      note_connecting_locked(endpoint);
      return true;
    }
  }
  if (!slot.word.begin_close(ref.generation)) return false;
  finish_closing(slot, false);
  return true;
}

void Pool::disconnect(LeaseRef ref) noexcept {
  Slot& slot = *ref.slot;
  // Not leased_as(): the stream on a lease that was given back still has its connection.
  if (const auto word = slot.word.load(); word.generation != ref.generation || word.state != SlotState::leased) return;
  std::unique_ptr<Pooled> pooled;
  {
    std::lock_guard lock(slot.endpoint.get()->mutex);
    (void)slot.word.mark_peer_closed([] { return true; });  // bars park() until the next one sits
    pooled = unseat_locked(slot);
  }
}

std::optional<LeaseRef> Pool::find(ConnectionId id) const noexcept {
  Slot* slot = slab_.at(id.index());
  if (slot == nullptr || !slot->word.leased_as(id.generation())) return std::nullopt;
  return LeaseRef{slot, id.generation()};
}

void Pool::end_stream(LeaseRef ref, Reuse reuse) noexcept {
  const bool keep = reuse.reusable && ref.slot->word.load().reusable();
  if (!keep) {
    // The lease goes on; its connection does not. Taken away while the stream still bars others from it.
    std::unique_ptr<Pooled> pooled;
    std::lock_guard lock(ref.slot->endpoint.get()->mutex);
    if (!ref.slot->dial_in_flight) {
      (void)ref.slot->word.mark_peer_closed([] { return true; });
      pooled = unseat_locked(*ref.slot);
    }
  }
  const auto word = ref.slot->word.end_stream(ref.generation);
  if (!word || !word->ended || word->streams != 0) return;
  // It was given back while in use: now that is done. `ended` bars everybody else from it, so nothing else can.
  if (!ref.slot->connected.get() || !reuse.reusable || word->draining || closed_.get() || !park(ref, reuse)) {
    if (!ref.slot->connected.get()) {
      (void)release_unconnected(ref);
    } else if (ref.slot->word.begin_close(ref.generation)) {
      finish_closing(*ref.slot, reuse.reusable);
    }
  }
}

}  // namespace fastpool::pool
