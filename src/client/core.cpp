#include "client/core.h"

#include <functional>

namespace fastpool::client {

Core::Core(const PoolSettings& settings) : reactor_(*this, tick_interval), pool_(settings, clock_, *this) {}

Core::~Core() {
  stop();
}

Result<ProfileId> Core::intern(const Profile& profile) {
  std::lock_guard lock(profiles_mutex_);
  std::shared_ptr<tls::Context> tls;
  for (std::size_t i = 0; i < profiles_.size(); ++i) {
    if (profiles_[i].profile == profile) return static_cast<ProfileId>(i);
    if (profiles_[i].tls && profiles_[i].profile.tls == profile.tls) tls = profiles_[i].tls;
  }
  if (profile.channels) {
    tls = nullptr;  // its engine speaks TLS
  } else if (!tls) {
    auto made = tls::Context::create(profile.tls);
    if (!made) return std::move(made).error();
    tls = std::move(made).value();
  }
  profiles_.push_back({profile, std::move(tls)});
  return static_cast<ProfileId>(profiles_.size() - 1);
}

std::size_t Core::EndpointKeyHash::operator()(const EndpointKey& key) const noexcept {
  return std::hash<std::string_view>{}(key.origin.host) ^
         (static_cast<std::size_t>(key.origin.port) << 20 ^ static_cast<std::size_t>(key.profile) << 40 ^
          static_cast<std::size_t>(key.origin.scheme)) *
             0x9e3779b97f4a7c15ULL;
}

pool::EndpointHold Core::endpoint(const Origin& origin, ProfileId profile) {
  const EndpointKey key{origin, profile};
  if (const Known* known = endpoints_.find(key)) return pool::EndpointHold(*known->endpoint);

  auto target = std::make_shared<connection::Target>();
  target->origin = origin;
  {
    std::lock_guard lock(profiles_mutex_);
    target->profile = profiles_[profile].profile;
    if (origin.scheme == Scheme::https) target->tls = profiles_[profile].tls;
  }
  std::lock_guard lock(new_endpoints_mutex_);
  if (const Known* known = endpoints_.find(key)) return pool::EndpointHold(*known->endpoint);
  auto added = pool_.add_endpoint(origin.to_string(), target);
  if (!added) return pool_.add_passing_endpoint(origin.to_string(), std::move(target));
  const Known& known = endpoints_.find_or_insert(key, [&] { return std::make_unique<Known>(Known{*added}); });
  return pool::EndpointHold(*known.endpoint);
}

void Core::close() {
  pool_.close();
}

void Core::stop() {
  pool_.close();
  reactor_.stop();  // dials under way end now, each telling the pool
}

void Core::dial(pool::Endpoint& endpoint, pool::Slot& slot, pool::DialTimes times) {
  // The endpoint lives as long as the pool, and with it its target.
  std::shared_ptr<const connection::Target> target(static_cast<const connection::Target*>(endpoint.target()),
                                                   [](const connection::Target*) {});
  const auto done = [this, &slot](Result<connection::Dialed> dialed) {
    if (!dialed) {
      pool_.dial_done(slot, std::move(dialed).error(), {});
      return;
    }
    const connection::DialTimings& took = dialed->timings;
    const pool::DialReport report{dialed->tls, dialed->tls_resumed, took.resolve + took.connect + took.tls_handshake,
                                  took.tls_handshake};
    pool_.dial_done(
        slot,
        std::unique_ptr<pool::Pooled>(std::make_unique<connection::Connection>(std::move(dialed->channel), *this)),
        report);
  };
  reactor_.dial(std::move(target), times.deadline, done, times.start);
}

void Core::on_tick(TimePoint) {
  pool_.maintain();
  for (const pool::Leak& leak : pool_.find_leaks()) {
    if (leak_listener_) leak_listener_(leak);
  }
}

}  // namespace fastpool::client
