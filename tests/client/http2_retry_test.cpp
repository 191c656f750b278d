// What is sent again over HTTP/2, on which proof, and what never is.

#include "client/http2_fixture.h"

namespace fastpool::client::test {
namespace {

constexpr std::uint32_t refused_stream = 0x7;

class Http2Retry : public Http2WayTest {};

INSTANTIATE_TEST_SUITE_P(Ways, Http2Retry, ::testing::Values(Way::blocking, Way::loop, Way::coroutine),
                         [](const auto& way) { return name_of(way.param); });

TEST_P(Http2Retry, requests_above_the_last_id_of_a_goaway_are_sent_again_and_those_below_finish) {
  Held held;
  Http2Server server(held.handler());
  Client client({}, over_http2());
  std::vector<Request> posts;
  for (int number = 0; number < 4; ++number)
    posts.push_back(request("POST", server.url("/" + std::to_string(number)), "body " + std::to_string(number)));
  Sending sending(GetParam(), client, posts);
  auto first = held.take(4);
  std::sort(first.begin(), first.end(), [](const auto& a, const auto& b) { return a.stream < b.stream; });
  server.say_goodbye(0, first[1].stream);
  const auto again = held.take(2);
  EXPECT_EQ(sending.done(), 0U) << "streams below the last id go on";
  for (const Http2Request& each : again) {
    EXPECT_EQ(each.connection, 1);
    EXPECT_TRUE(each.path == first[2].path || each.path == first[3].path) << each.path;
    each.answer(200, each.body);
  }
  first[0].answer(200, first[0].body);
  first[1].answer(200, first[1].body);
  const auto results = sending.results();
  for (std::size_t number = 0; number < 4; ++number) {
    ASSERT_TRUE(results[number].ok()) << results[number].error().detail;
    EXPECT_EQ(results[number]->body, "body " + std::to_string(number));
  }
  EXPECT_EQ(client.stats().retries, 2U);
  EXPECT_EQ(client.stats().retries_unread, 2U);
  EXPECT_EQ(client.stats().all.total_connections, 1U) << "the one that said goodbye was closed";
}

TEST_P(Http2Retry, a_post_below_the_last_id_is_never_sent_again) {
  Held held;
  Http2Server server(held.handler());
  Client client({}, over_http2());
  Sending sending(GetParam(), client, {request("POST", server.url("/once"), "body")});
  const Http2Request asked = held.take_one();
  server.say_goodbye(0, asked.stream);
  server.close(0);
  const auto results = sending.results();
  ASSERT_FALSE(results[0].ok());
  EXPECT_EQ(results[0].error().code, ErrorCode::read_failed) << results[0].error().detail;
  EXPECT_GT(results[0].error().bytes_sent, 0U);
  EXPECT_EQ(server.count("/once"), 1);
  EXPECT_EQ(client.stats().retries, 0U);
}

TEST_P(Http2Retry, a_refused_stream_is_sent_again) {
  std::atomic<int> refusals{2};
  Http2Server server([&](const Http2Request& request) {
    if (refusals-- > 0) return request.reset(refused_stream);
    request.answer(200, request.body);
  });
  Client client({}, over_http2());
  const auto results = send_all(GetParam(), client, {request("POST", server.url(), "body")});
  ASSERT_TRUE(results[0].ok()) << results[0].error().detail;
  EXPECT_EQ(results[0]->body, "body");
  EXPECT_EQ(client.stats().retries_unread, 2U);
}

TEST_P(Http2Retry, a_stream_that_is_refused_for_ever_is_sent_again_five_times) {
  Http2Server server([](const Http2Request& request) { request.reset(refused_stream); });
  Client client({}, over_http2());
  const auto results = send_all(GetParam(), client, {request("POST", server.url("/refused"), "body")});
  ASSERT_FALSE(results[0].ok());
  EXPECT_EQ(results[0].error().code, ErrorCode::remote_protocol);
  EXPECT_EQ(server.count("/refused"), 6);
  EXPECT_EQ(client.stats().retries_unread, 5U);
}

TEST_P(Http2Retry, a_get_is_sent_again_when_its_used_connection_breaks_and_a_post_is_not) {
  Held held;
  Http2Server server([&](const Http2Request& request) {
    if (request.path == "/first") return Http2Server::answer_it(request);
    held.handler()(request);
  });
  Client client({}, over_http2());
  ASSERT_TRUE(client.send(request("GET", server.url("/first")), patient()).ok());
  Sending sending(GetParam(), client,
                  {request("GET", server.url("/get")), request("POST", server.url("/post"), "body")});
  ASSERT_EQ(held.take(2).size(), 2U);
  server.close(0);
  const Http2Request again = held.take_one();
  EXPECT_EQ(again.path, "/get");
  EXPECT_EQ(again.connection, 1);
  again.answer(200, "again");
  const auto results = sending.results();
  ASSERT_TRUE(results[0].ok()) << results[0].error().detail;
  EXPECT_EQ(results[0]->body, "again");
  ASSERT_FALSE(results[1].ok());
  EXPECT_EQ(results[1].error().code, ErrorCode::read_failed) << results[1].error().detail;
  EXPECT_EQ(server.count("/post"), 1);
}

TEST_P(Http2Retry, a_connection_that_is_reset_is_an_error_of_each_of_its_requests) {
  Held held;
  Http2Server server(held.handler());
  Client client({}, over_http2());
  std::vector<Request> posts;
  for (int number = 0; number < 5; ++number)
    posts.push_back(request("POST", server.url("/post"), std::to_string(number)));
  Sending sending(GetParam(), client, posts);
  ASSERT_EQ(held.take(5).size(), 5U);
  server.reset(0);
  for (const auto& result : sending.results()) {
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().code, ErrorCode::read_failed) << result.error().detail;
  }
  EXPECT_EQ(server.count("/post"), 5);
  EXPECT_EQ(client.stats().all.total_connections, 0U);
}

TEST(Http2RetryOfStreams, nothing_is_sent_again_once_the_response_has_begun) {
  Held held;
  Http2Server server(held.handler());
  Client client({}, over_http2());
  auto opening =
      std::async(std::launch::async, [&] { return client.open(request("GET", server.url("/0")), patient()); });
  const Http2Request asked = held.take_one();
  asked.begin(200);
  auto stream = support::value_of("the head has come", opening);
  ASSERT_TRUE(stream.ok()) << stream.error().detail;
  asked.reset(refused_stream);  // a lie
  EXPECT_EQ(stream->read().error_or({}).code, ErrorCode::remote_protocol);
  EXPECT_EQ(server.count("/0"), 1);
}

TEST_P(Http2Retry, a_connection_that_its_server_closed_between_two_requests_costs_neither) {
  Http2Server server;
  Client client({}, over_http2());
  for (int round = 0; round < 3; ++round) {
    const auto results = send_all(GetParam(), client, {request("POST", server.url(), std::to_string(round))});
    ASSERT_TRUE(results[0].ok()) << results[0].error().detail;
    EXPECT_EQ(results[0]->body, std::to_string(round));
    server.close(round);
    ASSERT_TRUE(eventually("the connection is closed", [&] { return server.open_connections() == 0; }));
  }
  EXPECT_EQ(server.connections(), 3);
}

TEST_P(Http2Retry, a_server_that_says_goodbye_after_each_answer_gets_every_request_once) {
  Http2Server server([](const Http2Request& request) {
    request.server().say_goodbye(request.connection);
    request.answer(200, request.body);
  });
  Client client({}, over_http2());
  for (int round = 0; round < 10; ++round) {
    std::vector<Request> posts;
    for (int number = 0; number < 10; ++number)
      posts.push_back(request("POST", server.url("/" + std::to_string(round)), std::to_string(number)));
    const auto results = send_all(GetParam(), client, posts, very_patient());
    for (std::size_t number = 0; number < results.size(); ++number) {
      ASSERT_TRUE(results[number].ok()) << results[number].error().detail;
      EXPECT_EQ(results[number]->body, std::to_string(number));
    }
  }
}

TEST(Http2RetryOfBodies, a_body_that_can_be_rewound_is_sent_again_from_its_start) {
  std::atomic<int> refusals{1};
  Http2Server server([&](const Http2Request& request) {
    if (refusals-- > 0) return request.reset(refused_stream);
    request.answer(200, request.body);
  });
  Client client({}, over_http2());
  int at = 0;
  const auto pull = [&](std::span<char> buffer) -> Result<std::size_t> {
    if (at == 3) return std::size_t{0};
    buffer[0] = static_cast<char>('a' + at++);
    return std::size_t{1};
  };
  Request asked = request("POST", server.url());
  asked.body = Body::pull({}, pull, [&]() -> Result<void> {
    at = 0;
    return {};
  });
  const auto response = client.send(asked, patient());
  ASSERT_TRUE(response.ok()) << response.error().detail;
  EXPECT_EQ(response->body, "abc");
}

TEST(Http2RetryOfBodies, a_body_that_cannot_be_rewound_is_sent_once) {
  Http2Server server([](const Http2Request& request) { request.reset(refused_stream); });
  Client client({}, over_http2());
  bool given = false;
  Request asked = request("POST", server.url("/once"));
  asked.body = Body::pull(1, [&](std::span<char> buffer) -> Result<std::size_t> {
    if (std::exchange(given, true)) return std::size_t{0};
    buffer[0] = 'x';
    return std::size_t{1};
  });
  EXPECT_FALSE(client.send(asked, patient()).ok());
  EXPECT_EQ(server.count("/once"), 1);
}

}  // namespace
}  // namespace fastpool::client::test
