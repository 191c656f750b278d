#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <netinet/in.h>
#include <sys/socket.h>

namespace fastpool::net {

/// One address of a peer or of this machine: IPv4, IPv6 or a Unix socket's path. A value of 32 bytes, since every idle
/// connection keeps two: what is longer than an IPv6 address (a long path) is on the heap.
class SocketAddress {
 public:
  /// An unspecified address (family() == AF_UNSPEC); connect to nothing with it.
  SocketAddress() noexcept = default;
  /// Copies what getaddrinfo or getsockname gave. `length` over sizeof(sockaddr_storage) is cut to it. Unspecified
  /// where there is no memory for a long one.
  SocketAddress(const sockaddr* address, socklen_t length) noexcept;
  SocketAddress(const SocketAddress& other) noexcept : SocketAddress(other.data(), other.length_) {}
  SocketAddress(SocketAddress&& other) noexcept { swap(other); }
  SocketAddress& operator=(SocketAddress other) noexcept {
    swap(other);
    return *this;
  }
  ~SocketAddress();

  /// "192.0.2.1", "2001:db8::1", "fe80::1%eth0" (RFC 4007; the zone by name or number). No brackets, no names, no port.
  /// \returns nothing for all else.
  [[nodiscard]] static std::optional<SocketAddress> from_ip(std::string_view text, std::uint16_t port) noexcept;
  /// A path in the file system, or, behind a leading NUL, a name in the abstract namespace of Linux. \returns nothing if it
  /// is empty, a path that holds a NUL, or too long for sockaddr_un (107 bytes besides a NUL).
  [[nodiscard]] static std::optional<SocketAddress> from_unix_path(std::string_view path) noexcept;

  [[nodiscard]] int family() const noexcept;
  /// As the system takes it, `size()` bytes; valid as long as this value is neither changed nor moved.
  [[nodiscard]] const sockaddr* data() const noexcept;
  [[nodiscard]] socklen_t size() const noexcept { return length_; }
  /// The port of an IP address in host order; 0 for anything else.
  [[nodiscard]] std::uint16_t port() const noexcept;
  /// The same address with another port; unchanged if it is not an IP address.
  [[nodiscard]] SocketAddress with_port(std::uint16_t port) const noexcept;

  /// Of a Unix socket: its path or abstract name as from_unix_path() takes it; empty for all else. Valid as data() is.
  [[nodiscard]] std::string_view unix_path() const noexcept;

  /// As from_ip() takes it; empty for all else than an IP address.
  [[nodiscard]] std::string ip() const;
  /// For people: "192.0.2.1:443", "[2001:db8::1]:443", "unix:/path", "unix:@abstract", "unspecified".
  [[nodiscard]] std::string to_string() const;

  friend bool operator==(const SocketAddress& left, const SocketAddress& right) noexcept;

 private:
  static constexpr std::size_t near_size = sizeof(sockaddr_in6);

  [[nodiscard]] bool is_far() const noexcept { return length_ > near_size; }
  [[nodiscard]] std::byte* far() const noexcept;
  void swap(SocketAddress& other) noexcept {
    std::swap(bytes_, other.bytes_);
    std::swap(length_, other.length_);
  }

  // The address itself up to near_size bytes; for a longer one the pointer to it, which is owned.
  alignas(sockaddr_in6) std::array<std::byte, near_size> bytes_{};
  socklen_t length_ = 0;
};

/// A Unix socket's path for messages: an abstract name begins with '@'.
[[nodiscard]] std::string printable_unix_path(std::string_view path);

/// Whether `text` is an IPv4 or IPv6 address (no brackets): then it is no host name and SNI must not carry it.
[[nodiscard]] bool is_ip_address(std::string_view text) noexcept;

}  // namespace fastpool::net
