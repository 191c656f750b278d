// One request on one lease: streamed bodies, wrong lengths, leaving early.

#include <array>

#include <sys/ioctl.h>
#include <sys/socket.h>

#include "client/client_fixture.h"
#include "support/raw_listener.h"

namespace fastpool::client::test {
namespace {

class Uploading : public ExchangeTest {};

TEST_F(Uploading, a_streamed_body_goes_out_in_chunks) {
  std::promise<std::string> body;
  const HttpServer server([&](ServerConnection& connection, int) {
    body.set_value(read_request(connection).body);
    connection.write(ok("thanks"));
    serve(connection);
  });
  Exchange exchange = open(server, "POST", {{"Transfer-Encoding", "chunked"}});
  ASSERT_TRUE(exchange.obtain(options_));
  EXPECT_TRUE(exchange.write("hello ", options_).value());
  EXPECT_TRUE(exchange.write("", options_).value()) << "an empty piece does not end the body";
  EXPECT_TRUE(exchange.write("big wide world", options_).value());
  ASSERT_TRUE(exchange.finish(options_));
  EXPECT_EQ(support::value_of("the server has read the body", body), "6\r\nhello \r\ne\r\nbig wide world\r\n0\r\n\r\n");
  EXPECT_EQ(read_all(exchange), "thanks");
  EXPECT_EQ(idle(), 1U);
}

TEST_F(Uploading, a_streamed_body_may_have_a_known_length) {
  const HttpServer server;
  Exchange exchange = open(server, "POST", {{"Content-Length", "6"}});
  ASSERT_TRUE(exchange.obtain(options_));
  EXPECT_TRUE(exchange.write("abc", options_).value());
  EXPECT_TRUE(exchange.write("def", options_).value());
  ASSERT_TRUE(exchange.finish(options_));
  EXPECT_EQ(read_all(exchange), "abcdef");
}

TEST_F(Uploading, a_whole_body_may_be_chunked) {
  const HttpServer server([&](ServerConnection& connection, int) {
    while (const Seen seen = read_request(connection))
      connection.write(ok(seen.body));
  });
  for (const std::string& body : {std::string("hello"), std::string()}) {
    Exchange exchange = open(server, "POST", {{"Transfer-Encoding", "chunked"}});
    ASSERT_TRUE(exchange.obtain(options_));
    ASSERT_TRUE(exchange.send(body, options_));
    EXPECT_EQ(read_all(exchange), body.empty() ? "0\r\n\r\n" : "5\r\nhello\r\n0\r\n\r\n");
  }
  EXPECT_EQ(server.connections(), 1);
}

TEST_F(Uploading, a_body_of_another_length_than_announced_is_refused) {
  const HttpServer server;
  Exchange whole = open(server, "POST", {{"Content-Length", "3"}});
  ASSERT_TRUE(whole.obtain(options_));
  EXPECT_EQ(whole.send("four", options_).error().code, ErrorCode::local_protocol);

  Exchange unannounced = open(server, "POST");
  ASSERT_TRUE(unannounced.obtain(options_));
  EXPECT_EQ(unannounced.send("x", options_).error().code, ErrorCode::local_protocol);

  Exchange more = open(server, "POST", {{"Content-Length", "3"}});
  ASSERT_TRUE(more.obtain(options_));
  EXPECT_TRUE(more.write("ab", options_).value());
  EXPECT_EQ(more.write("cd", options_).error().code, ErrorCode::local_protocol);

  Exchange less = open(server, "POST", {{"Content-Length", "3"}});
  ASSERT_TRUE(less.obtain(options_));
  EXPECT_TRUE(less.write("ab", options_).value());
  EXPECT_EQ(less.finish(options_).error().code, ErrorCode::local_protocol);
  EXPECT_EQ(core_.pool().stats().all.active_connections, 0U);
}

TEST_F(Uploading, a_body_cannot_be_written_twice) {
  const HttpServer server;
  Exchange exchange = open(server, "POST", {{"Content-Length", "1"}});
  ASSERT_TRUE(exchange.obtain(options_));
  ASSERT_TRUE(exchange.send("x", options_));
  EXPECT_EQ(exchange.write("x", options_).error().code, ErrorCode::local_protocol);
  EXPECT_EQ(exchange.finish(options_).error().code, ErrorCode::local_protocol);
}

TEST_F(Uploading, an_early_refusal_of_a_streamed_upload_is_delivered) {
  const HttpServer server([](ServerConnection& connection, int) {
    (void)connection.read_until("\r\n\r\n");
    connection.write("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig");
    connection.reset();
  });
  Exchange exchange = open(server, "POST", {{"Transfer-Encoding", "chunked"}});
  ASSERT_TRUE(exchange.obtain(options_));
  const std::string piece(1U << 20, 'x');
  bool goes_on = true;
  for (int i = 0; i < 64 && goes_on; ++i) {
    const auto written = exchange.write(piece, options_);
    ASSERT_TRUE(written.ok());
    goes_on = written.value();
  }
  EXPECT_FALSE(goes_on) << "the peer has stopped reading";
  ASSERT_TRUE(exchange.finish(options_));
  EXPECT_EQ(exchange.head().status, 413);
  EXPECT_EQ(read_all(exchange), "big");
  EXPECT_EQ(total(), 0U);
}

class Retrying : public ExchangeTest {};

TEST_F(Retrying, a_post_is_sent_on_another_connection_if_no_byte_was_sent) {
  const HttpServer server;
  park(server);
  Exchange exchange = open(server, "POST", {{"Content-Length", "5"}});
  ASSERT_TRUE(exchange.obtain(options_));
  ASSERT_EQ(::shutdown(exchange.descriptor(), SHUT_WR), 0);  // broken after the checkout's look
  const auto sent = exchange.send("order", options_);
  ASSERT_TRUE(sent.ok()) << sent.error().detail;
  EXPECT_EQ(read_all(exchange), "order");
  EXPECT_EQ(server.connections(), 2);
}

TEST_F(Retrying, the_same_for_a_streamed_body_at_its_first_piece) {
  const HttpServer server;
  park(server);
  Exchange exchange = open(server, "POST", {{"Content-Length", "5"}});
  ASSERT_TRUE(exchange.obtain(options_));
  ASSERT_EQ(::shutdown(exchange.descriptor(), SHUT_WR), 0);
  EXPECT_TRUE(exchange.write("order", options_).value());
  ASSERT_TRUE(exchange.finish(options_));
  EXPECT_EQ(read_all(exchange), "order");
  EXPECT_EQ(server.connections(), 2);
}

TEST_F(Retrying, on_a_lease_of_the_callers_the_lease_stays_and_its_connection_is_replaced) {
  const HttpServer server;
  park(server);
  const auto lease = core_.pool().try_lease(endpoint(server));
  ASSERT_TRUE(lease);
  const std::vector<Header> headers{{"Host", "test"}, {"Content-Length", "5"}};
  {
    auto exchange = Exchange::open_on(core_, *lease, {"POST", "/", headers});
    ASSERT_TRUE(exchange.ok());
    ASSERT_TRUE(exchange->obtain(options_));
    ASSERT_EQ(::shutdown(exchange->descriptor(), SHUT_WR), 0);
    ASSERT_TRUE(exchange->send("order", options_));
    EXPECT_EQ(read_all(*exchange), "order");
  }
  EXPECT_TRUE(core_.pool().release(*lease, pool::Reuse::yes()));
  EXPECT_EQ(idle(), 1U);
  EXPECT_EQ(server.connections(), 2);
}

TEST_F(Retrying, a_dial_that_fails_is_tried_again_as_often_as_was_asked_for) {
  const support::RefusingPort refusing;
  const std::string url = refusing.url();
  for (const int retries : {0, 2}) {
    const auto dials = core_.pool().stats().dials;
    const std::vector<Header> headers{{"Host", "test"}};
    auto use = handle_.use(*Origin::parse(url));
    auto exchange = Exchange::open(core_, std::move(use).value(), {"GET", "/", headers});
    ASSERT_TRUE(exchange.ok());
    struct Tries {
      const pool::Pool& pool;
      const std::uint64_t limit;
      static bool too_many(void* context) noexcept {
        const Tries& tries = *static_cast<Tries*>(context);
        return tries.pool.stats().dials > tries.limit;
      }
    } tries{core_.pool(), dials + 10};
    options_.interrupt = {Tries::too_many, &tries};
    options_.connect_retries = retries;
    const auto refused = exchange->obtain(options_);
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code, ErrorCode::connect_failed) << refused.error().detail;
    EXPECT_EQ(core_.pool().stats().dials - dials, static_cast<std::uint64_t>(retries) + 1);
  }
}

class OnALease : public ExchangeTest {};

TEST_F(OnALease, one_exchange_at_a_time_and_none_after_its_end) {
  const HttpServer server;
  const auto lease = core_.pool().try_lease(endpoint(server));
  ASSERT_TRUE(lease);
  const std::vector<Header> headers{{"Host", "test"}};
  {
    auto first = Exchange::open_on(core_, *lease, {"GET", "/", headers});
    ASSERT_TRUE(first.ok());
    EXPECT_EQ(Exchange::open_on(core_, *lease, {"GET", "/", headers}).error().code, ErrorCode::stale_lease);
    ASSERT_TRUE(first->obtain(options_));
    ASSERT_TRUE(first->send("", options_));
    EXPECT_EQ(read_all(*first), "hello");
  }
  EXPECT_TRUE(core_.pool().release(*lease, pool::Reuse::yes()));
  EXPECT_EQ(Exchange::open_on(core_, *lease, {"GET", "/", headers}).error().code, ErrorCode::stale_lease);
}

TEST_F(OnALease, bytes_sent_between_two_exchanges_never_reach_the_second) {
  std::promise<void> answered;
  std::promise<void> poisoned;
  const HttpServer server([&](ServerConnection& connection, int number) {
    if (number > 0) return serve(connection);
    (void)read_request(connection);
    connection.write(ok("mine"));
    support::wait_for("the client has read the response", answered);
    connection.write(ok("poison"));
    connection.wait_until_delivered();
    poisoned.set_value();
    connection.read_to_end();
  });
  const auto lease = core_.pool().try_lease(endpoint(server));
  ASSERT_TRUE(lease);
  const std::vector<Header> headers{{"Host", "test"}};
  const auto get = [&] {
    auto exchange = Exchange::open_on(core_, *lease, {"GET", "/", headers});
    EXPECT_TRUE(exchange->obtain(options_));
    EXPECT_TRUE(exchange->send("", options_));
    return read_all(*exchange);
  };
  EXPECT_EQ(get(), "mine");
  answered.set_value();
  support::wait_for("the server has sent the second response", poisoned);
  EXPECT_EQ(get(), "hello");
  EXPECT_TRUE(core_.pool().release(*lease, pool::Reuse::yes()));
}

class Leaving : public ExchangeTest {
 protected:
  /// An exchange whose head has come.
  [[nodiscard]] Exchange begun(const HttpServer& server) {
    Exchange exchange = open(server, "GET");
    EXPECT_TRUE(exchange.obtain(options_));
    EXPECT_TRUE(exchange.send("", options_));
    return exchange;
  }
  /// Sends the head of a response, and its body when the test says so.
  void in_two_steps(ServerConnection& connection) {
    (void)read_request(connection);
    connection.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
    support::wait_for("the test asks for the rest of the body", go_on_);
    connection.write("world");
    connection.wait_until_delivered();
    done_.set_value();
    connection.read_to_end();
  }
  void rest_arrives() {
    go_on_.set_value();
    support::wait_for("the server has sent the rest of the body", done_);
  }
  std::promise<void> go_on_;
  std::promise<void> done_;
};

TEST_F(Leaving, closing_keeps_the_connection_if_the_whole_rest_is_there) {
  const HttpServer server([this](ServerConnection& connection, int) { in_two_steps(connection); });
  Exchange exchange = begun(server);
  EXPECT_TRUE(exchange.holds());
  rest_arrives();
  exchange.close();
  exchange.close();
  EXPECT_FALSE(exchange.holds());
  EXPECT_EQ(idle(), 1U);
}

TEST_F(Leaving, a_body_that_came_with_its_head_can_be_read_or_left) {
  const HttpServer server;
  Exchange exchange = begun(server);
  EXPECT_EQ(read_all(exchange), "hello");
  Exchange left = begun(server);
  left.close();
  EXPECT_EQ(idle(), 1U);
  EXPECT_EQ(server.connections(), 1);
}

TEST_F(Leaving, closing_ends_the_connection_if_the_rest_is_still_to_come) {
  const HttpServer server([](ServerConnection& connection, int) {
    (void)read_request(connection);
    connection.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    connection.read_to_end();
  });
  Exchange exchange = begun(server);
  exchange.close();
  EXPECT_EQ(total(), 0U);
}

TEST_F(Leaving, closing_does_not_drain_a_long_rest) {
  const std::string body(100'000, 'x');
  const HttpServer server([&](ServerConnection& connection, int) {
    (void)read_request(connection);
    connection.write("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size() + 4) + "\r\n\r\nhead");
    support::wait_for("the test asks for the rest of the body", go_on_);
    connection.write(body);
    connection.read_to_end();
  });
  // Room for all of it: what arrives is the test's to say.
  Profile roomy;
  const int room = 1 << 18;
  roomy.socket_options.push_back({SOL_SOCKET, SO_RCVBUF, {reinterpret_cast<const char*>(&room), sizeof room}});
  Handle handle(core_, core_.intern(roomy), pool::AfterUse::keep, Handle::Isolation::by_handle);
  const std::vector<Header> headers{{"Host", "test"}};
  auto opened = Exchange::open(core_, handle.use(*Origin::parse(server.url())).value(), {"GET", "/", headers});
  ASSERT_TRUE(opened.ok());
  Exchange exchange = std::move(opened).value();
  ASSERT_TRUE(exchange.obtain(options_));
  ASSERT_TRUE(exchange.send("", options_));
  go_on_.set_value();
  ASSERT_TRUE(support::eventually("the whole rest of the body has arrived", [&] {
    int arrived = 0;
    return ::ioctl(exchange.descriptor(), FIONREAD, &arrived) == 0 && arrived == static_cast<int>(body.size());
  }));
  exchange.close();
  EXPECT_EQ(total(), 0U);
}

TEST_F(Leaving, an_abandoned_exchange_reads_nothing_and_ends_its_connection) {
  const HttpServer server([this](ServerConnection& connection, int) { in_two_steps(connection); });
  Exchange exchange = begun(server);
  rest_arrives();
  exchange.abandon();
  exchange.abandon();
  EXPECT_EQ(total(), 0U);
  EXPECT_EQ(exchange.descriptor(), -1);
}

TEST_F(Leaving, one_that_is_destroyed_in_between_ends_its_connection) {
  const HttpServer server([this](ServerConnection& connection, int) { in_two_steps(connection); });
  {
    const Exchange exchange = begun(server);
    rest_arrives();
  }
  EXPECT_EQ(total(), 0U);
}

TEST_F(Leaving, a_moved_from_exchange_has_nothing_to_release) {
  const HttpServer server;
  Exchange exchange = begun(server);
  Exchange moved = std::move(exchange);
  EXPECT_EQ(read_all(moved), "hello");
  EXPECT_EQ(idle(), 1U);
}

TEST_F(Leaving, a_connection_that_was_handed_over_is_the_callers_until_the_end) {
  const HttpServer server([](ServerConnection& connection, int) {
    (void)read_request(connection);
    connection.write("HTTP/1.1 200 Established\r\nContent-Length: 9\r\n\r\nfirst");
    connection.write(connection.read_exactly(5));
    connection.read_to_end();
  });
  Exchange exchange = open(server, "CONNECT");
  ASSERT_TRUE(exchange.obtain(options_));
  ASSERT_TRUE(exchange.send("", options_));
  EXPECT_TRUE(exchange.switched());
  EXPECT_EQ(read_all(exchange), "") << "there is no body";
  EXPECT_TRUE(exchange.holds());

  EXPECT_EQ(exchange.transmit("there")->bytes, 5U);
  std::string heard;
  std::array<char, 3> buffer{};
  while (heard.size() < 10) {
    const auto io = exchange.receive(buffer);
    ASSERT_TRUE(io.ok()) << io.error().detail;
    if (io->status == net::IoStatus::want_read) continue;
    ASSERT_EQ(io->status, net::IoStatus::ok);
    heard.append(buffer.data(), io->bytes);
  }
  EXPECT_EQ(heard, "firstthere");

  exchange.close();
  EXPECT_EQ(total(), 0U);
  EXPECT_EQ(exchange.receive(buffer).error().code, ErrorCode::read_failed);
  EXPECT_EQ(exchange.transmit("x").error().code, ErrorCode::write_failed);
}

TEST_F(Leaving, an_error_names_the_origin_and_is_counted) {
  const HttpServer server([](ServerConnection& connection, int) { (void)read_request(connection); });
  Exchange exchange = open(server, "GET");
  ASSERT_TRUE(exchange.obtain(options_));
  const auto failed = exchange.send("", options_);
  ASSERT_FALSE(failed.ok());
  EXPECT_NE(failed.error().detail.find("http://127.0.0.1:"), std::string::npos) << failed.error().detail;
  EXPECT_EQ(core_.error_count(ErrorCode::read_failed), 1U);
  EXPECT_EQ(total(), 0U);
}

}  // namespace
}  // namespace fastpool::client::test
