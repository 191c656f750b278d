// Connections of HTTP/2 from lease to end: leases, close and drain, lifetimes, forks, statistics.

#include "client/http2_fixture.h"
#include "support/child_process.h"

namespace fastpool::client::test {
namespace {

/// A stream whose head has come, and its request as the server has it.
struct OpenStream {
  Stream stream;
  Http2Request asked;
};

OpenStream open_stream(Client& client, const Http2Server& server, Held& held, const Call& call) {
  auto opening = std::async(std::launch::async, [&] { return client.open(request("GET", server.url()), call); });
  const Http2Request asked = held.take_one();
  asked.begin(200);
  auto stream = support::value_of("the head has come", opening);
  if (!stream.ok()) throw std::runtime_error(stream.error().detail);
  return {std::move(stream).value(), asked};
}

std::string rest_of(Stream& stream) {
  std::string body;
  for (;;) {
    const auto piece = stream.read();
    if (!piece.ok()) return "error: " + piece.error().detail;
    if (piece->empty()) return body;
    body += *piece;
  }
}

// ---- leases ----------------------------------------------------------------------------------------------------------

TEST(Http2Lease, keeps_its_connection_to_itself_and_gives_it_back) {
  Http2Server server;
  Client client({}, over_http2());
  {
    auto lease = client.lease(server.url(), patient());
    ASSERT_TRUE(lease.ok()) << lease.error().detail;
    EXPECT_TRUE(lease->alive());
    EXPECT_GE(lease->native_handle(), 0);
    EXPECT_EQ(lease->send(request("POST", server.url(), "one"), patient())->body, "one");
    EXPECT_EQ(client.send(request("POST", server.url(), "other"), patient())->body, "other");
    EXPECT_EQ(server.connections(), 2) << "others get another connection";
    EXPECT_EQ(lease->send(request("POST", server.url(), "two"), patient())->body, "two");
    for (const Http2Request& each : server.requests())
      EXPECT_TRUE(each.method != "POST" || each.connection <= 1);
  }
  EXPECT_EQ(client.stats().all.idle_connections, 2U);
  EXPECT_EQ(server.connections(), 2);
}

TEST(Http2Lease, takes_an_idle_connection) {
  Http2Server server;
  Client client({}, over_http2());
  ASSERT_TRUE(client.send(request("GET", server.url()), patient()).ok());
  auto lease = client.lease(server.url(), patient());
  ASSERT_TRUE(lease.ok()) << lease.error().detail;
  EXPECT_TRUE(lease->send(request("GET", server.url()), patient()).ok());
  EXPECT_EQ(server.connections(), 1);
}

TEST(Http2Lease, carries_one_stream_at_a_time) {
  Held held;
  Http2Server server(held.handler());
  Client client({}, over_http2());
  auto lease = client.lease(server.url(), patient());
  ASSERT_TRUE(lease.ok());
  auto opening = std::async(std::launch::async, [&] { return lease->open(request("GET", server.url()), patient()); });
  const Http2Request asked = held.take_one();
  asked.begin(200);
  auto stream = support::value_of("the head has come", opening);
  ASSERT_TRUE(stream.ok()) << stream.error().detail;
  EXPECT_EQ(lease->send(request("GET", server.url()), patient()).error().code, ErrorCode::stale_lease);
  asked.send("body");
  asked.finish();
  EXPECT_EQ(rest_of(*stream), "body");
}

TEST(Http2Lease, sees_a_goodbye_and_connects_anew_for_the_next_request) {
  Http2Server server;
  Client client({}, over_http2());
  auto lease = client.lease(server.url(), patient());
  ASSERT_TRUE(lease.ok());
  ASSERT_TRUE(lease->send(request("GET", server.url()), patient()).ok());
  server.say_goodbye(0);
  ASSERT_TRUE(eventually("the lease sees the goodbye", [&] { return !lease->alive(); }));
  EXPECT_EQ(lease->send(request("POST", server.url(), "again"), patient())->body, "again");
  EXPECT_EQ(server.connections(), 2);
  EXPECT_EQ(client.stats().discarded, 1U);
}

TEST(Http2Lease, survives_a_stream_that_was_cancelled) {
  Http2Server server([](const Http2Request& request) {
    if (request.path == "/endless") return request.begin(200);
    Http2Server::answer_it(request);
  });
  Client client({}, over_http2());
  auto lease = client.lease(server.url(), patient());
  ASSERT_TRUE(lease.ok());
  {
    auto stream = lease->open(request("GET", server.url("/endless")), patient());
    ASSERT_TRUE(stream.ok()) << stream.error().detail;
  }
  EXPECT_EQ(lease->send(request("POST", server.url(), "next"), patient())->body, "next");
  EXPECT_EQ(server.connections(), 1);
}

TEST(Http2Lease, replays_a_refused_stream) {
  std::atomic<int> refusals{1};
  Http2Server server([&](const Http2Request& request) {
    if (refusals-- > 0) return request.reset(0x7);
    Http2Server::answer_it(request);
  });
  Client client({}, over_http2());
  auto lease = client.lease(server.url(), patient());
  ASSERT_TRUE(lease.ok());
  const auto response = lease->send(request("POST", server.url(), "body"), patient());
  ASSERT_TRUE(response.ok()) << response.error().detail;
  EXPECT_EQ(response->body, "body");
}

// ---- the end of a client ---------------------------------------------------------------------------------------------

class Http2Ends : public Http2WayTest {};

INSTANTIATE_TEST_SUITE_P(Ways, Http2Ends, ::testing::Values(Way::blocking, Way::loop, Way::coroutine),
                         [](const auto& way) { return name_of(way.param); });

TEST_P(Http2Ends, closing_ends_streams_and_those_who_wait_for_one) {
  Held held;
  Http2Server server({.max_streams = 2}, held.handler());
  Client client(at_most(1), over_http2());
  Sending sending(GetParam(), client, numbered(server, 6));
  ASSERT_TRUE(held.become(2));
  client.close();
  for (const auto& result : sending.results()) {
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().code, ErrorCode::pool_closed) << result.error().detail;
  }
  EXPECT_EQ(client.stats().all.total_connections, 0U);
  EXPECT_TRUE(eventually("the server sees the end", [&] { return server.open_connections() == 0; }));
}

TEST_P(Http2Ends, draining_lets_streams_finish_and_refuses_new_requests) {
  Held held;
  Http2Server server(held.all_but("/refused"));
  Client client({}, over_http2());
  Sending sending(GetParam(), client, numbered(server, 3));
  const auto asked = held.take(3);
  auto draining = std::async(std::launch::async, [&] { return client.drain(seconds(20)); });
  ASSERT_TRUE(eventually("the client drains", [&] { return client.stats().draining; }));
  const auto refused = send_all(GetParam(), client, {request("GET", server.url("/refused"))});
  EXPECT_EQ(refused[0].error_or({}).code, ErrorCode::pool_closed);
  for (const Http2Request& each : asked)
    each.answer(200, each.path);
  for (const auto& result : sending.results())
    EXPECT_TRUE(result.ok()) << result.error().detail;
  const auto drained = support::value_of("the client has drained", draining);
  ASSERT_TRUE(drained.ok());
  EXPECT_TRUE(*drained);
  EXPECT_EQ(client.stats().all.total_connections, 0U);
  EXPECT_EQ(server.count("/refused"), 0);
}

TEST(Http2End, a_client_says_goodbye_to_servers_of_idle_connections) {
  Http2Server server;
  {
    Client client({}, over_http2());
    ASSERT_TRUE(client.send(request("GET", server.url()), patient()).ok());
  }
  EXPECT_TRUE(eventually("the goodbye has come", [&] { return server.goodbyes() == 1; }));
}

TEST(Http2End, a_stream_outlives_its_client_which_ends_it) {
  Held held;
  Http2Server server(held.handler());
  std::optional<Client> client(std::in_place, PoolSettings(), over_http2());
  OpenStream open = open_stream(*client, server, held, patient());
  client.reset();
  EXPECT_EQ(open.stream.read().error().code, ErrorCode::pool_closed);
}

TEST(Http2End, a_loop_that_is_closed_ends_its_requests_and_leaves_the_connection_usable) {
  Held held;
  Http2Server server(held.all_but("/next"));
  Client client({}, over_http2());
  std::vector<ErrorCode> codes;
  {
    Loop loop = *Loop::make();
    for (int number = 0; number < 5; ++number) {
      send(loop, client, request("GET", server.url()), patient(),
           [&](const Result<Response>& result) { codes.push_back(result.error_or({}).code); });
    }
    const auto limit = std::chrono::steady_clock::now() + support::wait_limit;
    while (held.size() < 5 && std::chrono::steady_clock::now() < limit)
      loop.wait(milliseconds(10));
    loop.close();
  }
  EXPECT_EQ(codes, std::vector<ErrorCode>(5, ErrorCode::cancelled));
  const auto next = client.send(request("GET", server.url("/next")), patient());
  EXPECT_TRUE(next.ok()) << next.error().detail;
  EXPECT_EQ(client.stats().all.active_connections, 0U);
}

// ---- lifetimes -------------------------------------------------------------------------------------------------------

TEST(Http2Lifetime, an_idle_connection_is_closed_after_the_idle_timeout) {
  Http2Server server;
  PoolSettings settings;
  settings.idle_timeout = milliseconds(1);
  Client client(settings, over_http2());
  ASSERT_TRUE(client.send(request("GET", server.url()), patient()).ok());
  EXPECT_TRUE(eventually("the connection is closed", [&] { return server.open_connections() == 0; }));
  EXPECT_TRUE(eventually("the goodbye has come", [&] { return server.goodbyes() == 1; }));
}

TEST(Http2Lifetime, a_connection_is_not_used_beyond_its_lifetime) {
  Http2Server server;
  PoolSettings settings;
  settings.max_lifetime = milliseconds(1);
  Client client(settings, over_http2());
  EXPECT_TRUE(eventually("another connection is used", [&] {
    EXPECT_TRUE(client.send(request("GET", server.url()), patient()).ok());
    return server.connections() > 1;
  }));
}

TEST(Http2Lifetime, the_reactor_answers_a_ping_on_a_connection_that_nobody_reads) {
  Http2Server server;
  Client client({}, over_http2());
  ASSERT_TRUE(client.send(request("GET", server.url()), patient()).ok());
  server.ping(0);
  EXPECT_TRUE(eventually("the answer has come", [&] { return server.pings_answered() == 1; }));
  EXPECT_TRUE(client.send(request("GET", server.url()), patient()).ok());
  EXPECT_EQ(server.connections(), 1);
}

// ---- forks -----------------------------------------------------------------------------------------------------------

TEST(Http2Fork, streams_stay_the_parents) {
  Held held;
  Http2Server server(held.handler());
  Client client({}, over_http2());
  OpenStream first = open_stream(client, server, held, patient());
  OpenStream second = open_stream(client, server, held, patient());
  first.asked.send("one ");
  const int answer = support::in_child([&] {
    if (first.stream.read().error_or({}).code != ErrorCode::forked) return 1;
    if (first.stream.native_handle() != -1) return 2;
    second.stream.cancel();
    {
      const Stream gone = std::move(second.stream);
    }
    if (client.stats().all.total_connections != 0) return 3;
    return 0;
  });
  EXPECT_EQ(answer, 0);
  first.asked.send("two");
  first.asked.finish();
  second.asked.send("three");
  second.asked.finish();
  EXPECT_EQ(rest_of(first.stream), "one two");
  EXPECT_EQ(rest_of(second.stream), "three");
  EXPECT_EQ(client.stats().all.idle_connections, 1U);
  EXPECT_EQ(server.connections(), 1);
}

TEST(Http2Fork, the_child_makes_its_own_connection) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "case: needs a thread in the child, which ThreadSanitizer does not start";
#endif
  Http2Server server;
  Client client({}, over_http2());
  ASSERT_TRUE(client.send(request("GET", server.url()), patient()).ok());
  const int answer = support::in_child([&] {
    const auto response = client.send(request("POST", server.url(), "child"), patient());
    return response.ok() && response->body == "child" ? 0 : 1;
  });
  EXPECT_EQ(answer, 0);
  EXPECT_EQ(client.send(request("POST", server.url(), "parent"), patient())->body, "parent");
  EXPECT_EQ(server.connections(), 2) << "the parent's connection was still good";
}

