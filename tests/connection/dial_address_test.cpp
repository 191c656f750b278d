// Local addresses, Unix sockets, and a socket that meets itself.

#include "connection/dialer.h"

#include <cerrno>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "connection/dial_fixture.h"
#include "net/channel_factory.h"
#include "net/socket.h"
#include "net/tcp_channel.h"
#include "support/certificates.h"
#include "support/loopback_server.h"
#include "support/raw_listener.h"
#include "support/temporary_directory.h"

namespace fastpool::connection::test {
namespace {

using namespace std::chrono_literals;
using support::RawListener;
using support::unused_port;

TEST(DialAddress, a_local_address_is_bound_to_and_restricts_the_family) {
  RawListener listener;
  auto target = target_of("both.test", listener.port());
  target->profile.local_address = "127.0.0.3";
  Host host;
  Dial dial(host, target, kDeadline);
  dial.start(kNow);
  dial.on_resolved(ips({"::1", "127.0.0.1"}), 0, kNow);
  host.pump(dial, kNow);
  const Result<Dialed> result = dial.take_result();
  ASSERT_TRUE(result.ok()) << result.error().detail;
  EXPECT_EQ(net::local_address(result->channel->descriptor()).with_port(0),
            *net::SocketAddress::from_ip("127.0.0.3", 0));
}

TEST(DialAddress, a_local_address_of_no_use_says_so) {
  for (const char* local : {"not-an-address", "::1", "192.0.2.1"}) {
    auto target = target_of("127.0.0.1", 9);
    target->profile.local_address = local;
    Host host;
    Dial dial(host, target, kDeadline);
    dial.start(kNow);
    ASSERT_TRUE(dial.finished()) << local;
    const Result<Dialed> result = dial.take_result();
    EXPECT_EQ(result.error().code, ErrorCode::connect_failed);
    EXPECT_NE(result.error().detail.find("local address"), std::string::npos) << result.error().detail;
  }
}

TEST(DialAddress, a_unix_socket_is_connected_to_instead_of_the_host) {
  const support::TemporaryDirectory directory;
  RawListener listener(*net::SocketAddress::from_unix_path(directory.path("s")), 8);
  auto target = target_of("some.test", 80);
  target->profile.unix_socket = directory.path("s");
  Host host;
  Dial dial(host, target, kDeadline);
  dial.start(kNow);
  ASSERT_TRUE(dial.finished());
  const Result<Dialed> result = dial.take_result();
  ASSERT_TRUE(result.ok()) << result.error().detail;
  EXPECT_EQ(::fcntl(result->channel->descriptor(), F_GETFL) & O_NONBLOCK, 0);
  EXPECT_TRUE(host.asked.empty());
}

TEST(DialAddress, a_unix_socket_with_a_full_backlog_is_tried_again_until_it_has_room) {
  const support::TemporaryDirectory directory;
  RawListener listener(*net::SocketAddress::from_unix_path(directory.path("s")), 0);
  listener.swallow();
  auto target = target_of("some.test", 80);
  target->profile.unix_socket = directory.path("s");
  Host host;
  Dial dial(host, target, kDeadline);
  dial.start(kNow);
  ASSERT_FALSE(dial.finished());
  TimePoint now = dial.next_timer();
  EXPECT_GT(now, kNow);
  dial.on_timer(now);
  ASSERT_FALSE(dial.finished());
  EXPECT_GT(dial.next_timer(), now);
  const net::Descriptor accepted = listener.accept();
  now = dial.next_timer();
  dial.on_timer(now);
  ASSERT_TRUE(dial.finished());
  EXPECT_TRUE(dial.take_result().ok());
}

TEST(DialAddress, a_missing_unix_socket_is_a_final_error_that_names_the_path) {
  const support::TemporaryDirectory directory;
  for (const std::string& path : {directory.path("missing"), std::string(200, 'x')}) {
    auto target = target_of("some.test", 80);
    target->profile.unix_socket = path;
    Host host;
    Dial dial(host, target, kDeadline);
    dial.start(kNow);
    const Result<Dialed> result = dial.take_result();
    EXPECT_EQ(result.error().code, ErrorCode::connect_failed);
    EXPECT_TRUE(result.error().final);
    EXPECT_NE(result.error().detail.find(path), std::string::npos) << result.error().detail;
  }
}

#ifdef IP_LOCAL_PORT_RANGE
constexpr int kLocalPortRange = IP_LOCAL_PORT_RANGE;
#else
constexpr int kLocalPortRange = 51;  // Linux 6.3; older headers lack the name
#endif

TEST(DialAddress, a_socket_that_connected_to_itself_counts_as_refused) {
  const std::uint16_t port = unused_port();
  auto target = target_of("127.0.0.1", port);
  const std::uint32_t only = static_cast<std::uint32_t>(port) << 16U | port;  // as if the kernel had chosen this port
  target->profile.socket_options.push_back(
      {IPPROTO_IP, kLocalPortRange, std::string(reinterpret_cast<const char*>(&only), sizeof only)});
  Host host;
  Dial dial(host, target, kDeadline);
  dial.start(kNow);
  if (!dial.finished()) {
    host.pump(dial, kNow);
  }
  const Result<Dialed> result = dial.take_result();
  ASSERT_FALSE(result.ok());
  if (result.error().os_error == ENOPROTOOPT) {
    GTEST_SKIP() << "machine: this kernel cannot fix the local port of a socket";
  }
  EXPECT_EQ(result.error().os_error, ECONNREFUSED) << result.error().detail;
}

}  // namespace
}  // namespace fastpool::connection::test
