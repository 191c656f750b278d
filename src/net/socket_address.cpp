#include "net/socket_address.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <new>

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/un.h>

namespace fastpool::net {

namespace {

/// The bytes of the address as the family's own struct, by copy: no aliasing, no alignment to think of.
template <typename Address>
Address as(const SocketAddress& from) noexcept {
  Address address{};
  std::memcpy(&address, from.data(), std::min<std::size_t>(sizeof(address), from.size()));
  return address;
}

template <typename Address>
SocketAddress wrap(const Address& address, std::size_t length = sizeof(Address)) noexcept {
  sockaddr_storage storage{};
  std::memcpy(&storage, &address, sizeof(address));
  return {reinterpret_cast<const sockaddr*>(&storage), static_cast<socklen_t>(length)};
}

std::optional<std::uint32_t> scope_id(const char* zone) noexcept {
  const char* end = zone + std::strlen(zone);
  std::uint32_t number = 0;
  if (const auto [stop, problem] = std::from_chars(zone, end, number); problem == std::errc{} && stop == end)
    return number;
  number = ::if_nametoindex(zone);
  if (number == 0) return std::nullopt;
  return number;
}

}  // namespace

SocketAddress::SocketAddress(const sockaddr* address, socklen_t length) noexcept {
  length = std::min(length, static_cast<socklen_t>(sizeof(sockaddr_storage)));
  std::byte* to = bytes_.data();
  if (length > near_size) {
    to = new (std::nothrow) std::byte[length];
    if (to == nullptr) return;
    std::memcpy(bytes_.data(), static_cast<const void*>(&to), sizeof(to));
  }
  std::memcpy(to, address, length);
  length_ = length;
}

SocketAddress::~SocketAddress() {
  if (is_far()) delete[] far();
}

std::byte* SocketAddress::far() const noexcept {
  std::byte* pointer = nullptr;
  std::memcpy(static_cast<void*>(&pointer), bytes_.data(), sizeof(pointer));
  return pointer;
}

std::optional<SocketAddress> SocketAddress::from_ip(std::string_view text, std::uint16_t port) noexcept {
  std::array<char, INET6_ADDRSTRLEN + IF_NAMESIZE + 1> buffer{};
  if (text.empty() || text.size() >= buffer.size() || text.find('\0') != std::string_view::npos) return std::nullopt;
  std::copy(text.begin(), text.end(), buffer.begin());

  sockaddr_in v4{};
  if (::inet_pton(AF_INET, buffer.data(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    return wrap(v4);
  }
  sockaddr_in6 v6{};
  if (char* percent = std::strchr(buffer.data(), '%'); percent != nullptr) {
    *percent = '\0';
    const auto zone = scope_id(percent + 1);
    if (!zone) return std::nullopt;
    v6.sin6_scope_id = *zone;
  }
  if (::inet_pton(AF_INET6, buffer.data(), &v6.sin6_addr) != 1) return std::nullopt;
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(port);
  return wrap(v6);
}

std::optional<SocketAddress> SocketAddress::from_unix_path(std::string_view path) noexcept {
  sockaddr_un address{};
  // An abstract name is all the bytes behind its NUL; a path ends at one.
  const bool abstract = path.starts_with('\0');
  const std::size_t size = abstract ? path.size() : path.size() + 1;
  if (path.empty() || size > sizeof(address.sun_path)) return std::nullopt;
  if (!abstract && path.find('\0') != std::string_view::npos) return std::nullopt;
  address.sun_family = AF_UNIX;
  std::memcpy(static_cast<char*>(address.sun_path), path.data(), path.size());
  return wrap(address, offsetof(sockaddr_un, sun_path) + size);
}

const sockaddr* SocketAddress::data() const noexcept {
  return reinterpret_cast<const sockaddr*>(is_far() ? far() : bytes_.data());
}

int SocketAddress::family() const noexcept {
  sa_family_t family = AF_UNSPEC;  // the first member of every sockaddr
  std::memcpy(&family, data(), sizeof(family));
  return family;
}

std::uint16_t SocketAddress::port() const noexcept {
  if (family() == AF_INET) return ntohs(as<sockaddr_in>(*this).sin_port);
  if (family() == AF_INET6) return ntohs(as<sockaddr_in6>(*this).sin6_port);
  return 0;
}

SocketAddress SocketAddress::with_port(std::uint16_t port) const noexcept {
  if (family() == AF_INET) {
    auto address = as<sockaddr_in>(*this);
    address.sin_port = htons(port);
    return wrap(address);
  }
  if (family() == AF_INET6) {
    auto address = as<sockaddr_in6>(*this);
    address.sin6_port = htons(port);
    return wrap(address);
  }
  return *this;
}

std::string_view SocketAddress::unix_path() const noexcept {
  if (family() != AF_UNIX || size() <= offsetof(sockaddr_un, sun_path)) return {};
  const auto* const path = reinterpret_cast<const char*>(data()) + offsetof(sockaddr_un, sun_path);
  const std::size_t length = size() - offsetof(sockaddr_un, sun_path);
  return {path, path[0] == '\0' ? length : ::strnlen(path, length)};
}

std::string printable_unix_path(std::string_view path) {
  std::string text(path);
  std::ranges::replace(text, '\0', '@');
  return text;
}

std::string SocketAddress::ip() const {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (family() == AF_INET) {
    const auto address = as<sockaddr_in>(*this);
    ::inet_ntop(AF_INET, &address.sin_addr, text.data(), text.size());
    return text.data();
  }
  if (family() == AF_INET6) {
    const auto address = as<sockaddr_in6>(*this);
    ::inet_ntop(AF_INET6, &address.sin6_addr, text.data(), text.size());
    const std::string zone = address.sin6_scope_id == 0 ? "" : "%" + std::to_string(address.sin6_scope_id);
    return text.data() + zone;
  }
  return {};
}

std::string SocketAddress::to_string() const {
  if (family() == AF_INET) return ip() + ":" + std::to_string(port());
  if (family() == AF_INET6) return "[" + ip() + "]:" + std::to_string(port());
  if (family() == AF_UNIX) {
    return "unix:" + printable_unix_path(unix_path());
  }
  return "unspecified";
}

bool operator==(const SocketAddress& left, const SocketAddress& right) noexcept {
  return left.length_ == right.length_ && std::memcmp(left.data(), right.data(), left.length_) == 0;
}

bool is_ip_address(std::string_view text) noexcept {
  // a zone says which interface, for this machine alone: it does not make the text a name
  return SocketAddress::from_ip(text.substr(0, text.find('%')), 0).has_value();
}

}  // namespace fastpool::net
