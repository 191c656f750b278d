#include "net/tcp_state.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#ifdef __linux__
#include <linux/tcp.h>  // the whole tcp_info: that of <netinet/tcp.h> ends before tcpi_bytes_acked
#endif

#include "net/socket.h"

namespace fastpool::net {

std::optional<TcpState> tcp_state([[maybe_unused]] int descriptor) noexcept {
#ifdef __linux__
  constexpr std::uint8_t tcp_close = 7;  // TCP_CLOSE, of the kernel's interface, in no header beside this one
  constexpr std::size_t needed = offsetof(tcp_info, tcpi_bytes_acked) + sizeof(tcp_info::tcpi_bytes_acked);
  tcp_info info{};
  socklen_t length = sizeof(info);
  if (::getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, &info, &length) != 0 || length < needed) return std::nullopt;
  // Of a connection that was ever made at least the SYN is acknowledged: zero is a field that the kernel did not fill.
  if (info.tcpi_bytes_acked == 0) return std::nullopt;
  return TcpState{info.tcpi_state == tcp_close, info.tcpi_bytes_acked, std::chrono::microseconds(info.tcpi_rtt)};
#else
  return std::nullopt;
#endif
}

StreamEnd skip_to_end(int descriptor) noexcept {
  std::array<char, 4096> unwanted;  // NOLINT(cppcoreguidelines-pro-type-member-init): never read
  for (std::size_t taken = 0; taken < 64UL * 1024;) {
    const ssize_t got = ::recv(descriptor, unwanted.data(), unwanted.size(), MSG_DONTWAIT);
    if (got == 0) return StreamEnd::fin;
    if (got > 0) {
      taken += static_cast<std::size_t>(got);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      return StreamEnd::open;
    } else if (errno != EINTR) {
      return StreamEnd::broken;
    }
  }
  return StreamEnd::broken;
}

bool wait_for_hang_up(int descriptor, bool or_readable, Duration at_most) noexcept {
  // POLLHUP and POLLERR come unasked. Once the FIN is there the socket stays readable, so it is not waited for again.
  pollfd waiting{descriptor, static_cast<short>(or_readable ? POLLIN : 0), 0};
  const auto count = std::max(at_most, Duration::zero()).count();
  const timespec limit{static_cast<time_t>(count / 1'000'000'000), static_cast<long>(count % 1'000'000'000)};
  return ::ppoll(&waiting, 1, &limit, nullptr) > 0;
}

int take_error(int descriptor) noexcept {
  return connect_result(descriptor);
}

}  // namespace fastpool::net
