#include "connection/tunnel.h"

#include <array>
#include <cerrno>
#include <span>
#include <utility>

namespace fastpool::connection {

using net::IoMode;
using net::IoResult;
using net::IoStatus;

IoResult Tunnel::fail(Error error) noexcept {
  error.phase = Phase::connect;
  error_ = std::move(error);
  return {.status = IoStatus::error};
}

IoResult Tunnel::broke(ErrorCode code, const IoResult& io, const net::Channel& channel) {
  const bool interrupted = io.os_error == ECANCELED;
  Error error = Error::make(interrupted ? ErrorCode::interrupted : code, Phase::connect,
                            "the connection to the proxy broke", interrupted ? 0 : io.os_error);
  error.cause = channel.last_cause();
  return fail(std::move(error));
}

IoResult Tunnel::step(net::Channel& channel, IoMode mode) {
  for (bool waited = false;; waited = true) {
    const IoResult io = exchange(channel, mode);
    if (io.status != IoStatus::ok || open_) return io;
    // In IoMode::wait the caller looks at its clock and signals after each wait.
    if (waited && mode == IoMode::wait) return {.status = IoStatus::want_read};
  }
}

IoResult Tunnel::exchange(net::Channel& channel, IoMode mode) {
  while (sent_ < unsent_.size()) {
    const iovec rest{unsent_.data() + sent_, unsent_.size() - sent_};
    const IoResult io = channel.write({&rest, 1}, mode);
    if (io.status == IoStatus::want_read || io.status == IoStatus::want_write) return io;
    if (io.status != IoStatus::ok) {
      return broke(ErrorCode::write_failed, io, channel);
    }
    sent_ += io.bytes;
  }
  std::array<char, 4096> buffer;  // NOLINT(cppcoreguidelines-pro-type-member-init): written before it is read
  const IoResult io = channel.read(buffer, mode);
  if (io.status == IoStatus::want_read || io.status == IoStatus::want_write) return io;
  if (io.status == IoStatus::error) {
    return broke(ErrorCode::read_failed, io, channel);
  }
  if (io.status != IoStatus::ok) {
    return fail(Error::make(ErrorCode::remote_protocol, Phase::connect,
                            "the proxy closed the connection before it had answered"));
  }
  received_.append(buffer.data(), io.bytes);
  for (;;) {
    TunnelProtocol::Step next = protocol_->take(received_);
    received_.erase(0, next.consumed);
    switch (next.kind) {
      case TunnelProtocol::Step::Kind::more:
        return {};
      case TunnelProtocol::Step::Kind::refused:
        address_unreachable_ = next.of_address;
        return fail(std::move(next.error));
      case TunnelProtocol::Step::Kind::send:
        unsent_ = std::move(next.bytes);
        sent_ = 0;
        if (received_.empty()) return {};
        return fail(
            Error::make(ErrorCode::remote_protocol, Phase::connect, "the proxy answered what it was not asked"));
      case TunnelProtocol::Step::Kind::open:
        // The client speaks first in every protocol that goes through here: these bytes belong to no response.
        if (!received_.empty()) {
          return fail(Error::make(ErrorCode::remote_protocol, Phase::connect,
                                  "the proxy sent bytes behind its answer, before any request"));
        }
        open_ = true;
        return {};
    }
  }
}

}  // namespace fastpool::connection
