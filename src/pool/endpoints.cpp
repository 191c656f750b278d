// The life of an endpoint: found or made for a hold, and retired when nothing needs it any more.

#include <algorithm>
#include <unordered_set>

#include "pool/pool.h"

namespace fastpool::pool {

namespace {

// A client that is made right after the last one was closed still finds the connections.
constexpr Duration reuse_window = std::chrono::milliseconds(500);

}  // namespace

EndpointHold::~EndpointHold() {
  if (pool_ != nullptr) pool_->leave_endpoint(*endpoint_);
}

EndpointHold Pool::hold_locked(Endpoint& endpoint, AfterUse after_use) noexcept {
  if (after_use == AfterUse::keep) endpoint.after_use = AfterUse::keep;
  endpoint.unused_since = TimePoint::max();
  return hold(endpoint);
}

EndpointHold Pool::find_endpoint(std::string_view key, AfterUse after_use) {
  const std::lock_guard lock(endpoints_mutex_);
  const auto found = endpoints_by_key_.find(key);
  return found != endpoints_by_key_.end() ? hold_locked(*found->second, after_use) : EndpointHold();
}

EndpointHold Pool::add_endpoint(std::string name, std::shared_ptr<const void> target, std::string key,
                                AfterUse after_use) {
  const std::lock_guard lock(endpoints_mutex_);
  if (const auto found = endpoints_by_key_.find(key); found != endpoints_by_key_.end())
    return hold_locked(*found->second, after_use);
  Endpoint* endpoint = nullptr;
  if (retired_.empty()) {
    endpoint = endpoints_.emplace_back(std::make_unique<Endpoint>()).get();
  } else {
    endpoint = retired_.front();
    retired_.pop_front();
  }
  endpoint->living = true;
  endpoint->after_use = AfterUse::close;
  endpoint->key = std::move(key);
  if (!endpoint->key.empty()) endpoints_by_key_.emplace(endpoint->key, endpoint);
  endpoint->stand_for(std::move(name), std::move(target));
  return hold_locked(*endpoint, after_use);
}

void Pool::leave_endpoint(Endpoint& endpoint) noexcept {
  if (endpoint.users.subtract() != 0) return;
  std::shared_ptr<const void> dropped;  // destroyed with no lock held
  TimePoint maintain_at = TimePoint::max();
  {
    const std::lock_guard lock(endpoints_mutex_);
    // Another thread may have held it again, or retired it, since the count was 0.
    if (!endpoint.living || endpoint.users.get() != 0) return;
    if (deserted_locked(endpoint)) {
      dropped = retire_locked(endpoint);
    } else if (endpoint.after_use == AfterUse::close && endpoint.unused_since == TimePoint::max()) {
      endpoint.unused_since = clock_.now();
      maintain_at = endpoint.unused_since + (endpoint.key.empty() ? Duration{} : reuse_window);
    }
  }
  if (maintain_at != TimePoint::max()) dialer_.maintain_at(maintain_at);
}

// Whether nothing can reach the endpoint any more. Connections are looked at first: what ends one counts itself as a user
// (finish_closing(), dial_done()) or counts the tombstone that it leaves before the connection's place is given back.
bool Pool::deserted_locked(Endpoint& endpoint) noexcept {
  if (endpoint.room.places() != 0 || endpoint.users.get() != 0 || endpoint.tombstones.count() != 0) return false;
  const std::lock_guard lock(endpoint.mutex);
  return endpoint.queue.empty() && !endpoint.room.starving() && endpoint.min_idle == 0 && endpoint.warm_ups == 0;
}

std::shared_ptr<const void> Pool::retire_locked(Endpoint& endpoint) {
  if (!endpoint.key.empty()) endpoints_by_key_.erase(endpoint.key);
  endpoint.living = false;
  endpoint.key.clear();
  endpoint.unused_since = TimePoint::max();
  {
    const std::lock_guard lock(endpoint.mutex);
    retired_times_.wait_time += endpoint.wait_time;
    retired_times_.create_time += endpoint.create_time;
    retired_times_.handshake_time += endpoint.handshake_time;
  }
  retired_.push_back(&endpoint);
  return endpoint.stand_for({}, nullptr);
}

// Those whose last connection ended while another thread's step kept them.
void Pool::retire_deserted() {
  std::vector<std::shared_ptr<const void>> dropped;
  const std::lock_guard lock(endpoints_mutex_);
  for_each_endpoint_locked([&](Endpoint& endpoint) {
    if (deserted_locked(endpoint)) dropped.push_back(retire_locked(endpoint));
  });
}

// Closes what is idle at endpoints whose last hold was released long enough ago.
void Pool::close_unused() {
  const TimePoint now = clock_.now();
  std::unordered_set<const Endpoint*> unused;
  std::vector<EndpointHold> holds;
  {
    const std::lock_guard lock(endpoints_mutex_);
    for_each_endpoint_locked([&](Endpoint& endpoint) {
      if (endpoint.unused_since == TimePoint::max() || endpoint.users.get() != 0) return;
      if (!endpoint.key.empty() && now < endpoint.unused_since + reuse_window) return;
      unused.insert(&endpoint);
      holds.push_back(hold(endpoint));
    });
  }
  if (unused.empty()) return;
  slab_.for_each([&](Slot& slot) {
    const auto word = slot.word.load();
    if (word.state() != SlotState::idle && word.state() != SlotState::vacant && !word.spare()) return;
    if (!unused.contains(slot.endpoint.get())) return;
    if (try_reap(slot, word)) finish_closing(slot, word.peer_closed() ? CloseReason::peer_closed : CloseReason::unused);
  });
}

}  // namespace fastpool::pool
