// The blocking driver over real sockets: timeouts per operation, interrupts, partial writes.

#include "driver/blocking.h"

#include <array>
#include <atomic>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>

#include "net/tcp_channel.h"
#include "support/loopback_server.h"
#include "support/waiting.h"

namespace fastpool::driver {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using support::ServerConnection;

struct NoWatch final : connection::HangUpWatch {
  void watch(int, std::uint64_t) noexcept override {}
  void unwatch(int) noexcept override {}
};

Result<Driver::Written> write_all(Blocking driver, connection::Connection& connection, std::span<iovec> pieces,
                                  std::uint64_t& written) {
  return driver.write(connection, pieces, written, false);
}

class BlockingTest : public ::testing::Test {
 protected:
  [[nodiscard]] connection::Connection connect(const support::LoopbackServer& server) {
    return connection::Connection(std::make_unique<net::TcpChannel>(server.connect()), watch_);
  }
  [[nodiscard]] static Timeouts timeouts(OptionalDuration read, OptionalDuration write) {
    return {std::nullopt, read, write, std::nullopt};
  }
  [[nodiscard]] static iovec piece(std::string& text) { return {text.data(), text.size()}; }

  NoWatch watch_;
  const Interrupt none_{};
  std::array<char, 256> buffer_{};
};

void silent(ServerConnection& connection) {
  connection.read_to_end();
}

TEST_F(BlockingTest, reads_what_arrives_and_sees_the_end) {
  const support::LoopbackServer server([](ServerConnection& connection) { connection.write("hello"); });
  auto connection = connect(server);
  const Timeouts patient = timeouts(seconds(30), seconds(30));
  Blocking driver(patient, none_);
  std::string all;
  while (true) {
    const auto read = driver.read(connection, buffer_);
    ASSERT_TRUE(read.ok());
    if (read->end) break;
    EXPECT_GT(read->bytes, 0U);
    all.append(buffer_.data(), read->bytes);
  }
  EXPECT_EQ(all, "hello");
}

TEST_F(BlockingTest, a_peer_that_sends_nothing_is_a_read_timeout) {
  const support::LoopbackServer server(silent);
  auto connection = connect(server);
  const Timeouts hasty = timeouts(milliseconds(20), std::nullopt);
  const TimePoint before = Clock::now();
  const auto late = Blocking(hasty, none_).read(connection, buffer_);
  ASSERT_FALSE(late.ok());
  EXPECT_EQ(late.error().code, ErrorCode::read_timeout);
  EXPECT_GE(Clock::now() - before, milliseconds(19));
}

TEST_F(BlockingTest, a_timeout_of_zero_does_not_wait_for_ever) {
  const support::LoopbackServer server(silent);
  auto connection = connect(server);
  const Timeouts none = timeouts(seconds(0), seconds(0));
  const auto late = Blocking(none, none_).read(connection, buffer_);
  ASSERT_FALSE(late.ok());
  EXPECT_EQ(late.error().code, ErrorCode::read_timeout);
}

TEST_F(BlockingTest, each_operation_has_its_own_time) {
  std::promise<void> late;
  const support::LoopbackServer server([&](ServerConnection& connection) {
    support::wait_for("two reads of the client have timed out", late);
    connection.write("x");
    connection.read_to_end();
  });
  auto connection = connect(server);
  const Timeouts hasty = timeouts(milliseconds(10), std::nullopt);
  const Timeouts patient = timeouts(seconds(30), std::nullopt);
  EXPECT_EQ(Blocking(hasty, none_).read(connection, buffer_).error().code, ErrorCode::read_timeout);
  EXPECT_EQ(Blocking(hasty, none_).read(connection, buffer_).error().code, ErrorCode::read_timeout);
  late.set_value();
  const auto read = Blocking(patient, none_).read(connection, buffer_);
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->bytes, 1U);
}

TEST_F(BlockingTest, a_peer_that_does_not_read_causes_a_write_timeout_with_the_bytes_sent) {
  std::promise<void> done;
  const support::LoopbackServer server(
      [&](ServerConnection&) { support::wait_for("the write of the client has timed out", done); });
  auto connection = connect(server);
  const Timeouts hasty = timeouts(std::nullopt, milliseconds(20));
  std::string much(64U << 20, 'x');
  std::array<iovec, 1> pieces{piece(much)};
  std::uint64_t written = 0;
  const auto stuck = write_all(Blocking(hasty, none_), connection, pieces, written);
  ASSERT_FALSE(stuck.ok());
  EXPECT_EQ(stuck.error().code, ErrorCode::write_timeout);
  EXPECT_GT(written, 0U);
  EXPECT_LT(written, much.size());
  done.set_value();
}

