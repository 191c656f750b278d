// Ends of connections: closing, reaping below the head of the list, sweeping, expiry, the pool's own close.

#include <algorithm>
#include <cassert>
#include <map>

#include "pool/decisions.h"
#include "pool/pool.h"

namespace fastpool::pool {

std::unique_ptr<Pooled> Pool::unseat_locked(Slot& slot) noexcept {
  slot.connected.clear();
  if (!slot.pooled) return nullptr;
  const std::uint64_t count = slot.lease_count.get();
  tallies_.leases.add(count);
  if (count > 1) tallies_.reused.add(count - 1);
  tallies_.closed.add();
  slot.lease_count.set(0);
  slot.seating.set(next_seating(slot));  // no hang-up that comes late may be taken for the next one's
  return std::move(slot.pooled);
}

// Closing, owned by the caller: nothing else takes `pooled`. A cell still linked somewhere stays as a tombstone.
void Pool::finish_closing(Slot& slot, bool goodbye) noexcept {
  Endpoint& endpoint = *slot.endpoint.get();
  std::unique_ptr<Pooled> pooled;
  {
    std::lock_guard lock(endpoint.mutex);
    pooled = unseat_locked(slot);
  }
  if (pooled && goodbye) pooled->say_goodbye();
  pooled.reset();
  if (slot.word.finish_emptied()) {
    slot.word.free_closed();
    free_slot(slot);
  }
  total_.subtract();
  endpoint.connections.subtract();
  capacity_freed(endpoint);
  if (endpoint.tombstones.get() > std::max<std::uint32_t>(16, endpoint.connections.get())) sweep(endpoint);
}

void Pool::capacity_freed(Endpoint& endpoint) noexcept {
  if (endpoint.waiting.get() != 0) dispatch(endpoint);
  if (starved_count_.get() != 0) relieve_starvation();
}

bool Pool::try_reap(Slot& slot, const SlotWord::View& seen) noexcept {
  Endpoint& endpoint = *slot.endpoint.get();
  endpoint.tombstones.add();  // before the cell can be popped and counted down
  if (slot.word.try_reap(seen)) {
    if (counts_idle_) idle_total_.subtract();
    return true;
  }
  endpoint.tombstones.subtract();
  return false;
}

Slot* Pool::evict_longest_idle(const Endpoint* spare) noexcept {
  for (;;) {
    Slot* longest = nullptr;
    SlotWord::View longest_word;
    slab_.for_each([&](Slot& slot) {
      const auto word = slot.word.load();
      if (word.state != SlotState::idle || slot.endpoint.get() == spare) return;
      if (longest == nullptr || slot.idle_since.get() < longest->idle_since.get()) {
        longest = &slot;
        longest_word = word;
      }
    });
    if (longest == nullptr) return nullptr;
    if (try_reap(*longest, longest_word)) {
      tallies_.evicted.add();
      return longest;
    }
  }
}

void Pool::sweep(Endpoint& endpoint) noexcept {
  if (!endpoint.sweeping.try_set()) return;
  std::vector<std::uint32_t> living;
  for (std::uint32_t index = endpoint.idle.take_all(); index != sync::TaggedList::none;) {
    Slot& slot = *slab_.at(index);
    // relaxed: the chain is ours alone; its links were published by the exchange that took it.
    const std::uint32_t next = slot.next.load(std::memory_order_relaxed);
    if (slot.word.load().state == SlotState::closing) {
      endpoint.tombstones.subtract();
      if (slot.word.finish_unlinked()) {
        slot.word.free_closed();
        free_slot(slot);
      }
    } else {
      living.push_back(index);
    }
    index = next;
  }
  for (auto index = living.rbegin(); index != living.rend(); ++index)
    endpoint.idle.push(*index, links());
  endpoint.sweeping.clear();
  // Whoever queued meanwhile saw the flag and dialed nothing.
  if (endpoint.waiting.get() != 0) dispatch(endpoint);
}

std::size_t Pool::cleanup() {
  const TimePoint now = clock_.now();
  const bool all = closed_.get();
  std::size_t closed = 0;
  slab_.for_each([&](Slot& slot) {
    const auto word = slot.word.load();
    if (word.state != SlotState::idle) return;
    const bool expired = now >= slot.idle_deadline.get();
    if (!all && !expired && !word.peer_closed) return;
    if (!try_reap(slot, word)) return;
    if (!all) (word.peer_closed ? tallies_.peer_closed : tallies_.expired).add();
    finish_closing(slot, !word.peer_closed);
    ++closed;
  });
  return closed;
}

void Pool::on_hang_up(std::uint64_t token) noexcept {
  const auto index = static_cast<std::uint32_t>(token);
  const auto seating = static_cast<std::uint32_t>(token >> 32);
  Slot* slot = slab_.at(index);
  if (slot == nullptr) return;
  const auto word = slot->word.mark_peer_closed([&] { return slot->seating.get() == seating; });
  if (!word || word->state != SlotState::idle) return;
  if (try_reap(*slot, *word)) {
    tallies_.peer_closed.add();
    finish_closing(*slot, false);
  }
}

void Pool::close() {
  if (!closed_.try_set()) return;
  {
    std::lock_guard lock(endpoints_mutex_);
    for (const auto& endpoint : endpoints_) {
      std::lock_guard endpoint_lock(endpoint->mutex);
      const Error error = Error::make(ErrorCode::pool_closed, Phase::acquire, "the pool was closed");
      while (!endpoint->queue.empty())
        fail_locked(*endpoint, *endpoint->queue.front(), error);
    }
  }
  slab_.for_each([&](Slot& slot) {
    if (!slot.word.mark_draining()) return;
    Endpoint* endpoint = slot.endpoint.get();
    std::lock_guard lock(endpoint->mutex);
    if (slot.endpoint.get() != endpoint) return;
    // A slot that was freed and taken anew is not draining: what it holds is not guarded by this lock.
    const auto now = slot.word.load();
    if (now.state != SlotState::leased || !now.draining) return;
    if (slot.pooled) slot.pooled->interrupt();
    if (Waiter* direct = std::exchange(slot.direct_waiter, nullptr)) {
      direct->error = Error::make(ErrorCode::pool_closed, Phase::acquire, "the pool was closed");
      direct->done = true;
      direct->parker.unpark();
    }
  });
  cleanup();
}

double Pool::jitter() noexcept {
  // splitmix64 over a counter: spread is all that is asked for.
  tallies_.jitter_seed.add();
  std::uint64_t z = tallies_.jitter_seed.get() * 0x9e3779b97f4a7c15ULL + reinterpret_cast<std::uintptr_t>(this);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return static_cast<double>((z ^ (z >> 31)) >> 11) * 0x1.0p-53;
}

PoolStats Pool::stats() const {
  PoolStats stats;
  std::map<const Endpoint*, EndpointStats> by_endpoint;
  {
    std::lock_guard lock(endpoints_mutex_);
    for (const auto& endpoint : endpoints_) {
      auto& each = by_endpoint[endpoint.get()];
      each.name = endpoint->name();
      each.waiters = endpoint->waiting.get();
    }
  }
  stats.leases = tallies_.leases.get();
  stats.reused = tallies_.reused.get();
  slab_.for_each([&](Slot& slot) {
    const auto word = slot.word.load();
    if (word.state == SlotState::free || word.state == SlotState::closing) return;
    const auto known = by_endpoint.find(slot.endpoint.get());
    if (known == by_endpoint.end()) return;  // made after the look above
    auto& each = known->second;
    ++each.total_connections;
    if (word.state == SlotState::idle) ++each.idle_connections;
    if (word.state == SlotState::leased) ++each.active_connections;
    if (word.state == SlotState::dialing) ++each.dialing_connections;
    const std::uint64_t count = slot.lease_count.get();
    stats.leases += count;
    if (count > 1) stats.reused += count - 1;
  });
  for (auto& [endpoint, each] : by_endpoint) {
    stats.all.total_connections += each.total_connections;
    stats.all.idle_connections += each.idle_connections;
    stats.all.active_connections += each.active_connections;
    stats.all.dialing_connections += each.dialing_connections;
    stats.all.waiters += each.waiters;
    stats.endpoints.push_back(std::move(each));
  }
  stats.dials = tallies_.dials.get();
  stats.dial_failures = tallies_.dial_failures.get();
  stats.connections_opened = tallies_.opened.get();
  stats.connections_closed = tallies_.closed.get();
  stats.handshakes = tallies_.handshakes.get();
  stats.resumed = tallies_.resumed.get();
  stats.evicted = tallies_.evicted.get();
  stats.expired = tallies_.expired.get();
  stats.peer_closed = tallies_.peer_closed.get();
  stats.discarded = tallies_.discarded.get();
  stats.pool_timeouts = tallies_.pool_timeouts.get();
  return stats;
}

}  // namespace fastpool::pool
