// Timeouts of requests over HTTP/2: each ends its stream, and no other.

#include "client/http2_fixture.h"
#include "support/raw_listener.h"

namespace fastpool::client::test {
namespace {

class Http2Timeouts : public Http2WayTest {
 protected:
  /// Sends a request whose call is to end in time, beside one that is patient and must not be disturbed. \returns whether the server has
  /// heard of it: its time may pass before.
  [[nodiscard]] bool expect_timeout(Http2Server& server, Client& client, Held& held, const Request& asked,
                                    const Call& call, ErrorCode code) {
    const Request other = request("POST", server.url("/other"));
    Sending sending(GetParam(), client, {other, asked}, {very_patient(), call});
    EXPECT_TRUE(eventually("the call has ended", [&] { return sending.done() == 1; }));
    answer_other(server, held, 1);
    const auto results = sending.results();
    const Error error = results[1].error_or({});
    EXPECT_EQ(error.code, code) << error.detail;
    EXPECT_TRUE(results[0].ok() && results[0]->body == "other") << results[0].error_or({}).detail;
    Sending next(GetParam(), client, {other}, very_patient());  // behind all that was sent before
    answer_other(server, held, 2);
    EXPECT_TRUE(next.results()[0].ok());
    if (server.requests().size() == 2) return false;
    EXPECT_TRUE(eventually("the stream is reset", [&] { return server.resets()[0x8] == 1; }));
    EXPECT_EQ(server.connections(), 1);
    EXPECT_EQ(client.stats().all.idle_connections, 1U);
    return true;
  }

 private:
  static void answer_other(const Http2Server& server, Held& held, int which) {
    EXPECT_TRUE(eventually("the other request has come", [&] { return server.count("/other") == which; }));
    for (const Http2Request& each : held.take(1))
      if (each.path == "/other") each.answer(200, "other");
  }
};

INSTANTIATE_TEST_SUITE_P(Ways, Http2Timeouts, ::testing::Values(Way::blocking, Way::loop, Way::coroutine),
                         [](const auto& way) { return name_of(way.param); });

TEST_P(Http2Timeouts, a_head_that_does_not_come_ends_at_the_read_timeout) {
  Held held;
  Http2Server server(held.handler());
  Client client(at_most(1), over_http2());
  Call call = patient();
  call.timeouts.read = milliseconds(20);
  const Request late = request("POST", server.url("/late"));
  EXPECT_TRUE(expect_timeout(server, client, held, late, call, ErrorCode::read_timeout));
}

TEST_P(Http2Timeouts, a_body_that_stops_ends_at_the_read_timeout) {
  Held held;
  Http2Server server([&](const Http2Request& request) {
    if (request.path == "/other") return held.handler()(request);
    request.begin(200);
    request.send("half");
  });
  Client client(at_most(1), over_http2());
  Call call = patient();
  call.timeouts.read = milliseconds(20);
  EXPECT_TRUE(expect_timeout(server, client, held, request("GET", server.url("/half")), call, ErrorCode::read_timeout));
}

TEST_P(Http2Timeouts, an_upload_that_stops_ends_at_the_write_timeout) {
  Held held;
  Http2Server server({.holds_bodies = true}, held.handler());
  Client client(at_most(1), over_http2());
  Call call = patient();
  call.timeouts.write = milliseconds(20);
  const Request upload = request("POST", server.url("/upload"), std::string(1'000'000, 'x'));
  EXPECT_TRUE(expect_timeout(server, client, held, upload, call, ErrorCode::write_timeout));
}

TEST_P(Http2Timeouts, a_request_ends_at_its_total_timeout) {
  EXPECT_TRUE(support::within_some_limit("the server hears of the request", milliseconds(100), [&](milliseconds limit) {
    Held held;
    Http2Server server(held.handler());
    Client client(at_most(1), over_http2());
    Call call = patient();
    call.total = limit;
    return expect_timeout(server, client, held, request("POST", server.url("/late")), call, ErrorCode::total_timeout);
  }));
}

TEST_P(Http2Timeouts, pieces_in_time_keep_a_response_alive) {
  Held held;
  Http2Server server(held.handler());
  Client client({}, over_http2());
  Call call = patient();
  call.timeouts.read = seconds(10);
  Sending sending(GetParam(), client, {request("GET", server.url())}, call);
  const Http2Request asked = held.take_one();
  asked.begin(200);
  for (int piece = 0; piece < 50; ++piece)
    asked.send("x");
  asked.finish();
  const auto results = sending.results();
  ASSERT_TRUE(results[0].ok()) << results[0].error().detail;
  EXPECT_EQ(results[0]->body, std::string(50, 'x'));
}

TEST_P(Http2Timeouts, the_wait_for_a_stream_ends_at_the_total_timeout) {
  Held held;
  Http2Server server({.max_streams = 1}, held.handler());
  Client client(at_most(1), over_http2());
  Sending first(GetParam(), client, numbered(server, 1));
  const Http2Request asked = held.take_one();
  Call call = patient();
  call.total = milliseconds(20);
  const auto late = send_all(GetParam(), client, {request("GET", server.url("/late"))}, call);
  EXPECT_EQ(late[0].error_or({}).code, ErrorCode::total_timeout);
  asked.answer(200, "/0");
  EXPECT_TRUE(first.results()[0].ok());
}

TEST_P(Http2Timeouts, a_connection_that_cannot_be_made_ends_all_that_wait_for_it_at_their_connect_timeouts) {
  const support::LoopbackServer silent([](ServerConnection& connection) { connection.read_to_end(); });
  support::CertificateAuthority authority;
  Client client({}, over_http2_or_1(authority.ca_file()));
  Call call = patient();
  call.timeouts.connect = milliseconds(50);
  std::vector<Request> requests;
  for (int number = 0; number < 5; ++number)
    requests.push_back(request("GET", "https://127.0.0.1:" + std::to_string(silent.port()) + "/"));
  for (const auto& result : send_all(GetParam(), client, requests, call)) {
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().code, ErrorCode::connect_timeout) << result.error().detail;
  }
}

TEST_P(Http2Timeouts, a_server_that_answers_nothing_at_all_ends_at_the_read_timeout) {
  Http2Server server({.silent = true});
  Client client({}, over_http2());
  Call call = patient();
  call.timeouts.read = milliseconds(20);
  const auto results = send_all(GetParam(), client, {request("GET", server.url())}, call);
  EXPECT_EQ(results[0].error_or({}).code, ErrorCode::read_timeout);
}

}  // namespace
}  // namespace fastpool::client::test
