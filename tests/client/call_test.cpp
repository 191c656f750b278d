// What a call allows: its whole time, the size of the body, another profile, a repeated send.

#include "client/client_fixture.h"

namespace fastpool::client::test {
namespace {

// One byte each 50 ms: no single wait is long.
void drip(ServerConnection& connection, int) {
  (void)read_request(connection);
  connection.write("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
  while (connection.write("x"))
    std::this_thread::sleep_for(milliseconds(50));
}

/// Sends with a total timeout that ends in that phase: a longer one, where the request has not come so far before.
void expect_total_timeout(const Request& asked, Phase phase, milliseconds shortest) {
  EXPECT_TRUE(support::within_some_limit("the request comes to that phase", shortest, [&](milliseconds limit) {
    Client client;
    Call call = patient();
    call.total = limit;
    const Error late = client.send(asked, call).error_or({});
    EXPECT_EQ(late.code, ErrorCode::total_timeout);
    EXPECT_EQ(late.error_code(), std::errc::timed_out);
    EXPECT_EQ(client.stats().error_count(ErrorCode::total_timeout), 1U);
    if (late.phase != phase) return false;
    EXPECT_EQ(client.stats().all.total_connections, 0U);
    return true;
  }));
}

TEST(TotalTimeout, ends_a_body_that_comes_byte_by_byte) {
  const HttpServer server(drip);
  expect_total_timeout(request("GET", server.url()), Phase::read_body, milliseconds(300));
}

TEST(TotalTimeout, bounds_all_reads_of_a_stream_together) {
  const HttpServer server(drip);
  Client client;
  EXPECT_TRUE(support::within_some_limit("the body begins", milliseconds(300), [&](milliseconds limit) {
    Call call = patient();
    call.total = limit;
    auto stream = client.open(request("GET", server.url()), call);
    if (!stream.ok()) {
      EXPECT_EQ(stream.error().code, ErrorCode::total_timeout);
      return false;
    }
    auto piece = stream->read();
    while (piece.ok())
      piece = stream->read();
    EXPECT_EQ(piece.error().code, ErrorCode::total_timeout);
    return true;
  }));
}

TEST(TotalTimeout, ends_the_wait_for_a_head) {
  const HttpServer server([](ServerConnection& connection, int) { connection.read_to_end(); });
  expect_total_timeout(request("GET", server.url()), Phase::read_head, milliseconds(50));
}

TEST(TotalTimeout, ends_an_upload_that_the_server_does_not_read) {
  std::promise<void> over;
  const HttpServer server([ended = over.get_future().share()](ServerConnection& connection, int) {
    (void)connection.read_until("\r\n\r\n");
    support::wait_for("the upload has ended", ended);
  });
  expect_total_timeout(request("POST", server.url(), std::string(64U << 20, 'x')), Phase::write, milliseconds(100));
  over.set_value();
}

TEST(TotalTimeout, ends_the_wait_for_a_connection) {
  const HttpServer server(drip);
  PoolSettings settings;
  settings.max_connections = 1;
  Client client(settings);
  auto holder = client.open(request("GET", server.url()), patient());
  ASSERT_TRUE(holder.ok()) << holder.error().detail;
  Call call = patient();
  call.total = milliseconds(50);
  const auto late = client.send(request("GET", server.url()), call);
  ASSERT_FALSE(late.ok());
  EXPECT_EQ(late.error().code, ErrorCode::total_timeout);
  EXPECT_EQ(late.error().phase, Phase::acquire);
  const auto lease = client.lease(server.url(), call);
  ASSERT_FALSE(lease.ok());
  EXPECT_EQ(lease.error().code, ErrorCode::total_timeout);
}

TEST(TotalTimeout, leaves_a_request_that_is_in_time_alone) {
  const HttpServer server;
  Client client;
  Call call = patient();
  call.total = seconds(20);
  for (int count = 0; count < 3; ++count)
    EXPECT_EQ(client.send(request("POST", server.url(), "echo"), call)->body, "echo");
  EXPECT_EQ(server.connections(), 1);
}

TEST(MaxBody, refuses_a_body_by_its_length_before_it_is_read) {
  const HttpServer server([](ServerConnection& connection, int) {
    (void)read_request(connection);
    connection.write("HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n");
    connection.read_to_end();
  });
  Client client;
  Call call = patient();
  call.max_body = 1000;
  const auto refused = client.send(request("GET", server.url()), call);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::body_too_large);
  EXPECT_NE(refused.error().detail.find("1000"), std::string::npos) << refused.error().detail;
  EXPECT_EQ(client.stats().all.total_connections, 0U);
}

TEST(MaxBody, ends_an_endless_body) {
  const HttpServer server([](ServerConnection& connection, int) {
    (void)read_request(connection);
    connection.write("HTTP/1.1 200 OK\r\n\r\n");
    while (connection.write(std::string(65536, 'x'))) {
    }
  });
  Client client;
  Call call = patient();
  call.max_body = 10U << 20;
  const auto refused = client.send(request("GET", server.url()), call);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::body_too_large);
  auto stream = client.open(request("GET", server.url()), call);
  ASSERT_TRUE(stream.ok()) << stream.error().detail;
  std::uint64_t read = 0;
  for (;;) {
    const auto piece = stream->read();
    if (piece.ok()) {
      read += piece->size();
      continue;
    }
    EXPECT_EQ(piece.error().code, ErrorCode::body_too_large);
    break;
  }
  EXPECT_LE(read, call.max_body);
}

TEST(MaxBody, allows_a_body_of_just_that_size_and_the_head_of_a_larger_one) {
  const HttpServer server([](ServerConnection& connection, int) {
    while (const Seen seen = read_request(connection)) {
      const std::string response = ok("hello");
      connection.write(seen.head.starts_with("HEAD") ? response.substr(0, response.size() - 5) : response);
    }
  });
  Client client;
  Call call = patient();
  call.max_body = 5;
  EXPECT_EQ(client.send(request("GET", server.url()), call)->body, "hello");
  call.max_body = 4;
  EXPECT_EQ(client.send(request("HEAD", server.url()), call)->status, 200);
  EXPECT_EQ(client.send(request("GET", server.url()), call).error().code, ErrorCode::body_too_large);
}

TEST(ReusedResponse, keeps_the_capacity_of_its_strings) {
  const HttpServer server([](ServerConnection& connection, int number) {
    int count = 0;
    while (read_request(connection))
      connection.write(ok(std::string(++count == 1 ? 100'000 : 10, 'x')));
    static_cast<void>(number);
  });
  Client client;
  Response response;
  ASSERT_TRUE(client.send(request("GET", server.url()), response, patient()).ok());
  EXPECT_EQ(response.body.size(), 100'000U);
  const char* const before = response.body.data();
  ASSERT_TRUE(client.send(request("GET", server.url()), response, patient()).ok());
  EXPECT_EQ(response.body, std::string(10, 'x'));
  EXPECT_EQ(response.body.data(), before);
  EXPECT_GE(response.body.capacity(), 100'000U);
  EXPECT_EQ(response.headers.get("content-length"), "10");
  EXPECT_EQ(response.status, 200);
}

TEST(CallProfile, replaces_the_clients_and_equal_ones_share_connections) {
  const HttpServer server;
  Client client;
  ASSERT_TRUE(client.send(request("GET", server.url()), patient()).ok());
  Profile bound;
  bound.local_address = "127.0.0.1";
  const Profile same = bound;
  Call call = patient();
  call.profile = &bound;
  ASSERT_TRUE(client.send(request("GET", server.url()), call).ok());
  EXPECT_EQ(server.connections(), 2) << "another profile is another identity";
  call.profile = &same;
  ASSERT_TRUE(client.send(request("GET", server.url()), call).ok());
  EXPECT_EQ(server.connections(), 2);
}

TEST(AnIdempotentCall, is_sent_again_as_a_get_is) {
  std::atomic<int> posts{0};
  const HttpServer server([&](ServerConnection& connection, int number) {
    while (const Seen seen = read_request(connection)) {
      const bool post = seen.head.starts_with("POST");
      if (post) ++posts;
      if (post && number == 0) return;
      connection.write(ok("answer"));
    }
  });
  Client client;
  ASSERT_TRUE(client.send(request("GET", server.url()), patient()).ok());
  Call call = patient();
  call.idempotent = true;
  const auto response = client.send(request("POST", server.url(), "add"), call);
  ASSERT_TRUE(response.ok()) << response.error().detail;
  EXPECT_EQ(posts, 2);
  EXPECT_EQ(client.stats().retries, 1U);
}

}  // namespace
}  // namespace fastpool::client::test
