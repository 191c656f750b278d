// Statistics. The hot path counts nothing but each connection's own leases; the rest is added up when it is asked for. The
// gauges come from one look at each slot's state, so they agree: total = idle + active + dialing.

#include <unordered_map>

#include "pool/pool.h"

namespace fastpool::pool {

PoolStats Pool::stats() const {
  PoolStats stats;
  std::unordered_map<const Endpoint*, std::size_t> place;
  std::lock_guard lock(endpoints_mutex_);
  for_each_endpoint_locked([&](Endpoint& endpoint) {
    place.emplace(&endpoint, stats.endpoints.size());
    EndpointStats& each = stats.endpoints.emplace_back();
    each.name = endpoint.name();
    each.waiters = endpoint.idle.waiting();
    std::lock_guard endpoint_lock(endpoint.mutex);
    each.min_idle = endpoint.min_idle;
    each.failing_dials = endpoint.failures;
    each.wait_time = endpoint.wait_time;
    each.create_time = endpoint.create_time;
    each.handshake_time = endpoint.handshake_time;
  });
  stats.leases = tallies_.leases.get();
  stats.reused = tallies_.reused.get();
  slab_.for_each([&](const Slot& slot) {
    const auto word = slot.word.load();
    if (word.state() != SlotState::idle && word.state() != SlotState::leased && word.state() != SlotState::dialing)
      return;
    const auto known = place.find(slot.endpoint.get());
    if (known == place.end()) return;  // it is just being taken
    EndpointStats& each = stats.endpoints[known->second];
    ++each.total_connections;
    if (word.state() == SlotState::idle) ++each.idle_connections;
    if (word.state() == SlotState::leased) ++each.active_connections;
    if (word.state() == SlotState::dialing) ++each.dialing_connections;
    const std::uint64_t count = slot.lease_count.get();
    stats.leases += count;
    if (count > 1) stats.reused += count - 1;
  });
  stats.all = retired_times_;
  for (const EndpointStats& each : stats.endpoints)
    stats.all += each;
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
  stats.leaks = tallies_.leaks.get();
  stats.draining = refusal_.refusing();
  return stats;
}

}  // namespace fastpool::pool
