#include "client/core.h"

#include <functional>

namespace fastpool::client {

Core::Core(const PoolSettings& settings) : reactor_(*this, tick_interval), pool_(settings, clock_, *this) {}

Core::~Core() {
  stop();
}

std::size_t Core::EndpointKeyHash::operator()(const EndpointKey& key) const noexcept {
  return std::hash<std::string_view>{}(key.origin.host) ^
         (static_cast<std::size_t>(key.origin.port) << 20 ^ static_cast<std::size_t>(key.profile) << 40 ^
          static_cast<std::size_t>(key.origin.scheme)) *
             0x9e3779b97f4a7c15ULL;
}

Result<pool::EndpointHold> Core::endpoint(const Origin& origin, const std::shared_ptr<const InternedProfile>& profile) {
  const EndpointKey key{origin, profile->id()};
  if (const Known* known = endpoints_.find(key)) return pool::EndpointHold(*known->endpoint);

  auto made = std::make_shared<InternedTarget>();
  made->origin = origin;
  made->profile = profile->profile();
  made->interned = profile;
  if (origin.scheme == Scheme::https) {
    auto tls = profile->tls();
    if (!tls) return std::move(tls).error();
    made->tls = std::move(tls).value();
  }
  std::shared_ptr<const connection::Target> target = std::move(made);  // as dial() looks at it
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
