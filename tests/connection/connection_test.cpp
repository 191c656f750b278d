#include "connection/connection.h"

#include <array>
#include <future>
#include <vector>

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "net/tcp_channel.h"
#include "support/loopback_server.h"
#include "support/waiting.h"

namespace fastpool::connection {
namespace {

using support::ServerConnection;

struct NotedWatch final : HangUpWatch {
  void watch(int descriptor, std::uint64_t token) noexcept override {
    watched = descriptor;
    seen_token = token;
  }
  void unwatch(int descriptor) noexcept override { unwatched = descriptor; }
  int watched = -1;
  int unwatched = -1;
  std::uint64_t seen_token = 0;
};

class ConnectionTest : public ::testing::Test {
 protected:
  [[nodiscard]] std::unique_ptr<Connection> connect(const support::LoopbackServer& server) {
    return std::make_unique<Connection>(std::make_unique<net::TcpChannel>(server.connect()), watch_);
  }
  [[nodiscard]] static long microseconds(const Connection& connection, int option) {
    timeval value{};
    socklen_t size = sizeof value;
    auto& writable = const_cast<Connection&>(connection);
    EXPECT_EQ(::getsockopt(writable.channel().descriptor(), SOL_SOCKET, option, &value, &size), 0);
    return value.tv_sec * 1'000'000L + value.tv_usec;
  }
  static void wait_readable(Connection& connection) {
    ASSERT_TRUE(support::becomes_ready("the connection is readable", connection.channel().descriptor(), POLLIN,
                                       std::chrono::seconds(30)));
  }
  NotedWatch watch_;
};

// The memory of an idle connection besides its slot and its channel; docs/internals/ has the sum.
TEST_F(ConnectionTest, it_is_small) {
  EXPECT_LE(sizeof(Connection), 160U);
  EXPECT_LE(sizeof(net::TcpChannel), 24U);
}

TEST_F(ConnectionTest, it_is_watched_from_its_seat_to_its_end) {
  const support::LoopbackServer server(support::echo);
  auto connection = connect(server);
  const int descriptor = connection->channel().descriptor();
  EXPECT_EQ(watch_.watched, -1);
  connection->on_seated(77);
  EXPECT_EQ(watch_.watched, descriptor);
  EXPECT_EQ(watch_.seen_token, 77U);
  EXPECT_EQ(watch_.unwatched, -1);
  connection.reset();
  EXPECT_EQ(watch_.unwatched, descriptor);
}

TEST_F(ConnectionTest, its_end_reaches_the_peer_even_if_another_process_holds_a_copy) {
  std::promise<void> ended;
  const support::LoopbackServer server([&](ServerConnection& connection) {
    connection.read_to_end();
    ended.set_value();
  });
  auto connection = connect(server);
  const net::Descriptor copy(::dup(connection->channel().descriptor()));  // as a fork's child has one
  connection.reset();
  support::wait_for("the peer sees the end of the connection", ended);
}

TEST_F(ConnectionTest, socket_timeouts_are_set_as_asked_for) {
  const support::LoopbackServer server(support::echo);
  auto connection = connect(server);
  EXPECT_EQ(microseconds(*connection, SO_RCVTIMEO), 0);
  connection->set_receive_timeout(std::chrono::milliseconds(2000));
  connection->set_receive_timeout(std::chrono::milliseconds(2000));
  EXPECT_EQ(microseconds(*connection, SO_RCVTIMEO), 2'000'000);
  EXPECT_EQ(microseconds(*connection, SO_SNDTIMEO), 0);
  connection->set_send_timeout(std::chrono::seconds(3));
  EXPECT_EQ(microseconds(*connection, SO_SNDTIMEO), 3'000'000);
  connection->set_receive_timeout({});
  EXPECT_EQ(microseconds(*connection, SO_RCVTIMEO), 0);
}

TEST_F(ConnectionTest, is_alive_while_no_bytes_are_waiting) {
  std::promise<void> go_on;
  const support::LoopbackServer server([&](ServerConnection& connection) {
    support::wait_for("the client has checked the connection twice", go_on);
    connection.write("unasked");
    connection.read_to_end();
  });
  auto connection = connect(server);
  EXPECT_TRUE(connection->check_alive());
  EXPECT_TRUE(connection->check_alive());
  go_on.set_value();
  wait_readable(*connection);
  EXPECT_FALSE(connection->check_alive());
}

TEST_F(ConnectionTest, it_is_dead_once_the_peer_has_closed) {
  const support::LoopbackServer server([](ServerConnection&) {});
  auto connection = connect(server);
  wait_readable(*connection);
  EXPECT_FALSE(connection->check_alive());
}

TEST_F(ConnectionTest, an_interrupt_wakes_a_user_that_waits_in_it) {
  const support::LoopbackServer server([](ServerConnection& connection) { connection.read_to_end(); });
  auto connection = connect(server);
  std::promise<void> begins;
  auto user = std::async(std::launch::async, [&] {
    std::array<char, 16> buffer{};
    begins.set_value();
    return connection->channel().read(buffer, net::IoMode::wait);
  });
  support::wait_for("the user is about to read", begins);
  connection->interrupt();
  EXPECT_EQ(support::value_of("the interrupt ends the read", user).status, net::IoStatus::end);
}

}  // namespace
}  // namespace fastpool::connection
