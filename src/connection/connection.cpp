#include "connection/connection.h"

#include <algorithm>
#include <limits>

#include "net/descriptor.h"
#include "net/socket.h"

namespace fastpool::connection {

namespace {

std::uint32_t microseconds(Duration duration) noexcept {
  const auto count = std::chrono::duration_cast<std::chrono::microseconds>(duration).count();
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(count, 0, std::numeric_limits<std::uint32_t>::max()));
}

}  // namespace

Connection::Connection(std::unique_ptr<net::Channel> channel, HangUpWatch& watch, const DialTimings& dialed,
                       std::uint32_t number, Protocols protocols, std::shared_ptr<const h1::ResponseHead> tunnel_answer)
    : channel_(std::move(channel)),
      watch_(watch),
      addresses_{net::local_address(channel_->descriptor()), net::peer_address(channel_->descriptor())},
      dialed_{microseconds(dialed.resolve), microseconds(dialed.connect), microseconds(dialed.tls_handshake)},
      number_(number),
      protocols_(protocols),
      tunnel_answer_(tunnel_answer
                         ? std::make_unique<const std::shared_ptr<const h1::ResponseHead>>(std::move(tunnel_answer))
                         : nullptr) {}

Result<void> Connection::settle_protocol() {
  // An engine of the application's may have offered HTTP/2 on behalf of another transport, which shares it.
  const bool http2 = !protocols_.http1 || channel_->chose_http2();
  if (!http2 || multiplexer_) return {};
  auto made = Multiplexer::create(*channel_);
  if (!made) return std::move(made).error();
  multiplexer_ = std::move(made).value();
  return {};
}

DialTimings Connection::dial_timings() const noexcept {
  using std::chrono::microseconds;
  return {microseconds(dialed_[0]), microseconds(dialed_[1]), microseconds(dialed_[2])};
}

void Connection::end(CloseReason reason, std::string_view endpoint) noexcept {
  // A farewell goes out where nothing is half-said and the peer may still be there.
  if (reason != CloseReason::not_reusable && reason != CloseReason::peer_closed) {
    if (multiplexer_) {
      multiplexer_->say_goodbye();
    } else {
      channel_->say_goodbye();
    }
  }
  watch_.on_close(*this, reason, endpoint);
}

Connection::~Connection() {
  loop_registration_.reset();
  watch_.unwatch(channel_->descriptor());
  if (multiplexer_) multiplexer_->detach();
  // The child of a fork may hold a copy of the socket, which would keep the connection open after our close.
  channel_->shutdown();
}

void Connection::set_receive_timeout(Duration timeout) noexcept {
  if (timeout == receive_timeout_) return;
  receive_timeout_ = timeout;
  (void)net::set_receive_timeout(channel_->descriptor(), timeout);
}

void Connection::set_send_timeout(Duration timeout) noexcept {
  if (timeout == send_timeout_) return;
  send_timeout_ = timeout;
  (void)net::set_send_timeout(channel_->descriptor(), timeout);
}

}  // namespace fastpool::connection
