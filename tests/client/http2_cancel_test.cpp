// Requests over HTTP/2 that are cancelled, and the connection that they leave to others.

#include <stop_token>

#include "client/http2_fixture.h"

namespace fastpool::client::test {
namespace {

constexpr std::uint32_t cancel = 0x8;

class Http2Cancelling : public Http2WayTest {};

INSTANTIATE_TEST_SUITE_P(Ways, Http2Cancelling, ::testing::Values(Way::blocking, Way::loop, Way::coroutine),
                         [](const auto& way) { return name_of(way.param); });

/// No read timeout: a cancel that is not heard fails the test by the limit of its server.
Call until_stopped(const std::stop_source& source) {
  Call call = patient();
  call.timeouts.read = support::wait_limit;
  call.stop = source.get_token();
  return call;
}

TEST_P(Http2Cancelling, ends_a_wait_for_the_head_and_resets_its_stream_alone) {
  Held held;
  Http2Server server(held.handler());
  Client client({}, over_http2());
  std::stop_source source;
  Sending sending(GetParam(), client,
                  {request("POST", server.url("/other")), request("POST", server.url("/cancelled"))},
                  {patient(), until_stopped(source)});
  const auto asked = held.take(2);
  source.request_stop();
  EXPECT_TRUE(eventually("the stream is reset", [&] { return server.resets()[cancel] == 1; }));
  for (const Http2Request& each : asked)
    each.answer(200, "other");
  const auto results = sending.results();
  EXPECT_EQ(results[1].error_or({}).code, ErrorCode::cancelled);
  ASSERT_TRUE(results[0].ok()) << results[0].error().detail;
  EXPECT_EQ(results[0]->body, "other");
  EXPECT_EQ(server.connections(), 1);
}

TEST(Http2CancellingThreads, a_reader_that_is_cancelled_hands_its_role_on) {
  Held held;
  Http2Server server(held.handler());
  Client client({}, over_http2());
  for (int round = 0; round < 20; ++round) {
    std::stop_source source;
    // The first to wait reads for both.
    Sending reader(Way::blocking, client, {request("POST", server.url("/reader"))}, until_stopped(source));
    (void)held.take_one();
    Sending other(Way::blocking, client, {request("POST", server.url("/other"))});
    const Http2Request others = held.take_one();
    source.request_stop();
    EXPECT_EQ(reader.results()[0].error_or({}).code, ErrorCode::cancelled);
    others.answer(200, "other");
    const auto results = other.results();
    ASSERT_TRUE(results[0].ok()) << results[0].error().detail;
    EXPECT_EQ(results[0]->body, "other");
  }
  EXPECT_EQ(server.connections(), 1);
}

TEST_P(Http2Cancelling, ends_an_upload_that_the_server_does_not_read) {
  Held held;
  Http2Server server({.holds_bodies = true, .at_head = [&](const Http2Request& request) {
                        if (request.path == "/upload") held.handler()(request);
                      }});
  Client client({}, over_http2());
  std::stop_source source;
  Sending upload(GetParam(), client, {request("POST", server.url("/upload"), std::string(1'000'000, 'x'))},
                 until_stopped(source));
  ASSERT_TRUE(held.become(1));
  source.request_stop();
  EXPECT_EQ(upload.results()[0].error_or({}).code, ErrorCode::cancelled);
  EXPECT_TRUE(eventually("the stream is reset", [&] { return server.resets()[cancel] == 1; }));
  const auto next = send_all(GetParam(), client, {request("GET", server.url("/next"))});
  EXPECT_TRUE(next[0].ok()) << next[0].error().detail;
  EXPECT_EQ(server.connections(), 1);
}

TEST_P(Http2Cancelling, ends_the_wait_for_a_stream_and_leaves_the_queue_in_order) {
  Held held;
  Http2Server server({.max_streams = 1}, held.handler());
  Client client(at_most(1), over_http2());
  Sending first(GetParam(), client, {request("GET", server.url("/first"))});
  const Http2Request asked = held.take_one();
  std::stop_source source;
  Sending cancelled(GetParam(), client, numbered(server, 3), until_stopped(source));
  Sending last(GetParam(), client, {request("GET", server.url("/last"))});
  source.request_stop();
  for (const auto& result : cancelled.results())
    EXPECT_EQ(result.error_or({}).code, ErrorCode::cancelled);
  asked.answer(200, "first");
  EXPECT_TRUE(first.results()[0].ok());
  held.take_one().answer(200, "last");
  const auto results = last.results();
  ASSERT_TRUE(results[0].ok()) << results[0].error().detail;
  EXPECT_EQ(results[0]->body, "last");
  EXPECT_EQ(server.connections(), 1);
  EXPECT_EQ(client.stats().all.waiters, 0U);
}

TEST_P(Http2Cancelling, before_the_first_byte_sends_nothing) {
  Http2Server server;
  Client client({}, over_http2());
  std::stop_source source;
  source.request_stop();
  const auto results =
      send_all(GetParam(), client, {request("POST", server.url("/never"), "body")}, until_stopped(source));
  EXPECT_EQ(results[0].error_or({}).code, ErrorCode::cancelled);
  EXPECT_EQ(server.count("/never"), 0);
}

TEST(Http2CancellingStreams, ends_a_read_that_waits) {
  Held held;
  Http2Server server(held.handler());
  Client client({}, over_http2());
  auto opening = std::async(std::launch::async, [&] {
    Call call = patient();
    call.timeouts.read = support::wait_limit;
    return client.open(request("GET", server.url("/events")), call);
  });
  const Http2Request asked = held.take_one();
  asked.begin(200);
  asked.send("first");
  auto stream = support::value_of("the head has come", opening);
  ASSERT_TRUE(stream.ok()) << stream.error().detail;
  EXPECT_EQ(*stream->read(), "first");
  auto reading = std::async(std::launch::async, [&] { return stream->read().error_or({}).code; });
  stream->cancel();
  EXPECT_EQ(support::value_of("the read ends", reading), ErrorCode::cancelled);
  EXPECT_EQ(stream->read().error().code, ErrorCode::local_protocol) << "nothing is left to read";
  EXPECT_TRUE(eventually("the stream is reset", [&] { return server.resets()[cancel] == 1; }));
  EXPECT_TRUE(eventually("the connection is free", [&] { return client.stats().all.idle_connections == 1; }));
}

TEST(Http2CancellingStreams, by_destroying_them_costs_no_connection) {
  const std::string large(3UL << 20U, 'x');
  Http2Server server([&](const Http2Request& request) { request.answer(200, large); });
  Client client({}, over_http2());
  for (int round = 0; round < 20; ++round) {
    auto stream = client.open(request("GET", server.url()), patient());
    ASSERT_TRUE(stream.ok()) << stream.error().detail;
    ASSERT_TRUE(stream->read().ok());
  }
  EXPECT_EQ(client.stats().all.idle_connections, 1U);
  EXPECT_EQ(server.connections(), 1);
  EXPECT_TRUE(eventually("the streams are reset", [&] { return server.open_streams() == 0; }));
}

TEST(Http2CancellingStreams, in_a_loop_by_destroying_a_coroutine_resets_its_stream) {
  Held held;
  Http2Server server(held.handler());
  Client client({}, over_http2());
  Loop loop = *Loop::make();
  {
    const Request asked = request("GET", server.url());
    const Call call = patient();
    const auto routine = [&]() -> Routine { (void)co_await send(loop, client, asked, call); }();
    const auto limit = std::chrono::steady_clock::now() + support::wait_limit;
    while (held.size() == 0 && std::chrono::steady_clock::now() < limit)
      loop.wait(milliseconds(10));
    EXPECT_FALSE(routine.done());
  }
  EXPECT_TRUE(eventually("the stream is reset", [&] {
    loop.turn();
    return server.resets()[cancel] == 1;
  }));
  EXPECT_FALSE(loop.busy());
  EXPECT_EQ(client.stats().all.idle_connections, 1U);
}

TEST(Http2CancellingStreams, five_hundred_times_retires_the_connection) {
  Http2Server server([](const Http2Request& request) {
    if (request.path == "/small") return Http2Server::answer_it(request);
    request.begin(200);  // and no end
  });
  Client client({}, over_http2());
  for (int number = 0; number < 500; ++number) {
    auto stream = client.open(request("GET", server.url("/endless")), patient());
    ASSERT_TRUE(stream.ok()) << stream.error().detail;
  }
  EXPECT_EQ(server.connections(), 1);
  EXPECT_TRUE(client.send(request("GET", server.url("/small")), patient()).ok());
  EXPECT_EQ(server.connections(), 2);
}

}  // namespace
}  // namespace fastpool::client::test