TEST_F(BlockingTest, pieces_arrive_whole_and_in_order_however_they_are_cut) {
  std::promise<std::string> received;
  const support::LoopbackServer server([&](ServerConnection& connection) {
    std::string all;
    while (true) {
      const std::string some = connection.read_some(30'011);
      if (some.empty()) break;
      all += some;
    }
    received.set_value(std::move(all));
  });
  std::string expected;
  std::uint64_t written = 0;
  {
    auto connection = connect(server);
    const int small = 4096;
    ASSERT_EQ(::setsockopt(connection.channel().descriptor(), SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
    std::vector<std::string> texts;
    for (std::size_t i = 0; i < 6; ++i) {
      texts.emplace_back(i == 2 ? 0 : 400'003 * i + 7, static_cast<char>('a' + i));
      expected += texts.back();
    }
    std::vector<iovec> pieces{{nullptr, 0}};
    for (std::string& text : texts)
      pieces.push_back(piece(text));
    const Timeouts patient = timeouts(seconds(30), seconds(30));
    ASSERT_TRUE(write_all(Blocking(patient, none_), connection, pieces, written));
  }
  EXPECT_EQ(written, expected.size());
  EXPECT_TRUE(support::value_of("the server has received everything", received) == expected);
}

TEST_F(BlockingTest, nothing_to_write_is_no_operation) {
  const support::LoopbackServer server(silent);
  auto connection = connect(server);
  std::array<iovec, 2> pieces{};
  std::uint64_t written = 0;
  const Timeouts forever = timeouts(std::nullopt, std::nullopt);
  EXPECT_TRUE(write_all(Blocking(forever, none_), connection, pieces, written));
  EXPECT_EQ(written, 0U);
}

TEST_F(BlockingTest, a_wait_without_a_timeout_can_be_interrupted) {
  std::promise<void> over;
  const support::LoopbackServer server([&](ServerConnection& connection) {
    if (!support::wait_for("the read of the client is interrupted", over)) connection.write("end of the wait");
    connection.read_to_end();
  });
  auto connection = connect(server);
  int looks = 0;
  const Interrupt third_look{[](void* context) noexcept { return ++*static_cast<int*>(context) == 3; }, &looks};
  const Timeouts forever = timeouts(std::nullopt, std::nullopt);
  const auto stopped = Blocking(forever, third_look).read(connection, buffer_);
  over.set_value();
  ASSERT_FALSE(stopped.ok());
  EXPECT_EQ(stopped.error().code, ErrorCode::interrupted);
  EXPECT_EQ(looks, 3);
}

TEST_F(BlockingTest, a_write_can_be_interrupted) {
  std::promise<void> done;
  const support::LoopbackServer server(
      [&](ServerConnection&) { support::wait_for("the write of the client is interrupted", done); });
  auto connection = connect(server);
  const Interrupt at_once{[](void*) noexcept { return true; }, nullptr};
  const Timeouts forever = timeouts(std::nullopt, std::nullopt);
  std::string much(64U << 20, 'x');
  std::array<iovec, 1> pieces{piece(much)};
  std::uint64_t written = 0;
  const auto stopped = write_all(Blocking(forever, at_once), connection, pieces, written);
  ASSERT_FALSE(stopped.ok());
  EXPECT_EQ(stopped.error().code, ErrorCode::interrupted);
  done.set_value();
}

TEST_F(BlockingTest, a_watched_wait_still_has_its_timeout) {
  const support::LoopbackServer server(silent);
  auto connection = connect(server);
  const Interrupt never{[](void*) noexcept { return false; }, nullptr};
  const Timeouts hasty = timeouts(milliseconds(130), std::nullopt);  // longer than one slice
  EXPECT_EQ(Blocking(hasty, never).read(connection, buffer_).error().code, ErrorCode::read_timeout);
}

TEST_F(BlockingTest, signals_do_not_use_up_the_timeout) {
  struct sigaction nothing{};
  nothing.sa_handler = [](int) {};
  struct sigaction before{};
  ASSERT_EQ(::sigaction(SIGUSR1, &nothing, &before), 0);
  std::promise<void> answer;
  const support::LoopbackServer server([&](ServerConnection& connection) {
    support::wait_for("all signals have been sent", answer);
    connection.write("x");
    connection.read_to_end();
  });
  auto connection = connect(server);
  const Timeouts patient = timeouts(seconds(30), std::nullopt);
  std::atomic<bool> ended{false};
  bool ok = false;
  std::thread reader([&] {
    ok = Blocking(patient, none_).read(connection, buffer_).ok();
    ended = true;
  });
  for (int i = 0; i < 50 && !ended; ++i) {
    ::pthread_kill(reader.native_handle(), SIGUSR1);
    std::this_thread::sleep_for(milliseconds(1));  // gives it time to return to its wait; nothing depends on it
  }
  answer.set_value();
  reader.join();
  EXPECT_TRUE(ok);
  ::sigaction(SIGUSR1, &before, nullptr);
}

TEST_F(BlockingTest, a_reset_is_an_error_with_the_systems_text) {
  std::promise<void> reset;
  const support::LoopbackServer server([&](ServerConnection& connection) {
    connection.reset();
    reset.set_value();
  });
  auto connection = connect(server);
  support::wait_for("the server has reset the connection", reset);
  const Timeouts patient = timeouts(seconds(30), seconds(30));
  const auto read = Blocking(patient, none_).read(connection, buffer_);
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(read.error().code, ErrorCode::read_failed);
  EXPECT_EQ(read.error().os_error, ECONNRESET);
  EXPECT_FALSE(read.error().detail.empty());
  std::string text = "x";
  std::array<iovec, 1> pieces{piece(text)};
  std::uint64_t written = 0;
  const auto write = write_all(Blocking(patient, none_), connection, pieces, written);
  ASSERT_FALSE(write.ok());
  EXPECT_EQ(write.error().code, ErrorCode::write_failed);
  EXPECT_EQ(written, 0U);
}

}  // namespace
}  // namespace fastpool::driver
