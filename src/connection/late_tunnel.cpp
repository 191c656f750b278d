#include "connection/late_tunnel.h"

#include <new>
#include <utility>

#include "net/channel_factory.h"
#include "net/descriptor.h"
#include "net/socket.h"

namespace fastpool::connection {

using net::IoMode;
using net::IoResult;
using net::IoStatus;

LateTunnel::LateTunnel(std::shared_ptr<const Target> target, std::unique_ptr<net::Channel> to_proxy,
                       std::shared_ptr<h1::ResponseHead> answer)
    : target_(std::move(target)),
      answer_(std::move(answer)),
      descriptor_(to_proxy->descriptor()),
      epoch_(net::fork_epoch()),
      channel_(std::move(to_proxy)) {}

IoResult LateTunnel::handshake(IoMode mode) noexcept {
  try {
    for (;;) {
      const IoResult io = step(mode);
      if (io.status != IoStatus::ok || established()) return io;
    }
  } catch (const std::bad_alloc&) {
    Error& error = failed_.emplace();
    error.code = ErrorCode::out_of_memory;
    error.phase = Phase::tls_handshake;
    return {.status = IoStatus::error};
  }
}

// One stage, or a part of it.
IoResult LateTunnel::step(IoMode mode) {
  if (stage_ == Stage::tunneling) {
    Tunnel& tunnel = *tunnel_;  // NOLINT(bugprone-unchecked-optional-access): there since the stage began
    const IoResult io = tunnel.step(*channel_, mode);
    if (io.status == IoStatus::error) failed_ = tunnel.error();
    if (io.status != IoStatus::ok) return io;
    secure();
    return io;
  }
  const IoResult io = channel_->handshake(mode);
  if (io.status == IoStatus::error) {
    Error& error = failed_.emplace(channel_->handshake_error());
    if (stage_ == Stage::securing_proxy) {
      error.detail = "the proxy " + target_->proxy->name + ": " + error.detail;
      error.phase = Phase::connect;
    }
  }
  if (io.status != IoStatus::ok) return io;
  if (stage_ == Stage::securing_proxy) {
    const ProxyRoute& proxy = *target_->proxy;
    tunnel_.emplace(http_tunnel(proxy, target_->origin, answer_));
    stage_ = Stage::tunneling;
  } else {
    stage_ = Stage::established;
  }
  return io;
}

// The tunnel is open: the origin's TLS inside of it. Its engine is the profile's, too: OpenSSL must not call one.
void LateTunnel::secure() {
  stage_ = Stage::securing_origin;
  channel_ =
      net::engine_of(target_->profile)->wrap(std::move(channel_), target_->server_name(), target_->profile.protocols);
}

Error LateTunnel::handshake_error() const {
  return failed_.value_or(Error{});
}

void LateTunnel::shutdown() noexcept {
  // Not the channel's own, which another thread may be replacing.
  if (epoch_ == net::fork_epoch()) net::shutdown_both(descriptor_);
}

}  // namespace fastpool::connection
