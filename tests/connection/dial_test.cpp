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

#include "net/channel_factory.h"
#include "net/socket.h"
#include "net/tcp_channel.h"
#include "support/certificates.h"
#include "support/loopback_server.h"
#include "support/raw_listener.h"
#include "support/temporary_directory.h"

namespace fastpool::connection {
namespace {

using namespace std::chrono_literals;
using support::RawListener;
using support::refusing_port;

const TimePoint kNow = TimePoint{} + 1h;
const TimePoint kDeadline = kNow + 60s;

std::shared_ptr<Target> target_of(const std::string& host, std::uint16_t port) {
  auto target = std::make_shared<Target>();
  target->origin = Origin{Scheme::http, host, port};
  return target;
}

net::AddressList ips(std::initializer_list<const char*> texts) {
  net::AddressList addresses;
  for (const char* text : texts) {
    addresses.push_back(*net::SocketAddress::from_ip(text, 0));
  }
  return addresses;
}

int option(int descriptor, int level, int name) {
  int value = -1;
  socklen_t length = sizeof value;
  ::getsockopt(descriptor, level, name, &value, &length);
  return value;
}

/// Records what a dial asked for and delivers real readiness, with a time that the test sets.
class Host final : public DialHost {
 public:
  void resolve(const std::string& host, Duration max_age) override {
    asked.push_back(host);
    last_max_age = max_age;
  }
  void forget(const std::string& host, net::CacheEntry entry) override { forgotten.emplace_back(host, entry); }
  int set_interest(int descriptor, std::uint32_t events) override {
    interests[descriptor] = events;
    most_interests = std::max(most_interests, interests.size());
    return 0;
  }
  void drop_interest(int descriptor) override { interests.erase(descriptor); }

