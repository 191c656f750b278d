// The limit over all endpoints: what the pool does where it bars a caller, and when something is freed. The protocol itself
// is sync/total_limit.h.

#include "pool/pool.h"

namespace fastpool::pool {

// For a waiter: what ends for it is decided under the endpoint's lock, and done after it.
struct Pool::RoomForWaiter {
  Pool& pool;
  Endpoint& endpoint;
  Actions& actions;

  [[nodiscard]] bool drop_spare() { return pool.drop_spare_dial_locked(endpoint, actions); }
  [[nodiscard]] bool evict() {
    // One at a time: its end relieves the starving endpoints, and that evicts the next.
    if (!actions.closing.empty()) return false;
    Slot* const evicted = pool.evict_longest_idle(&endpoint);
    if (evicted != nullptr) actions.closing.push_back({evicted, CloseReason::limit});
    return evicted != nullptr;
  }
};

// For a newcomer, which holds no lock.
struct Pool::RoomForNewcomer {
  Pool& pool;
  Endpoint& endpoint;

  [[nodiscard]] bool drop_spare() { return pool.drop_spare_dial(endpoint); }
  [[nodiscard]] bool evict() {
    Slot* const evicted = pool.evict_longest_idle(&endpoint);
    if (evicted != nullptr) pool.finish_closing(*evicted, CloseReason::limit);
    return evicted != nullptr;
  }
  void give_way() { pool.dispatch_if_awaited(endpoint); }
};

// Serves starving endpoints.
struct Pool::Relief {
  using Actions = Pool::Actions;
  Pool& pool;

  [[nodiscard]] static std::unique_lock<std::mutex> lock(Endpoint& endpoint) {
    return std::unique_lock(endpoint.mutex);
  }
  [[nodiscard]] bool serve_locked(Endpoint& endpoint, Actions& actions) {
    endpoint.short_of_descriptors = false;
    const std::uint32_t before = endpoint.queue.size();
    pool.dispatch_locked(endpoint, actions);
    return !actions.dials.empty() || endpoint.queue.size() != before;
  }
  [[nodiscard]] bool perform(Actions& actions) {
    const bool evicted = !actions.closing.empty();
    pool.perform(actions);
    return evicted;
  }
  void serve_waiting(Endpoint& endpoint) { pool.dispatch_if_awaited(endpoint); }
  // Leases that connect on first use have their place already: they do not queue behind callers that wait for a place.
  void stuck() {
    for (Endpoint* const endpoint : pool.total_limit_.all_starving()) {
      Actions actions;
      {
        const std::lock_guard lock(endpoint->mutex);
        if (!endpoint->short_of_descriptors) continue;
        pool.start_lease_dials_locked(*endpoint, actions);
      }
      pool.perform(actions);
    }
  }
};

Pool::Taken Pool::reserve_or_starve_locked(Endpoint& endpoint, Actions& actions) {
  return total_limit_.take_or_starve_locked(endpoint.room, RoomForWaiter{*this, endpoint, actions});
}

Pool::Taken Pool::reserve_or_evict(Endpoint& endpoint) {
  return total_limit_.take_or_evict(endpoint.room, RoomForNewcomer{*this, endpoint});
}

void Pool::relieve_starving() {
  total_limit_.relieve_if_starving(Relief{*this});
}

void Pool::place_freed(Endpoint& endpoint) {
  total_limit_.freed(endpoint, Relief{*this});
}

// Returns whether the first waiter of the first starving endpoint came before the first waiter of this endpoint. A connection
// that is returned here is then closed in its favour.
bool Pool::yields_to_starving(Endpoint& endpoint) {
  const auto waits_since = [](Endpoint& there) {
    std::lock_guard lock(there.mutex);
    return there.queue.empty() ? TimePoint::max() : there.queue.front()->since;
  };
  if (endpoint.idle.waiting() == 0) return false;  // it becomes idle, and may be evicted
  Endpoint* const first = total_limit_.first_starving();
  return first != nullptr && first != &endpoint && waits_since(*first) < waits_since(endpoint);
}

}  // namespace fastpool::pool
