// Hooks::on_event: the events of requests and connections.

#include <sys/socket.h>

#include <fastpool/loop.h>

#include "client/client_fixture.h"
#include "support/child_process.h"
#include "support/raw_listener.h"

namespace fastpool::client::test {
namespace {

/// The events of a client as lines, such as "request_end 1 GET / -> 200 on 1". Without origin and times, which are checked as
/// they come.
class Events {
 public:
  [[nodiscard]] Hooks hooks() {
    return {.on_event = [this](const Event& event) { note(event); }};
  }
  [[nodiscard]] std::vector<std::string> all() const {
    const std::lock_guard lock(mutex_);
    return lines_;
  }
  [[nodiscard]] int count(const std::string& line) const {
    const std::lock_guard lock(mutex_);
    return static_cast<int>(std::ranges::count(lines_, line));
  }
  [[nodiscard]] std::string origin() const {
    const std::lock_guard lock(mutex_);
    return origin_;
  }

 private:
  void note(const Event& event) {
    std::string line(to_string(event.kind));
    if (event.request != 0)
      line += " " + std::to_string(event.request) + " " + std::string(event.method) + " " + std::string(event.target);
    if (event.status != 0) line += " -> " + std::to_string(event.status);
    if (event.connection != 0) line += " on " + std::to_string(event.connection);
    if (event.kind == Event::Kind::close) line += ": " + std::string(to_string(event.reason));
    if (event.error != nullptr) line += ": " + std::string(to_string(event.error->code));
    const std::lock_guard lock(mutex_);
    lines_.push_back(std::move(line));
    EXPECT_GE(event.took, Duration::zero());
    EXPECT_TRUE(origin_.empty() || origin_ == event.origin);
    origin_ = event.origin;
  }

