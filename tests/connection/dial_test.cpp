// A dial: its socket, the race of its addresses, and what it does with refusals.

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
using support::RefusingPort;

int option(int descriptor, int level, int name) {
  int value = -1;
  socklen_t length = sizeof value;
  ::getsockopt(descriptor, level, name, &value, &length);
  return value;
}

TEST(DialTest, a_dialed_socket_is_blocking_and_has_the_options_that_every_connection_needs) {
  RawListener listener;
  auto target = target_of("127.0.0.1", listener.port());
  const int buffer = 65536;
  target->profile.socket_options.push_back(
      {SOL_SOCKET, SO_RCVBUF, std::string(reinterpret_cast<const char*>(&buffer), sizeof buffer)});
  Host host;
  Dial dial(host, target, kDeadline);
  dial.start(kNow);
  host.pump(dial, kNow + 3ms);
  const Result<Dialed> result = dial.take_result();
  ASSERT_TRUE(result.ok()) << result.error().detail;
  const int descriptor = result->channel->descriptor();
  EXPECT_EQ(::fcntl(descriptor, F_GETFL) & O_NONBLOCK, 0);
  EXPECT_EQ(::fcntl(descriptor, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
  EXPECT_NE(option(descriptor, IPPROTO_TCP, TCP_NODELAY), 0);
  EXPECT_NE(option(descriptor, SOL_SOCKET, SO_KEEPALIVE), 0);
  EXPECT_EQ(option(descriptor, IPPROTO_TCP, TCP_KEEPIDLE), 60);
  EXPECT_EQ(option(descriptor, IPPROTO_TCP, TCP_KEEPINTVL), 30);
  EXPECT_EQ(option(descriptor, IPPROTO_TCP, TCP_KEEPCNT), 5);
  EXPECT_EQ(option(descriptor, SOL_SOCKET, SO_RCVBUF), 2 * buffer);
  EXPECT_FALSE(result->tls);
  EXPECT_TRUE(host.asked.empty());
  EXPECT_TRUE(host.interests.empty());
  EXPECT_LE(result->timings.connect, 3ms);
}

TEST(DialTest, a_silent_first_address_loses_to_the_second_after_250_ms) {
  RawListener silent("127.0.0.1", 0);
  silent.swallow();
  RawListener answers("127.0.0.2", 8, silent.port());
  ASSERT_TRUE(answers.usable());
  Host host;
  Dial dial(host, target_of("two.test", silent.port()), kDeadline);
  dial.start(kNow);
  EXPECT_EQ(host.asked, std::vector<std::string>{"two.test"});
  EXPECT_EQ(dial.next_timer(), kDeadline);
  dial.on_resolved(ips({"127.0.0.1", "127.0.0.2"}), 0, kNow + 10ms);
  ASSERT_EQ(host.interests.size(), 1U);
  EXPECT_EQ(dial.next_timer(), kNow + 260ms);
  dial.on_timer(kNow + 259ms);
  EXPECT_EQ(host.interests.size(), 1U);
  dial.on_timer(kNow + 260ms);
  EXPECT_EQ(host.interests.size(), 2U);
  EXPECT_EQ(dial.next_timer(), kDeadline);
  host.pump(dial, kNow + 265ms);
  const Result<Dialed> result = dial.take_result();
  ASSERT_TRUE(result.ok()) << result.error().detail;
  EXPECT_EQ(net::peer_address(result->channel->descriptor()), answers.address());
  EXPECT_TRUE(host.interests.empty());
  EXPECT_EQ(result->timings.resolve, 10ms);
  EXPECT_EQ(result->timings.connect, 255ms);
}

TEST(DialTest, the_next_address_is_tried_at_once_when_one_refuses) {
  RawListener listener("127.0.0.2");
  Host host;
  Dial dial(host, target_of("two.test", listener.port()), kDeadline);
  dial.start(kNow);
  dial.on_resolved(ips({"127.0.0.1", "127.0.0.2"}), 0, kNow);
  host.pump(dial, kNow);  // no timer was needed
  const Result<Dialed> result = dial.take_result();
  ASSERT_TRUE(result.ok()) << result.error().detail;
  EXPECT_EQ(net::peer_address(result->channel->descriptor()), listener.address());
  EXPECT_EQ(host.most_interests, 1U);
}

TEST(DialTest, both_families_are_raced) {
  RawListener v6("::1", 0);
  if (!v6.usable()) {
    GTEST_SKIP() << "machine: no ::1";
  }
  v6.swallow();
  RawListener v4("127.0.0.1", 8, v6.port());
  ASSERT_TRUE(v4.usable());
  Host host;
  Dial dial(host, target_of("both.test", v6.port()), kDeadline);
  dial.start(kNow);
  dial.on_resolved(ips({"::1", "::1", "127.0.0.1"}), 0, kNow);
  dial.on_timer(kNow + kAttemptDelay);  // the second attempt is of the other family
  host.pump(dial, kNow + kAttemptDelay);
  const Result<Dialed> result = dial.take_result();
  ASSERT_TRUE(result.ok()) << result.error().detail;
  EXPECT_EQ(net::peer_address(result->channel->descriptor()), v4.address());
}

TEST(DialTest, refused_by_every_address_is_a_final_error_that_names_each) {
  const RefusingPort refusing;
  const std::uint16_t port = refusing.port();
  Host host;
  Dial dial(host, target_of("two.test", port), kDeadline);
  dial.start(kNow);
  dial.on_resolved(ips({"127.0.0.1", "127.0.0.2"}), 0, kNow);
  if (!dial.finished()) {
    host.pump(dial, kNow);
  }
  const Result<Dialed> result = dial.take_result();
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::connect_failed);
  EXPECT_EQ(result.error().phase, Phase::connect);
  EXPECT_EQ(result.error().os_error, ECONNREFUSED);
  EXPECT_TRUE(result.error().final);
  const std::string text = std::to_string(port);
  EXPECT_EQ(result.error().detail, "cannot connect to http://two.test:" + text + " (127.0.0.1:" + text +
                                       ": Connection refused, 127.0.0.2:" + text + ": Connection refused)");
}

TEST(DialTest, running_out_of_descriptors_is_reported_with_its_errno) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit none = before;
  none.rlim_cur = 3;
  Host host;
  Dial dial(host, target_of("127.0.0.1", 9), kDeadline);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  dial.start(kNow);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  ASSERT_TRUE(dial.finished());
  const Result<Dialed> result = dial.take_result();
  EXPECT_EQ(result.error().code, ErrorCode::connect_failed);
  EXPECT_EQ(result.error().os_error, EMFILE);
  EXPECT_FALSE(result.error().final);
}

TEST(DialTest, readiness_of_an_unknown_descriptor_and_early_timers_are_ignored) {
  RawListener silent("127.0.0.1", 0);
  silent.swallow();
  Host host;
  Dial dial(host, target_of("127.0.0.1", silent.port()), kDeadline);
  dial.on_timer(kNow);
  dial.start(kNow);
  dial.on_ready(0, kNow);
  dial.on_ready(12345, kNow);
  dial.on_timer(kNow);
  EXPECT_FALSE(dial.finished());
  EXPECT_EQ(host.interests.size(), 1U);
  dial.abort(Error::make(ErrorCode::pool_closed, Phase::connect, "closed"));
  EXPECT_TRUE(host.interests.empty());
  EXPECT_EQ(dial.take_result().error().code, ErrorCode::pool_closed);
}

}  // namespace
}  // namespace fastpool::connection::test
