#include "connection/dialer.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <utility>

#include <sys/epoll.h>

#include "connection/late_tunnel.h"
#include "net/channel_factory.h"
#include "net/socket.h"
#include "net/tcp_channel.h"

namespace fastpool::connection {

namespace {

/// How soon a Unix socket with a full backlog is tried again.
constexpr Duration kBacklogRetry = std::chrono::milliseconds{10};

/// A loopback port without a listener can be chosen as our own local port: TCP then connects the socket to itself.
bool connected_to_itself(int descriptor, const net::SocketAddress& peer) noexcept {
  return peer.family() != AF_UNIX && net::local_address(descriptor) == peer;
}

/// The options that every TCP socket gets, then the profile's own, which may override them.
int apply_all_options(int descriptor, int family, const Profile& profile) noexcept {
  if (family != AF_UNIX) {
    if (const int error = net::set_no_delay(descriptor); error != 0) {
      return error;
    }
    if (const int error = net::set_keep_alive(descriptor); error != 0) {
      return error;
    }
  }
  return net::apply_options(descriptor, profile.socket_options);
}

std::string seconds_text(Duration duration) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.3f s", std::chrono::duration<double>(duration).count());
  return buffer;
}

}  // namespace

Dial::Dial(DialHost& host, std::shared_ptr<const Target> target, TimePoint deadline)
    : host_(host), target_(std::move(target)), deadline_(deadline) {}

Dial::~Dial() {
  close_sockets();
}

std::string Dial::target_text() const {
  std::string text = target_->origin.to_string();
  if (!target_->profile.unix_socket.empty()) {
    text += " through unix:" + net::printable_unix_path(target_->profile.unix_socket);
  }
  if (target_->tunnels()) text += " via " + target_->proxy->name;
  return text;
}

void Dial::start(TimePoint now) {
  started_ = now;
  stage_started_ = now;
  const Profile& profile = target_->profile;
  const auto refuse = [this](const std::string& why) {
    Error error =
        Error::make(ErrorCode::connect_failed, Phase::connect, "cannot connect to " + target_text() + ": " + why);
    error.final = true;
    finish(std::move(error));
  };
  if (!profile.unix_socket.empty()) {
    const auto path = net::SocketAddress::from_unix_path(profile.unix_socket);
    if (!path) {
      return refuse("the path of the Unix socket is longer than the system allows (107 bytes) or holds a NUL");
    }
    return begin_race(std::span(&*path, 1), now);
  }
  if (!profile.local_address.empty()) {
    local_ = net::SocketAddress::from_ip(profile.local_address, 0);
    if (!local_) {
      return refuse("the local address '" + profile.local_address + "' is not an IP address");
    }
  }
  if (target_->tunnels() && target_->proxy->kind == ProxyRoute::Kind::socks5) {
    const auto address = net::SocketAddress::from_ip(target_->origin.host, 0);
    if (!address) {
      stage_ = Stage::resolving_origin;
      host_.resolve(target_->origin.host, target_->dns_lifetime);
      return;
    }
    origin_addresses_ = {*address};
  }
  look_up_host(now);
}

void Dial::look_up_host(TimePoint now) {
  if (const auto address = net::SocketAddress::from_ip(target_->host(), 0)) {
    return begin_race(std::span(&*address, 1), now);
  }
  stage_ = Stage::resolving;
  host_.resolve(target_->host(), target_->dns_lifetime);
}

void Dial::on_resolved(Result<net::AddressList> addresses, net::CacheEntry entry, TimePoint now) {
  const bool of_origin = stage_ == Stage::resolving_origin;
  if (finished() || (stage_ != Stage::resolving && !of_origin)) {
    return;
  }
  timings_.resolve += now - stage_started_;
  if (!of_origin) cached_ = entry;
  if (!addresses) {
    Error error = std::move(addresses).error();
    error.phase = Phase::resolve;
    error.detail = "cannot connect to " + target_text() + ": " + error.detail;
    return finish(std::move(error));
  }
  if (of_origin) {
    origin_addresses_ = interleave(*addresses, AF_UNSPEC);
    stage_started_ = now;
    return look_up_host(now);
  }
  net::AddressList untried = std::move(addresses).value();
  std::erase_if(untried, [this](const net::SocketAddress& address) {
    return std::any_of(failures_.begin(), failures_.end(), [&](const FailedAttempt& failure) {
      return failure.address == address.with_port(target_->port());
    });
  });
  if (untried.empty()) {
    return finish(race_error(target_text(), failures_));
  }
  begin_race(untried, now);
}

