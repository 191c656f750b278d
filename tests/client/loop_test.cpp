// Requests in a loop: functions, coroutines, streams, many at once, and their ends.

#include <set>

#include <poll.h>

#include <fastpool/coroutine.h>
#include <fastpool/loop.h>

#include "client/loop_fixture.h"
#include "support/raw_listener.h"

namespace fastpool::client::test {
namespace {

class LoopTest : public ::testing::Test {
 protected:
  Loop loop_{*Loop::make()};
  Client client_;
};

TEST_F(LoopTest, a_request_calls_its_function_from_a_turn) {
  const HttpServer server;
  bool within = true;
  std::optional<Result<Response>> result;
  send(loop_, client_, request("POST", server.url(), "echo"), patient(), [&](Result<Response> response) {
    EXPECT_FALSE(within) << "called from within send()";
    result = std::move(response);
  });
  within = false;
  EXPECT_TRUE(loop_.busy());
  run(loop_);
  ASSERT_TRUE(result.has_value());
  ASSERT_TRUE(result->ok()) << result->error().detail;
  EXPECT_EQ((*result)->body, "echo");
  EXPECT_EQ((*result)->status, 200);
  EXPECT_EQ(client_.stats().all.idle_connections, 1U);
}

TEST_F(LoopTest, a_request_that_cannot_begin_calls_its_function_from_a_turn_too) {
  bool within = true;
  ErrorCode code{};
  send(loop_, client_, request("GET", "nonsense"), patient(), [&](Result<Response> response) {
    EXPECT_FALSE(within);
    code = response.error().code;
  });
  within = false;
  run(loop_);
  EXPECT_EQ(code, ErrorCode::invalid_argument);
}

TEST_F(LoopTest, its_descriptor_is_readable_while_an_operation_can_go_on) {
  const HttpServer server;
  bool answered = false;
  send(loop_, client_, request("GET", server.url()), patient(), [&](const Result<Response>&) { answered = true; });
  while (!answered) {
    ASSERT_TRUE(
        support::becomes_ready("the loop has something to do", loop_.descriptor(), POLLIN, support::wait_limit));
    loop_.turn();
  }
  EXPECT_FALSE(loop_.busy());
}

TEST_F(LoopTest, many_requests_at_once_get_their_own_answers) {
  const HttpServer server;
  PoolSettings settings;
  settings.max_connections_per_endpoint = 8;
  Client client(settings);
  std::set<int> answered;
  for (int number = 0; number < 200; ++number) {
    const std::string body = std::to_string(number);
    send(loop_, client, request("POST", server.url(), body), patient(), [&, body, number](Result<Response> response) {
      ASSERT_TRUE(response.ok()) << response.error().detail;
      EXPECT_EQ(response->body, body);
      answered.insert(number);
    });
  }
  run(loop_);
  EXPECT_EQ(answered.size(), 200U);
  EXPECT_LE(server.connections(), 8);
  EXPECT_EQ(client.stats().all.active_connections, 0U);
}

TEST_F(LoopTest, a_function_may_begin_the_next_request) {
  const HttpServer server;
  int left = 20;
  std::function<void(Result<Response>)> next = [&](const Result<Response>& response) {
    ASSERT_TRUE(response.ok()) << response.error().detail;
    if (--left > 0) send(loop_, client_, request("GET", server.url()), patient(), next);
  };
  send(loop_, client_, request("GET", server.url()), patient(), next);
  run(loop_);
  EXPECT_EQ(left, 0);
  EXPECT_EQ(server.connections(), 1);
}

TEST_F(LoopTest, threads_and_loops_share_a_client) {
  const HttpServer server;
  std::thread blocking([&] {
    for (int count = 0; count < 50; ++count)
      EXPECT_EQ(client_.send(request("POST", server.url(), "thread"), patient())->body, "thread");
  });
  Loop other = *Loop::make();
  int left = 50;
  std::function<void(Result<Response>)> next = [&](const Result<Response>& response) {
    ASSERT_TRUE(response.ok()) << response.error().detail;
    EXPECT_EQ(response->body, "loop");
    if (--left > 0)
      send(left % 2 == 0 ? loop_ : other, client_, request("POST", server.url(), "loop"), patient(), next);
  };
  send(loop_, client_, request("POST", server.url(), "loop"), patient(), next);
  while (left > 0) {
    run(loop_);
    run(other);
    if (HasFatalFailure()) break;
  }
  blocking.join();
  EXPECT_EQ(client_.stats().all.active_connections, 0U);
}

// ---- ends ------------------------------------------------------------------------------------------------------------

/// Accepts requests and answers none.
class SilentServer : public HttpServer {
 public:
  SilentServer() : HttpServer([](ServerConnection& connection, int) { connection.read_to_end(); }) {}
};

TEST_F(LoopTest, timeouts_hold) {
  const SilentServer server;
  Call call = patient();
  call.timeouts.read = milliseconds(20);
  ErrorCode by_read{};
  send(loop_, client_, request("GET", server.url()), call,
       [&](const Result<Response>& response) { by_read = response.error().code; });
  Call whole = patient();
  whole.total = milliseconds(30);
  ErrorCode by_total{};
  send(loop_, client_, request("GET", server.url()), whole,
       [&](const Result<Response>& response) { by_total = response.error().code; });
  run(loop_);
  EXPECT_EQ(by_read, ErrorCode::read_timeout);
  EXPECT_EQ(by_total, ErrorCode::total_timeout);
}

TEST_F(LoopTest, a_drip_ends_at_the_total_timeout) {
  const HttpServer server([](ServerConnection& connection, int) {
    (void)read_request(connection);
    connection.write("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
    while (connection.write("x"))
      std::this_thread::sleep_for(milliseconds(20));
  });
  Call call = patient();
  call.total = milliseconds(200);
  std::optional<Result<Response>> result;
  send(loop_, client_, request("GET", server.url()), call,
       [&](Result<Response> response) { result = std::move(response); });
  run(loop_);
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->error().code, ErrorCode::total_timeout);
}

TEST_F(LoopTest, a_stop_request_from_another_thread_wakes_the_loop) {
  const SilentServer server;
  std::stop_source source;
  Call call = patient();
  call.stop = source.get_token();
  ErrorCode code{};
  send(loop_, client_, request("GET", server.url()), call,
       [&](const Result<Response>& response) { code = response.error().code; });
  std::thread stopper([&] { source.request_stop(); });
  run(loop_);
  stopper.join();
  EXPECT_EQ(code, ErrorCode::cancelled);
  EXPECT_EQ(client_.stats().all.active_connections, 0U);
}

TEST_F(LoopTest, a_stop_request_ends_the_wait_for_a_connection) {
  const SilentServer server;
  PoolSettings settings;
  settings.max_connections = 1;
  Client client(settings);
  std::stop_source source;
  Call call = patient();
  call.stop = source.get_token();
  int cancelled = 0;
  for (int count = 0; count < 3; ++count) {
    send(loop_, client, request("GET", server.url()), call, [&](const Result<Response>& response) {
      EXPECT_EQ(response.error().code, ErrorCode::cancelled);
      ++cancelled;
    });
  }
  ASSERT_TRUE(support::eventually("two requests wait", [&] {
    loop_.turn();
    return client.stats().all.waiters == 2;
  }));
  source.request_stop();
  run(loop_);
  EXPECT_EQ(cancelled, 3);
  EXPECT_EQ(client.stats().all.waiters, 0U);
}

TEST_F(LoopTest, stopping_at_any_moment_mixes_up_no_answers) {
  const HttpServer server;
  PoolSettings settings;
  settings.max_connections = 4;
  Client client(settings);
  std::vector<std::stop_source> sources(400);
  std::atomic<std::size_t> begun{0};
  std::atomic<bool> over{false};
  std::thread stopper([&] {
    while (!over) {
      const std::size_t known = begun;
      for (std::size_t index = 0; index < known; index += 3)
        sources[index].request_stop();
      std::this_thread::yield();
    }
  });
  std::size_t ended = 0;
  for (std::size_t index = 0; index < sources.size(); ++index) {
    Call call = patient();
    call.stop = sources[index].get_token();
    const std::string body = std::to_string(index);
    send(loop_, client, request("POST", server.url(), body), call, [&, body, index](const Result<Response>& response) {
      ++ended;
      if (response.ok()) {
        EXPECT_EQ(response->body, body);
      } else {
        EXPECT_EQ(response.error().code, ErrorCode::cancelled) << response.error().detail;
        EXPECT_EQ(index % 3, 0U);
      }
    });
    begun = index + 1;
    if (index % 10 == 0) loop_.turn();
  }
  run(loop_);
  over = true;
  stopper.join();
  EXPECT_EQ(ended, sources.size());
  EXPECT_EQ(client.stats().all.active_connections, 0U);
}

TEST_F(LoopTest, destroying_it_ends_pending_operations) {
  const SilentServer server;
  int cancelled = 0;
  {
    Loop ending = *Loop::make();
    for (int count = 0; count < 3; ++count) {
      send(ending, client_, request("GET", server.url()), patient(), [&](const Result<Response>& response) {
        EXPECT_EQ(response.error().code, ErrorCode::cancelled);
        ++cancelled;
      });
    }
    ending.turn();
  }
  EXPECT_EQ(cancelled, 3);
}

TEST_F(LoopTest, a_request_begun_while_the_loop_ends_fails_at_once) {
  const SilentServer server;
  std::vector<ErrorCode> codes;
  {
    Loop ending = *Loop::make();
    send(ending, client_, request("GET", server.url()), patient(), [&](const Result<Response>& first) {
      codes.push_back(first.error().code);
      send(ending, client_, request("GET", "nonsense"), patient(),
           [&](const Result<Response>& second) { codes.push_back(second.error().code); });
    });
  }
  EXPECT_EQ(codes, (std::vector{ErrorCode::cancelled, ErrorCode::invalid_argument}));
}

TEST_F(LoopTest, closing_the_client_ends_pending_operations) {
  const SilentServer server;
  ErrorCode code{};
  send(loop_, client_, request("GET", server.url()), patient(),
       [&](const Result<Response>& response) { code = response.error().code; });
  ASSERT_TRUE(support::eventually("the request is under way", [&] {
    loop_.turn();
    return client_.stats().all.active_connections == 1;
  }));
  client_.close();
  run(loop_);
  EXPECT_EQ(code, ErrorCode::pool_closed);
}

// ---- streams ---------------------------------------------------------------------------------------------------------

TEST_F(LoopTest, a_stream_gives_its_pieces_to_functions) {
  const HttpServer server([](ServerConnection& connection, int) {
    while (const Seen seen = read_request(connection))
      connection.write(ok(std::string(300'000, 'x')));
  });
  std::string body;
  std::optional<Stream> kept;
  std::function<void(Result<std::string_view>)> next = [&](const Result<std::string_view>& piece) {
    ASSERT_TRUE(piece.ok()) << piece.error().detail;
    body += *piece;
    if (!piece->empty()) read(loop_, *kept, next);
  };
  open(loop_, client_, request("GET", server.url()), patient(), [&](Result<Stream> stream) {
    ASSERT_TRUE(stream.ok()) << stream.error().detail;
    kept.emplace(std::move(stream).value());
    EXPECT_EQ(kept->head().status, 200);
    EXPECT_FALSE(kept->info().peer_address.empty());
    read(loop_, *kept, next);
  });
  run(loop_);
  EXPECT_EQ(body, std::string(300'000, 'x'));
  EXPECT_EQ(client_.stats().all.idle_connections, 1U);
}

TEST_F(LoopTest, a_stream_that_is_destroyed_calls_no_function) {
  const HttpServer server([](ServerConnection& connection, int) {
    (void)read_request(connection);
    connection.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n");
    connection.read_to_end();
  });
  std::optional<Stream> kept;
  open(loop_, client_, request("GET", server.url()), patient(), [&](Result<Stream> stream) {
    kept.emplace(std::move(stream).value());
    read(loop_, *kept, [](const Result<std::string_view>&) { ADD_FAILURE() << "called"; });
  });
  ASSERT_TRUE(support::eventually("the stream is open", [&] {
    loop_.turn();
    return kept.has_value();
  }));
  kept.reset();
  run(loop_);
  EXPECT_EQ(client_.stats().all.total_connections, 0U);
}

TEST_F(LoopTest, a_stream_may_be_read_by_a_thread_after_its_loop_has_opened_it) {
  const HttpServer server;
  std::optional<Stream> kept;
  open(loop_, client_, request("GET", server.url()), patient(),
       [&](Result<Stream> stream) { kept.emplace(std::move(stream).value()); });
  run(loop_);
  EXPECT_EQ(*kept->read(), "hello");
  EXPECT_EQ(*kept->read(), "");
}

// ---- coroutines ------------------------------------------------------------------------------------------------------

TEST_F(LoopTest, a_lease_sends_its_requests_on_one_connection) {
  const HttpServer server;
  std::optional<Lease> kept;
  lease(loop_, client_, server.url(), patient(), [&](Result<Lease> leased) {
    ASSERT_TRUE(leased.ok()) << leased.error().detail;
    kept.emplace(std::move(leased).value());
  });
  run(loop_);
  ASSERT_TRUE(kept.has_value());
  Call call = patient();
  call.lease = &*kept;
  std::vector<std::string> answers;
  const auto note = [&](const Result<Response>& response) { answers.push_back(response ? response->body : "failed"); };
  send(loop_, client_, request("POST", server.url(), "one"), call, note);
  run(loop_);
  send(loop_, client_, request("POST", server.url(), "two"), call, note);
  send(loop_, client_, request("POST", server.url(), "while the other is under way"), call, note);
  run(loop_);
  EXPECT_EQ(std::set<std::string>(answers.begin(), answers.end()), (std::set<std::string>{"one", "two", "failed"}));
  EXPECT_EQ(server.connections(), 1);
  EXPECT_EQ(client_.stats().all.active_connections, 1U);
  EXPECT_EQ(client_.send(request("POST", server.url(), "blocking"), call)->body, "blocking") << "on this lease too";
  kept->discard();
  EXPECT_EQ(client_.send(request("GET", server.url()), call).error().code, ErrorCode::stale_lease);
  EXPECT_EQ(server.connections(), 1);
}

TEST_F(LoopTest, a_lease_of_an_unreachable_server_is_an_error) {
  const support::RefusingPort refusing;
  ErrorCode code{};
  lease(loop_, client_, refusing.url(), patient(), [&](const Result<Lease>& leased) { code = leased.error().code; });
  run(loop_);
  EXPECT_EQ(code, ErrorCode::connect_failed);
  lease(loop_, client_, "nonsense", patient(), [&](const Result<Lease>& leased) { code = leased.error().code; });
  run(loop_);
  EXPECT_EQ(code, ErrorCode::invalid_argument);
}

TEST_F(LoopTest, a_stop_request_ends_the_wait_for_a_lease) {
  const HttpServer server;
  Client client({.max_connections = 1});
  const auto held = client.lease(server.url(), patient());
  ASSERT_TRUE(held.ok());
  std::stop_source source;
  Call call = patient();
  call.stop = source.get_token();
  std::optional<ErrorCode> code;
  lease(loop_, client, server.url(), call, [&](const Result<Lease>& leased) { code = leased.error().code; });
  std::thread stopper([&] { source.request_stop(); });
  run(loop_);
  stopper.join();
  EXPECT_EQ(code, ErrorCode::cancelled);
  EXPECT_EQ(client.stats().all.active_connections, 1U);
}

TEST_F(LoopTest, a_coroutine_uses_a_lease) {
  const HttpServer server;
  const std::string url = server.url();
  std::string body;
  const auto routine = [](Loop& loop, Client& client, const std::string& at, std::string& answer) -> Routine {
    auto leased = co_await lease(loop, client, at);
    if (!leased) co_return;
    const Request sent = request("POST", at, "echo");
    Call call = patient();
    call.lease = &*leased;
    auto response = co_await send(loop, client, sent, call);
    if (response) answer = response->body;
  }(loop_, client_, url, body);
  run(loop_);
  EXPECT_TRUE(routine.done());
  EXPECT_EQ(body, "echo");
  EXPECT_EQ(client_.stats().all.idle_connections, 1U) << "the lease has ended with the coroutine";
}

TEST_F(LoopTest, a_coroutine_awaits_responses) {
  const HttpServer server;
  const auto routine = [](Loop& loop, Client& client, const HttpServer& there) -> Routine {
    const Call call = patient();
    const Request post = request("POST", there.url(), "await");
    for (int count = 0; count < 3; ++count) {
      const auto response = co_await send(loop, client, post, call);
      EXPECT_TRUE(response.ok());
      EXPECT_EQ(response->body, "await");
    }
    const Request nonsense = request("GET", "nonsense");
    const auto refused = co_await send(loop, client, nonsense);
    EXPECT_EQ(refused.error().code, ErrorCode::invalid_argument);
  };
  const Routine running = routine(loop_, client_, server);
  EXPECT_FALSE(running.done());
  run(loop_);
  EXPECT_TRUE(running.done());
  EXPECT_EQ(server.connections(), 1);
}

TEST_F(LoopTest, a_request_in_braces_may_be_awaited_from_a_variable) {
  const HttpServer server;
  const auto routine = [](Loop& loop, Client& client, std::string url) -> Routine {
    auto awaited = send(loop, client, {.url = url}, {.max_body = 100});
    const auto response = co_await awaited;
    EXPECT_TRUE(response.ok());
    EXPECT_EQ(response->body, "hello");
#ifndef FASTPOOL_GCC_12_COROUTINES
    const auto again = co_await send(loop, client, {.url = url}, {.max_body = 100});
    EXPECT_TRUE(again.ok());
    EXPECT_EQ(again->body, "hello");
#endif
  };
  const Routine running = routine(loop_, client_, server.url());
  run(loop_);
  EXPECT_TRUE(running.done());
}

TEST_F(LoopTest, a_coroutine_streams_both_ways) {
  const HttpServer server([](ServerConnection& connection, int) {
    (void)connection.read_until("\r\n\r\n");
    const std::string got = connection.read_until("0\r\n\r\n");
    connection.write(ok(got));
    connection.read_to_end();
  });
  const auto routine = [](Loop& loop, Client& client, const HttpServer& there) -> Routine {
    Request upload = request("POST", there.url());
    upload.body = Body::written();
    const Call call = patient();
    auto stream = co_await open(loop, client, upload, call);
    EXPECT_TRUE(stream.ok());
    EXPECT_TRUE(*co_await write(loop, *stream, "one"));
    EXPECT_TRUE(*co_await write(loop, *stream, "two"));
    const auto finished = co_await finish(loop, *stream);
    EXPECT_TRUE(finished.ok());
    EXPECT_EQ(stream->head().status, 200);
    std::string body;
    for (;;) {
      const auto piece = co_await read(loop, *stream);
      EXPECT_TRUE(piece.ok());
      if (!piece.ok() || piece->empty()) break;
      body += *piece;
    }
    EXPECT_EQ(body, "3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n");
  };
  const Routine running = routine(loop_, client_, server);
  run(loop_);
  EXPECT_TRUE(running.done());
}

TEST_F(LoopTest, destroying_a_coroutine_cancels_its_request) {
  std::atomic<bool> asked{false};
  const HttpServer server([&](ServerConnection& connection, int) {
    asked = !read_request(connection).head.empty();
    connection.read_to_end();
  });
  const auto sending = [](Loop& loop, Client& client, const HttpServer& there) -> Routine {
    const Request get = request("GET", there.url());
    const Call call = patient();
    (void)co_await send(loop, client, get, call);
    ADD_FAILURE() << "resumed";
  };
  {
    const Routine running = sending(loop_, client_, server);
    ASSERT_TRUE(support::eventually("the request is under way", [&] {
      loop_.turn();
      return asked.load();
    }));
  }
  EXPECT_FALSE(loop_.busy());
  EXPECT_EQ(client_.stats().all.total_connections, 0U);

  const HttpServer half([](ServerConnection& connection, int) {
    (void)read_request(connection);
    connection.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n");
    connection.read_to_end();
  });
  bool reading = false;
  const auto streaming = [&reading](Loop& loop, Client& client, const HttpServer& there) -> Routine {
    const Request get = request("GET", there.url());
    const Call call = patient();
    auto stream = co_await open(loop, client, get, call);
    EXPECT_TRUE(stream.ok());
    reading = true;
    (void)co_await read(loop, *stream);
    ADD_FAILURE() << "resumed";
  };
  {
    const Routine running = streaming(loop_, client_, half);
    ASSERT_TRUE(support::eventually("the coroutine reads", [&] {
      loop_.turn();
      return reading;
    }));
  }
  EXPECT_FALSE(loop_.busy());
  EXPECT_EQ(client_.stats().all.total_connections, 0U);
}

}  // namespace
}  // namespace fastpool::client::test
