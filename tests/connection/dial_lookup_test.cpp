// Look-ups of a dial: cached addresses, and those that failed.

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

TEST(DialLookUp, when_all_cached_addresses_fail_the_name_is_looked_up_again_and_what_is_new_is_tried) {
  RawListener listener("127.0.0.2");
  Host host;
  auto target = target_of("moved.test", listener.port());
  target->dns_lifetime = 5s;
  Dial dial(host, target, kDeadline);
  dial.start(kNow);
  EXPECT_EQ(host.last_max_age, Duration(5s));
  dial.on_resolved(ips({"127.0.0.1", "127.0.0.3"}), 7, kNow + 1ms);
  host.pump_until_asked_again(dial, kNow + 2ms);
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

TEST(DialLookUp, addresses_that_have_just_failed_are_not_tried_again_and_the_name_is_looked_up_twice_at_most) {
  const RefusingPort refusing;
  const std::uint16_t port = refusing.port();
  Host host;
  Dial same(host, target_of("same.test", port), kDeadline);
  same.start(kNow);
  same.on_resolved(ips({"127.0.0.1"}), 7, kNow);
  host.pump_until_asked_again(same, kNow);
  same.on_resolved(ips({"127.0.0.1"}), 0, kNow);
  ASSERT_TRUE(same.finished());
  const std::string text = std::to_string(port);
  EXPECT_EQ(same.take_result().error().detail,
            "cannot connect to http://same.test:" + text + " (127.0.0.1:" + text + ": Connection refused)");

  Host another;
  Dial twice(another, target_of("twice.test", port), kDeadline);
  twice.start(kNow);
  twice.on_resolved(ips({"127.0.0.1"}), 7, kNow);
  another.pump_until_asked_again(twice, kNow);
  twice.on_resolved(ips({"127.0.0.2"}), 8, kNow);  // what another dial has looked up meanwhile
  if (!twice.finished()) another.pump(twice, kNow);
  EXPECT_EQ(twice.take_result().error().code, ErrorCode::connect_failed);
  EXPECT_EQ(another.asked.size(), 2U);
  EXPECT_EQ(another.forgotten,
            (std::vector<std::pair<std::string, net::CacheEntry>>{{"twice.test", 7}, {"twice.test", 8}}));
}

TEST(DialLookUp, addresses_that_were_looked_up_just_now_are_believed) {
  const RefusingPort refusing;
  Host host;
  Dial dial(host, target_of("dead.test", refusing.port()), kDeadline);
  dial.start(kNow);
  dial.on_resolved(ips({"127.0.0.1"}), 0, kNow);
  if (!dial.finished()) host.pump(dial, kNow);
  EXPECT_FALSE(dial.take_result().ok());
  EXPECT_EQ(host.asked.size(), 1U);
  EXPECT_TRUE(host.forgotten.empty());
}

TEST(DialLookUp, an_unknown_name_is_final_and_names_the_origin) {
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

}  // namespace
}  // namespace fastpool::connection::test
