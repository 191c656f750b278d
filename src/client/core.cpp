#include "client/core.h"

#include <algorithm>
#include <functional>
#include <new>

#include "client/look_up.h"
#include "sync/stay_loaded.h"
#include "tls/openssl.h"

namespace fastpool::client {

namespace {

// Null: one of the reactor's own.
std::shared_ptr<net::Resolver> resolver_of(const Hooks* hooks) {
  if (hooks == nullptr || !hooks->resolve) return nullptr;
  return std::make_shared<net::Resolver>(look_up_by(hooks->resolve));
}

// Zero for a dial that ended before it was to begin.
Duration since(TimePoint began) noexcept {
  return std::max(Clock::now() - began, Duration::zero());
}

// The target of requests that a proxy forwards: the proxy itself, with its TLS in place of the origins'.
void point_at_proxy(connection::Target& target) {
  const connection::ProxyRoute& proxy = *target.proxy;
  const bool secure = proxy.kind == connection::ProxyRoute::Kind::https;
  target.name = "http://* via " + proxy.name;
  target.origin = {secure ? Scheme::https : Scheme::http, proxy.host, proxy.port};
  target.tls = proxy.tls;
  target.profile.server_name.clear();
  target.profile.engine = proxy.engine;
  target.profile.protocols = {};
}

Event event_of(Event::Kind kind, std::string_view endpoint) noexcept {
  Event event;
  event.kind = kind;
  event.origin = endpoint;
  return event;
}

}  // namespace

Core::Core(const PoolSettings& settings, std::shared_ptr<const Hooks> hooks)
    : hooks_(std::move(hooks)),
      reactor_(*this, tick_interval, resolver_of(hooks_.get())),
      pool_(settings, clock_, *this) {
  sync::stay_loaded();
  tls::initialize();
}

Core::~Core() {
  stop();
}

Result<pool::EndpointHold> Core::endpoint(const Origin& origin, const std::shared_ptr<const InternedProfile>& profile,
                                          pool::AfterUse after_use) {
  auto proxy = profile->proxy();
  if (!proxy) return std::move(proxy).error();
  const bool forwards = *proxy != nullptr && (*proxy)->forwards(origin.scheme);
  std::string key = (forwards ? "forwarded" : origin.to_string()) + ' ' + std::to_string(profile->id());
  if (auto found = pool_.find_endpoint(key, after_use)) return found;
  return add_endpoint(origin, profile, std::move(key), after_use);
}

Result<pool::EndpointHold> Core::isolated_endpoint(const Origin& origin,
                                                   const std::shared_ptr<const InternedProfile>& profile) {
  return add_endpoint(origin, profile, {}, pool::AfterUse::close);
}

Result<pool::EndpointHold> Core::add_endpoint(const Origin& origin,
                                              const std::shared_ptr<const InternedProfile>& profile, std::string key,
                                              pool::AfterUse after_use) {
  auto made = std::make_shared<InternedTarget>();
  made->name = origin.to_string();
  made->origin = origin;
  made->profile = profile->profile();
  made->dns_lifetime = pool_.settings().dns_lifetime;
  made->interned = profile;
  auto proxy = profile->proxy();
  if (!proxy) return std::move(proxy).error();
  made->proxy = std::move(proxy).value();
  made->forwards = made->proxy != nullptr && made->proxy->forwards(origin.scheme);
  if (made->tunnels() && made->proxy->engine_of_proxy() != nullptr && origin.scheme == Scheme::https &&
      !made->profile.engine) {
    return Error::make(ErrorCode::unsupported, Phase::none,
                       "a proxy with a TLS engine of its own needs one for the origins, too");
  }
  if (!made->profile.protocols.http1 && !made->profile.protocols.http2)
    return Error::make(ErrorCode::invalid_argument, Phase::none, "a profile allows HTTP/1.1, HTTP/2, or both");
  if (made->forwards) {
    point_at_proxy(*made);
  } else if (origin.scheme == Scheme::https) {
    auto tls = profile->tls();
    if (!tls) return std::move(tls).error();
    made->tls = std::move(tls).value();
  }
  if (made->tunnels()) made->name += " via " + made->proxy->name;
  const Protocols protocols = made->profile.protocols;
  if (protocols.http2 && (!protocols.http1 || made->origin.scheme == Scheme::https))
    made->homes = std::make_shared<connection::Homes>(pool_);
  std::shared_ptr<const connection::Target> target = std::move(made);  // as dial() looks at it
  std::string name = target->name;
  return pool_.add_endpoint(std::move(name), std::move(target), std::move(key), after_use);
}

void Core::close() {
  pool_.close();
}

void Core::stop() {
  pool_.close();
  reactor_.stop();  // dials under way end now, each telling the pool
}

void Core::dial(pool::Endpoint& endpoint, pool::Slot& slot, pool::DialTimes times) {
  auto target = std::static_pointer_cast<const connection::Target>(endpoint.target());
  // The target's name: the endpoint may be retired if the dial was dropped.
  const auto done = [this, &slot, target, began = times.start](Result<connection::Dialed> dialed) {
    if (!dialed) {
      pool_.dial_done(slot, not_connected(*target, began, std::move(dialed).error()), {.endpoint = target->name});
      return;
    }
    const connection::DialTimings& took = dialed->timings;
    const pool::DialReport report{target->name, dialed->tls, dialed->tls_resumed,
                                  took.resolve + took.connect + took.tls_handshake, took.tls_handshake};
    pool_.dial_done(slot, connected(*target, began, std::move(dialed).value()), report);
  };
  report(event_of(Event::Kind::dial_begin, target->name));
  try {
    reactor_.dial(target, times.deadline, done, times.start, &slot);
  } catch (const std::bad_alloc&) {  // it was not begun, and its waiters must not wait for it
    Error error;
    error.code = ErrorCode::out_of_memory;
    error.phase = Phase::connect;
    pool_.dial_done(slot, std::move(error), {});
  }
}

std::unique_ptr<pool::Pooled> Core::connected(const connection::Target& target, TimePoint began,
                                              connection::Dialed dialed) {
  auto made = std::make_unique<connection::Connection>(std::move(dialed.channel), *this, dialed.timings,
                                                       static_cast<std::uint32_t>(connections_.next()),
                                                       target.profile.protocols, std::move(dialed.tunnel_answer));
  if (made->channel().established()) settle(*made);
  Event event = event_of(Event::Kind::dial_end, target.name);
  event.connection = made->number();
  event.took = since(began);
  report(event);
  return made;
}

// Without memory it is discarded by its first user, as a connection that is not alive.
void Core::settle(connection::Connection& connection) noexcept {
  if (auto settled = connection.settle_protocol(); !settled) return connection.interrupt();
  if (!connection.multiplexer()) return;
  const std::lock_guard lock(multiplexers_mutex_);
  std::erase_if(multiplexers_, [](const auto& each) { return each.expired(); });
  multiplexers_.push_back(connection.multiplexer());
}

Error Core::not_connected(const connection::Target& target, TimePoint began, Error error) {
  Event event = event_of(Event::Kind::dial_end, target.name);
  event.took = since(began);
  event.error = &error;
  report(event);
  return error;
}

void Core::on_close(const connection::Connection& connection, CloseReason reason, std::string_view endpoint) noexcept {
  Event event = event_of(Event::Kind::close, endpoint);
  event.connection = connection.number();
  event.reason = reason;
  report(event);
}

std::vector<std::shared_ptr<connection::Multiplexer>> Core::living_multiplexers() {
  std::vector<std::shared_ptr<connection::Multiplexer>> living;
  const std::lock_guard lock(multiplexers_mutex_);
  for (const auto& each : multiplexers_)
    if (auto multiplexer = each.lock()) living.push_back(std::move(multiplexer));
  return living;
}

// Pumps HTTP/2 connections without a reader: a peer may send PING, SETTINGS or GOAWAY at any time, and expects answers.
void Core::stand_by(TimePoint now) {
  for (const auto& multiplexer : living_multiplexers())
    multiplexer->stand_by(now);
}

Core::Http2Counts Core::http2_counts() {
  Http2Counts counts;
  counts.streams = streams_.get();
  for (const auto& multiplexer : living_multiplexers()) {
    ++counts.connections;
    counts.open_streams += multiplexer->open_streams();
  }
  return counts;
}

void Core::on_tick(TimePoint now) {
  pool_.maintain();
  stand_by(now);
  for (const pool::Leak& leak : pool_.find_leaks()) {
    if (leak_listener_) leak_listener_(leak);
    Event event = event_of(Event::Kind::leak, leak.endpoint);
    event.took = leak.age;
    report(event);
  }
}

}  // namespace fastpool::client
