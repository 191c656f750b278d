#include "net/tcp_channel.h"

#include <array>
#include <atomic>
#include <chrono>
#include <future>
#include <thread>

#include <gtest/gtest.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>

#include "net/socket.h"
#include "support/loopback_server.h"
#include "support/waiting.h"

namespace fastpool::net {
namespace {

void wait_readable(const Channel& channel) {
  ASSERT_TRUE(
      support::becomes_ready("the channel is readable", channel.descriptor(), POLLIN, std::chrono::seconds(10)));
}

TEST(TcpChannel, pieces_arrive_in_order_as_one) {
  const support::LoopbackServer server(support::echo);
  TcpChannel channel(server.connect());
  std::string head = "head ";
  std::string body = "body";
  const std::array<iovec, 3> pieces{iovec{head.data(), head.size()}, iovec{nullptr, 0},
                                    iovec{body.data(), body.size()}};
  EXPECT_EQ(channel.write(pieces, IoMode::wait).bytes, 9U);
  std::string all;
  std::array<char, 16> buffer{};
  while (all.size() < 9) {
    const IoResult read = channel.read(buffer, IoMode::wait);
    ASSERT_EQ(read.status, IoStatus::ok);
    all.append(buffer.data(), read.bytes);
  }
  EXPECT_EQ(all, "head body");
}

TEST(TcpChannel, counts_the_bytes_that_the_kernel_accepted) {
  const support::LoopbackServer server(support::echo);
  TcpChannel channel(server.connect());
  EXPECT_EQ(channel.bytes_written(), 0U);
  std::string bytes = "hello";
  const iovec piece{bytes.data(), bytes.size()};
  EXPECT_EQ(channel.write(std::span(&piece, 1), IoMode::wait).bytes, 5U);
  EXPECT_EQ(channel.write(std::span(&piece, 1), IoMode::dont_wait).bytes, 5U);
  EXPECT_EQ(channel.bytes_written(), 10U);
  channel.shutdown();
  EXPECT_EQ(channel.write(std::span(&piece, 1), IoMode::wait).status, IoStatus::error);
  EXPECT_EQ(channel.bytes_written(), 10U);
}

TEST(TcpChannel, says_which_way_it_would_block) {
  std::promise<void> done;
  const support::LoopbackServer server(
      [&](support::ServerConnection&) { support::wait_for("the client has filled the socket", done); });
  TcpChannel channel(server.connect());
  std::array<char, 16> buffer{};
  EXPECT_EQ(channel.read(buffer, IoMode::dont_wait).status, IoStatus::want_read);
  std::string bytes(1 << 20, 'x');
  const iovec piece{bytes.data(), bytes.size()};
  IoResult result;
  while (result.status == IoStatus::ok)
    result = channel.write(std::span(&piece, 1), IoMode::dont_wait);
  EXPECT_EQ(result.status, IoStatus::want_write);
  EXPECT_EQ(result.bytes, 0U);
  done.set_value();
}

TEST(TcpChannel, the_receive_timeout_shows_as_want_read) {
  const support::LoopbackServer server(support::echo);
  TcpChannel channel(server.connect());
  ASSERT_EQ(set_receive_timeout(channel.descriptor(), std::chrono::milliseconds(1)), 0);
  std::array<char, 16> buffer{};
  EXPECT_EQ(channel.read(buffer, IoMode::wait).status, IoStatus::want_read);
}

TEST(TcpChannel, a_signal_in_a_waiting_read_shows_as_want_read) {
  struct sigaction action{};
  struct sigaction before{};
  action.sa_handler = [](int) {};  // and no SA_RESTART
  ASSERT_EQ(::sigaction(SIGUSR1, &action, &before), 0);
  const support::LoopbackServer server(support::echo);
  TcpChannel channel(server.connect());
  std::atomic<bool> woken{false};
  const pthread_t reader = ::pthread_self();
  std::thread sender([&] {
    while (!woken.load()) {
      ::pthread_kill(reader, SIGUSR1);  // one signal may arrive before the read, so several are sent
      std::this_thread::yield();
    }
  });
  std::array<char, 16> buffer{};
  EXPECT_EQ(channel.read(buffer, IoMode::wait).status, IoStatus::want_read);
  woken.store(true);
  sender.join();
  ::sigaction(SIGUSR1, &before, nullptr);
}

TEST(TcpChannel, an_end_is_an_end_and_a_reset_an_error) {
  std::array<char, 16> buffer{};
  const support::LoopbackServer ending([](support::ServerConnection& connection) { connection.write("x"); });
  TcpChannel ended(ending.connect());
  EXPECT_EQ(ended.read(buffer, IoMode::wait).bytes, 1U);
  EXPECT_EQ(ended.read(buffer, IoMode::wait).status, IoStatus::end);

  const support::LoopbackServer resetting([](support::ServerConnection& connection) { connection.reset(); });
  TcpChannel broken(resetting.connect());
  const IoResult read = broken.read(buffer, IoMode::wait);
  EXPECT_EQ(read.status, IoStatus::error);
  EXPECT_EQ(read.os_error, ECONNRESET);
  const iovec piece{buffer.data(), buffer.size()};
  const IoResult write = broken.write(std::span(&piece, 1), IoMode::wait);  // would be SIGPIPE
  EXPECT_EQ(write.status, IoStatus::error);
  EXPECT_EQ(write.os_error, EPIPE);
}

TEST(TcpChannel, the_peek_tells_alive_from_dead_from_unexpected) {
  std::promise<void> speak;
  std::promise<void> leave;
  const support::LoopbackServer server([&](support::ServerConnection& connection) {
    support::wait_for("the client has peeked", speak);
    connection.write("x");
    support::wait_for("the client has read the byte", leave);
  });
  TcpChannel channel(server.connect());
  EXPECT_EQ(channel.peek(), Liveness::alive);
  speak.set_value();
  wait_readable(channel);
  EXPECT_EQ(channel.peek(), Liveness::unexpected);
  EXPECT_EQ(channel.peek(), Liveness::unexpected);
  std::array<char, 1> buffer{};
  EXPECT_EQ(channel.read(buffer, IoMode::wait).bytes, 1U);
  leave.set_value();
  wait_readable(channel);
  EXPECT_EQ(channel.peek(), Liveness::dead);
}

TEST(TcpChannel, a_reset_connection_peeks_as_dead) {
  const support::LoopbackServer server([](support::ServerConnection& connection) { connection.reset(); });
  TcpChannel channel(server.connect());
  wait_readable(channel);
  EXPECT_EQ(channel.peek(), Liveness::dead);
}

TEST(TcpChannel, a_shutdown_by_another_thread_wakes_a_waiting_read) {
  const support::LoopbackServer server(support::echo);
  TcpChannel channel(server.connect());
  std::thread closer([&] { channel.shutdown(); });
  std::array<char, 16> buffer{};
  EXPECT_EQ(channel.read(buffer, IoMode::wait).status, IoStatus::end);
  closer.join();
}

}  // namespace
}  // namespace fastpool::net