TEST(Http2Fork, a_request_of_a_thread_goes_on_in_the_parent) {
  Held held;
  Http2Server server(held.handler());
  Client client({}, over_http2());
  Sending sending(Way::blocking, client, numbered(server, 4));
  const auto asked = held.take(4);
  EXPECT_EQ(support::in_child([&] { return client.stats().all.total_connections == 0 ? 0 : 1; }), 0);
  for (const Http2Request& each : asked)
    each.answer(200, each.path);
  for (const auto& result : sending.results())
    EXPECT_TRUE(result.ok()) << result.error().detail;
}

// ---- statistics ------------------------------------------------------------------------------------------------------

TEST(Http2Stats, count_connections_not_streams) {
  Held held;
  Http2Server server(held.handler());
  Client client({}, over_http2());
  OpenStream first = open_stream(client, server, held, patient());
  OpenStream second = open_stream(client, server, held, patient());
  ClientStats stats = client.stats();
  EXPECT_EQ(stats.all.total_connections, 1U);
  EXPECT_EQ(stats.all.active_connections, 1U);
  EXPECT_EQ(stats.all.idle_connections, 0U);
  EXPECT_EQ(stats.dials, 1U);
  first.asked.finish();
  second.asked.reset(0x2);
  EXPECT_EQ(rest_of(first.stream), "");
  EXPECT_EQ(second.stream.read().error_or({}).code, ErrorCode::remote_protocol);
  stats = client.stats();
  EXPECT_EQ(stats.all.active_connections, 0U);
  EXPECT_EQ(stats.all.idle_connections, 1U);
  EXPECT_EQ(stats.error_count(ErrorCode::remote_protocol), 1U);
  EXPECT_EQ(stats.connections_opened, 1U);
  EXPECT_EQ(stats.connections_closed, 0U);
}

TEST(Http2Stats, a_stream_tells_whether_its_connection_was_used_before) {
  Held held;
  Http2Server server(held.handler());
  Client client({}, over_http2());
  const OpenStream first = open_stream(client, server, held, patient());
  const OpenStream second = open_stream(client, server, held, patient());
  EXPECT_FALSE(first.stream.info().reused);
  EXPECT_TRUE(second.stream.info().reused);
  EXPECT_EQ(second.stream.info().peer_address, "127.0.0.1:" + std::to_string(server.port()));
  EXPECT_EQ(first.stream.native_handle(), second.stream.native_handle());
}

}  // namespace
}  // namespace fastpool::client::test