void Dial::begin_race(std::span<const net::SocketAddress> addresses, TimePoint now) {
  stage_ = Stage::connecting;
  stage_started_ = now;
  addresses_ = interleave(addresses, local_ ? local_->family() : AF_UNSPEC);
  if (addresses_.empty()) {
    Error error =
        Error::make(ErrorCode::connect_failed, Phase::connect,
                    "cannot connect to " + target_text() + ": it has no address of the family of the local address " +
                        target_->profile.local_address,
                    EAFNOSUPPORT);
    error.final = true;
    return finish(std::move(error));
  }
  for (net::SocketAddress& address : addresses_) {
    address = address.with_port(target_->port());
  }
  next_start_ = now;
  advance_race(now);
}

void Dial::advance_race(TimePoint now) {
  while (!finished() && stage_ == Stage::connecting && now >= hold_until_) {
    switch (decide({addresses_.size() - next_address_, attempts_.size(), next_start_}, now)) {
      case RaceMove::start_next:
        start_attempt(now);
        break;
      case RaceMove::wait:
        return;
      case RaceMove::give_up:
        return give_up(now);
    }
  }
}

void Dial::give_up(TimePoint now) {
  const bool tried = std::any_of(failures_.begin(), failures_.end(),
                                 [](const FailedAttempt& failure) { return failure.step == "connect"; });
  if (cached_ == 0 || resolved_again_ || !tried) {
    return finish(race_error(target_text(), failures_));
  }
  resolved_again_ = true;
  timings_.connect += now - stage_started_;
  stage_ = Stage::resolving;
  stage_started_ = now;
  next_address_ = 0;
  addresses_.clear();
  host_.forget(target_->host(), std::exchange(cached_, 0));
  host_.resolve(target_->host(), target_->dns_lifetime);
}

void Dial::start_attempt(TimePoint now) {
  const net::SocketAddress address = addresses_[next_address_++];
  net::Descriptor socket = net::open_stream(address.family());
  if (!socket.valid()) {
    return fail_attempt(address, errno, "socket", now);
  }
  if (const int error = apply_all_options(socket.get(), address.family(), target_->profile); error != 0) {
    return fail_attempt(address, error, "socket options", now);
  }
  if (local_) {
    if (const int error = net::bind_to(socket.get(), *local_); error != 0) {
      return fail_attempt(address, error, "bind to the local address", now);
    }
  }
  const net::ConnectStart connect = net::connect_start(socket.get(), address);
  switch (connect.state) {
    case net::ConnectState::connected:
      return win({address, std::move(socket)}, now);
    case net::ConnectState::failed:
      if (connect.os_error == EAGAIN && address.family() == AF_UNIX) {
        --next_address_;
        hold_until_ = now + kBacklogRetry;
        return;
      }
      return fail_attempt(address, connect.os_error, "connect", now);
    case net::ConnectState::in_progress:
      break;
  }
  if (const int error = host_.set_interest(socket.get(), EPOLLOUT); error != 0) {
    return fail_attempt(address, error, "epoll", now);
  }
  attempts_.push_back({address, std::move(socket)});
  next_start_ = now + kAttemptDelay;
}

void Dial::fail_attempt(const net::SocketAddress& address, int os_error, std::string_view step, TimePoint now) {
  failures_.push_back({address, os_error, step});
  next_start_ = now;
}

void Dial::on_ready(int descriptor, TimePoint now) {
  if (finished()) {
    return;
  }
  if (tls_ != nullptr) {
    if (tls_->descriptor() == descriptor) step_handshake(now);
    return;
  }
  if (to_proxy_ != nullptr) {
    if (to_proxy_->descriptor() == descriptor) step_tunnel(now);
    return;
  }
  const auto found = std::find_if(attempts_.begin(), attempts_.end(),
                                  [descriptor](const Attempt& attempt) { return attempt.socket.get() == descriptor; });
  if (found == attempts_.end()) {
    return;
  }
  Attempt attempt = std::move(*found);
  attempts_.erase(found);
  host_.drop_interest(descriptor);
  int error = net::connect_result(descriptor);
  if (error == 0 && connected_to_itself(descriptor, attempt.address)) {
    error = ECONNREFUSED;
  }
  if (error == 0) {
    return win(std::move(attempt), now);
  }
  fail_attempt(attempt.address, error, "connect", now);
  advance_race(now);
}