  mutable std::mutex mutex_;
  std::vector<std::string> lines_;
  std::string origin_;
};

using Lines = std::vector<std::string>;

TEST(Events, a_request_and_its_connection_are_reported_from_begin_to_end) {
  const HttpServer server;
  Events events;
  {
    Client client({}, {}, events.hooks());
    ASSERT_TRUE(client.send(request("GET", server.url("/a?b=c")), patient()));
    ASSERT_TRUE(client.send(request("POST", server.url("/d"), "x"), patient()));
  }
  EXPECT_EQ(events.all(),
            (Lines{"request_begin 1 GET /a?b=c", "dial_begin", "dial_end on 1", "request_end 1 GET /a?b=c -> 200 on 1",
                   "request_begin 2 POST /d", "request_end 2 POST /d -> 200 on 1", "close on 1: pool_closed"}));
  EXPECT_EQ(events.origin() + "/", server.url());
}

TEST(Events, a_dial_and_its_request_report_their_errors) {
  const support::RefusingPort refusing;
  Events events;
  Client client({}, {}, events.hooks());
  EXPECT_FALSE(client.send(request("GET", refusing.url()), patient()));
  EXPECT_EQ(events.all(), (Lines{"request_begin 1 GET /", "dial_begin", "dial_end: connect_failed",
                                 "request_end 1 GET /: connect_failed"}));
}

TEST(Events, a_request_that_is_refused_for_its_arguments_has_none) {
  Events events;
  Client client({}, {}, events.hooks());
  EXPECT_FALSE(client.send(request("GET", "no url"), patient()));
  EXPECT_FALSE(client.send(request("BAD METHOD", "http://127.0.0.1/"), patient()));
  EXPECT_EQ(events.all(), Lines{});
}

TEST(Events, a_retry_is_reported_with_its_cause) {
  const HttpServer server([](ServerConnection& connection, int number) {
    (void)read_request(connection);
    connection.write(ok("hello"));
    if (number == 0) {
      (void)read_request(connection);  // and closes: a GET may be sent again
      return;
    }
    serve(connection);
  });
  Events events;
  Client client({}, {}, events.hooks());
  ASSERT_TRUE(client.send(request("GET", server.url()), patient()));
  ASSERT_TRUE(client.send(request("GET", server.url()), patient()));
  EXPECT_EQ(events.count("retry 2 GET /: read_failed"), 1);
  EXPECT_EQ(events.count("close on 1: not_reusable"), 1);
  EXPECT_EQ(events.count("request_end 2 GET / -> 200 on 2"), 1);
  EXPECT_EQ(client.stats().retries, 1U);
}

TEST(Events, a_stream_ends_with_its_last_byte_or_as_cancelled) {
  const HttpServer server([](ServerConnection& connection, int) {
    (void)read_request(connection);
    connection.write("HTTP/1.1 204 No Content\r\n\r\n");
    (void)read_request(connection);
    connection.write(ok("hello"));
    (void)read_request(connection);
    connection.write("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\nhello");
    connection.read_to_end();
  });
  Events events;
  Client client({}, {}, events.hooks());
  ASSERT_TRUE(client.open(request("GET", server.url("/1")), patient()));
  EXPECT_EQ(events.all().back(), "request_end 1 GET /1 -> 204 on 1") << "nothing was left to read";
  {
    auto stream = client.open(request("GET", server.url("/2")), patient());
    ASSERT_TRUE(stream);
    EXPECT_EQ(*stream->read(), "hello");
    EXPECT_TRUE(stream->read()->empty());
    EXPECT_EQ(events.all().back(), "request_end 2 GET /2 -> 200 on 1");
  }
  ASSERT_TRUE(client.open(request("GET", server.url("/3")), patient()));
  EXPECT_EQ(events.count("request_end 3 GET /3 -> 200 on 1: cancelled"), 1);
  EXPECT_EQ(events.all().back(), "close on 1: not_reusable");
}

TEST(Events, requests_of_a_lease_and_of_a_loop_are_reported_too) {
  const HttpServer server;
  Events events;
  Client client({}, {}, events.hooks());
  {
    auto lease = client.lease(server.url(), patient());
    ASSERT_TRUE(lease);
    ASSERT_TRUE(lease->send(request("GET", server.url("/lease")), patient()));
  }
  auto loop = Loop::make();
  ASSERT_TRUE(loop);
  send(*loop, client, request("GET", server.url("/loop")), patient(), [](const Result<Response>&) {});
  while (loop->busy())
    ASSERT_TRUE(loop->wait(support::wait_limit));
  EXPECT_EQ(events.all(),
            (Lines{"dial_begin", "dial_end on 1", "request_begin 1 GET /lease", "request_end 1 GET /lease -> 200 on 1",
                   "request_begin 2 GET /loop", "request_end 2 GET /loop -> 200 on 1"}));
}

TEST(Events, a_close_says_why) {
  std::promise<void> served;
  const HttpServer server([&](ServerConnection& connection, int number) {
    (void)read_request(connection);
    connection.write(ok("hello", number == 0 ? "Connection: close\r\n" : ""));
    if (number == 1) return;  // closes an idle connection
    connection.read_to_end();
  });
  Events events;
  Client client({.idle_timeout = milliseconds(1)}, {}, events.hooks());
  const auto get = [&] { return client.send(request("GET", server.url()), patient()).ok(); };
  ASSERT_TRUE(get());
  EXPECT_EQ(events.count("close on 1: not_reusable"), 1);
  ASSERT_TRUE(get());
  EXPECT_TRUE(support::eventually("the second connection was closed", [&] {
    return events.count("close on 2: peer_closed") + events.count("close on 2: idle_timeout") == 1;
  }));
  ASSERT_TRUE(get());
  EXPECT_TRUE(support::eventually("the third connection was closed",
                                  [&] { return events.count("close on 3: idle_timeout") == 1; }));
}

TEST(Events, a_connection_over_the_limit_gives_way) {
  const HttpServer one;
  const HttpServer two;
  int closed = 0;
  Client client({.max_connections = 1}, {}, {.on_event = [&](const Event& event) {
                  if (event.kind == Event::Kind::close && event.reason == CloseReason::limit) ++closed;
                }});
  ASSERT_TRUE(client.send(request("GET", one.url()), patient()));
  ASSERT_TRUE(client.send(request("GET", two.url()), patient()));
  EXPECT_EQ(closed, 1);
}

TEST(Events, a_lease_that_is_held_too_long_is_reported_once) {
  const HttpServer server;
  Events events;
  Client client({.leak_after = milliseconds(1)}, {}, events.hooks());
  const auto lease = client.lease(server.url(), patient());
  ASSERT_TRUE(lease);
  EXPECT_TRUE(support::eventually("the leak was reported", [&] { return events.count("leak") == 1; }));
  EXPECT_EQ(client.stats().leaks, 1U);
}

TEST(Events, the_child_of_a_fork_reports_nothing_of_its_parents_requests) {
  const HttpServer server([](ServerConnection& connection, int) {
    (void)read_request(connection);
    connection.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
    connection.read_to_end();
  });
  Events events;
  Client client({}, {}, events.hooks());
  std::optional<Stream> stream = *client.open(request("GET", server.url()), patient());
  const std::size_t before = events.all().size();
  EXPECT_EQ(support::in_child([&] {
              stream.reset();
              return events.all().size() == before ? 0 : 1;
            }),
            0);
}

TEST(Events, every_kind_and_reason_has_a_name) {
  for (std::size_t reason = 0; reason < close_reason_count; ++reason)
    EXPECT_NE(to_string(static_cast<CloseReason>(reason)), "unknown");
  EXPECT_EQ(to_string(static_cast<CloseReason>(close_reason_count)), "unknown");
  EXPECT_EQ(to_string(Event::Kind::leak), "leak");
}

}  // namespace
}  // namespace fastpool::client::test
