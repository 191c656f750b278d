// How a caller gets a lease.

#include "pool/pool.h"

#include <algorithm>
#include <thread>

#include "pool/decisions.h"
#include "pool/hints.h"

namespace fastpool::pool {

namespace {

// Pools of one process begin their generations far apart (multiples of the golden ratio), so that an id of one is stale in
// every other.
std::uint32_t next_first_generation() noexcept {
  static sync::Tally pools;
  pools.add();
  return static_cast<std::uint32_t>(pools.get() * 0x9e3779b9U);
}

// Without a dial nothing would ever be connected.
PoolSettings with_a_dial(PoolSettings settings) noexcept {
  settings.max_dials_per_endpoint = std::max(settings.max_dials_per_endpoint, 1U);
  return settings;
}

}  // namespace

Pool::Pool(const PoolSettings& settings, const PoolClock& clock, Dialer& dialer)
    : settings_(with_a_dial(settings)),
      clock_(clock),
      dialer_(dialer),
      counts_idle_(settings.max_idle_connections < settings.max_connections),
      slab_(next_first_generation()),
      total_limit_(settings_.max_connections_per_endpoint, settings_.max_connections) {}

Pool::~Pool() {
  close();
}

Error Pool::closed_error() {
  return Error::make(ErrorCode::pool_closed, Phase::acquire, "the pool is closed");
}

// Takes the slot that this thread parked last, where it lies. For a caller that has not queued.
inline LeaseRef Pool::take_hinted(Endpoint& endpoint) noexcept {
  Slot* const slot = slab_.find(Hints::at(endpoint));
  if (slot == nullptr) return {};
  TimePoint now;
  const auto taken = endpoint.idle.take(slot->index, slot->word, [&] {
    if (slot->endpoint.get() != &endpoint) return false;
    now = clock_.coarse_now();
    return now < slot->idle_deadline.get();
  });
  if (!taken) return {};
  begin_use(*slot, now);
  return {slot, taken.word.generation()};
}

// Makes a lease of a cell that was taken from the idle list.
Pool::Popped Pool::pop_idle(Endpoint& endpoint, sync::IdleList::For who) noexcept {
  for (;;) {
    const auto popped = endpoint.idle.pop(
        who, links(), words(), [&](std::uint32_t index, bool finished) { drop_tombstone(endpoint, index, finished); });
    if (popped.index == sync::IdleList::none) return {};
    Slot& slot = slab_[popped.index];
    const TimePoint now = clock_.coarse_now();
    const bool expired = now >= slot.idle_deadline.get();
    if (!expired && popped.word.reusable()) [[likely]] {
      begin_use(slot, now);
      return {&slot, popped.word.generation(), true};
    }
    end_idle(slot);
    (expired ? tallies_.expired : tallies_.peer_closed).add();
    if (begin_close({&slot, popped.word.generation()}))
      return {&slot, popped.word.generation(), false,
              expired ? why_expired(now, slot.retire_at.get()) : CloseReason::peer_closed};
  }
}

LeaseRef Pool::pop_vacant(Endpoint& endpoint) noexcept {
  for (;;) {
    const std::uint32_t index = endpoint.vacant.pop(links());
    if (index == sync::TaggedList::none) return {};
    const auto change = slab_[index].word.unlink();
    if (change.before.state() == SlotState::vacant) return LeaseRef{&slab_[index], change.after.generation()};
    drop_tombstone(endpoint, index, change.after.finished());
  }
}

// For a caller that has not queued.
LeaseRef Pool::pop_live(Endpoint& endpoint) noexcept {
  for (;;) {
    const Popped popped = pop_idle(endpoint, sync::IdleList::For::newcomer);
    if (popped.slot == nullptr || popped.live) return {popped.slot, popped.generation};
    finish_closing(*popped.slot, popped.reason);
  }
}

// The same: by the thread's hint, else from the list. References, not Leases: these would go through memory.
LeaseRef Pool::take_idle(Endpoint& endpoint) noexcept {
  return refusal_.take(
      [&] {
        const LeaseRef ref = take_hinted(endpoint);
        return ref ? ref : pop_live(endpoint);
      },
      [this](LeaseRef late) { release(late, Reuse::unused()); });
}

inline LeaseRef Pool::take_checked(Endpoint& endpoint, bool check) noexcept {
  const LeaseRef ref = take_idle(endpoint);
  if (!ref || !check || ref.slot->pooled->check_alive()) [[likely]]
    return ref;
  tallies_.discarded.add();
  release(ref, Reuse::no());
  return {};
}

Slot* Pool::take_slot(Endpoint& endpoint) {
  Slot* slot = slab_.take();
  if (slot != nullptr) {
    slot->endpoint.set(&endpoint);
    slot->idle_deadline.set(TimePoint::max());
    slot->lease_count.set(0);
  }
  return slot;
}

// A bare lease on a place that was reserved; gives the place back if there is no slot for it.
LeaseRef Pool::lease_reserved(Endpoint& endpoint) {
  Slot* const slot = take_slot(endpoint);
  const auto generation = slot != nullptr ? slot->word.reserve_lease() : std::nullopt;
  if (generation) return LeaseRef{slot, *generation};
  total_limit_.give(endpoint.room);
  return {};
}

Lease Pool::try_acquire(Endpoint& endpoint, bool check) noexcept {
  if (const LeaseRef ref = take_checked(endpoint, check)) [[likely]]
    return {*this, ref, false};
  return {};
}

Result<Lease> Pool::acquire(Endpoint& endpoint, const AcquireOptions& options) {
  if (const LeaseRef ref = take_checked(endpoint, options.check)) [[likely]]
    return Lease(*this, ref, false);
  return queue(endpoint, options);
}

// Apart from acquire(), whose way to what is idle needs no frame for it.
Result<Lease> Pool::queue(Endpoint& endpoint, const AcquireOptions& options) {
  sync::ThreadWaker waker;
  Acquisition acquisition(*this, endpoint, options, waker);
  return wait(acquisition, waker, endpoint, options.interrupt);
}

Result<Lease> Pool::wait(Acquisition& acquisition, sync::ThreadWaker& waker, const Endpoint& endpoint,
                         const Interrupt& interrupt) {
  for (;;) {
    if (auto result = acquisition.poll()) return *std::move(result);
    TimePoint until = acquisition.deadline();
    if (interrupt.active()) until = std::min(until, clock_.now() + Interrupt::poll_interval);
    (void)waker.park_until(until);
    if (interrupt()) {
      acquisition.stop(Error::make(ErrorCode::interrupted, Phase::acquire,
                                   "interrupted while waiting for a connection to " + endpoint.name()));
    }
  }
}

std::optional<LeaseRef> Pool::try_lease(Endpoint& endpoint) {
  if (const LeaseRef ref = take_idle(endpoint)) return ref;
  if (refusal_.refusing()) return std::nullopt;
  const LeaseRef bare =
      refusal_.take([&] { return lease_bare(endpoint); }, [this](LeaseRef late) { release(late, Reuse::unused()); });
  if (!bare) return std::nullopt;
  return bare;
}

// A lease on a place: vacant, or reserved now. None if the limits allow none, or callers of the endpoint wait for one.
LeaseRef Pool::lease_bare(Endpoint& endpoint) {
  if (endpoint.idle.waiting() == 0) {
    if (const LeaseRef vacant = pop_vacant(endpoint)) {
      note_leased(*vacant.slot);
      return vacant;
    }
  } else {
    // Idle and returned connections belong to the waiters. A slot of its own is allowed if every waiter has a dial.
    std::lock_guard lock(endpoint.mutex);
    if (endpoint.queue.size() > endpoint.bound) return {};
  }

  if (reserve_or_evict(endpoint) != Taken::yes) {
    if (!endpoint.tombstones.sweeping()) return {};
    // What is idle is out of sight for a moment.
    while (endpoint.tombstones.sweeping())
      std::this_thread::yield();
    return take_idle(endpoint);
  }
  const LeaseRef reserved = lease_reserved(endpoint);
  if (reserved) note_leased(*reserved.slot);
  return reserved;
}

Result<LeaseRef> Pool::lease(Endpoint& endpoint, const AcquireOptions& options) {
  if (const auto ref = try_lease(endpoint)) return *ref;
  if (refusal_.refusing()) return closed_error();
  sync::ThreadWaker waker;
  Acquisition acquisition(*this, endpoint, options, waker, Waiter::Wants::lease);
  auto leased = wait(acquisition, waker, endpoint, options.interrupt);
  if (!leased) return std::move(leased).error();
  return leased->detach();
}

Result<void> Pool::connect(LeaseRef ref, const AcquireOptions& options) {
  sync::ThreadWaker waker;
  Acquisition acquisition(*this, ref, options, waker);
  auto seated = wait(acquisition, waker, *ref.slot->endpoint.get(), options.interrupt);
  if (!seated) return std::move(seated).error();
  (void)seated->detach();  // the lease is the caller's already
  return {};
}

std::optional<LeaseRef> Pool::find(ConnectionId id) const noexcept {
  Slot* slot = slab_.find(id.index());
  if (slot == nullptr || !slot->word.leased_as(id.generation())) return std::nullopt;
  return LeaseRef{slot, id.generation()};
}

}  // namespace fastpool::pool
