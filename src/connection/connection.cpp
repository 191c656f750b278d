#include "connection/connection.h"

#include "net/descriptor.h"
#include "net/socket.h"

namespace fastpool::connection {

Connection::Connection(std::unique_ptr<net::Channel> channel, HangUpWatch& watch, const DialTimings& dialed)
    : channel_(std::move(channel)),
      watch_(watch),
      addresses_{net::local_address(channel_->descriptor()), net::peer_address(channel_->descriptor())},
      dialed_(dialed) {}

Connection::~Connection() {
  loop_registration_.reset();
  watch_.unwatch(channel_->descriptor());
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
