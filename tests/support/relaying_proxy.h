#pragma once

/// \file
/// What a proxy of the tests does once it knows where to go.

#include <array>
#include <cstdint>

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/ssl.h>

#include "net/descriptor.h"
#include "net/socket.h"
#include "net/socket_address.h"
#include "support/loopback_server.h"
#include "support/waiting.h"

namespace fastpool::support {

/// Connects to that port of 127.0.0.1, in blocking mode; invalid if it is refused.
inline net::Descriptor connect_to_port(std::uint16_t port) {
  const auto address = *net::SocketAddress::from_ip("127.0.0.1", port);
  net::Descriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::connect(socket.get(), address.data(), address.size()) != 0) return {};
  return socket;
}

/// Copies both ways between the client and that port until either side ends.
inline void relay(ServerConnection& client, const net::Descriptor& origin) {
  while (true) {
    std::array<pollfd, 2> waiting = {{{client.descriptor(), POLLIN, 0}, {origin.get(), POLLIN, 0}}};
    const bool decrypted = client.tls() != nullptr && SSL_pending(client.tls()) > 0;
    if (!decrypted && ::poll(waiting.data(), waiting.size(), 1000 * static_cast<int>(server_wait_limit.count())) <= 0)
      return;
    if (decrypted || waiting[0].revents != 0) {
      const std::string bytes = client.read_some();
      if (bytes.empty() || ::send(origin.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) < 0) return;
    }
    if (waiting[1].revents != 0) {
      std::array<char, 65536> buffer{};
      const ssize_t got = ::recv(origin.get(), buffer.data(), buffer.size(), 0);
      if (got <= 0 || !client.write({buffer.data(), static_cast<std::size_t>(got)})) return;
    }
  }
}

}  // namespace fastpool::support
