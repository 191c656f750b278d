#include "client/profiles.h"

#include <functional>
#include <utility>

#include "client/connection_authentication.h"

namespace fastpool::client {

namespace {

/// Of what usually tells profiles apart; equality decides.
std::size_t hash_of(const Profile& profile) noexcept {
  std::size_t hash = std::hash<const void*>{}(profile.engine.get());
  for (const std::string* part :
       {&profile.server_name, &profile.local_address, &profile.unix_socket, &profile.tls.ca_file,
        &profile.tls.certificate_file, &profile.tls.certificate, &profile.proxy.url, &profile.proxy.username})
    hash = hash * 31 + std::hash<std::string>{}(*part);
  return hash;
}

}  // namespace

InternedProfile::InternedProfile(Id id, const Profile& profile, std::shared_ptr<tls::ContextCache> contexts)
    : id_(id), profile_(profile), contexts_(std::move(contexts)) {}

Result<std::shared_ptr<tls::Context>> InternedProfile::tls() const {
  if (profile_.engine) return std::shared_ptr<tls::Context>();
  const std::lock_guard lock(mutex_);
  if (!tls_) {
    auto made = contexts_->get(profile_.tls);
    if (!made) return made;
    tls_ = std::move(made).value();
  }
  return tls_;
}

Result<std::shared_ptr<const connection::ProxyRoute>> InternedProfile::proxy() const {
  if (profile_.proxy.url.empty()) return std::shared_ptr<const connection::ProxyRoute>();
  const std::lock_guard lock(mutex_);
  if (!proxy_) {
    if (!profile_.unix_socket.empty())
      return Error::make(ErrorCode::unsupported, Phase::none,
                         "a proxy is not reached through a Unix socket: give one of them");
    auto route = connection::ProxyRoute::of(profile_.proxy);
    if (!route) return std::move(route).error();
    route->authenticates_connections = authenticates_connection(route->merged_under({}));
    if (route->kind == connection::ProxyRoute::Kind::https && !route->engine) {
      auto tls = contexts_->get(profile_.proxy.tls);
      if (!tls) return std::move(tls).error();
      route->tls = std::move(tls).value();
    }
    proxy_ = std::make_shared<const connection::ProxyRoute>(std::move(route).value());
  }
  return proxy_;
}

bool InternedProfile::outgrown() const {
  const std::lock_guard lock(mutex_);
  return (tls_ != nullptr && tls_->outgrown()) ||
         (proxy_ != nullptr && proxy_->tls != nullptr && proxy_->tls->outgrown());
}

void abandon(std::shared_ptr<const InternedProfile> parents) {
  if (parents != nullptr) (void)new std::shared_ptr<const InternedProfile>(std::move(parents));
}

std::shared_ptr<const InternedProfile> Profiles::intern(const Profile& profile) {
  const std::size_t hash = hash_of(profile);
  const std::lock_guard lock(mutex_);
  const auto [first, last] = known_.equal_range(hash);
  for (auto each = first; each != last; ++each) {
    auto living = each->second.lock();
    if (living && living->profile() == profile && !living->outgrown()) return living;
  }
  if (known_.size() >= sweep_at_) {
    std::erase_if(known_, [](const auto& each) { return each.second.expired(); });
    sweep_at_ = 2 * known_.size() + 64;
  }
  auto interned = std::make_shared<const InternedProfile>(++last_id_, profile, contexts_);
  known_.emplace(hash, interned);
  return interned;
}

}  // namespace fastpool::client
