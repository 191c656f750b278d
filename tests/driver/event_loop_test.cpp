// The event loop's driver, against real sockets; the loop is a poll() on its descriptor.

#include "driver/event_loop.h"

#include <array>
#include <future>
#include <memory>
#include <string>
#include <thread>

#include <gtest/gtest.h>
#include <poll.h>

#include "driver/blocking.h"
#include "driver/deadlines.h"
#include "driver/loop_operation.h"
#include "net/tcp_channel.h"
#include "pool/lease_limit.h"
#include "pool/pool.h"
#include "support/loopback_server.h"
#include "support/waiting.h"

namespace fastpool::driver {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using support::ServerConnection;

struct Unwatched final : connection::HangUpWatch {
  void watch(int, std::uint64_t) noexcept override {}
  void unwatch(int) noexcept override {}
};

/// Reads once, or writes all, when its loop steps it.
class Step final : public LoopOperation {
 public:
  Step(std::shared_ptr<EventLoop> loop, connection::Connection& connection, const Timeouts& timeouts = {})
      : LoopOperation(std::move(loop), timeouts), connection_(&connection) {}

  bool begin_read() {
    reading_ = true;
    step();
    return outcome.has_value();
  }
  bool begin_write(std::string_view text) {
    reading_ = false;
    pieces_[0] = {const_cast<char*>(text.data()), text.size()};
    unsent_ = pieces_;
    step();
    return outcome.has_value();
  }

  /// Begins a wait of that length, which watches the connection for a hang-up.
  void begin_pause(Duration at_most) {
    pausing_ = true;
    EXPECT_FALSE(wait_for_hang_up(*connection_, false, at_most));
  }
  /// Uses another connection from now on.
  void use(connection::Connection& connection) { connection_ = &connection; }
  using LoopOperation::put_off;

  std::optional<Error> error;
  std::optional<std::string> outcome;
  int steps = 0;
  bool orphan = false;
  std::uint64_t written = 0;

 private:
  void step() noexcept override {
    ++steps;
    if (std::exchange(pausing_, false)) {
      outcome = "";
      return;
    }
    if (reading_) {
      auto read = LoopOperation::read(*connection_, buffer_);
      if (read && read->pending) return;
      outcome = read ? std::string(buffer_.data(), read->bytes) : "";
      if (!read) error = std::move(read).error();
    } else {
      auto done = LoopOperation::write(*connection_, unsent_, written, false);
      if (done && *done == Written::pending) return;
      outcome = "";
      if (!done) error = std::move(done).error();
    }
  }
  void orphaned() noexcept override { orphan = true; }

  connection::Connection* connection_;
  bool reading_ = true;
  bool pausing_ = false;
  std::array<char, 1024> buffer_{};
  std::array<iovec, 1> pieces_{};
  std::span<iovec> unsent_;
};

class EventLoopTest : public ::testing::Test {
 protected:
  connection::Connection connect(const support::LoopbackServer& server) {
    return connection::Connection(std::make_unique<net::TcpChannel>(server.connect()), unwatched_);
  }
  static std::shared_ptr<EventLoop> new_loop() { return EventLoop::create().value(); }
  /// Runs turns until the operation is done.
  static void run(EventLoop& loop, const Step& operation) {
    while (!operation.outcome && !operation.orphan) {
      ASSERT_TRUE(support::becomes_ready("the loop has an event", loop.descriptor(), POLLIN, std::chrono::seconds(10)));
      loop.turn();
    }
  }
  static bool has_news(const EventLoop& loop) {
    pollfd waiting{loop.descriptor(), POLLIN, 0};
    return ::poll(&waiting, 1, 0) == 1;
  }

