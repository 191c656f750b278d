// Requests over HTTP/2: shared connections, what a response may consist of, and which protocol is spoken.

#include "client/http2_fixture.h"

namespace fastpool::client::test {
namespace {

class Http2Requests : public Http2WayTest {};

INSTANTIATE_TEST_SUITE_P(Ways, Http2Requests, ::testing::Values(Way::blocking, Way::loop, Way::coroutine),
                         [](const auto& way) { return name_of(way.param); });

TEST_P(Http2Requests, two_hundred_requests_at_once_share_one_connection) {
  constexpr int count = 200;
  Held held;
  Http2Server server([&](const Http2Request& request) {
    if (request.path == "/first") return Http2Server::answer_it(request);
    held.handler()(request);
  });
  Client client({}, over_http2());
  ASSERT_TRUE(client.send(request("GET", server.url("/first")), patient()).ok());
  Sending sending(GetParam(), client, numbered(server, count), very_patient());
  for (const Http2Request& each : held.take(count))
    each.answer(200, "answer to " + each.path);
  const auto results = sending.results();
  for (int number = 0; number < count; ++number) {
    const auto& result = results[static_cast<std::size_t>(number)];
    ASSERT_TRUE(result.ok()) << result.error().detail;
    EXPECT_EQ(result->body, "answer to /" + std::to_string(number));
  }
  EXPECT_EQ(server.connections(), 1);
  EXPECT_EQ(server.most_open_streams(), count);
  EXPECT_EQ(client.stats().all.active_connections, 0U);
  EXPECT_EQ(client.stats().all.idle_connections, 1U);
}

TEST_P(Http2Requests, callers_without_a_connection_share_the_one_that_the_first_of_them_dials) {
  Held held;
  Http2Server server(held.handler());
  Client client({}, over_http2());
  Sending sending(GetParam(), client, numbered(server, 50), very_patient());
  for (const Http2Request& each : held.take(50))
    each.answer(200, each.path);
  for (const auto& result : sending.results())
    EXPECT_TRUE(result.ok()) << result.error().detail;
  EXPECT_EQ(server.connections(), 1);
}

TEST_P(Http2Requests, callers_share_a_connection_over_tls) {
  support::CertificateAuthority authority;
  Held held;
  Http2Server server({.certificate = authority.issue_localhost()}, held.handler());
  Client client({}, over_http2_or_1(authority.ca_file()));
  Sending sending(GetParam(), client, numbered(server, 50), very_patient());
  for (const Http2Request& each : held.take(50))
    each.answer(200, each.path);
  const auto results = sending.results();
  for (std::size_t number = 0; number < results.size(); ++number) {
    ASSERT_TRUE(results[number].ok()) << results[number].error().detail;
    EXPECT_EQ(results[number]->body, "/" + std::to_string(number));
  }
  EXPECT_EQ(server.connections(), 1);
  EXPECT_EQ(client.stats().handshakes, 1U);
}

TEST_P(Http2Requests, a_request_arrives_as_it_was_given) {
  Http2Server server([](const Http2Request& request) {
    request.answer(201,
                   request.method + " " + request.path + " " + request.field("x-one") + " " +
                       request.field("content-length") + " " + request.body,
                   {{"x-answer", "first"}, {"x-answer", "second"}});
  });
  Client client({}, over_http2());
  Request asked = request("POST", server.url("/path?query=1"), "the body");
  asked.headers = {{"X-One", "Value"}};
  const auto results = send_all(GetParam(), client, {asked});
  ASSERT_TRUE(results[0].ok()) << results[0].error().detail;
  const Response& response = *results[0];
  EXPECT_EQ(response.status, 201);
  EXPECT_EQ(response.reason, "");
  EXPECT_EQ(response.body, "POST /path?query=1 Value 8 the body");
  std::vector<std::string> answers;
  for (const std::string_view each : response.headers.all("x-answer"))
    answers.emplace_back(each);
  EXPECT_EQ(answers, (std::vector<std::string>{"first", "second"}));
}

TEST_P(Http2Requests, responses_without_a_body_end_with_their_head) {
  Http2Server server([](const Http2Request& request) {
    if (request.method == "HEAD") return request.answer(200, {}, {{"content-length", "1000"}});
    request.answer(request.path == "/304" ? 304 : 204);
  });
  Client client({}, over_http2());
  const auto results =
      send_all(GetParam(), client,
               {request("HEAD", server.url()), request("GET", server.url("/304")), request("GET", server.url("/204"))});
  const std::vector<int> expected{200, 304, 204};
  for (std::size_t at = 0; at < results.size(); ++at) {
    ASSERT_TRUE(results[at].ok()) << results[at].error().detail;
    EXPECT_EQ(results[at]->status, expected[at]);
    EXPECT_EQ(results[at]->body, "");
  }
  EXPECT_EQ(results[0]->headers.find("content-length"), "1000");
  EXPECT_EQ(server.connections(), 1);
}

TEST_P(Http2Requests, trailers_follow_the_body) {
  Http2Server server([](const Http2Request& request) {
    request.answer(200, "body", {}, {{"grpc-status", "0"}, {"grpc-message", "fine"}});
  });
  Client client({}, over_http2());
  const auto results = send_all(GetParam(), client, {request("GET", server.url())});
  ASSERT_TRUE(results[0].ok()) << results[0].error().detail;
  EXPECT_EQ(results[0]->body, "body");
  EXPECT_EQ(results[0]->trailers.find("grpc-status"), "0");
  EXPECT_EQ(results[0]->trailers.find("grpc-message"), "fine");
  EXPECT_FALSE(results[0]->headers.contains("grpc-status"));
}

TEST_P(Http2Requests, a_body_larger_than_the_window_arrives_whole) {
  std::string large;
  for (int line = 0; large.size() < 5UL * 1024 * 1024; ++line)
    large += std::to_string(line) + "\n";
  Http2Server server([&](const Http2Request& request) { request.answer(200, large); });
  Client client({}, over_http2());
  for (const auto& result : send_all(GetParam(), client, numbered(server, 3))) {
    ASSERT_TRUE(result.ok()) << result.error().detail;
    EXPECT_TRUE(result->body == large) << result->body.size() << " bytes";
  }
}

TEST_P(Http2Requests, an_error_of_one_stream_leaves_the_others_alone) {
  Held held;
  Http2Server server(held.handler());
  Client client({}, over_http2());
  Sending sending(GetParam(), client,
                  {request("POST", server.url("/bad"), "1"), request("POST", server.url("/good"), "2")});
  for (const Http2Request& each : held.take(2)) {
    if (each.path == "/bad") {
      each.reset(0x2);  // INTERNAL_ERROR
    } else {
      each.answer(200, "fine");
    }
  }
  const auto results = sending.results();
  ASSERT_FALSE(results[0].ok());
  EXPECT_EQ(results[0].error().code, ErrorCode::remote_protocol);
  EXPECT_NE(results[0].error().detail.find("INTERNAL_ERROR"), std::string::npos) << results[0].error().detail;
  ASSERT_TRUE(results[1].ok()) << results[1].error().detail;
  EXPECT_EQ(results[1]->body, "fine");
  EXPECT_EQ(server.connections(), 1);
  EXPECT_EQ(server.count("/bad"), 1);
}

TEST(Http2, a_slow_reader_holds_up_no_other_stream) {
  const std::string large(8UL * 1024 * 1024, 'x');
  Http2Server server([&](const Http2Request& request) {
    request.answer(200, request.path == "/large" ? large : std::string("small"));
  });
  Client client({}, over_http2());
  auto slow = client.open(request("GET", server.url("/large")), patient());
  ASSERT_TRUE(slow.ok()) << slow.error().detail;
  std::size_t got = 0;
  for (int others = 0;; ++others) {
    const auto piece = slow->read();
    ASSERT_TRUE(piece.ok()) << piece.error().detail;
    if (piece->empty()) break;
    got += piece->size();
    if (others >= 20) continue;
    const auto small = client.send(request("GET", server.url("/small")), patient());
    ASSERT_TRUE(small.ok()) << small.error().detail;
    EXPECT_EQ(small->body, "small");
  }
  EXPECT_EQ(got, large.size());
  EXPECT_EQ(server.connections(), 1);
}

TEST(Http2, a_stream_gives_head_and_pieces_as_they_come) {
  Held held;
  Http2Server server(held.handler());
  Client client({}, over_http2());
  auto opening = std::async(std::launch::async, [&] { return client.open(request("GET", server.url()), patient()); });
  const Http2Request asked = held.take_one();
  asked.begin(200, {{"content-type", "text/event-stream"}});
  auto stream = support::value_of("the head has come", opening);
  ASSERT_TRUE(stream.ok()) << stream.error().detail;
  EXPECT_EQ(stream->head().version_major, 2);
  EXPECT_EQ(stream->head().version_minor, 0);
  EXPECT_EQ(stream->head().headers.find("content-type"), "text/event-stream");
  for (const std::string_view piece : {"one", "two", "three"}) {
    asked.send(piece);
    const auto read = stream->read();
    ASSERT_TRUE(read.ok()) << read.error().detail;
    EXPECT_EQ(*read, piece);
  }
  asked.finish({{"x-end", "yes"}});
  const auto end = stream->read();
  ASSERT_TRUE(end.ok()) << end.error().detail;
  EXPECT_EQ(*end, "");
  EXPECT_EQ(stream->trailers().find("x-end"), "yes");
}

TEST(Http2, interim_responses_are_reported_in_their_order) {
  Held held;
  Http2Server server(held.handler());
  Client client({}, over_http2());
  std::vector<int> seen;
  Call call = patient();
  call.on_interim = [&](const ResponseHead& head) { seen.push_back(head.status); };
  auto sending = std::async(std::launch::async, [&] { return client.send(request("GET", server.url()), call); });
  const Http2Request asked = held.take_one();
  asked.inform(102);
  asked.inform(103, {{"link", "</style.css>"}});
  asked.answer(200, "final");
  const auto response = support::value_of("the response has come", sending);
  ASSERT_TRUE(response.ok()) << response.error().detail;
  EXPECT_EQ(response->body, "final");
  EXPECT_EQ(seen, (std::vector<int>{102, 103}));
}

TEST(Http2, a_body_larger_than_allowed_ends_its_stream_alone) {
  Http2Server server([](const Http2Request& request) { request.answer(200, std::string(100'000, 'x')); });
  Client client({}, over_http2());
  Call call = patient();
  call.max_body = 1000;
  EXPECT_EQ(client.send(request("GET", server.url()), call).error().code, ErrorCode::body_too_large);
  const auto response = client.send(request("GET", server.url()), patient());
  ASSERT_TRUE(response.ok()) << response.error().detail;
  EXPECT_EQ(response->body.size(), 100'000U);
  EXPECT_EQ(server.connections(), 1);
}

// ---- which protocol is spoken ----------------------------------------------------------------------------------------

TEST_P(Http2Requests, a_server_that_chooses_http1_gets_http1) {
  support::CertificateAuthority authority;
  const support::LoopbackServer server({.certificate = authority.issue_localhost(), .protocol = "http/1.1"}, serve);
  const std::string url = "https://localhost:" + std::to_string(server.port()) + "/";
  Client client(at_most(4), over_http2_or_1(authority.ca_file()));
  for (int round = 0; round < 2; ++round) {
    std::vector<Request> requests;
    for (int number = 0; number < 20; ++number)
      requests.push_back(request("POST", url, std::to_string(number)));
    const auto results = send_all(GetParam(), client, requests);
    for (std::size_t number = 0; number < results.size(); ++number) {
      ASSERT_TRUE(results[number].ok()) << results[number].error().detail;
      EXPECT_EQ(results[number]->body, std::to_string(number));
    }
  }
  EXPECT_LE(server.connections(), 4);
  EXPECT_EQ(client.stats().all.active_connections, 0U);
}

TEST(Http2, a_server_without_alpn_gets_http1) {
  support::CertificateAuthority authority;
  const support::LoopbackServer server({.certificate = authority.issue_localhost(), .protocol = "none"},
                                       [](ServerConnection& connection) {
                                         EXPECT_EQ(connection.offered_protocols(), "h2,http/1.1");
                                         serve(connection);
                                       });
  Client client({}, over_http2_or_1(authority.ca_file()));
  auto stream = client.open(request("GET", "https://localhost:" + std::to_string(server.port()) + "/"), patient());
  ASSERT_TRUE(stream.ok()) << stream.error().detail;
  EXPECT_EQ(stream->head().version_major, 1);
}

TEST(Http2, alone_is_not_spoken_to_a_server_that_did_not_choose_it) {
  support::CertificateAuthority authority;
  const support::LoopbackServer server({.certificate = authority.issue_localhost(), .protocol = "none"}, serve);
  Profile profile = over_http2();
  profile.tls.ca_file = authority.ca_file();
  Client client({}, profile);
  const auto response =
      client.send(request("GET", "https://localhost:" + std::to_string(server.port()) + "/"), patient());
  ASSERT_FALSE(response.ok());
  EXPECT_NE(response.error().code, ErrorCode::read_timeout) << response.error().detail;
}

TEST(Http2, is_not_spoken_without_tls_where_http1_is_allowed) {
  const HttpServer server;
  Profile profile;
  profile.protocols = {.http1 = true, .http2 = true};
  Client client({}, profile);
  const auto response = client.send(request("POST", server.url(), "plain"), patient());
  ASSERT_TRUE(response.ok()) << response.error().detail;
  EXPECT_EQ(response->body, "plain");
}

TEST(Http2, a_server_of_http1_is_an_error_with_prior_knowledge) {
  const HttpServer server([](ServerConnection& connection, int) {
    (void)connection.read_some();
    connection.write("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    connection.read_to_end();
  });
  Client client({}, over_http2());
  const auto response = client.send(request("POST", server.url(), "once"), patient());
  ASSERT_FALSE(response.ok());
  EXPECT_EQ(response.error().code, ErrorCode::remote_protocol) << response.error().detail;
}

TEST(Http2, a_profile_that_allows_no_protocol_is_refused) {
  Profile profile;
  profile.protocols = {.http1 = false, .http2 = false};
  Client client({}, profile);
  EXPECT_EQ(client.send(request("GET", "http://127.0.0.1:1/"), patient()).error().code, ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace fastpool::client::test
