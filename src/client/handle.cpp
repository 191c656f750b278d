#include "client/handle.h"

#include <algorithm>

#include "client/dialed_target.h"

namespace fastpool::client {

// ---- EndpointUse -----------------------------------------------------------------------------------------------------

EndpointUse EndpointUse::share() const noexcept {
  if (held_ == nullptr) return endpoint_ != nullptr ? EndpointUse(*endpoint_) : EndpointUse();
  held_->uses_.add();
  return EndpointUse(*held_);
}

void EndpointUse::release() noexcept {
  endpoint_ = nullptr;
  if (HeldEndpoint* const held = std::exchange(held_, nullptr)) held->handle_.drop(*held);
}

Result<bool> EndpointUse::isolate() {
  if (held_ == nullptr || held_->handle_.isolation_ == Handle::Isolation::none) return false;
  // Those of a forwarding proxy serve other origins, too.
  const bool only_its_own =
      held_->handle_.isolation_ == Handle::Isolation::by_pool && !dialed_target(*endpoint_).forwards;
  if (held_->isolated_ || only_its_own) return true;
  auto isolated = held_->handle_.isolate(*held_);
  if (!isolated) return std::move(isolated).error();
  *this = std::move(isolated).value();
  return true;
}

// ---- Handle ----------------------------------------------------------------------------------------------------------

Handle::Handle(Core& core, std::shared_ptr<const InternedProfile> profile, pool::AfterUse after_use,
               Isolation isolation)
    : core_(core), profile_(std::move(profile)), after_use_(after_use), isolation_(isolation) {}

Handle::~Handle() {
  close();
}

Result<EndpointUse> Handle::use(const Origin& origin, std::string_view server_name) {
  HeldEndpoint* const recent = recent_[OriginHash{}(origin) % recent_places].get();
  if (recent != nullptr && recent->uses_.add_unless_zero()) [[likely]] {
    // Pinned: what it stands for cannot change now.
    EndpointUse use(*recent);
    if (recent->origin_ == origin && recent->server_name_ == server_name) [[likely]]
      return use;
  }
  return look_up(origin, server_name);
}

Result<EndpointUse> Handle::look_up(const Origin& origin, std::string_view server_name) {
  Key key{origin, std::string(server_name)};
  std::vector<HeldEndpoint*> dropped;
  std::optional<EndpointUse> use;
  {
    const std::lock_guard lock(mutex_);
    HeldEndpoint* held = nullptr;
    if (const auto found = listed_.find(key); found != listed_.end()) {
      held = found->second;
    } else {
      auto hold = core_.endpoint(origin, profile_for(server_name), after_use_);
      if (!hold) return std::move(hold).error();
      if (listed_.size() >= sweep_at_) sweep_locked(dropped);
      held = &list_locked(key, std::move(hold).value(), false);
    }
    held->uses_.add();
    recent_[OriginHash{}(origin) % recent_places].set(held);
    use.emplace(EndpointUse(*held));
  }
  for (HeldEndpoint* each : dropped)
    drop(*each);
  return *std::move(use);
}

std::shared_ptr<const InternedProfile> Handle::profile_for(std::string_view server_name) {
  if (server_name.empty()) return profile_;
  Profile named = profile_->profile();
  named.server_name = server_name;
  return core_.intern(named);
}

HeldEndpoint& Handle::list_locked(const Key& key, pool::EndpointHold hold, bool isolated) {
  if (free_.empty()) free_.push_back(all_.emplace_back(new HeldEndpoint(*this)).get());
  HeldEndpoint& held = *free_.back();
  held.origin_ = key.origin;
  held.server_name_ = key.server_name;
  held.isolated_ = isolated;
  held.limit_.forget();
  held.hold_ = std::move(hold);
  listed_[key] = &held;
  free_.pop_back();
  held.uses_.add();  // the list's own; from here on it can be pinned
  return held;
}

Result<EndpointUse> Handle::isolate(const HeldEndpoint& shared) {
  const Key key{shared.origin_, shared.server_name_};
  HeldEndpoint* replaced = nullptr;
  std::optional<EndpointUse> use;
  {
    const std::lock_guard lock(mutex_);
    HeldEndpoint* held = nullptr;
    const auto found = listed_.find(key);
    if (found != listed_.end() && found->second->isolated_) {
      held = found->second;  // by another thread meanwhile
    } else {
      auto hold = core_.isolated_endpoint(key.origin, profile_for(key.server_name));
      if (!hold) return std::move(hold).error();
      if (found != listed_.end()) replaced = found->second;
      held = &list_locked(key, std::move(hold).value(), true);
    }
    held->uses_.add();
    recent_[OriginHash{}(key.origin) % recent_places].set(held);
    use.emplace(EndpointUse(*held));
  }
  if (replaced != nullptr) drop(*replaced);
  return *std::move(use);
}

// One use less; the last releases the hold. Hold no lock: the pool may close connections.
void Handle::drop(HeldEndpoint& held) noexcept {
  if (held.uses_.subtract() != 0) return;
  {
    const pool::EndpointHold released = std::exchange(held.hold_, pool::EndpointHold());
  }
  const std::lock_guard lock(mutex_);
  free_.push_back(&held);
}

// Origins that nothing connects to are forgotten; the next use looks them up anew.
void Handle::sweep_locked(std::vector<HeldEndpoint*>& dropped) {
  for (auto each = listed_.begin(); each != listed_.end();) {
    HeldEndpoint& held = *each->second;
    if (held.uses_.get() == 1 && !pool::Pool::has_connections(*held.hold_)) {
      dropped.push_back(&held);
      each = listed_.erase(each);
    } else {
      ++each;
    }
  }
  sweep_at_ = std::max(first_sweep, 2 * listed_.size());
}

std::uint32_t Handle::open_uses() const {
  const std::lock_guard lock(mutex_);
  std::uint32_t count = 0;
  for (const auto& held : all_)
    count += held->uses_.get();
  return count - std::min(count, static_cast<std::uint32_t>(listed_.size()));
}

void Handle::close() noexcept {
  std::unordered_map<Key, HeldEndpoint*, KeyHash> released;
  {
    const std::lock_guard lock(mutex_);
    released.swap(listed_);
  }
  for (const auto& [key, held] : released)
    drop(*held);
}

}  // namespace fastpool::client
