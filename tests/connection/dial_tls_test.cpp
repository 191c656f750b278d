// Dials that shake hands, by the own engine and by one that the profile brings.

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
  std::unique_ptr<net::Channel> wrap(std::unique_ptr<net::Channel>&& below, const std::string& server_name,
                                     Protocols) const override {
    names.push_back(server_name);
    return std::move(below);
  }
  mutable std::vector<std::string> names;
};

TEST(DialTest, an_engine_that_the_profile_brings_gets_each_connected_socket_that_is_to_speak_tls) {
  RawListener listener;
  const auto factory = std::make_shared<const NotingFactory>();
  const auto dialed = [&](Scheme scheme, const std::string& server_name) {
    auto target = target_of("127.0.0.1", listener.port());
    target->origin.scheme = scheme;
    net::set_engine(target->profile, factory);
    target->profile.server_name = server_name;
    Host host;
    Dial dial(host, target, kDeadline);
    dial.start(kNow);
    host.pump(dial, kNow);
    const Result<Dialed> result = dial.take_result();
    ASSERT_TRUE(result.ok()) << result.error().detail;
    EXPECT_FALSE(result->tls) << "no handshake has begun";
    EXPECT_EQ(::fcntl(result->channel->descriptor(), F_GETFL) & O_NONBLOCK, 0);
  };
  dialed(Scheme::https, "");
  dialed(Scheme::https, "other.example");
  dialed(Scheme::http, "");
  EXPECT_EQ(factory->names, (std::vector<std::string>{"127.0.0.1", "other.example"}));
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

}  // namespace
}  // namespace fastpool::connection::test
