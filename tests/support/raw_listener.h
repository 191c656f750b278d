#pragma once

/// \file
/// Listeners that the test controls: they accept, refuse, or leave SYNs unanswered.

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <poll.h>
#include <sys/socket.h>

#include <gtest/gtest.h>

#include "net/descriptor.h"
#include "net/socket.h"
#include "net/socket_address.h"
#include "support/waiting.h"

namespace fastpool::support {

/// A listening socket on a free loopback port (or a Unix path). Not thread-safe.
class RawListener {
 public:
  explicit RawListener(const std::string& ip = "127.0.0.1", int backlog = 512, std::uint16_t port = 0)
      : RawListener(*net::SocketAddress::from_ip(ip, port), backlog) {}

  RawListener(const net::SocketAddress& address, int backlog)
      : socket_(::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const int one = 1;
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    usable_ = socket_.valid() && ::bind(socket_.get(), address.data(), address.size()) == 0 &&
              ::listen(socket_.get(), backlog) == 0;
    if (!usable_) return;
    sockaddr_storage bound{};
    socklen_t length = sizeof bound;
    ::getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&bound), &length);
    address_ = net::SocketAddress(reinterpret_cast<const sockaddr*>(&bound), length);
  }

  /// False where this machine lacks the address (no IPv6).
  [[nodiscard]] bool usable() const { return usable_; }
  [[nodiscard]] const net::SocketAddress& address() const { return address_; }
  [[nodiscard]] std::uint16_t port() const { return address_.port(); }

  /// Waits for a connection. The test fails if none arrives.
  [[nodiscard]] net::Descriptor accept() const {
    if (const auto ready = becomes_ready("a client connects", socket_.get(), POLLIN, wait_limit); !ready) {
      ADD_FAILURE() << ready.message();
      return {};
    }
    return net::Descriptor(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  }

  /// Makes the port refuse connections from now on.
  void close() { socket_.reset(); }

  /// Fills the accept queue of a listener made with backlog 0: from now on SYNs go unanswered.
  void swallow() {
    net::Descriptor filler(::socket(address_.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::connect(filler.get(), address_.data(), address_.size()), 0);
    fillers_.push_back(std::move(filler));
  }

 private:
  net::Descriptor socket_;
  net::SocketAddress address_;
  bool usable_ = false;
  std::vector<net::Descriptor> fillers_;
};

/// A port at which every IPv4 loopback address refuses connections as long as this lives: it is bound, so that no other program gets
/// it, and has no listener.
class RefusingPort {
 public:
  RefusingPort() : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const auto any = *net::SocketAddress::from_ip("0.0.0.0", 0);
    EXPECT_EQ(::bind(socket_.get(), any.data(), any.size()), 0);
  }

  [[nodiscard]] std::uint16_t port() const { return net::local_address(socket_.get()).port(); }
  [[nodiscard]] std::string url() const { return "http://127.0.0.1:" + std::to_string(port()) + "/"; }

 private:
  net::Descriptor socket_;
};

/// Returns a loopback port to which nothing was bound a moment ago. Where that may be otherwise by now: RefusingPort.
[[nodiscard]] inline std::uint16_t unused_port() {
  return RawListener().port();
}

}  // namespace fastpool::support
