#include "net/socket.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/time.h>

namespace fastpool::net {

namespace {

int set_option(int descriptor, int level, int name, const void* value, std::size_t size) noexcept {
  return ::setsockopt(descriptor, level, name, value, static_cast<socklen_t>(size)) == 0 ? 0 : errno;
}

int set_option(int descriptor, int level, int name, int value) noexcept {
  return set_option(descriptor, level, name, &value, sizeof(value));
}

int set_timeout(int descriptor, int name, Duration timeout) noexcept {
  timeval value{};
  if (timeout > Duration::zero()) {
    // up, not down: zero would mean "for ever"
    const auto whole = std::chrono::ceil<std::chrono::microseconds>(timeout).count();
    value.tv_sec = static_cast<decltype(value.tv_sec)>(whole / 1'000'000);
    value.tv_usec = static_cast<decltype(value.tv_usec)>(whole % 1'000'000);
  }
  return set_option(descriptor, SOL_SOCKET, name, &value, sizeof(value));
}

timespec timespec_of(Duration duration) noexcept {
  const auto count = duration.count();
  return {static_cast<time_t>(count / 1'000'000'000), static_cast<long>(count % 1'000'000'000)};
}

template <typename Ask>
SocketAddress ask_address(Ask ask, int descriptor) noexcept {
  sockaddr_storage storage{};
  socklen_t length = sizeof(storage);
  auto* address = reinterpret_cast<sockaddr*>(&storage);
  if (ask(descriptor, address, &length) != 0) return {};
  return {address, length};
}

}  // namespace

Descriptor open_stream(int family) noexcept {
  return Descriptor(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

int bind_to(int descriptor, const SocketAddress& address) noexcept {
  if (address.family() == AF_INET || address.family() == AF_INET6) {
    // an old kernel without it only uses up ports faster
    (void)set_option(descriptor, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
  }
  return ::bind(descriptor, address.data(), address.size()) == 0 ? 0 : errno;
}

ConnectStart connect_start(int descriptor, const sockaddr* address, socklen_t length) noexcept {
  if (::connect(descriptor, address, length) == 0) return {ConnectState::connected, 0};
  // after EINTR the attempt goes on by itself; a second connect() would say EALREADY
  if (errno == EINPROGRESS || errno == EINTR) return {ConnectState::in_progress, 0};
  return {ConnectState::failed, errno};
}

ConnectStart connect_start(int descriptor, const SocketAddress& address) noexcept {
  return connect_start(descriptor, address.data(), address.size());
}

int connect_result(int descriptor) noexcept {
  int result = 0;
  socklen_t size = sizeof(result);
  return ::getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &result, &size) == 0 ? result : errno;
}

int set_no_delay(int descriptor) noexcept {
  return set_option(descriptor, IPPROTO_TCP, TCP_NODELAY, 1);
}

int set_keep_alive(int descriptor) noexcept {
  if (const int problem = set_option(descriptor, SOL_SOCKET, SO_KEEPALIVE, 1); problem != 0) return problem;
  if (const int problem = set_option(descriptor, IPPROTO_TCP, TCP_KEEPIDLE, 60); problem != 0) return problem;
  if (const int problem = set_option(descriptor, IPPROTO_TCP, TCP_KEEPINTVL, 30); problem != 0) return problem;
  return set_option(descriptor, IPPROTO_TCP, TCP_KEEPCNT, 5);
}

int apply_options(int descriptor, std::span<const SocketOption> options) noexcept {
  for (const SocketOption& option : options) {
    const int problem = set_option(descriptor, option.level, option.name, option.value.data(), option.value.size());
    if (problem != 0) return problem;
  }
  return 0;
}

int set_blocking(int descriptor, bool blocking) noexcept {
  const int flags = ::fcntl(descriptor, F_GETFL);
  if (flags < 0) return errno;
  const int wanted = blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK;
  return wanted == flags || ::fcntl(descriptor, F_SETFL, wanted) == 0 ? 0 : errno;
}

int set_receive_timeout(int descriptor, Duration timeout) noexcept {
  return set_timeout(descriptor, SO_RCVTIMEO, timeout);
}

int set_send_timeout(int descriptor, Duration timeout) noexcept {
  return set_timeout(descriptor, SO_SNDTIMEO, timeout);
}

void shutdown_both(int descriptor) noexcept {
  ::shutdown(descriptor, SHUT_RDWR);
}

short wait_until_ready(int descriptor, short events, Duration at_most) noexcept {
  pollfd waiting{descriptor, events, 0};
  const timespec limit = timespec_of(at_most);
  return ::ppoll(&waiting, 1, at_most.count() > 0 ? &limit : nullptr, nullptr) > 0 ? waiting.revents : short{0};
}

bool wait_until_ready(int descriptor, short events, int bell, TimePoint until) noexcept {
  std::array<pollfd, 2> waiting{pollfd{descriptor, events, 0}, pollfd{bell, POLLIN, 0}};
  const bool bounded = until != TimePoint::max();
  const timespec limit = bounded ? timespec_of(std::max(until - Clock::now(), Duration::zero())) : timespec{};
  const int ready = ::ppoll(waiting.data(), waiting.size(), bounded ? &limit : nullptr, nullptr);
  return ready > 0 && waiting[0].revents != 0;
}

Liveness peek(const Descriptor& socket) noexcept {
  if (socket.inherited()) return Liveness::dead;
  char byte = 0;
  while (true) {
    const ssize_t seen = ::recv(socket.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (seen > 0) return Liveness::unexpected;
    if (seen == 0) return Liveness::dead;
    if (errno == EAGAIN || errno == EWOULDBLOCK) return Liveness::alive;
    if (errno == EINTR) continue;
    note_socket_error(errno, socket.epoch());
    return Liveness::dead;
  }
}

SocketAddress local_address(int descriptor) noexcept {
  return ask_address(::getsockname, descriptor);
}
SocketAddress peer_address(int descriptor) noexcept {
  return ask_address(::getpeername, descriptor);
}

}  // namespace fastpool::net