void Dial::win(Attempt attempt, TimePoint now) {
  close_sockets();
  timings_.connect += now - stage_started_;
  stage_started_ = now;
  peer_ = attempt.address;
  auto channel = std::make_unique<net::TcpChannel>(std::move(attempt.socket));
  if (!target_->tunnels()) return secure(std::move(channel), now);
  if (target_->proxy->kind == ProxyRoute::Kind::https) {
    if (const net::ChannelFactory* const engine = target_->proxy->engine_of_proxy()) {  // the first user does the rest
      tunnel_answer_ = std::make_shared<h1::ResponseHead>();
      auto to_proxy = engine->wrap(std::move(channel), target_->proxy->host, {});
      return hand_over(std::make_unique<LateTunnel>(target_, std::move(to_proxy), tunnel_answer_), false, false);
    }
    return secure_proxy(std::move(channel), now);
  }
  open_tunnel(std::move(channel), now);
}

void Dial::secure_proxy(std::unique_ptr<net::Channel> channel, TimePoint now) {
  const ProxyRoute& proxy = *target_->proxy;
  stage_ = Stage::securing_proxy;
  shake_hands(proxy.tls, std::move(channel), {proxy.host, "to " + proxy.name, {}}, now);
}

void Dial::open_tunnel(std::unique_ptr<net::Channel> channel, TimePoint now) {
  stage_ = Stage::tunneling;
  to_proxy_ = std::move(channel);
  const ProxyRoute& proxy = *target_->proxy;
  if (proxy.speaks_http()) {
    tunnel_answer_ = std::make_shared<h1::ResponseHead>();
    tunnel_.emplace(http_tunnel(proxy, target_->origin, tunnel_answer_));
  } else {
    std::optional<net::SocketAddress> address;
    if (!origin_addresses_.empty()) address = origin_addresses_[origin_address_];
    tunnel_.emplace(socks_tunnel(proxy, target_->origin, address));
  }
  step_tunnel(now);
}

void Dial::step_tunnel(TimePoint now) {
  Tunnel& tunnel = *tunnel_;  // NOLINT(bugprone-unchecked-optional-access): there since open_tunnel()
  const net::IoStatus status = tunnel.step(*to_proxy_, net::IoMode::dont_wait).status;
  if (status == net::IoStatus::want_read || status == net::IoStatus::want_write) return wait_for(*to_proxy_, status);
  if (status != net::IoStatus::ok) return tunnel_failed(tunnel, now);
  timings_.connect += now - stage_started_;
  stage_started_ = now;
  secure(std::move(to_proxy_), now);
}

void Dial::tunnel_failed(const Tunnel& tunnel, TimePoint now) {
  if (tunnel.address_unreachable() && origin_address_ + 1 < origin_addresses_.size()) {
    // The proxy ends a connection after a refusal (RFC 1928 section 6), so the next address needs another.
    ++origin_address_;
    close_sockets();
    interest_ = 0;
    timings_.connect += now - stage_started_;
    const net::SocketAddress proxy = peer_;
    next_address_ = 0;
    return begin_race(std::span(&proxy, 1), now);
  }
  Error error = tunnel.error();
  error.final = true;
  if (tunnel.address_unreachable() && origin_addresses_.size() > 1) {
    error.detail += " (the last of " + std::to_string(origin_addresses_.size()) + " addresses)";
  }
  finish(std::move(error));
}

// The rest of the way to the origin: TLS, if it is to be spoken.
void Dial::secure(std::unique_ptr<net::Channel> channel, TimePoint now) {
  if (target_->tls != nullptr) {
    stage_ = Stage::handshaking;
    return shake_hands(target_->tls, std::move(channel),
                       {target_->server_name(), target_->session_key(), target_->profile.protocols}, now);
  }
  if (const net::ChannelFactory* const engine = net::engine_of(target_->profile);
      engine != nullptr && target_->origin.scheme == Scheme::https) {
    channel = engine->wrap(std::move(channel), target_->server_name(), target_->profile.protocols);
  }
  hand_over(std::move(channel), false, false);
}

void Dial::shake_hands(const std::shared_ptr<tls::Context>& context, std::unique_ptr<net::Channel> channel,
                       TlsPeer peer, TimePoint now) {
  const int descriptor = channel->descriptor();
  auto made = tls::TlsChannel::create(context, std::move(channel), peer.server_name, std::move(peer.session_key),
                                      peer.protocols);
  if (!made) {
    host_.drop_interest(descriptor);
    return finish(handshake_failed(std::move(made).error()));
  }
  tls_ = std::move(made).value();
  step_handshake(now);
}

Error Dial::handshake_failed(Error error) const {
  // The proxy's belongs to the way there.
  error.phase = stage_ == Stage::securing_proxy ? Phase::connect : Phase::tls_handshake;
  const std::string whom = stage_ == Stage::securing_proxy ? "the proxy " + target_->proxy->name : target_text();
  error.detail = "TLS handshake with " + whom + " (" + peer_.to_string() + "): " + error.detail;
  return error;
}

