// Server-sent events from a real server: on the calling thread, and by hand in a loop.

#include <fastpool/loop.h>
#include <fastpool/server_sent_events.h>

#include "client/client_fixture.h"

namespace fastpool::client::test {
namespace {

constexpr std::string_view event_stream =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

std::string chunk(std::string_view bytes) {
  std::array<char, 20> size{};
  std::snprintf(size.data(), size.size(), "%zx", bytes.size());
  return std::string(size.data()) + "\r\n" + std::string(bytes) + "\r\n";
}

TEST(ServerSentEvents, come_while_the_server_still_writes) {
  std::promise<void> first_taken;
  const HttpServer server([&](ServerConnection& connection, int) {
    (void)read_request(connection);
    connection.write(std::string(event_stream) + chunk(": hello\n\nid: 1\nretry: 250\nda") + chunk("ta: one\r\n\r"));
    support::wait_for("the client has taken the first event", first_taken);
    connection.write(chunk("\nevent: tick\ndata: t") + chunk("wo\ndata: lines\n\ndata: three\n\ndata: cut o") +
                     chunk("ff\n") + "0\r\n\r\n");
    connection.read_to_end();
  });
  Client client;
  auto stream = client.open(request("GET", server.url()), patient());
  ASSERT_TRUE(stream.ok()) << stream.error().detail;
  ServerSentEvents events(*stream);

  auto event = events.next();
  ASSERT_TRUE(event.ok() && *event);
  EXPECT_EQ((*event)->event, "message");
  EXPECT_EQ((*event)->data, "one");
  EXPECT_EQ((*event)->id, "1");
  EXPECT_EQ((*event)->retry, milliseconds(250));
  first_taken.set_value();

  event = events.next();
  ASSERT_TRUE(event.ok() && *event);
  EXPECT_EQ((*event)->event, "tick");
  EXPECT_EQ((*event)->data, "two\nlines");
  EXPECT_EQ((*event)->retry, std::nullopt);
  event = events.next();
  ASSERT_TRUE(event.ok() && *event);
  EXPECT_EQ((*event)->event, "message");
  EXPECT_EQ((*event)->data, "three");

  for (int times = 0; times < 2; ++times) {
    event = events.next();
    ASSERT_TRUE(event.ok()) << event.error().detail;
    EXPECT_FALSE(*event) << "the end drops the event that it cuts off, and stays the end";
  }
  EXPECT_EQ(events.last_event_id(), "1");
  EXPECT_EQ(events.retry(), milliseconds(250));
  EXPECT_EQ(client.stats().all.idle_connections, 1U);
}

TEST(ServerSentEvents, before_a_broken_connection_are_given_before_its_error) {
  const HttpServer server([](ServerConnection& connection, int) {
    (void)read_request(connection);
    connection.write(std::string(event_stream) + chunk("data: one\n\ndata: two\n\ndata: thr"));
  });
  Client client;
  auto stream = client.open(request("GET", server.url()), patient());
  ASSERT_TRUE(stream.ok()) << stream.error().detail;
  ServerSentEvents events(*stream);
  for (const std::string_view data : {"one", "two"}) {
    const auto event = events.next();
    ASSERT_TRUE(event.ok() && *event);
    EXPECT_EQ((*event)->data, data);
  }
  const auto broken = events.next();
  ASSERT_FALSE(broken.ok()) << "an end without the last chunk is no end of the stream";
  EXPECT_EQ(broken.error().code, ErrorCode::read_failed);
}

TEST(ServerSentEvents, that_never_end_are_refused_at_the_limit) {
  const HttpServer server([](ServerConnection& connection, int) {
    (void)read_request(connection);
    connection.write(event_stream);
    while (connection.write(chunk("data: more and more\n"))) {
    }
  });
  Client client;
  auto stream = client.open(request("GET", server.url()), patient());
  ASSERT_TRUE(stream.ok()) << stream.error().detail;
  ServerSentEvents events(*stream, 10'000);
  for (int times = 0; times < 2; ++times) {
    const auto refused = events.next();
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code, ErrorCode::body_too_large);
  }
}

TEST(ServerSentEvents, are_scanned_by_hand_in_a_loop) {
  const HttpServer server([](ServerConnection& connection, int) {
    (void)read_request(connection);
    connection.write(event_stream);
    for (int number = 0; number < 100; ++number)
      connection.write(chunk("data: " + std::to_string(number)) + chunk("\n\n"));
    connection.write("0\r\n\r\n");
    connection.read_to_end();
  });
  Client client;
  auto loop = Loop::make();
  ASSERT_TRUE(loop.ok());
  std::optional<Stream> stream;
  EventScanner scanner;
  std::vector<std::string> seen;
  bool ended = false;
  std::function<void(Result<std::string_view>)> take = [&](const Result<std::string_view>& piece) {
    ASSERT_TRUE(piece.ok()) << piece.error().detail;
    ended = piece->empty();
    if (ended) return;
    scanner.feed(*piece);
    auto event = scanner.next();
    for (; event && *event; event = scanner.next())
      seen.emplace_back((*event)->data);
    ASSERT_TRUE(event.ok()) << event.error().detail;
    read(*loop, *stream, take);
  };
  open(*loop, client, request("GET", server.url()), patient(), [&](Result<Stream> opened) {
    ASSERT_TRUE(opened.ok()) << opened.error().detail;
    stream = std::move(opened).value();
    read(*loop, *stream, take);
  });
  while (loop->busy())
    ASSERT_TRUE(loop->wait(support::wait_limit)) << support::waited_in_vain("the stream goes on");
  EXPECT_TRUE(ended);
  ASSERT_EQ(seen.size(), 100U);
  for (std::size_t number = 0; number < seen.size(); ++number)
    EXPECT_EQ(seen[number], std::to_string(number));
}

}  // namespace
}  // namespace fastpool::client::test
