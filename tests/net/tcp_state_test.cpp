#include "net/tcp_state.h"

#include <cerrno>
#include <string_view>

#include <gtest/gtest.h>
#include <sys/socket.h>

#include "net/descriptor.h"
#include "net/socket.h"
#include "support/raw_listener.h"
#include "support/temporary_directory.h"

namespace fastpool::net {
namespace {

using support::RawListener;

constexpr Duration long_enough = std::chrono::seconds(30);

/// Both ends of a connection, in one thread.
class TcpStateTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(::connect(ours_.get(), listener_.address().data(), listener_.address().size()), 0);
    theirs_ = listener_.accept();
  }
  static void send(const Descriptor& from, std::string_view bytes) {
    ASSERT_EQ(::send(from.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
  }
  void reset_by_peer() {
    const linger now{1, 0};
    ::setsockopt(theirs_.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
    theirs_.reset();
  }
  [[nodiscard]] TcpState state() const {
    const auto told = tcp_state(ours_.get());
    EXPECT_TRUE(told.has_value());
    return told.value_or(TcpState{});
  }

  RawListener listener_;
  Descriptor ours_{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  Descriptor theirs_;
};

TEST_F(TcpStateTest, acknowledged_are_the_syn_and_then_every_byte) {
  EXPECT_EQ(state().bytes_acknowledged, 1U);
  EXPECT_FALSE(state().closed);
  EXPECT_GT(state().round_trip, Duration::zero());
  send(ours_, "12345");
  EXPECT_FALSE(wait_for_hang_up(ours_.get(), false, Duration::zero()));
  theirs_.reset();  // unread bytes turn the close into a reset, which shows no acknowledgement
  EXPECT_TRUE(wait_for_hang_up(ours_.get(), false, long_enough));
}

TEST_F(TcpStateTest, a_fin_acknowledges_what_the_peer_has) {
  send(ours_, "12345");
  ASSERT_EQ(::shutdown(theirs_.get(), SHUT_WR), 0);
  ASSERT_TRUE(wait_for_hang_up(ours_.get(), true, long_enough));
  EXPECT_EQ(skip_to_end(ours_.get()), StreamEnd::fin);
  EXPECT_EQ(state().bytes_acknowledged, 6U);
  EXPECT_FALSE(state().closed);
}

TEST_F(TcpStateTest, what_comes_after_a_close_is_refused_and_not_acknowledged) {
  theirs_.reset();
  ASSERT_TRUE(wait_for_hang_up(ours_.get(), true, long_enough));
  send(ours_, "12345");
  ASSERT_TRUE(wait_for_hang_up(ours_.get(), false, long_enough));
  EXPECT_EQ(state().bytes_acknowledged, 1U);
  EXPECT_TRUE(state().closed);
  EXPECT_EQ(skip_to_end(ours_.get()), StreamEnd::fin) << "the FIN is still known";
  EXPECT_EQ(take_error(ours_.get()), EPIPE);
  EXPECT_EQ(take_error(ours_.get()), 0);
}

TEST_F(TcpStateTest, a_reset_without_a_fin_is_no_end_in_order) {
  send(theirs_, "some bytes");
  reset_by_peer();
  ASSERT_TRUE(wait_for_hang_up(ours_.get(), false, long_enough));
  EXPECT_EQ(skip_to_end(ours_.get()), StreamEnd::broken);
  EXPECT_TRUE(state().closed);
  EXPECT_EQ(skip_to_end(ours_.get()), StreamEnd::fin) << "the error was fetched: now the end means nothing";
}

TEST_F(TcpStateTest, skipping_takes_what_is_there_and_does_not_wait) {
  EXPECT_EQ(skip_to_end(ours_.get()), StreamEnd::open);
  send(theirs_, "some bytes");
  ASSERT_TRUE(wait_for_hang_up(ours_.get(), true, long_enough));
  EXPECT_EQ(skip_to_end(ours_.get()), StreamEnd::open);
  EXPECT_EQ(peek(ours_), Liveness::alive) << "nothing is left";
}

TEST_F(TcpStateTest, a_peer_that_goes_on_sending_has_no_end) {
  const std::string flood(256UL * 1024, 'x');
  std::size_t sent = 0;
  while (sent < 128UL * 1024) {
    const ssize_t step = ::send(theirs_.get(), flood.data(), flood.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    ASSERT_GT(step, 0);
    sent += static_cast<std::size_t>(step);
  }
  EXPECT_EQ(skip_to_end(ours_.get()), StreamEnd::broken);
}

TEST(TcpStateOfAUnixSocket, is_not_known) {
  const support::TemporaryDirectory directory;
  RawListener listener(*SocketAddress::from_unix_path(directory.path("s")), 8);
  const Descriptor ours(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::connect(ours.get(), listener.address().data(), listener.address().size()), 0);
  EXPECT_FALSE(tcp_state(ours.get()).has_value());
  EXPECT_FALSE(tcp_state(-1).has_value());
}

}  // namespace
}  // namespace fastpool::net