  /// Waits (for at most 10 s) until the dial has finished or, if `once`, until something was ready.
  void pump(Dial& dial, TimePoint now, bool once = false) {
    while (!dial.finished()) {
      std::vector<pollfd> waiting;
      for (const auto& [descriptor, events] : interests) {
        waiting.push_back({descriptor, static_cast<short>((events & EPOLLIN) != 0 ? POLLIN : POLLOUT), 0});
      }
      ASSERT_FALSE(waiting.empty()) << "the dial waits for nothing";
      ASSERT_GT(::poll(waiting.data(), waiting.size(), 10'000), 0) << "nothing became ready";
      for (const pollfd& one : waiting) {
        if (one.revents != 0) {
          dial.on_ready(one.fd, now);
        }
      }
      if (once) {
        return;
      }
    }
  }

  std::vector<std::string> asked;
  Duration last_max_age{};
  std::vector<std::pair<std::string, net::CacheEntry>> forgotten;
  std::map<int, std::uint32_t> interests;
  std::size_t most_interests = 0;
};

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
  const std::uint16_t port = refusing_port();
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

TEST(DialTest, when_all_cached_addresses_fail_the_name_is_looked_up_again_and_what_is_new_is_tried) {
  RawListener listener("127.0.0.2");
  Host host;
  auto target = target_of("moved.test", listener.port());
  target->dns_lifetime = 5s;
  Dial dial(host, target, kDeadline);
  dial.start(kNow);
  EXPECT_EQ(host.last_max_age, Duration(5s));
  dial.on_resolved(ips({"127.0.0.1", "127.0.0.3"}), 7, kNow + 1ms);
  while (host.asked.size() == 1)
    host.pump(dial, kNow + 2ms, true);
  ASSERT_FALSE(dial.finished());
  EXPECT_EQ(host.forgotten, (std::vector<std::pair<std::string, net::CacheEntry>>{{"moved.test", 7}}));
  EXPECT_EQ(host.asked, (std::vector<std::string>{"moved.test", "moved.test"}));
  EXPECT_EQ(dial.next_timer(), kDeadline);
  dial.on_resolved(ips({"127.0.0.1", "127.0.0.2"}), 0, kNow + 3ms);
  host.pump(dial, kNow + 4ms);
  const Result<Dialed> result = dial.take_result();
  ASSERT_TRUE(result.ok()) << result.error().detail;
  EXPECT_EQ(net::peer_address(result->channel->descriptor()), listener.address());
  EXPECT_EQ(result->timings.resolve, 2ms);
  EXPECT_EQ(host.forgotten.size(), 1U);
}

TEST(DialTest, addresses_that_have_just_failed_are_not_tried_again_and_the_name_is_looked_up_twice_at_most) {
  const std::uint16_t port = refusing_port();
  Host host;
  Dial same(host, target_of("same.test", port), kDeadline);
  same.start(kNow);
  same.on_resolved(ips({"127.0.0.1"}), 7, kNow);
  while (host.asked.size() == 1)
    host.pump(same, kNow, true);
  same.on_resolved(ips({"127.0.0.1"}), 0, kNow);
  ASSERT_TRUE(same.finished());
  const std::string text = std::to_string(port);
  EXPECT_EQ(same.take_result().error().detail,
            "cannot connect to http://same.test:" + text + " (127.0.0.1:" + text + ": Connection refused)");

  Host another;
  Dial twice(another, target_of("twice.test", port), kDeadline);
  twice.start(kNow);
  twice.on_resolved(ips({"127.0.0.1"}), 7, kNow);
  while (another.asked.size() == 1)
    another.pump(twice, kNow, true);
  twice.on_resolved(ips({"127.0.0.2"}), 8, kNow);  // what another dial has looked up meanwhile
  if (!twice.finished()) another.pump(twice, kNow);
  EXPECT_EQ(twice.take_result().error().code, ErrorCode::connect_failed);
  EXPECT_EQ(another.asked.size(), 2U);
  EXPECT_EQ(another.forgotten,
            (std::vector<std::pair<std::string, net::CacheEntry>>{{"twice.test", 7}, {"twice.test", 8}}));
}

TEST(DialTest, addresses_that_were_looked_up_just_now_are_believed) {
  Host host;
  Dial dial(host, target_of("dead.test", refusing_port()), kDeadline);
  dial.start(kNow);
  dial.on_resolved(ips({"127.0.0.1"}), 0, kNow);
  if (!dial.finished()) host.pump(dial, kNow);
  EXPECT_FALSE(dial.take_result().ok());
  EXPECT_EQ(host.asked.size(), 1U);
  EXPECT_TRUE(host.forgotten.empty());
}

TEST(DialTest, a_timeout_drops_the_cached_answer) {
  RawListener silent("127.0.0.1", 0);
  silent.swallow();
  Host host;
  Dial dial(host, target_of("silent.test", silent.port()), kNow + 2s);
  dial.start(kNow);
  dial.on_resolved(ips({"127.0.0.1"}), 9, kNow);
  dial.on_timer(kNow + 2s);
  ASSERT_TRUE(dial.finished());
  EXPECT_EQ(dial.take_result().error().code, ErrorCode::connect_timeout);
  EXPECT_EQ(host.forgotten, (std::vector<std::pair<std::string, net::CacheEntry>>{{"silent.test", 9}}));
}

TEST(DialTest, a_timeout_while_the_name_is_looked_up_again_says_so) {
  Host host;
  const std::uint16_t port = refusing_port();
  Dial dial(host, target_of("moved.test", port), kNow + 2s);
  dial.start(kNow);
  dial.on_resolved(ips({"127.0.0.1"}), 9, kNow);
  while (host.asked.size() == 1)
    host.pump(dial, kNow, true);
  dial.on_timer(kNow + 2s);
  const std::string text = std::to_string(port);
  EXPECT_EQ(dial.take_result().error().detail,
            "no connection to http://moved.test:" + text +
                " after 2.000 s, still resolving 'moved.test' again (failed before: 127.0.0.1:" + text +
                ": Connection refused)");
}

TEST(DialTest, an_unknown_name_is_final_and_names_the_origin) {
  Host host;
  Dial dial(host, target_of("unknown.test", 80), kDeadline);
  dial.start(kNow);
  Error unknown = Error::make(ErrorCode::resolve_failed, Phase::resolve, "cannot resolve 'unknown.test': no such name");
  unknown.final = true;
  dial.on_resolved(unknown, 0, kNow);
  const Result<Dialed> result = dial.take_result();
  EXPECT_EQ(result.error().code, ErrorCode::resolve_failed);
  EXPECT_TRUE(result.error().final);
  EXPECT_EQ(result.error().detail,
            "cannot connect to http://unknown.test:80: cannot resolve 'unknown.test': no such name");
}

TEST(DialTest, a_dial_that_is_late_before_it_begins_took_no_time) {
  Host host;
  Dial dial(host, target_of("slow.test", 80), kNow);
  dial.on_timer(kNow);
  EXPECT_EQ(dial.take_result().error().detail,
            "no connection to http://slow.test:80 after 0.000 s, still resolving 'slow.test'");
}

TEST(DialTest, a_timeout_says_that_the_name_was_still_being_resolved) {
  Host host;
  Dial dial(host, target_of("slow.test", 80), kNow + 2s);
  dial.start(kNow);
  dial.on_timer(kNow + 1999ms);
  EXPECT_FALSE(dial.finished());
  dial.on_timer(kNow + 2s);
  const Result<Dialed> result = dial.take_result();
  EXPECT_EQ(result.error().code, ErrorCode::connect_timeout);
  EXPECT_EQ(result.error().phase, Phase::resolve);
  EXPECT_EQ(result.error().detail, "no connection to http://slow.test:80 after 2.000 s, still resolving 'slow.test'");
  dial.on_resolved(ips({"127.0.0.1"}), 0, kNow + 3s);  // too late, and harmless
  EXPECT_TRUE(host.interests.empty());
}

TEST(DialTest, a_timeout_names_the_addresses_that_were_being_connected_to_and_those_that_had_failed) {
  RawListener silent("127.0.0.2", 0);
  silent.swallow();
  Host host;
  Dial dial(host, target_of("two.test", silent.port()), kNow + 2s);
  dial.start(kNow);
  dial.on_resolved(ips({"127.0.0.1", "127.0.0.2"}), 0, kNow);
  host.pump(dial, kNow, true);
  dial.on_timer(kNow + 2s);
  ASSERT_TRUE(dial.finished());
  const Result<Dialed> result = dial.take_result();
  const std::string port = std::to_string(silent.port());
  EXPECT_EQ(result.error().code, ErrorCode::connect_timeout);
  EXPECT_EQ(result.error().phase, Phase::connect);
  EXPECT_EQ(result.error().detail, "no connection to http://two.test:" + port +
                                       " after 2.000 s, still connecting to 127.0.0.2:" + port +
                                       " (failed before: 127.0.0.1:" + port + ": Connection refused)");
  EXPECT_TRUE(host.interests.empty());
}

TEST(DialTest, a_local_address_is_bound_to_and_restricts_the_family) {
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

TEST(DialTest, a_local_address_of_no_use_says_so) {
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

TEST(DialTest, a_unix_socket_is_connected_to_instead_of_the_host) {
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

TEST(DialTest, a_unix_socket_with_a_full_backlog_is_tried_again_until_it_has_room) {
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

TEST(DialTest, a_missing_unix_socket_is_a_final_error_that_names_the_path) {
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

TEST(DialTest, a_socket_that_connected_to_itself_counts_as_refused) {
  const std::uint16_t port = refusing_port();
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

TEST(DialTest, running_out_of_descriptors_is_told_apart) {
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

TEST(DialTest, readiness_of_a_stranger_and_early_timers_change_nothing) {
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

class TlsDialTest : public testing::Test {
 protected:
  std::shared_ptr<Target> tls_target(const std::string& host, std::uint16_t port) {
    auto target = target_of(host, port);
    target->origin.scheme = Scheme::https;
    target->profile.tls.ca_file = authority_.ca_file();
    auto context = tls::Context::create(target->profile.tls);
    EXPECT_TRUE(context.ok());
    target->tls = context.value();
    return target;
  }

  Result<Dialed> dial(const std::shared_ptr<Target>& target) {
    Host host;
    Dial one(host, target, kDeadline);
    one.start(kNow);
    if (!host.asked.empty()) {
      one.on_resolved(ips({"127.0.0.1"}), 0, kNow);
    }
    host.pump(one, kNow);
    EXPECT_TRUE(host.interests.empty());
    return one.take_result();
  }

  support::CertificateAuthority authority_;
};

TEST_F(TlsDialTest, a_tls_connection_is_handed_over_with_its_handshake_done_and_blocking) {
  support::LoopbackServer server({authority_.issue_localhost()}, support::echo);
  Result<Dialed> result = dial(tls_target("localhost", server.port()));
  ASSERT_TRUE(result.ok()) << result.error().detail;
  EXPECT_TRUE(result->tls);
  EXPECT_FALSE(result->tls_resumed);
  EXPECT_EQ(::fcntl(result->channel->descriptor(), F_GETFL) & O_NONBLOCK, 0);
  char sent[] = "hello";
  const iovec piece{sent, 5};
  ASSERT_EQ(result->channel->write({&piece, 1}, net::IoMode::wait).bytes, 5U);
  char got[5];
  ASSERT_EQ(result->channel->read(got, net::IoMode::wait).bytes, 5U);
  EXPECT_EQ(std::string(got, 5), "hello");
}

TEST_F(TlsDialTest, the_next_dial_of_the_same_target_resumes_the_session) {
  support::LoopbackServer server({authority_.issue_localhost()}, support::echo);
  const auto target = tls_target("localhost", server.port());
  Result<Dialed> first = dial(target);
  ASSERT_TRUE(first.ok()) << first.error().detail;
  char sent[] = "x";
  const iovec piece{sent, 1};
  char got[1];
  ASSERT_EQ(first->channel->write({&piece, 1}, net::IoMode::wait).bytes, 1U);
  ASSERT_EQ(first->channel->read(got, net::IoMode::wait).bytes, 1U);  // and with it the session tickets
  const Result<Dialed> second = dial(target);
  ASSERT_TRUE(second.ok()) << second.error().detail;
  EXPECT_TRUE(second->tls_resumed);
}

TEST_F(TlsDialTest, a_session_is_not_offered_to_another_origin_of_the_same_server_name) {
  support::LoopbackServer server({authority_.issue_localhost()}, support::echo);
  const auto target = tls_target("localhost", server.port());
  Result<Dialed> first = dial(target);
  ASSERT_TRUE(first.ok()) << first.error().detail;
  char sent[] = "x";
  const iovec piece{sent, 1};
  char got[1];
  ASSERT_EQ(first->channel->write({&piece, 1}, net::IoMode::wait).bytes, 1U);
  ASSERT_EQ(first->channel->read(got, net::IoMode::wait).bytes, 1U);
  const auto other = std::make_shared<Target>(*target);  // of the same context
  other->origin.host = "127.0.0.1";
  other->profile.server_name = "localhost";
  const Result<Dialed> second = dial(other);
  ASSERT_TRUE(second.ok()) << second.error().detail;
  EXPECT_FALSE(second->tls_resumed);
}

TEST_F(TlsDialTest, a_certificate_for_another_name_is_a_final_error_that_names_the_origin) {
  support::LoopbackServer server({authority_.issue_localhost()}, support::echo);
  const Result<Dialed> result = dial(tls_target("other.test", server.port()));
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::tls_failed);
  EXPECT_EQ(result.error().phase, Phase::tls_handshake);
  EXPECT_TRUE(result.error().final);
  EXPECT_NE(result.error().detail.find("https://other.test:"), std::string::npos) << result.error().detail;
}

TEST_F(TlsDialTest, the_server_name_of_the_profile_is_what_the_certificate_must_carry) {
  support::LoopbackServer server({authority_.issue_localhost()}, support::echo);
  auto target = tls_target("other.test", server.port());
  target->profile.server_name = "localhost";
  EXPECT_TRUE(dial(target).ok());
}

TEST_F(TlsDialTest, a_timeout_says_that_the_handshake_was_under_way) {
  RawListener mute;
  Host host;
  Dial dial(host, tls_target("127.0.0.1", mute.port()), kNow + 5s);
  dial.start(kNow);
  host.pump(dial, kNow, true);
  const net::Descriptor accepted = mute.accept();
  ASSERT_FALSE(dial.finished());
  EXPECT_EQ(dial.next_timer(), kNow + 5s);
  dial.on_timer(kNow + 5s);
  const Result<Dialed> result = dial.take_result();
  EXPECT_EQ(result.error().code, ErrorCode::connect_timeout);
  EXPECT_EQ(result.error().phase, Phase::tls_handshake);
  EXPECT_NE(result.error().detail.find("still in the TLS handshake with 127.0.0.1:"), std::string::npos);
  EXPECT_TRUE(host.interests.empty());
}

TEST_F(TlsDialTest, a_peer_that_hangs_up_in_the_handshake_is_a_tls_error) {
  RawListener rude;
  Host host;
  Dial dial(host, tls_target("127.0.0.1", rude.port()), kDeadline);
  dial.start(kNow);
  host.pump(dial, kNow, true);
  rude.accept().reset();
  host.pump(dial, kNow);
  const Result<Dialed> result = dial.take_result();
  EXPECT_EQ(result.error().code, ErrorCode::tls_failed);
  EXPECT_FALSE(result.error().final);
}

/// Makes plain channels, and records the server names that they are for.
class NotingFactory final : public net::ChannelFactory {
 public:
  std::unique_ptr<net::Channel> wrap(net::Descriptor socket, const std::string& server_name) const override {
    names.push_back(server_name);
    return std::make_unique<net::TcpChannel>(std::move(socket));
  }
  mutable std::vector<std::string> names;
};

TEST(DialTest, an_engine_that_the_profile_brings_gets_each_connected_socket_that_is_to_speak_tls) {
  RawListener listener;
  const auto factory = std::make_shared<const NotingFactory>();
  const auto dialed = [&](Scheme scheme, const std::string& server_name) {
    auto target = target_of("127.0.0.1", listener.port());
    target->origin.scheme = scheme;
    target->profile.channels = factory;
    target->profile.server_name = server_name;
    Host host;
    Dial dial(host, target, kDeadline);
    dial.start(kNow);
    host.pump(dial, kNow);
    const Result<Dialed> result = dial.take_result();
    ASSERT_TRUE(result.ok()) << result.error().detail;
    EXPECT_FALSE(result->tls) << "nobody has shaken hands yet";
    EXPECT_EQ(::fcntl(result->channel->descriptor(), F_GETFL) & O_NONBLOCK, 0);
  };
  dialed(Scheme::https, "");
  dialed(Scheme::https, "other.example");
  dialed(Scheme::http, "");
  EXPECT_EQ(factory->names, (std::vector<std::string>{"127.0.0.1", "other.example"}));
}

}  // namespace
}  // namespace fastpool::connection
