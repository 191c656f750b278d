#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <sys/socket.h>

namespace fastpool::net {

/// One address of a peer or of this machine: IPv4, IPv6 or a Unix socket's path. A plain value, copied freely.
class SocketAddress {
 public:
  /// An unspecified address (family() == AF_UNSPEC); connect to nothing with it.
  SocketAddress() noexcept = default;
  /// Copies what getaddrinfo or getsockname gave. `length` over sizeof(sockaddr_storage) is cut to it.
  SocketAddress(const sockaddr* address, socklen_t length) noexcept;

  /// "192.0.2.1", "2001:db8::1", "fe80::1%eth0" (RFC 4007; the zone by name or number). No brackets, no names, no port.
  /// \returns nothing for all else.
  [[nodiscard]] static std::optional<SocketAddress> from_ip(std::string_view text, std::uint16_t port) noexcept;
  /// A path in the file system. \returns nothing if it is empty, holds a NUL or is too long for sockaddr_un (107 bytes).
  [[nodiscard]] static std::optional<SocketAddress> from_unix_path(std::string_view path) noexcept;

  [[nodiscard]] int family() const noexcept { return storage_.ss_family; }
  [[nodiscard]] const sockaddr* data() const noexcept;
  [[nodiscard]] socklen_t size() const noexcept { return length_; }
  /// The port of an IP address in host order; 0 for anything else.
  [[nodiscard]] std::uint16_t port() const noexcept;
  /// The same address with another port; unchanged if it is not an IP address.
  [[nodiscard]] SocketAddress with_port(std::uint16_t port) const noexcept;

  /// For people: "192.0.2.1:443", "[2001:db8::1]:443", "unix:/path", "unspecified".
  [[nodiscard]] std::string to_string() const;

  friend bool operator==(const SocketAddress& left, const SocketAddress& right) noexcept;

 private:
  sockaddr_storage storage_{};
  socklen_t length_ = 0;
};

/// Whether `text` is an IPv4 or IPv6 address (no brackets): then it is no host name and SNI must not carry it.
[[nodiscard]] bool is_ip_address(std::string_view text) noexcept;

}  // namespace fastpool::net
