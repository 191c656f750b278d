// A dial whose deadline passes: what its error says.

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

TEST(DialTimeout, a_timeout_drops_the_cached_answer) {
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

TEST(DialTimeout, a_timeout_while_the_name_is_looked_up_again_says_so) {
  Host host;
  const RefusingPort refusing;
  const std::uint16_t port = refusing.port();
  Dial dial(host, target_of("moved.test", port), kNow + 2s);
  dial.start(kNow);
  dial.on_resolved(ips({"127.0.0.1"}), 9, kNow);
  host.pump_until_asked_again(dial, kNow);
  dial.on_timer(kNow + 2s);
  const std::string text = std::to_string(port);
  EXPECT_EQ(dial.take_result().error().detail,
            "no connection to http://moved.test:" + text +
                " after 2.000 s, still resolving 'moved.test' again (failed before: 127.0.0.1:" + text +
                ": Connection refused)");
}

TEST(DialTimeout, a_timeout_says_that_the_name_was_still_being_resolved) {
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

TEST(DialTimeout, a_timeout_names_the_addresses_that_were_being_connected_to_and_those_that_had_failed) {
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

TEST(DialTest, a_dial_that_is_late_before_it_begins_took_no_time) {
  Host host;
  Dial dial(host, target_of("slow.test", 80), kNow);
  dial.on_timer(kNow);
  EXPECT_EQ(dial.take_result().error().detail,
            "no connection to http://slow.test:80 after 0.000 s, still resolving 'slow.test'");
}

}  // namespace
}  // namespace fastpool::connection::test
