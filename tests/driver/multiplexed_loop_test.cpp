// An event loop that pumps an HTTP/2 connection.

#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <poll.h>

#include "connection/multiplexer_fixture.h"
#include "driver/event_loop.h"
#include "driver/loop_operation.h"

namespace fastpool::driver {
namespace {

using connection::Awaited;
using connection::MultiplexedStream;
using connection::test::HookedChannel;
using connection::test::Peer;

struct Unwatched final : connection::HangUpWatch {
  void watch(int, std::uint64_t) noexcept override {}
  void unwatch(int) noexcept override {}
};

/// Takes the body of a stream as it comes.
class Taking final : public LoopOperation {
 public:
  Taking(std::shared_ptr<EventLoop> loop, connection::Connection& connection, std::shared_ptr<MultiplexedStream> stream)
      : LoopOperation(std::move(loop), {}), connection_(connection), stream_(std::move(stream)) {}

  void begin() { step(); }

  std::size_t got = 0;
  bool done = false;

 private:
  void step() noexcept override {
    while (!done) {
      const auto come = await(connection_, stream_, Awaited::body, std::nullopt);
      if (come && !*come) return;
      std::string piece;
      const auto taken = connection_.multiplexer()->take_body(*stream_, piece);
      if (taken.credits) flush(connection_);
      got += piece.size();
      done = !come || taken.ended || taken.failed;
    }
  }
  void orphaned() noexcept override { done = true; }

  connection::Connection& connection_;
  const std::shared_ptr<MultiplexedStream> stream_;
};

/// Whose home has a connection that two loops use.
class LentConnection : public ::testing::TestWithParam<bool> {};

INSTANTIATE_TEST_SUITE_P(Home, LentConnection, ::testing::Bool(),
                         [](const auto& of_loop) { return of_loop.param ? "of_the_first_loop" : "of_threads"; });

TEST_P(LentConnection, makes_each_loop_readable_when_news_of_its_stream_arrive) {
  auto ends = connection::test::socket_pair();
  Peer peer(std::move(ends.second));
  Unwatched unwatched;
  connection::Connection connection(std::make_unique<HookedChannel>(std::move(ends.first)), unwatched, {}, 0,
                                    {.http1 = false, .http2 = true});
  ASSERT_TRUE(connection.settle_protocol());
  std::vector<std::shared_ptr<EventLoop>> loops{EventLoop::create().value(), EventLoop::create().value()};
  const void* const home = GetParam() ? loops[0].get() : nullptr;
  connection.multiplexer()->set_home(home);
  std::deque<Taking> operations;
  const std::vector<Header> host{{"Host", "one.example"}};
  for (const auto& loop : {loops[1], loops[0]}) {
    const auto stream = std::make_shared<MultiplexedStream>();
    ASSERT_TRUE(connection.multiplexer()->open(*stream, {"GET", "http", "/", host}, {}, true));
    connection.multiplexer()->flush();
    operations.emplace_back(loop, connection, stream).begin();
    // A loop to which it was lent leaves its home's part of it alone: that may be at it in another thread.
    const connection::LoopRegistration* const registration = connection.loop_registration();
    EXPECT_EQ(registration != nullptr, loop.get() == home);
    EXPECT_TRUE(registration == nullptr || registration->is_of(home));
  }
  peer.move();
  for (const auto& loop : loops)
    loop->turn();
  peer.server.answer(1, 200, "for the first");
  peer.send();
  pollfd first{loops[1]->descriptor(), POLLIN, 0};
  ASSERT_EQ(::poll(&first, 1, 0), 1);
  loops[1]->turn();
  EXPECT_TRUE(operations[0].done);
  peer.server.answer(3, 200, "for the second");
  peer.send();
  pollfd second{loops[0]->descriptor(), POLLIN, 0};
  ASSERT_EQ(::poll(&second, 1, 0), 1);
  loops[0]->turn();
  EXPECT_TRUE(operations[1].done);
}

TEST(MultiplexedLoop, is_readable_as_long_as_a_connection_has_more_than_one_turn_reads) {
  auto ends = connection::test::socket_pair();
  auto made = std::make_unique<HookedChannel>(std::move(ends.first));
  HookedChannel& channel = *made;
  Peer peer(std::move(ends.second));
  Unwatched unwatched;
  connection::Connection connection(std::move(made), unwatched, {}, 0, {.http1 = false, .http2 = true});
  ASSERT_TRUE(connection.settle_protocol());
  const auto loop = EventLoop::create().value();

  const auto stream = std::make_shared<MultiplexedStream>();
  const std::vector<Header> host{{"Host", "one.example"}};
  ASSERT_TRUE(connection.multiplexer()->open(*stream, {"GET", "http", "/", host}, {}, true));
  connection.multiplexer()->flush();
  peer.move();
  Taking taking(loop, connection, stream);
  taking.begin();
  while (connection.multiplexer()->pump()) {  // SETTINGS
  }
  ASSERT_FALSE(taking.done);
  // Four turns' worth, as a fast server has it in the socket's buffer.
  constexpr std::size_t frames = 63;
  const std::string piece(16UL * 1024, 'x');
  channel.scripted = h2::test::frame(h2::test::headers, h2::test::end_headers, 1, "\x88");  // :status 200
  for (std::size_t number = 1; number <= frames; ++number) {
    const unsigned char flags = number == frames ? h2::test::end_stream : 0;
    channel.scripted += h2::test::frame(h2::test::data, flags, 1, piece);
  }
  peer.write(h2::test::frame(h2::test::ping, h2::test::ack, 0, "12345678"));  // the socket is readable, once
  for (int turns = 0; !taking.done; ++turns) {
    ASSERT_LT(turns, 20);
    pollfd waiting{loop->descriptor(), POLLIN, 0};
    ASSERT_EQ(::poll(&waiting, 1, 0), 1) << "after " << turns << " turns and " << taking.got << " bytes";
    loop->turn();
  }
  EXPECT_EQ(taking.got, frames * piece.size());
}

}  // namespace
}  // namespace fastpool::driver