  Unwatched unwatched_;
};

TEST_F(EventLoopTest, an_operation_reads_bytes_when_they_have_arrived) {
  std::promise<void> go;
  const support::LoopbackServer server([&](ServerConnection& connection) {
    support::wait_for("the test lets the server go on", go);
    connection.write("hello");
    connection.read_to_end();
  });
  auto connection = connect(server);
  const auto loop = new_loop();
  Step operation(loop, connection);
  EXPECT_FALSE(operation.begin_read());
  go.set_value();
  run(*loop, operation);
  EXPECT_EQ(operation.outcome, "hello");
}

TEST_F(EventLoopTest, a_pause_that_is_over_neither_ends_the_next_wait_nor_hides_bytes_that_arrive) {
  std::promise<void> go;
  const support::LoopbackServer server([&](ServerConnection& connection) {
    if (connection.read_some() != "speak") return;
    support::wait_for("the test lets the server go on", go);
    connection.write("spoken");
    connection.read_to_end();
  });
  auto first =
      std::make_unique<connection::Connection>(std::make_unique<net::TcpChannel>(server.connect()), unwatched_);
  const auto loop = new_loop();
  Step operation(loop, *first);
  operation.begin_pause(milliseconds(1));
  run(*loop, operation);
  operation.outcome.reset();

  first.reset();  // so the next operation takes its place in the loop
  auto second = connect(server);
  ASSERT_TRUE(second.channel().write(std::array{iovec{const_cast<char*>("speak"), 5}}, net::IoMode::wait).bytes == 5);
  operation.use(second);
  EXPECT_FALSE(operation.begin_read());
  EXPECT_FALSE(operation.error);
  go.set_value();
  run(*loop, operation);
  EXPECT_EQ(operation.outcome, "spoken");
}

TEST_F(EventLoopTest, a_deferred_operation_continues_in_the_next_turn_unless_the_loop_is_closed) {
  const support::LoopbackServer server([](ServerConnection& connection) { connection.read_to_end(); });
  auto connection = connect(server);
  const auto loop = new_loop();
  Step operation(loop, connection);
  ASSERT_TRUE(operation.put_off());
  EXPECT_TRUE(has_news(*loop));
  loop->turn();
  EXPECT_EQ(operation.steps, 1);
  EXPECT_TRUE(operation.put_off());
  loop->close();
  EXPECT_TRUE(operation.orphan);
  EXPECT_FALSE(operation.put_off());
}

TEST_F(EventLoopTest, an_end_after_the_last_bytes_is_noticed_although_it_is_reported_only_once) {
  std::promise<void> go;
  const support::LoopbackServer server([&](ServerConnection& connection) {
    support::wait_for("the test waits for the last bytes", go);
    connection.write("last");
  });
  auto connection = connect(server);
  const auto loop = new_loop();
  Step first(loop, connection);
  ASSERT_FALSE(first.begin_read());
  go.set_value();
  // Both are there before the loop looks: one event reports them.
  ASSERT_TRUE(support::becomes_ready("the peer's end is there", connection.channel().descriptor(), POLLRDHUP,
                                     support::wait_limit));
  run(*loop, first);
  EXPECT_EQ(first.outcome, "last");
  Step second(loop, connection);
  if (!second.begin_read()) run(*loop, second);
  EXPECT_EQ(second.outcome, "");
  EXPECT_FALSE(second.error);
}

TEST_F(EventLoopTest, a_silent_peer_causes_a_read_timeout_and_a_peer_that_does_not_read_a_write_timeout) {
  std::promise<void> done;
  auto ended = done.get_future().share();
  const support::LoopbackServer server(
      [ended](ServerConnection&) { support::wait_for("both timeouts have passed", ended); });
  auto connection = connect(server);
  const auto loop = new_loop();
  Timeouts hasty;
  hasty.read = milliseconds(20);
  hasty.write = milliseconds(20);
  Step reading(loop, connection, hasty);
  EXPECT_FALSE(reading.begin_read());
  run(*loop, reading);
  ASSERT_TRUE(reading.error);
  EXPECT_EQ(reading.error->code, ErrorCode::read_timeout);
  const std::string much(64U << 20U, 'x');
  Step writing(loop, connection, hasty);
  EXPECT_FALSE(writing.begin_write(much));
  run(*loop, writing);
  ASSERT_TRUE(writing.error);
  EXPECT_EQ(writing.error->code, ErrorCode::write_timeout);
  EXPECT_GT(writing.written, 0U);
  done.set_value();
}

TEST_F(EventLoopTest, a_wait_that_timed_out_does_not_end_the_next) {
  std::promise<void> go;
  const std::string much(16U << 20U, 'x');
  const support::LoopbackServer server([&](ServerConnection& connection) {
    support::wait_for("the test lets the server go on", go);
    (void)connection.read_exactly(much.size());
    connection.read_to_end();
  });
  auto connection = connect(server);
  const auto loop = new_loop();
  Timeouts hasty;
  hasty.read = milliseconds(20);
  Step operation(loop, connection, hasty);
  EXPECT_FALSE(operation.begin_read());
  run(*loop, operation);
  ASSERT_TRUE(operation.error);
  operation.outcome.reset();
  operation.error.reset();
  EXPECT_FALSE(operation.begin_write(much));
  go.set_value();
  run(*loop, operation);
  EXPECT_FALSE(operation.error) << operation.error->detail;
  EXPECT_EQ(operation.written, much.size());
}

TEST_F(EventLoopTest, who_forgets_its_wait_for_a_place_gets_none) {
  struct NoDials final : pool::Dialer {
    void dial(pool::Endpoint&, pool::Slot&, pool::DialTimes) override { ADD_FAILURE() << "the pool began a dial"; }
  } dialer;
  pool::SystemClock clock;
  pool::Pool pool(PoolSettings{}, clock, dialer);
  pool::LeaseLimit limit(1);
  std::optional<pool::LeaseLimit::Place> held = limit.try_enter();
  ASSERT_TRUE(held);
  const support::LoopbackServer server([](ServerConnection& connection) { connection.read_to_end(); });
  auto connection = connect(server);
  Step given_up(new_loop(), connection);
  EXPECT_FALSE(given_up.enter(limit, pool));
  given_up.forget();
  held.reset();
  EXPECT_TRUE(limit.try_enter()) << "the place went to an operation that waits no more";
}

TEST_F(EventLoopTest, an_operation_that_forgets_its_wait_is_not_stepped_again) {
  std::promise<void> go;
  const support::LoopbackServer server([&](ServerConnection& connection) {
    support::wait_for("the test lets the server go on", go);
    connection.write("x");
    connection.read_to_end();
  });
  auto connection = connect(server);
  const auto loop = new_loop();
  Step given_up(loop, connection);
  EXPECT_FALSE(given_up.begin_read());
  given_up.forget();
  go.set_value();
  Step next(loop, connection);
  if (!next.begin_read()) run(*loop, next);
  EXPECT_EQ(next.outcome, "x");
  EXPECT_EQ(given_up.steps, 1);
}

TEST_F(EventLoopTest, a_connection_that_a_thread_uses_does_not_wake_the_loop) {
  std::promise<void> go;
  const support::LoopbackServer server([&](ServerConnection& connection) {
    connection.write("a");
    support::wait_for("the test lets the server go on", go);
    connection.write("b");
    connection.read_to_end();
  });
  auto connection = connect(server);
  const auto loop = new_loop();
  Step first(loop, connection);
  if (!first.begin_read()) run(*loop, first);
  loop->turn();
  ASSERT_FALSE(has_news(*loop));
  const Timeouts timeouts;
  const Interrupt none;
  std::array<char, 8> buffer{};
  std::thread thread([&] {
    EXPECT_TRUE(Blocking(timeouts, none).read_arrived(connection, buffer)->pending);
    go.set_value();
    EXPECT_EQ(Blocking(timeouts, none).read(connection, buffer)->bytes, 1U);
  });
  thread.join();
  EXPECT_FALSE(has_news(*loop));
  EXPECT_EQ(connection.loop_registration(), nullptr);
}

TEST_F(EventLoopTest, a_connection_moves_from_loop_to_loop) {
  const support::LoopbackServer server(support::echo);
  auto connection = connect(server);
  for (int i = 0; i < 3; ++i) {
    const auto loop = new_loop();
    Step writing(loop, connection);
    if (!writing.begin_write("ping")) run(*loop, writing);
    Step reading(loop, connection);
    if (!reading.begin_read()) run(*loop, reading);
    EXPECT_EQ(reading.outcome, "ping");
    if (i == 1) loop->close();  // with the connection still in it
  }
}

TEST_F(EventLoopTest, a_closed_connection_leaves_no_entry_in_the_epoll_set) {
  const support::LoopbackServer server([](ServerConnection& connection) { connection.read_to_end(); });
  const auto loop = new_loop();
  for (int i = 0; i < 3; ++i) {
    auto connection = connect(server);
    Step operation(loop, connection);
    EXPECT_FALSE(operation.begin_read());
    operation.forget();
    connection.interrupt();  // an event that no operation waits for
  }
  loop->turn();
  EXPECT_FALSE(has_news(*loop));
}

TEST_F(EventLoopTest, an_operation_that_waits_when_the_loop_is_closed_gets_an_error) {
  const support::LoopbackServer server([](ServerConnection& connection) { connection.read_to_end(); });
  auto connection = connect(server);
  const auto loop = new_loop();
  Step operation(loop, connection);
  EXPECT_FALSE(operation.begin_read());
  loop->close();
  EXPECT_TRUE(operation.orphan);
  loop->turn();
  EXPECT_EQ(operation.steps, 1);
}

TEST_F(EventLoopTest, a_loop_that_lingers_is_readable_once_no_operation_waits) {
  const support::LoopbackServer server([](ServerConnection& connection) { connection.read_to_end(); });
  auto connection = connect(server);
  const auto loop = new_loop();
  Step operation(loop, connection);
  EXPECT_FALSE(operation.begin_read());
  loop->turn();  // the socket is writable, which is reported once
  EXPECT_TRUE(loop->lingers());
  EXPECT_FALSE(has_news(*loop));
  operation.forget();
  EXPECT_TRUE(has_news(*loop));
  EXPECT_FALSE(loop->lingers());
}

TEST(DeadlinesTest, the_next_deadline_is_first_whatever_is_added_or_removed) {
  const TimePoint start{};
  Deadlines deadlines;
  std::array<Deadline, 64> all;
  for (std::size_t i = 0; i < all.size(); ++i)
    deadlines.set(all[i], start + milliseconds(1 + i * 37 % 64));
  for (std::size_t i = 0; i < all.size(); i += 3)
    deadlines.remove(all[i]);
  deadlines.set(all[1], start + seconds(9));
  TimePoint last = start;
  std::size_t count = 0;
  while (const Deadline* const due = deadlines.take_due(start + seconds(10))) {
    EXPECT_GE(due->when, last);
    EXPECT_EQ(due->place, 0U);
    last = due->when;
    ++count;
  }
  EXPECT_EQ(count, all.size() - 22);
  EXPECT_EQ(last, start + seconds(9));
  EXPECT_EQ(deadlines.next(), TimePoint::max());
}

TEST(DeadlinesTest, no_deadline_is_due_before_its_time) {
  Deadlines deadlines;
  Deadline one;
  deadlines.set(one, TimePoint{} + seconds(2));
  EXPECT_EQ(deadlines.take_due(TimePoint{} + seconds(1)), nullptr);
  deadlines.set(one, TimePoint::max());
  EXPECT_TRUE(deadlines.empty());
}

}  // namespace
}  // namespace fastpool::driver
