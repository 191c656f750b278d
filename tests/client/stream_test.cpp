// A request as a stream: its pieces, its end, its cancellation, and what the server says beside the response.

#include <array>
#include <csignal>

#include <sys/socket.h>

#include "client/client_fixture.h"

namespace fastpool::client::test {
namespace {

std::string read_all(Stream& stream) {
  std::string body;
  for (;;) {
    const auto piece = stream.read();
    EXPECT_TRUE(piece.ok()) << piece.error().detail;
    if (!piece.ok() || piece->empty()) return body;
    body += *piece;
  }
}

std::string chunk(std::string_view bytes) {
  std::array<char, 20> size{};
  std::snprintf(size.data(), size.size(), "%zx", bytes.size());
  return std::string(size.data()) + "\r\n" + std::string(bytes) + "\r\n";
}

constexpr std::string_view chunked_head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

TEST(Stream, gives_the_head_before_the_body_has_come) {
  std::promise<void> head_read;
  const HttpServer server([&](ServerConnection& connection, int) {
    (void)read_request(connection);
    connection.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\nX-A: b\r\n\r\n");
    support::wait_for("the client has read the head", head_read);
    connection.write("0123456789");
    connection.read_to_end();
  });
  Client client;
  auto stream = client.open(request("GET", server.url()), patient());
  ASSERT_TRUE(stream.ok()) << stream.error().detail;
  EXPECT_EQ(stream->head().status, 200);
  EXPECT_EQ(stream->head().reason, "OK");
  EXPECT_EQ(stream->head().headers.get("x-a"), "b");
  head_read.set_value();
  EXPECT_EQ(read_all(*stream), "0123456789");
  EXPECT_EQ(client.stats().all.idle_connections, 1U) << "the connection went back at the end of the body";
  EXPECT_TRUE(stream->read()->empty()) << "the end stays the end";
}

TEST(Stream, gives_each_piece_as_it_arrives) {
  std::array<std::promise<void>, 3> taken;
  const HttpServer server([&](ServerConnection& connection, int) {
    (void)read_request(connection);
    connection.write(std::string(chunked_head));
    for (std::size_t number = 0; number < taken.size(); ++number) {
      connection.write(chunk("event " + std::to_string(number)));
      support::wait_for("the client has read the piece", taken[number]);
    }
    connection.write("0\r\n\r\n");
    connection.read_to_end();
  });
  Client client;
  auto stream = client.open(request("GET", server.url()), patient());
  ASSERT_TRUE(stream.ok()) << stream.error().detail;
  for (std::size_t number = 0; number < taken.size(); ++number) {
    EXPECT_EQ(*stream->read(), "event " + std::to_string(number));
    taken[number].set_value();
  }
  EXPECT_EQ(*stream->read(), "");
}

TEST(Stream, a_piece_stays_as_it_is_while_another_stream_of_the_thread_reads) {
  for (const std::size_t size : {std::size_t{100}, std::size_t{30'000}}) {
    const HttpServer server([size](ServerConnection& connection, int number) {
      (void)read_request(connection);
      const std::string body(size, static_cast<char>('a' + number));
      connection.write("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(2 * size) + "\r\n\r\n");
      std::this_thread::sleep_for(milliseconds(30));  // so that the body does not arrive with the head
      connection.write(body);
      std::this_thread::sleep_for(milliseconds(30));
      connection.write(body);
      connection.read_to_end();
    });
    Client client;
    auto first = client.open(request("GET", server.url()), patient());
    auto second = client.open(request("GET", server.url()), patient());
    ASSERT_TRUE(first.ok() && second.ok());
    const auto of_first = first->read();
    ASSERT_TRUE(of_first.ok());
    const std::string before(*of_first);
    const std::string of_second = read_all(*second);
    EXPECT_EQ(*of_first, before);
    EXPECT_EQ(before + read_all(*first), std::string(2 * size, before.front()));
    EXPECT_EQ(of_second, std::string(2 * size, before.front() == 'a' ? 'b' : 'a'));
  }
}

TEST(Stream, pieces_of_several_chunks_outlive_the_reads_of_other_streams) {
  const HttpServer server([](ServerConnection& connection, int number) {
    (void)read_request(connection);
    connection.write(std::string(chunked_head));
    std::this_thread::sleep_for(milliseconds(30));
    std::string all;
    for (int count = 0; count < 4; ++count)
      all += chunk(std::string(3'000, static_cast<char>('a' + number)));
    connection.write(all + "0\r\n\r\n");
    connection.read_to_end();
  });
  Client client;
  auto first = client.open(request("GET", server.url()), patient());
  auto second = client.open(request("GET", server.url()), patient());
  ASSERT_TRUE(first.ok() && second.ok());
  std::string of_first(*first->read());
  std::string of_second(*second->read());
  for (;;) {  // in turns
    const auto more_first = first->read();
    of_first += *more_first;
    const auto more_second = second->read();
    of_second += *more_second;
    if (more_first->empty() && more_second->empty()) break;
  }
  EXPECT_EQ(of_first, std::string(12'000, of_first.front()));
  EXPECT_EQ(of_second, std::string(12'000, of_second.front()));
  EXPECT_NE(of_first.front(), of_second.front());
}

TEST(Stream, that_is_destroyed_in_the_middle_of_its_body_closes_its_connection) {
  const HttpServer server([](ServerConnection& connection, int number) {
    if (number > 0) return serve(connection);
    (void)read_request(connection);
    connection.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    connection.read_to_end();
  });
  Client client;
  {
    auto stream = client.open(request("GET", server.url()), patient());
    ASSERT_TRUE(stream.ok()) << stream.error().detail;
    EXPECT_EQ(*stream->read(), "half");
  }
  EXPECT_EQ(client.stats().all.total_connections, 0U);
  EXPECT_EQ(client.send(request("GET", server.url()), patient())->body, "hello");
}

TEST(Stream, that_is_destroyed_after_its_body_has_arrived_keeps_its_connection) {
  const HttpServer server;
  Client client;
  {
    ASSERT_TRUE(client.open(request("GET", server.url()), patient()).ok());
  }
  EXPECT_EQ(client.stats().all.idle_connections, 1U);
  EXPECT_EQ(client.send(request("GET", server.url()), patient())->body, "hello");
  EXPECT_EQ(server.connections(), 1);
}

TEST(Stream, outlives_its_client_which_ends_it) {
  const HttpServer server([](ServerConnection& connection, int) {
    (void)read_request(connection);
    connection.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    connection.read_to_end();
  });
  auto client = std::make_unique<Client>();
  auto stream = client->open(request("GET", server.url()), patient());
  ASSERT_TRUE(stream.ok()) << stream.error().detail;
  EXPECT_EQ(*stream->read(), "half");
  client.reset();
  const auto ended = stream->read();
  ASSERT_FALSE(ended.ok());
  EXPECT_EQ(ended.error().code, ErrorCode::pool_closed);
}

TEST(Stream, a_moved_client_serves_on) {
  const HttpServer server;
  Client first;
  ASSERT_TRUE(first.send(request("GET", server.url()), patient()).ok());
  Client second(std::move(first));
  EXPECT_EQ(second.send(request("GET", server.url()), patient())->body, "hello");
  EXPECT_EQ(server.connections(), 1);
  Client third;
  third = std::move(second);
  EXPECT_EQ(third.send(request("GET", server.url()), patient())->body, "hello");
  EXPECT_EQ(server.connections(), 1);
}

// ---- cancellation ----------------------------------------------------------------------------------------------------

TEST(Cancelling, ends_a_read_that_waits) {
  std::promise<void> begun;
  const HttpServer server([&](ServerConnection& connection, int) {
    (void)read_request(connection);
    connection.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n");
    connection.read_to_end();
  });
  Client client;
  auto stream = client.open(request("GET", server.url()), patient());
  ASSERT_TRUE(stream.ok()) << stream.error().detail;
  auto reading = std::async(std::launch::async, [&] { return stream->read(); });
  stream->cancel();
  const auto ended = support::value_of("the cancelled read ends", reading);
  ASSERT_FALSE(ended.ok());
  EXPECT_EQ(ended.error().code, ErrorCode::cancelled);
  EXPECT_EQ(ended.error().error_code(), std::errc::operation_canceled);
  EXPECT_EQ(stream->read().error().code, ErrorCode::local_protocol) << "nothing is left to read";
  EXPECT_EQ(client.stats().all.total_connections, 0U);
}

// The shutdown looks like the server's end, which would complete this body.
TEST(Cancelling, of_a_body_that_ends_with_its_connection_is_no_end_of_the_body) {
  const HttpServer server([](ServerConnection& connection, int) {
    (void)read_request(connection);
    connection.write("HTTP/1.1 200 OK\r\n\r\nsome");
    connection.read_to_end();
  });
  Client client;
  auto stream = client.open(request("GET", server.url()), patient());
  ASSERT_TRUE(stream.ok()) << stream.error().detail;
  EXPECT_EQ(*stream->read(), "some");
  auto reading = std::async(std::launch::async, [&] { return stream->read(); });
  std::this_thread::sleep_for(milliseconds(50));  // so that the read waits by now
  stream->cancel();
  const auto ended = support::value_of("the cancelled read ends", reading);
  ASSERT_FALSE(ended.ok());
  EXPECT_EQ(ended.error().code, ErrorCode::cancelled);
}

TEST(Cancelling, after_the_end_of_the_body_leaves_the_returned_connection_alone) {
  const HttpServer server;
  Client client;
  auto stream = client.open(request("GET", server.url()), patient());
  ASSERT_TRUE(stream.ok()) << stream.error().detail;
  EXPECT_EQ(read_all(*stream), "hello");
  stream->cancel();
  EXPECT_EQ(client.send(request("GET", server.url()), patient())->body, "hello");
  EXPECT_EQ(server.connections(), 1);
}

TEST(Cancelling, by_a_stop_token_ends_a_request_at_once_where_it_reads) {
  std::promise<void> asked;
  const HttpServer server([&](ServerConnection& connection, int) {
    (void)read_request(connection);
    asked.set_value();
    connection.read_to_end();
  });
  Client client;
  std::stop_source source;
  Call call = patient();
  call.stop = source.get_token();
  auto waiting = std::async(std::launch::async, [&] { return client.send(request("GET", server.url()), call); });
  support::wait_for("the server has read the request", asked);
  source.request_stop();
  const auto ended = support::value_of("the stopped request ends", waiting);
  ASSERT_FALSE(ended.ok());
  EXPECT_EQ(ended.error().code, ErrorCode::cancelled);
  EXPECT_GT(ended.error().bytes_sent, 0U);
  EXPECT_EQ(server.connections(), 1) << "what is cancelled is not sent again";
}

TEST(Cancelling, by_a_stop_token_ends_the_wait_for_a_connection) {
  std::promise<void> held;
  const HttpServer server([&](ServerConnection& connection, int) {
    (void)read_request(connection);
    connection.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n");
    connection.read_to_end();
  });
  PoolSettings settings;
  settings.max_connections = 1;
  Client client(settings);
  auto holder = client.open(request("GET", server.url()), patient());
  ASSERT_TRUE(holder.ok()) << holder.error().detail;
  std::stop_source source;
  Call call = patient();
  call.stop = source.get_token();
  auto waiting = std::async(std::launch::async, [&] { return client.send(request("GET", server.url()), call); });
  ASSERT_TRUE(support::eventually("the request waits", [&] { return client.stats().all.waiters == 1; }));
  source.request_stop();
  const auto ended = support::value_of("the stopped request ends", waiting);
  ASSERT_FALSE(ended.ok());
  EXPECT_EQ(ended.error().code, ErrorCode::cancelled);
  EXPECT_EQ(client.stats().all.waiters, 0U);
}

TEST(Cancelling, by_a_token_that_was_stopped_before_sends_nothing) {
  const HttpServer server;
  Client client;
  std::stop_source source;
  source.request_stop();
  Call call = patient();
  call.stop = source.get_token();
  const auto ended = client.send(request("GET", server.url()), call);
  ASSERT_FALSE(ended.ok());
  EXPECT_EQ(ended.error().code, ErrorCode::cancelled);
  EXPECT_EQ(ended.error().bytes_sent, 0U);
}

// Each request is cancelled at a random moment, and none of them spoils the connection of another.
TEST(Cancelling, at_any_moment_mixes_up_no_answers) {
  const HttpServer server;
  PoolSettings settings;
  settings.max_connections = 2;
  Client client(settings);
  std::vector<std::thread> threads;
  for (int number = 0; number < 4; ++number) {
    threads.emplace_back([&, number] {
      for (int round = 0; round < 100; ++round) {
        const std::string body = std::to_string(number) + ":" + std::to_string(round);
        std::stop_source source;
        Call call = patient();
        call.stop = source.get_token();
        std::thread stopper([&] {
          if (round % 2 == 0) source.request_stop();
        });
        const auto response = client.send(request("POST", server.url(), body), call);
        stopper.join();
        if (response.ok()) {
          EXPECT_EQ(response->body, body);
        } else {
          EXPECT_EQ(response.error().code, ErrorCode::cancelled) << response.error().detail;
          EXPECT_EQ(round % 2, 0);
        }
      }
    });
  }
  for (std::thread& thread : threads)
    thread.join();
  EXPECT_EQ(client.stats().all.active_connections, 0U) << "no slot is lost";
}

// ---- beside the response ---------------------------------------------------------------------------------------------

TEST(Stream, tells_addresses_and_timings) {
  const HttpServer server;
  Client client;
  auto first = client.open(request("GET", server.url()), patient());
  ASSERT_TRUE(first.ok()) << first.error().detail;
  EXPECT_FALSE(first->info().reused);
  EXPECT_EQ("http://" + first->info().peer_address + "/", server.url());
  EXPECT_TRUE(first->info().local_address.starts_with("127.0.0.1:")) << first->info().local_address;
  EXPECT_GT(first->info().connect, Duration::zero());
  EXPECT_GE(first->info().wait, first->info().connect);
  EXPECT_GE(first->info().first_byte, first->info().wait);
  EXPECT_EQ(first->info().tls, Duration::zero());
  EXPECT_EQ(read_all(*first), "hello");

  auto second = client.open(request("GET", server.url()), patient());
  ASSERT_TRUE(second.ok()) << second.error().detail;
  EXPECT_TRUE(second->info().reused);
  EXPECT_EQ(second->info().connect, Duration::zero()) << "no dial was made for it";
  EXPECT_EQ(second->info().local_address, first->info().local_address);
}

TEST(Stream, gives_trailers_at_the_end_of_the_body) {
  const HttpServer server([](ServerConnection& connection, int) {
    while (read_request(connection))
      connection.write(std::string(chunked_head) + chunk("body") + "0\r\nX-Checksum: 12\r\nX-Other: a\r\n\r\n");
  });
  Client client;
  auto stream = client.open(request("GET", server.url()), patient());
  ASSERT_TRUE(stream.ok()) << stream.error().detail;
  EXPECT_EQ(read_all(*stream), "body");
  EXPECT_EQ(stream->trailers().size(), 2U);
  EXPECT_EQ(stream->trailers().get("x-checksum"), "12");
  EXPECT_FALSE(stream->head().headers.contains("x-checksum")) << "a trailer never passes for a header";
  const auto response = client.send(request("GET", server.url()), patient());
  ASSERT_TRUE(response.ok());
  EXPECT_EQ(response->trailers.get("X-Other"), "a");
  EXPECT_EQ(server.connections(), 1);
}

TEST(Stream, reports_interim_responses_in_their_order) {
  const HttpServer server([](ServerConnection& connection, int) {
    while (read_request(connection)) {
      connection.write("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" +
                       ok("hello"));
    }
  });
  Client client;
  std::vector<std::string> seen;
  Call call = patient();
  call.on_interim = [&](const ResponseHead& head) {
    seen.push_back(std::to_string(head.status) + " " + std::string(head.headers.find("link")));
  };
  auto stream = client.open(request("GET", server.url()), call);
  ASSERT_TRUE(stream.ok()) << stream.error().detail;
  EXPECT_EQ(seen, (std::vector<std::string>{"102 ", "103 </a.css>"}));
  EXPECT_EQ(stream->head().status, 200);
  EXPECT_EQ(read_all(*stream), "hello");
  EXPECT_EQ(client.send(request("GET", server.url()), patient())->body, "hello")
      << "without a function they are skipped";
  EXPECT_EQ(server.connections(), 1);
}

// ---- other protocols -------------------------------------------------------------------------------------------------

TEST(Stream, hands_over_a_connection_that_was_upgraded) {
  const HttpServer server([](ServerConnection& connection, int) {
    (void)read_request(connection);
    connection.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\nwelcome");
    for (;;) {
      const std::string bytes = connection.read_some();
      if (bytes.empty()) break;
      connection.write("<" + bytes + ">");
    }
  });
  Client client;
  Request upgrade = request("GET", server.url());
  upgrade.headers = {{"Upgrade", "echo"}, {"Connection", "upgrade"}};
  auto stream = client.open(upgrade, patient());
  ASSERT_TRUE(stream.ok()) << stream.error().detail;
  ASSERT_TRUE(stream->switched());
  EXPECT_GE(stream->native_handle(), 0);
  EXPECT_EQ(*stream->read(), "welcome") << "bytes that came with the head are the new protocol's";
  for (const std::string_view word : {"one", "two"}) {
    EXPECT_TRUE(*stream->write(word));
    EXPECT_EQ(*stream->read(), "<" + std::string(word) + ">");
  }
  stream->cancel();
  EXPECT_EQ(stream->read().error().code, ErrorCode::cancelled);
  EXPECT_EQ(client.stats().all.total_connections, 0U);
}

TEST(Stream, hands_over_a_tunnel) {
  const HttpServer server([](ServerConnection& connection, int) {
    const Seen seen = read_request(connection);
    connection.write("HTTP/1.1 200 Connection established\r\n\r\n");
    connection.write(seen.head.substr(0, seen.head.find('\r')));
    connection.close_writing();
    connection.read_to_end();
  });
  Client client;
  Request connect = request("CONNECT", server.url());
  connect.target = "example.org:443";
  auto stream = client.open(connect, patient());
  ASSERT_TRUE(stream.ok()) << stream.error().detail;
  ASSERT_TRUE(stream->switched());
  EXPECT_EQ(read_all(*stream), "CONNECT example.org:443 HTTP/1.1");
}

}  // namespace
}  // namespace fastpool::client::test
