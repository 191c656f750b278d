// The bodies of requests: bytes, views, files, functions, pieces that are written, and the server's word before them.

#include <cstdlib>

#include <fcntl.h>
#include <unistd.h>

#include "client/client_fixture.h"
#include "support/temporary_directory.h"

namespace fastpool::client::test {
namespace {

/// A body as a server gets it, chunks joined.
std::string dechunked(std::string_view body) {
  std::string joined;
  while (!body.empty()) {
    const std::size_t size = std::stoul(std::string(body.substr(0, body.find('\r'))), nullptr, 16);
    if (size == 0) break;
    body.remove_prefix(body.find('\n') + 1);
    joined += body.substr(0, size);
    body.remove_prefix(size + 2);
  }
  return joined;
}

/// Echoes what it gets, and says in X-Framing how it came.
void echo(ServerConnection& connection, int) {
  while (const Seen seen = read_request(connection)) {
    const bool chunked = seen.head.find("chunked") != std::string::npos;
    connection.write(
        ok(chunked ? dechunked(seen.body) : seen.body, chunked ? "X-Framing: chunked\r\n" : "X-Framing: length\r\n"));
  }
}

std::string bytes_of(std::size_t size) {
  std::string bytes(size, '\0');
  for (std::size_t index = 0; index < size; ++index)
    bytes[index] = static_cast<char>('a' + index % 23);
  return bytes;
}

/// Gives `bytes` in pieces of at most `most`.
Body::Pull pull_from(const std::string& bytes, std::size_t& position, std::size_t most = 1000) {
  return [&bytes, &position, most](std::span<char> buffer) -> Result<std::size_t> {
    const std::size_t size = std::min({buffer.size(), most, bytes.size() - position});
    bytes.copy(buffer.data(), size, position);
    position += size;
    return size;
  };
}

Request upload(const HttpServer& server, Body body) {
  return {.method = "POST", .url = server.url(), .body = std::move(body)};
}

TEST(Body, a_view_is_sent_without_a_copy_of_it) {
  const HttpServer server(echo);
  Client client;
  const std::string bytes = bytes_of(100'000);
  const Body body = Body::view(bytes);
  EXPECT_EQ(body.bytes().data(), bytes.data());
  EXPECT_EQ(client.send(upload(server, body), patient())->body, bytes);
}

TEST(Body, a_file_is_sent_from_an_offset_with_its_length) {
  const HttpServer server(echo);
  Client client;
  const support::TemporaryDirectory directory;
  const std::string path = directory.path("body");
  const std::string bytes = bytes_of(300'000);
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  ASSERT_GE(file, 0);
  ASSERT_EQ(::write(file, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  const auto whole = client.send(upload(server, Body::file(file)), patient());
  ASSERT_TRUE(whole.ok()) << whole.error().detail;
  EXPECT_EQ(whole->body, bytes);
  EXPECT_EQ(whole->headers.get("x-framing"), "length");
  EXPECT_EQ(client.send(upload(server, Body::file(file, 1000)), patient())->body, bytes.substr(1000));
  EXPECT_EQ(client.send(upload(server, Body::file(file, 1000, 5)), patient())->body, bytes.substr(1000, 5));
  EXPECT_EQ(client.send(upload(server, Body::file(file, 400'000)), patient())->body, "");
  EXPECT_EQ(server.connections(), 1);
  const auto longer = client.send(upload(server, Body::file(file, 0, 400'000)), patient());
  ASSERT_FALSE(longer.ok());
  EXPECT_EQ(longer.error().code, ErrorCode::local_protocol) << "the file does not hold so many bytes";
  ::close(file);
  EXPECT_EQ(client.send(upload(server, Body::file(-1)), patient()).error().code, ErrorCode::invalid_argument);
}

TEST(Body, a_function_of_known_size_is_sent_with_its_length_and_otherwise_in_chunks) {
  const HttpServer server(echo);
  Client client;
  const std::string bytes = bytes_of(10'000);
  for (const bool sized : {true, false}) {
    std::size_t position = 0;
    const auto size = sized ? std::optional<std::uint64_t>(bytes.size()) : std::nullopt;
    const auto response = client.send(upload(server, Body::pull(size, pull_from(bytes, position))), patient());
    ASSERT_TRUE(response.ok()) << response.error().detail;
    EXPECT_EQ(response->body, bytes);
    EXPECT_EQ(response->headers.get("x-framing"), sized ? "length" : "chunked");
  }
  EXPECT_EQ(server.connections(), 1);
}

TEST(Body, an_error_of_the_function_is_the_requests) {
  const HttpServer server(echo);
  Client client;
  int calls = 0;
  const auto failing = [&](std::span<char> buffer) -> Result<std::size_t> {
    if (++calls == 2) return Error::make(ErrorCode::cancelled, Phase::write, "the source is gone");
    buffer[0] = 'x';
    return std::size_t{1};
  };
  const auto failed = client.send(upload(server, Body::pull({}, failing)), patient());
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().detail, "the source is gone");
  EXPECT_EQ(client.stats().all.total_connections, 0U) << "half a request spoils its connection";
}

TEST(Body, an_exception_of_the_function_does_not_cross_the_interface) {
  const HttpServer server(echo);
  Client client;
  const auto throwing = [](std::span<char>) -> Result<std::size_t> { throw std::runtime_error("no more"); };
  const auto failed = client.send(upload(server, Body::pull({}, throwing)), patient());
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code, ErrorCode::cancelled);
  EXPECT_NE(failed.error().detail.find("no more"), std::string::npos);
  EXPECT_EQ(client.stats().all.total_connections, 0U);
}

// The first connection dies after the first piece of a request whose replay is allowed.
class Interrupted : public ::testing::Test {
 protected:
  std::promise<void> reset_;
  const HttpServer server_{[this](ServerConnection& connection, int number) {
    if (number > 0) return echo(connection, number);
    (void)read_request(connection);
    connection.write(ok("first"));
    (void)connection.read_until("\r\n\r\n");
    (void)connection.read_exactly(100);
    connection.reset();
    reset_.set_value();
  }};
  Client client_;
  const std::string bytes_ = bytes_of(200'000);
};

TEST_F(Interrupted, a_function_that_can_start_again_is_sent_again) {
  ASSERT_EQ(client_.send(request("GET", server_.url()), patient())->body, "first");
  std::size_t position = 0;
  int rewinds = 0;
  Request put = upload(server_, Body::pull(bytes_.size(), pull_from(bytes_, position), [&]() -> Result<void> {
                         ++rewinds;
                         position = 0;
                         return {};
                       }));
  put.method = "PUT";
  const auto response = client_.send(put, patient());
  ASSERT_TRUE(response.ok()) << response.error().detail;
  EXPECT_EQ(response->body, bytes_);
  EXPECT_EQ(rewinds, 1);
  EXPECT_EQ(server_.connections(), 2);
}

TEST_F(Interrupted, a_function_that_cannot_start_again_is_not_sent_again) {
  ASSERT_EQ(client_.send(request("GET", server_.url()), patient())->body, "first");
  std::size_t position = 0;
  Request put = upload(server_, Body::pull(bytes_.size(), pull_from(bytes_, position)));
  put.method = "PUT";
  const auto failed = client_.send(put, patient());
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(server_.connections(), 1);
}

TEST_F(Interrupted, a_post_is_not_sent_again_though_its_function_could_start_again) {
  ASSERT_EQ(client_.send(request("GET", server_.url()), patient())->body, "first");
  std::size_t position = 0;
  int pieces = 0;
  // The reset is there before the second piece: it is heard before that is sent.
  const auto pull = [&, pull = pull_from(bytes_, position)](std::span<char> buffer) {
    if (++pieces == 2) support::wait_for("the server has reset the connection", reset_);
    return pull(buffer);
  };
  const auto rewind = [&]() -> Result<void> {
    position = 0;
    return {};
  };
  const auto failed = client_.send(upload(server_, Body::pull(bytes_.size(), pull, rewind)), patient());
  ASSERT_FALSE(failed.ok());
  EXPECT_GT(failed.error().bytes_sent, 0U);
  EXPECT_EQ(server_.connections(), 1);
}

// The reset is fetched while the body is being sent. What recv() says after it looks like a server that had closed before.
TEST_F(Interrupted, a_post_whose_upload_meets_a_reset_is_not_sent_again) {
  ASSERT_EQ(client_.send(request("GET", server_.url()), patient())->body, "first");
  const auto failed = client_.send(upload(server_, std::string(64U << 20, 'x')), patient());
  ASSERT_FALSE(failed.ok());
  EXPECT_GT(failed.error().bytes_sent, 0U);
  EXPECT_EQ(server_.connections(), 1);
}

TEST(Body, a_written_body_is_sent_piece_by_piece) {
  std::promise<void> first_piece;
  const HttpServer server([&](ServerConnection& connection, int) {
    (void)connection.read_until("\r\n\r\n");
    EXPECT_EQ(connection.read_exactly(10), "5\r\nfirst\r\n");
    first_piece.set_value();
    EXPECT_EQ(connection.read_until("0\r\n\r\n"), "6\r\nsecond\r\n0\r\n\r\n");
    connection.write(ok("thanks"));
    connection.read_to_end();
  });
  Client client;
  auto stream = client.open(upload(server, Body::written()), patient());
  ASSERT_TRUE(stream.ok()) << stream.error().detail;
  EXPECT_EQ(stream->head().status, 0) << "nothing has been sent yet";
  EXPECT_TRUE(*stream->write("first"));
  support::wait_for("the server has the first piece", first_piece);
  EXPECT_TRUE(*stream->write("second"));
  ASSERT_TRUE(stream->finish().ok());
  EXPECT_EQ(stream->head().status, 200);
  EXPECT_EQ(*stream->read(), "thanks");
  EXPECT_EQ(*stream->read(), "");
  EXPECT_EQ(stream->write("more").error().code, ErrorCode::local_protocol);
}

TEST(Body, that_is_written_must_have_the_size_that_was_announced) {
  const HttpServer server(echo);
  Client client;
  auto exact = client.open(upload(server, Body::written(6)), patient());
  EXPECT_TRUE(*exact->write("abc"));
  EXPECT_TRUE(*exact->write("def"));
  ASSERT_TRUE(exact->finish().ok());
  EXPECT_EQ(*exact->read(), "abcdef");
  auto longer = client.open(upload(server, Body::written(2)), patient());
  EXPECT_EQ(longer->write("abc").error().code, ErrorCode::local_protocol);
  auto shorter = client.open(upload(server, Body::written(2)), patient());
  EXPECT_TRUE(*shorter->write("a"));
  EXPECT_EQ(shorter->finish().error().code, ErrorCode::local_protocol);
  EXPECT_EQ(client.send(upload(server, Body::written(2)), patient()).error().code, ErrorCode::invalid_argument)
      << "send() has no one to write it";
}

TEST(Body, that_is_written_stops_at_an_early_refusal) {
  const HttpServer server([](ServerConnection& connection, int) {
    (void)connection.read_until("\r\n\r\n");
    connection.write("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig");
    connection.read_to_end();
  });
  Client client;
  auto stream = client.open(upload(server, Body::written()), patient());
  ASSERT_TRUE(stream.ok());
  ASSERT_TRUE(support::eventually("the server's refusal stops the upload", [&] {
    const auto wanted = stream->write(bytes_of(10'000));
    return wanted.ok() && !*wanted;
  }));
  ASSERT_TRUE(stream->finish().ok());
  EXPECT_EQ(stream->head().status, 413);
  EXPECT_EQ(*stream->read(), "big");
}

// ---- Expect: 100-continue --------------------------------------------------------------------------------------------

Request expecting(const HttpServer& server, Body body) {
  Request made = upload(server, std::move(body));
  made.headers = {{"Expect", "100-continue"}};
  return made;
}

TEST(Expect100, the_body_waits_for_the_servers_word) {
  const HttpServer server([](ServerConnection& connection, int) {
    for (;;) {
      const std::string head = connection.read_until("\r\n\r\n");
      if (head.empty()) return;
      pollfd early{connection.descriptor(), POLLIN, 0};
      EXPECT_EQ(::poll(&early, 1, 50), 0) << "the body came unasked";
      connection.write("HTTP/1.1 100 Continue\r\n\r\n");
      connection.write(ok(connection.read_exactly(4)));
    }
  });
  Client client;
  Call call = patient();
  call.expect_timeout = seconds(20);
  std::size_t position = 0;
  const std::string bytes = "pull";
  EXPECT_EQ(client.send(expecting(server, "body"), call)->body, "body");
  EXPECT_EQ(client.send(expecting(server, Body::pull(4, pull_from(bytes, position))), call)->body, "pull");
  auto stream = client.open(expecting(server, Body::written(4)), call);
  ASSERT_TRUE(stream.ok()) << stream.error().detail;
  EXPECT_TRUE(*stream->write("word"));
  ASSERT_TRUE(stream->finish().ok());
  EXPECT_EQ(*stream->read(), "word");
  EXPECT_EQ(server.connections(), 1) << "a body that was asked for leaves the connection clean";
}

TEST(Expect100, a_final_answer_in_its_place_is_the_response_and_the_body_stays_here) {
  const HttpServer server([](ServerConnection& connection, int) {
    (void)connection.read_until("\r\n\r\n");
    connection.write("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno");
    EXPECT_EQ(connection.read_some(), "") << "a refused body came all the same";
  });
  Client client;
  Call call = patient();
  call.expect_timeout = seconds(20);
  const auto refused = client.send(expecting(server, "body"), call);
  ASSERT_TRUE(refused.ok()) << refused.error().detail;
  EXPECT_EQ(refused->status, 401);
  EXPECT_EQ(refused->body, "no");
  EXPECT_EQ(client.stats().all.total_connections, 0U) << "the server may still wait for the body";
}

TEST(Expect100, a_silent_server_gets_the_body_after_the_expect_timeout) {
  const HttpServer server([](ServerConnection& connection, int) {
    while (const Seen seen = read_request(connection))
      connection.write(ok(seen.body));
  });
  Client client;
  Call call = patient();
  call.expect_timeout = milliseconds(50);
  EXPECT_EQ(client.send(expecting(server, "body"), call)->body, "body");
  EXPECT_EQ(server.connections(), 1);
}

TEST(Expect100, a_stale_connection_is_replaced_before_the_body) {
  const HttpServer server([](ServerConnection& connection, int number) {
    if (number > 0) {
      (void)connection.read_until("\r\n\r\n");
      connection.write("HTTP/1.1 100 Continue\r\n\r\n");
      connection.write(ok(connection.read_exactly(4)));
      return connection.read_to_end();
    }
    (void)read_request(connection);
    connection.write(ok("first"));
    (void)connection.read_until("\r\n\r\n");  // and closes
  });
  Client client;
  ASSERT_EQ(client.send(request("GET", server.url()), patient())->body, "first");
  Request put = expecting(server, "body");
  put.method = "PUT";
  const auto response = client.send(put, patient());
  ASSERT_TRUE(response.ok()) << response.error().detail;
  EXPECT_EQ(response->body, "body");
}

}  // namespace
}  // namespace fastpool::client::test
