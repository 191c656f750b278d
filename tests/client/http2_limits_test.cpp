// Streams beyond what a connection carries: another connection within the limit, else a wait.

#include "client/http2_fixture.h"

namespace fastpool::client::test {
namespace {

class Http2Limits : public Http2WayTest {};

INSTANTIATE_TEST_SUITE_P(Ways, Http2Limits, ::testing::Values(Way::blocking, Way::loop, Way::coroutine),
                         [](const auto& way) { return name_of(way.param); });

/// Fails for each response that is not the answer to its number.
void expect_own_answers(const std::vector<Result<Response>>& results) {
  for (std::size_t number = 0; number < results.size(); ++number) {
    ASSERT_TRUE(results[number].ok()) << results[number].error().detail;
    EXPECT_EQ(results[number]->body, "/" + std::to_string(number));
  }
}

void answer_with_path(const Http2Request& request) {
  request.answer(200, request.path);
}

/// From here on the client knows the server's limit: before its SETTINGS come, it takes 100 for granted.
void settle(Way way, Client& client, const Http2Server& server, Held& held) {
  Sending sending(way, client, {request("GET", server.url("/settle"))});
  answer_with_path(held.take_one());
  ASSERT_TRUE(sending.results()[0].ok());
}

TEST_P(Http2Limits, requests_beyond_the_servers_limit_open_another_connection) {
  Held held;
  Http2Server server({.max_streams = 4}, held.handler());
  Client client({}, over_http2());
  settle(GetParam(), client, server, held);
  Sending sending(GetParam(), client, numbered(server, 10), very_patient());
  for (const Http2Request& each : held.take(10))
    answer_with_path(each);
  expect_own_answers(sending.results());
  EXPECT_GE(server.connections(), 3);
  EXPECT_LE(server.most_open_streams_of_connection(), 4);
  EXPECT_EQ(client.stats().all.active_connections, 0U);
}

TEST_P(Http2Limits, requests_beyond_the_servers_and_the_pools_limit_wait) {
  Held held;
  Http2Server server({.max_streams = 2}, held.handler());
  Client client(at_most(2), over_http2());
  settle(GetParam(), client, server, held);
  Sending sending(GetParam(), client, numbered(server, 12), very_patient());
  int answered = 0;
  while (answered < 12) {
    ASSERT_TRUE(held.become(1));
    for (const Http2Request& each : held.take(1)) {
      answer_with_path(each);
      ++answered;
    }
  }
  expect_own_answers(sending.results());
  EXPECT_LE(server.most_open_streams_of_connection(), 2);
  EXPECT_LE(server.most_open_streams(), 4);
}

TEST_P(Http2Limits, a_request_without_room_ends_at_the_pool_timeout_and_leaves_the_others_alone) {
  Held held;
  Http2Server server({.max_streams = 1}, held.handler());
  Client client(at_most(1), over_http2());
  settle(GetParam(), client, server, held);
  Sending first(GetParam(), client, numbered(server, 1));
  const Http2Request asked = held.take_one();
  Call impatient = patient();
  impatient.timeouts.pool = milliseconds(20);
  const auto late = send_all(GetParam(), client, {request("GET", server.url("/late"))}, impatient);
  ASSERT_FALSE(late[0].ok());
  EXPECT_EQ(late[0].error().code, ErrorCode::pool_timeout) << late[0].error().detail;
  answer_with_path(asked);
  expect_own_answers(first.results());
  EXPECT_EQ(server.count("/late"), 0);
}

TEST_P(Http2Limits, a_server_that_lowers_its_limit_gets_no_more_than_that) {
  Held held;
  Http2Server server({.max_streams = 10}, held.handler());
  Client client(at_most(1), over_http2());
  Sending sending(GetParam(), client, numbered(server, 10));
  const auto first = held.take(10);
  server.limit_streams(0, 1);
  Sending more(GetParam(), client, {request("GET", server.url("/0")), request("GET", server.url("/1"))});
  for (const Http2Request& each : first)
    answer_with_path(each);
  expect_own_answers(sending.results());
  answer_with_path(held.take_one());
  answer_with_path(held.take_one());
  expect_own_answers(more.results());
  EXPECT_EQ(server.connections(), 1);
}

TEST_P(Http2Limits, a_server_that_raises_its_limit_gets_those_who_wait) {
  Held held;
  Http2Server server({.max_streams = 1}, held.handler());
  Client client(at_most(1), over_http2());
  Sending sending(GetParam(), client, numbered(server, 5));
  ASSERT_TRUE(held.become(1));
  server.limit_streams(0, 5);
  for (const Http2Request& each : held.take(5))
    answer_with_path(each);
  expect_own_answers(sending.results());
  EXPECT_EQ(server.connections(), 1);
}

TEST(Http2Homes, threads_and_loops_share_a_connection_one_after_the_other) {
  Http2Server server(answer_with_path);
  Client client(at_most(1), over_http2());
  for (int round = 0; round < 5; ++round) {
    for (const Way way : {Way::blocking, Way::loop, Way::coroutine})
      expect_own_answers(send_all(way, client, numbered(server, 10)));
  }
  EXPECT_EQ(server.connections(), 1);
}

TEST(Http2Homes, threads_and_loops_at_once_all_get_their_turns_at_the_limit) {
  Http2Server server({.max_streams = 3}, answer_with_path);
  Client client(at_most(2), over_http2());
  std::vector<std::unique_ptr<Sending>> all;
  for (int round = 0; round < 4; ++round) {
    for (const Way way : {Way::blocking, Way::loop, Way::coroutine})
      all.push_back(std::make_unique<Sending>(way, client, numbered(server, 40), very_patient()));
  }
  for (const auto& each : all)
    expect_own_answers(each->results());
  EXPECT_LE(server.most_open_streams_of_connection(), 3);
  EXPECT_EQ(client.stats().all.active_connections, 0U);
  EXPECT_EQ(client.stats().all.waiters, 0U);
}

/// POST requests to that path.
std::vector<Request> several(const Http2Server& server, std::string_view path, int count) {
  return std::vector<Request>(static_cast<std::size_t>(count), request("POST", server.url(path), "body"));
}

TEST(Http2Homes, at_the_limit_a_loop_and_threads_share_a_connection) {
  Held held;
  Http2Server server(held.handler());
  Client client(at_most(1), over_http2());
  Sending threads(Way::blocking, client, several(server, "/threads", 3));
  const auto first = held.take(3);
  Sending loop(Way::loop, client, several(server, "/loop", 3));
  const auto second = held.take(3);
  ASSERT_EQ(second.size(), 3U) << "though no response has come yet";
  for (const auto* requests : {&second, &first})
    for (const Http2Request& each : *requests)
      answer_with_path(each);
  for (const Sending* sending : {&threads, &loop})
    for (const auto& result : const_cast<Sending*>(sending)->results())
      EXPECT_TRUE(result.ok()) << result.error().detail;
  EXPECT_EQ(server.connections(), 1);
}

TEST(Http2Homes, a_stream_that_a_loop_has_opened_may_be_read_by_a_thread) {
  Held held;
  Http2Server server(held.handler());
  Client client({}, over_http2());
  Loop loop = *Loop::make();
  std::optional<Result<Stream>> opened;
  open(loop, client, request("GET", server.url()), patient(),
       [&](Result<Stream> stream) { opened = std::move(stream); });
  std::thread answering([&] { held.take_one().answer(200, std::string(100'000, 'x')); });
  run(loop);
  answering.join();
  ASSERT_TRUE(opened && opened->ok());
  std::size_t got = 0;
  for (;;) {
    const auto piece = (*opened)->read();
    ASSERT_TRUE(piece.ok()) << piece.error().detail;
    if (piece->empty()) break;
    got += piece->size();
  }
  EXPECT_EQ(got, 100'000U);
}

TEST(Http2Homes, streams_that_threads_have_opened_may_each_be_read_in_a_loop_of_its_own) {
  Held held;
  Http2Server server(held.handler());
  Client client({}, over_http2());
  const auto open_one = [&] {
    auto opening = std::async(std::launch::async, [&] { return client.open(request("GET", server.url()), patient()); });
    Http2Request asked = held.take_one();
    asked.begin(200);
    return std::pair(support::value_of("the head has come", opening), asked);
  };
  auto [first, first_asked] = open_one();
  auto [second, second_asked] = open_one();
  ASSERT_TRUE(first.ok() && second.ok());
  ASSERT_EQ(server.connections(), 1);
  Loop first_loop = *Loop::make();
  Loop second_loop = *Loop::make();
  std::string got_first;
  std::string got_second;
  read(first_loop, *first,
       [&](Result<std::string_view> piece) { got_first = piece.ok() ? std::string(*piece) : piece.error().detail; });
  read(second_loop, *second,
       [&](Result<std::string_view> piece) { got_second = piece.ok() ? std::string(*piece) : piece.error().detail; });
  first_asked.send("one");
  run(first_loop);  // the other loop has nothing to do, and is not turned
  EXPECT_EQ(got_first, "one");
  second_asked.send("two");
  run(second_loop);
  EXPECT_EQ(got_second, "two");
}

TEST(Http2Homes, streams_that_threads_have_opened_are_read_by_loops_of_several_threads) {
  Held held;
  Http2Server server(held.handler());
  Client client({}, over_http2());
  std::vector<std::future<std::string>> readers;
  for (int number = 0; number < 4; ++number) {
    auto opening = std::async(std::launch::async, [&] { return client.open(request("GET", server.url()), patient()); });
    const Http2Request asked = held.take_one();
    asked.begin(200);
    auto stream = support::value_of("the head has come", opening);
    ASSERT_TRUE(stream.ok()) << stream.error().detail;
    readers.push_back(std::async(std::launch::async, [asked, opened = std::move(stream).value()]() mutable {
      Loop loop = *Loop::make();
      std::string got;
      for (bool ended = false; !ended;) {
        asked.send("x");
        if (got.size() == 9) asked.finish();
        read(loop, opened, [&](Result<std::string_view> piece) {
          ended = !piece.ok() || piece->empty();
          got += piece.ok() ? std::string(*piece) : piece.error().detail;
        });
        run(loop);
      }
      return got;
    }));
  }
  for (auto& each : readers)
    EXPECT_EQ(support::value_of("a reader is done", each).substr(0, 10), std::string(10, 'x'));
  EXPECT_EQ(server.connections(), 1);
}

}  // namespace
}  // namespace fastpool::client::test