void Dial::step_handshake(TimePoint now) {
  const net::IoStatus status = tls_->handshake(net::IoMode::dont_wait).status;
  if (status == net::IoStatus::want_read || status == net::IoStatus::want_write) return wait_for(*tls_, status);
  if (status != net::IoStatus::ok) return finish(handshake_failed(tls_->handshake_error()));
  timings_.tls_handshake += now - stage_started_;
  stage_started_ = now;
  if (stage_ == Stage::securing_proxy) return open_tunnel(std::move(tls_), now);
  const bool resumed = tls_->resumed();
  hand_over(std::move(tls_), true, resumed);
}

void Dial::wait_for(const net::Channel& channel, net::IoStatus status) {
  const std::uint32_t wanted = status == net::IoStatus::want_read ? EPOLLIN : EPOLLOUT;
  if (wanted == interest_) return;
  if (const int error = host_.set_interest(channel.descriptor(), wanted); error != 0) {
    return finish(race_error(target_text(), std::vector<FailedAttempt>{{peer_, error, "epoll"}}));
  }
  interest_ = wanted;
}

void Dial::hand_over(std::unique_ptr<net::Channel> channel, bool tls, bool resumed) {
  host_.drop_interest(channel->descriptor());
  if (const int error = net::set_blocking(channel->descriptor(), true); error != 0) {
    return finish(race_error(target_text(), std::vector<FailedAttempt>{{peer_, error, "fcntl"}}));
  }
  Dialed dialed;
  dialed.channel = std::move(channel);
  dialed.tls = tls;
  dialed.tls_resumed = resumed;
  dialed.timings = timings_;
  dialed.tunnel_answer = std::move(tunnel_answer_);
  finish(std::move(dialed));
}

void Dial::on_timer(TimePoint now) {
  if (finished()) {
    return;
  }
  if (now >= deadline_) {
    return finish(timeout_error(now));
  }
  advance_race(now);
}

void Dial::abort(Error error) {
  if (!finished()) {
    finish(std::move(error));
  }
}

TimePoint Dial::next_timer() const noexcept {
  if (stage_ != Stage::connecting || next_address_ == addresses_.size()) {
    return deadline_;
  }
  return std::min(deadline_, std::max(next_start_, hold_until_));
}

Error Dial::timeout_error(TimePoint now) const {
  Phase phase = Phase::resolve;
  std::string doing =
      "resolving '" + (stage_ == Stage::resolving_origin ? target_->origin.host : target_->host()) + "'";
  if (!failures_.empty()) {
    doing += " again";
  }
  if (stage_ == Stage::connecting) {
    phase = Phase::connect;
    doing = "connecting to ";
    if (attempts_.empty()) {
      doing += addresses_[next_address_].to_string();  // a Unix socket with a full backlog
    }
    for (const Attempt& attempt : attempts_) {
      doing += (&attempt == &attempts_.front() ? "" : ", ") + attempt.address.to_string();
    }
  } else if (stage_ == Stage::tunneling) {
    phase = Phase::connect;
    doing = "waiting for the proxy " + peer_.to_string() + " to open the tunnel";
  } else if (stage_ == Stage::handshaking || stage_ == Stage::securing_proxy) {
    phase = Phase::tls_handshake;
    doing = "in the TLS handshake with " + peer_.to_string();
  }
  if (!failures_.empty() && stage_ <= Stage::connecting) {
    doing += " (failed before: " + describe(failures_) + ")";
  }
  const Duration taken = started_ == TimePoint{} ? Duration{} : now - started_;  // late before it began
  return Error::make(ErrorCode::connect_timeout, phase,
                     "no connection to " + target_text() + " after " + seconds_text(taken) + ", still " + doing);
}

void Dial::finish(Result<Dialed> result) {
  close_sockets();
  if (!result && cached_ != 0) {
    host_.forget(target_->host(), std::exchange(cached_, 0));
  }
  result_.emplace(std::move(result));
}

void Dial::close_sockets() {
  for (const Attempt& attempt : attempts_) {
    host_.drop_interest(attempt.socket.get());
  }
  attempts_.clear();
  if (tls_ != nullptr) {
    host_.drop_interest(tls_->descriptor());
    tls_.reset();
  }
  if (to_proxy_ != nullptr) {
    host_.drop_interest(to_proxy_->descriptor());
    to_proxy_.reset();
  }
}

}  // namespace fastpool::connection
