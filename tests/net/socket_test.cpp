#include "net/socket.h"

#include <array>
#include <cerrno>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/time.h>
#include <sys/un.h>

#include "support/loopback_server.h"
#include "support/temporary_directory.h"
#include "support/waiting.h"

namespace fastpool::net {
namespace {

SocketAddress loopback(std::uint16_t port) {
  return *SocketAddress::from_ip("127.0.0.1", port);
}

int option(const Descriptor& socket, int level, int name) {
  int value = -1;
  socklen_t size = sizeof(value);
  ::getsockopt(socket.get(), level, name, &value, &size);
  return value;
}

TEST(Socket, opens_non_blocking_and_close_on_exec) {
  const Descriptor socket = open_stream(AF_INET);
  ASSERT_TRUE(socket.valid());
  EXPECT_NE(::fcntl(socket.get(), F_GETFL) & O_NONBLOCK, 0);
  EXPECT_NE(::fcntl(socket.get(), F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_EQ(set_blocking(socket.get(), true), 0);
  EXPECT_EQ(::fcntl(socket.get(), F_GETFL) & O_NONBLOCK, 0);
}

TEST(Socket, an_unknown_family_is_an_errno) {
  EXPECT_FALSE(open_stream(12345).valid());
  EXPECT_EQ(errno, EAFNOSUPPORT);
}

TEST(Socket, connects_without_waiting_from_the_address_it_is_bound_to) {
  const support::LoopbackServer server(support::echo);
  const Descriptor socket = open_stream(AF_INET);
  ASSERT_EQ(bind_to(socket.get(), *SocketAddress::from_ip("127.0.0.3", 0)), 0);
  const ConnectStart start = connect_start(socket.get(), loopback(server.port()));
  ASSERT_NE(start.state, ConnectState::failed);
  ASSERT_TRUE(support::becomes_ready("the connect has ended", socket.get(), POLLOUT, std::chrono::seconds(10)));
  EXPECT_EQ(connect_result(socket.get()), 0);
  EXPECT_EQ(local_address(socket.get()).with_port(0), *SocketAddress::from_ip("127.0.0.3", 0));
  EXPECT_EQ(peer_address(socket.get()), loopback(server.port()));
}

TEST(Socket, a_refused_connection_says_so) {
  const Descriptor taken(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));  // bound, but without a listener
  const auto any = loopback(0);
  ASSERT_EQ(::bind(taken.get(), any.data(), any.size()), 0);
  const Descriptor socket = open_stream(AF_INET);
  const ConnectStart start = connect_start(socket.get(), local_address(taken.get()));
  if (start.state == ConnectState::failed) {
    EXPECT_EQ(start.os_error, ECONNREFUSED);
    return;
  }
  ASSERT_TRUE(support::becomes_ready("the connect has ended", socket.get(), POLLOUT, std::chrono::seconds(10)));
  EXPECT_EQ(connect_result(socket.get()), ECONNREFUSED);
}

TEST(Socket, a_unix_socket_connects_by_its_path) {
  const support::TemporaryDirectory directory;
  const auto address = *SocketAddress::from_unix_path(directory.path("some.sock"));
  const Descriptor listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::bind(listener.get(), address.data(), address.size()), 0);
  const Descriptor early = open_stream(AF_UNIX);
  EXPECT_EQ(connect_start(early.get(), address).os_error, ECONNREFUSED);
  ASSERT_EQ(::listen(listener.get(), 1), 0);
  const Descriptor socket = open_stream(AF_UNIX);
  EXPECT_EQ(connect_start(socket.get(), address).state, ConnectState::connected);
}

TEST(Socket, keep_alive_and_no_delay_are_what_the_documentation_says) {
  const Descriptor socket = open_stream(AF_INET);
  ASSERT_EQ(set_no_delay(socket.get()), 0);
  ASSERT_EQ(set_keep_alive(socket.get()), 0);
  EXPECT_EQ(option(socket, IPPROTO_TCP, TCP_NODELAY), 1);
  EXPECT_EQ(option(socket, SOL_SOCKET, SO_KEEPALIVE), 1);
  EXPECT_EQ(option(socket, IPPROTO_TCP, TCP_KEEPIDLE), 60);
  EXPECT_EQ(option(socket, IPPROTO_TCP, TCP_KEEPINTVL), 30);
  EXPECT_EQ(option(socket, IPPROTO_TCP, TCP_KEEPCNT), 5);
}

TEST(Socket, a_profiles_options_are_applied_until_one_fails) {
  const Descriptor socket = open_stream(AF_INET);
  const int seven = 7;
  const std::string value(reinterpret_cast<const char*>(&seven), sizeof(seven));
  const std::array<SocketOption, 2> good{SocketOption{IPPROTO_TCP, TCP_KEEPCNT, value},
                                         SocketOption{IPPROTO_IP, IP_TOS, std::string(4, '\0')}};
  EXPECT_EQ(apply_options(socket.get(), good), 0);
  EXPECT_EQ(option(socket, IPPROTO_TCP, TCP_KEEPCNT), 7);
  const std::array<SocketOption, 1> bad{SocketOption{IPPROTO_TCP, 9999, value}};
  EXPECT_EQ(apply_options(socket.get(), bad), ENOPROTOOPT);
}

TEST(Socket, a_tiny_timeout_is_not_rounded_to_for_ever) {
  const Descriptor socket = open_stream(AF_INET);
  ASSERT_EQ(set_receive_timeout(socket.get(), Duration(1)), 0);
  timeval value{};
  socklen_t size = sizeof(value);
  ASSERT_EQ(::getsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &value, &size), 0);
  EXPECT_GT(value.tv_usec, 0);
  ASSERT_EQ(set_receive_timeout(socket.get(), Duration::zero()), 0);
  ASSERT_EQ(::getsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &value, &size), 0);
  EXPECT_EQ(value.tv_sec + value.tv_usec, 0);
}

}  // namespace
}  // namespace fastpool::net
