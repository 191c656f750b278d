// The whole way of a request, against a real server: reuse, retries, endings.

#include "client/client_fixture.h"

namespace fastpool::client::test {
namespace {

TEST(Client, keeps_its_connection_for_the_next_request) {
  const HttpServer server;
  Client client;
  for (int i = 0; i < 3; ++i) {
    const auto response = client.send(request("GET", server.url()), patient());
    ASSERT_TRUE(response.ok()) << response.error().detail;
    EXPECT_EQ(response->status, 200);
    EXPECT_EQ(response->reason, "OK");
    EXPECT_EQ(response->body, "hello");
  }
  EXPECT_EQ(server.connections(), 1);
  EXPECT_EQ(client.stats().reused, 2U);
}

TEST(Client, sends_path_and_query_and_no_fragment) {
  const HttpServer server([](ServerConnection& connection, int) {
    while (const Seen seen = read_request(connection))
      connection.write(ok(seen.head.substr(0, seen.head.find('\r'))));
  });
  Client client;
  const auto line = [&](std::string_view path) {
    return client.send(request("GET", server.url(path)), patient())->body;
  };
  EXPECT_EQ(line("/a/b?c=d#e"), "GET /a/b?c=d HTTP/1.1");
  EXPECT_EQ(line("?q"), "GET /?q HTTP/1.1");
  EXPECT_EQ(line(""), "GET / HTTP/1.1");
}

TEST(Client, a_get_on_a_connection_that_went_stale_is_sent_again) {
  const HttpServer server([](ServerConnection& connection, int number) {
    if (number > 0) return serve(connection);
    (void)read_request(connection);
    connection.write(ok("first"));
    (void)read_request(connection);  // and closes without an answer
  });
  Client client;
  EXPECT_EQ(client.send(request("GET", server.url()), patient())->body, "first");
  const auto again = client.send(request("GET", server.url()), patient());
  ASSERT_TRUE(again.ok()) << again.error().detail;
  EXPECT_EQ(again->body, "hello");
  EXPECT_EQ(server.connections(), 2);
}

class Posting : public ::testing::Test {
 protected:
  std::atomic<int> posts_{0};
  const HttpServer server_{[this](ServerConnection& connection, int number) {
    while (const Seen seen = read_request(connection)) {
      const bool post = seen.head.starts_with("POST");
      if (post) ++posts_;
      if (post && number == 0) return;
      connection.write(ok("answer"));
    }
  }};
  Client client_;
};

TEST_F(Posting, a_post_that_the_server_may_have_read_is_never_sent_twice) {
  ASSERT_TRUE(client_.send(request("GET", server_.url()), patient()).ok());
  const auto failed = client_.send(request("POST", server_.url(), "pay me"), patient());
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code, ErrorCode::read_failed);
  EXPECT_GT(failed.error().bytes_sent, 0U);
  EXPECT_EQ(posts_, 1);
  EXPECT_EQ(server_.connections(), 1);
}

TEST_F(Posting, a_post_with_an_idempotency_key_is_sent_again) {
  ASSERT_TRUE(client_.send(request("GET", server_.url()), patient()).ok());
  Request post = request("POST", server_.url(), "pay me once");
  post.headers.emplace_back("Idempotency-Key", "k");
  const auto response = client_.send(post, patient());
  ASSERT_TRUE(response.ok()) << response.error().detail;
  EXPECT_EQ(posts_, 2);
}

TEST_F(Posting, the_key_may_have_its_older_name) {
  ASSERT_TRUE(client_.send(request("GET", server_.url()), patient()).ok());
  Request post = request("POST", server_.url(), "pay me once");
  post.headers.emplace_back("X-Idempotency-Key", "k");
  const auto response = client_.send(post, patient());
  ASSERT_TRUE(response.ok()) << response.error().detail;
  EXPECT_EQ(posts_, 2);
}

TEST_F(Posting, nothing_is_sent_again_on_a_fresh_connection) {
  Request post = request("POST", server_.url(), "pay me once");
  post.headers.emplace_back("Idempotency-Key", "k");
  const auto failed = client_.send(post, patient());
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(posts_, 1);
  EXPECT_NE(failed.error().detail.find("127.0.0.1"), std::string::npos) << "names the origin";
}

TEST(Client, an_early_refusal_of_an_upload_is_delivered_and_its_connection_not_kept) {
  const HttpServer server([](ServerConnection& connection, int number) {
    if (number > 0) return serve(connection);
    (void)connection.read_until("\r\n\r\n");
    connection.write("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig");
    connection.reset();
  });
  Client client;
  const auto refused = client.send(request("POST", server.url(), std::string(16U << 20, 'x')), patient());
  ASSERT_TRUE(refused.ok()) << refused.error().detail;
  EXPECT_EQ(refused->status, 413);
  EXPECT_EQ(refused->body, "big");
  EXPECT_EQ(client.send(request("GET", server.url()), patient())->body, "hello");
  EXPECT_EQ(server.connections(), 2);
}

TEST(Client, a_connection_whose_upload_was_refused_half_way_is_not_kept_though_the_server_keeps_it) {
  std::promise<void> refusal_read;
  const HttpServer server([&](ServerConnection& connection, int) {
    (void)connection.read_until("\r\n\r\n");
    connection.write("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig");
    // A server that continues to read may have the whole body before the client sees the refusal.
    support::wait_for("the client has read the refusal", refusal_read);
    connection.read_to_end();
  });
  Client client;
  const auto refused = client.send(request("POST", server.url(), std::string(64U << 20, 'x')), patient());
  refusal_read.set_value();
  ASSERT_TRUE(refused.ok()) << refused.error().detail;
  EXPECT_EQ(refused->body, "big");
  EXPECT_EQ(client.stats().all.total_connections, 0U)
      << "the server may still take what comes for the rest of the body";
}

TEST(Client, bytes_after_a_response_never_reach_the_next_request) {
  const HttpServer server([](ServerConnection& connection, int number) {
    if (number > 0) return serve(connection);
    (void)read_request(connection);
    connection.write(ok("mine") + ok("poison"));
    connection.read_to_end();
  });
  Client client;
  EXPECT_EQ(client.send(request("GET", server.url()), patient())->body, "mine");
  EXPECT_EQ(client.send(request("GET", server.url()), patient())->body, "hello");
  EXPECT_EQ(server.connections(), 2);
}

TEST(Client, bytes_sent_while_idle_never_reach_the_next_request) {
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
  Client client;
  EXPECT_EQ(client.send(request("GET", server.url()), patient())->body, "mine");
  answered.set_value();
  support::wait_for("the server has sent the second response", poisoned);
  EXPECT_EQ(client.send(request("GET", server.url()), patient())->body, "hello");
  EXPECT_EQ(client.stats().discarded, 1U);
}

TEST(Client, bytes_behind_a_response_without_a_body_never_reach_the_next_request) {
  const HttpServer server([](ServerConnection& connection, int number) {
    if (number > 1) return serve(connection);
    (void)read_request(connection);
    connection.write(number == 0 ? "HTTP/1.1 204 No Content\r\n\r\npoison" : ok("poison"));
    connection.read_to_end();
  });
  Client client;
  EXPECT_EQ(client.send(request("GET", server.url()), patient())->status, 204);
  EXPECT_EQ(client.send(request("HEAD", server.url()), patient())->body, "");
  EXPECT_EQ(client.send(request("GET", server.url()), patient())->body, "hello");
  EXPECT_EQ(server.connections(), 3);
}

TEST(Client, responses_without_a_body_leave_the_connection_usable) {
  const HttpServer server([](ServerConnection& connection, int) {
    while (const Seen seen = read_request(connection)) {
      if (seen.head.starts_with("HEAD"))
        connection.write("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
      else if (seen.head.starts_with("DELETE"))
        connection.write("HTTP/1.1 204 No Content\r\n\r\n");
      else if (seen.head.starts_with("OPTIONS"))
        connection.write("HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n");
      else
        connection.write(ok("hello"));
    }
  });
  Client client;
  EXPECT_EQ(client.send(request("HEAD", server.url()), patient())->body, "");
  EXPECT_EQ(client.send(request("DELETE", server.url()), patient())->status, 204);
  EXPECT_EQ(client.send(request("OPTIONS", server.url()), patient())->status, 304);
  EXPECT_EQ(client.send(request("GET", server.url()), patient())->body, "hello");
  EXPECT_EQ(server.connections(), 1);
}

TEST(Client, a_server_that_says_close_is_not_asked_again_on_that_connection) {
  const HttpServer server([](ServerConnection& connection, int) {
    while (read_request(connection))
      connection.write(ok("bye", "Connection: close\r\n"));
  });
  Client client;
  for (int i = 0; i < 2; ++i)
    EXPECT_EQ(client.send(request("GET", server.url()), patient())->body, "bye");
  EXPECT_EQ(server.connections(), 2);
}

TEST(Client, a_connection_is_not_reused_after_a_request_with_connection_close) {
  const HttpServer server;
  Client client;
  Request last = request("GET", server.url());
  last.headers = {{"Connection", "close"}};
  EXPECT_EQ(client.send(last, patient())->body, "hello");
  EXPECT_EQ(client.stats().all.total_connections, 0U);
}

TEST(Client, a_connection_without_requests_or_time_left_is_not_used_again) {
  for (const char* const promise : {"Keep-Alive: max=0\r\n", "Keep-Alive: timeout=0\r\n"}) {
    const HttpServer server([promise](ServerConnection& connection, int) {
      while (read_request(connection))
        connection.write(ok("hello", promise));
    });
    Client client;
    for (int i = 0; i < 2; ++i)
      EXPECT_EQ(client.send(request("GET", server.url()), patient())->body, "hello");
    EXPECT_EQ(server.connections(), 2) << promise;
  }
}

TEST(Client, a_body_that_ends_early_is_a_read_error) {
  const HttpServer server([](ServerConnection& connection, int) {
    (void)read_request(connection);
    connection.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
  });
  Client client;
  const auto cut = client.send(request("GET", server.url()), patient());
  ASSERT_FALSE(cut.ok());
  EXPECT_EQ(cut.error().code, ErrorCode::read_failed);
  EXPECT_EQ(cut.error().phase, Phase::read_body);
}

TEST(Client, a_body_until_close_is_whole_only_with_the_goodbye_of_tls) {
  support::CertificateAuthority authority;
  Profile profile;
  profile.tls.ca_file = authority.ca_file();
  for (const bool goodbye : {true, false}) {
    const support::LoopbackServer server(support::ServerTls{authority.issue_localhost()},
                                         [goodbye](ServerConnection& connection) {
                                           (void)read_request(connection);
                                           connection.write("HTTP/1.1 200 OK\r\n\r\nall of it");
                                           if (goodbye) connection.say_goodbye();
                                         });
    Client client({}, profile);
    const auto response = client.send(request("GET", "https://localhost:" + std::to_string(server.port())), patient());
    ASSERT_EQ(response.ok(), goodbye);
    if (goodbye) {
      EXPECT_EQ(response->body, "all of it");
    } else {
      EXPECT_EQ(response.error().code, ErrorCode::read_failed) << "an attacker on the way may have cut it off";
    }
  }
}

TEST(Client, a_server_that_breaks_http_is_a_remote_protocol_error) {
  const HttpServer server([](ServerConnection& connection, int) {
    (void)read_request(connection);
    connection.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!");
    connection.read_to_end();
  });
  Client client;
  const auto refused = client.send(request("GET", server.url()), patient());
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::remote_protocol);
  EXPECT_EQ(client.stats().all.total_connections, 0U);
}

TEST(Client, a_silent_server_is_a_read_timeout_and_nothing_is_sent_again) {
  const HttpServer server([](ServerConnection& connection, int) { connection.read_to_end(); });
  Client client;
  Call options = patient();
  options.timeouts.read = milliseconds(20);
  const auto late = client.send(request("GET", server.url()), options);
  ASSERT_FALSE(late.ok());
  EXPECT_EQ(late.error().code, ErrorCode::read_timeout);
  EXPECT_EQ(late.error().phase, Phase::read_head);
  EXPECT_EQ(server.connections(), 1);
}

TEST(Client, an_answer_that_was_not_waited_for_never_reaches_the_next_request) {
  const HttpServer server([](ServerConnection& connection, int number) {
    if (number > 0) return serve(connection);
    (void)read_request(connection);
    if (read_request(connection)) connection.write(ok("late"));
    connection.read_to_end();
  });
  Client client;
  Call hasty = patient();
  hasty.timeouts.read = milliseconds(20);
  EXPECT_EQ(client.send(request("GET", server.url()), hasty).error().code, ErrorCode::read_timeout);
  EXPECT_EQ(client.send(request("GET", server.url()), patient())->body, "hello");
  EXPECT_EQ(server.connections(), 2);
}

TEST(Client, a_server_that_falls_silent_in_the_body_is_a_read_timeout_there) {
  const HttpServer server([](ServerConnection& connection, int) {
    (void)read_request(connection);
    connection.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    connection.read_to_end();
  });
  Client client;
  EXPECT_TRUE(support::within_some_limit("the head comes", milliseconds(20), [&](milliseconds limit) {
    Call options = patient();
    options.timeouts.read = limit;
    const Error late = client.send(request("GET", server.url()), options).error_or({});
    EXPECT_EQ(late.code, ErrorCode::read_timeout);
    return late.phase == Phase::read_body;
  }));
}

TEST(Client, bad_input_is_one_clear_error) {
  Client client;
  EXPECT_EQ(client.send(request("GET", "nonsense")).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(client.send(request("GET", "ftp://a/")).error().code, ErrorCode::invalid_argument);
  const HttpServer server;
  EXPECT_FALSE(client.send(request("GE T", server.url()), patient()).ok());
  EXPECT_EQ(client.stats().all.total_connections, 0U);
}

TEST(Client, warms_that_many_connections) {
  const HttpServer server;
  Client client;
  const auto warmed = client.warm(server.url(), 3, patient());
  ASSERT_TRUE(warmed.ok()) << warmed.error().detail;
  EXPECT_EQ(*warmed, 3U);
  EXPECT_EQ(client.stats().all.idle_connections, 3U);
}

TEST(Client, once_closed_it_serves_no_more) {
  const HttpServer server;
  Client client;
  ASSERT_TRUE(client.send(request("GET", server.url()), patient()).ok());
  client.close();
  client.close();
  EXPECT_EQ(client.stats().all.total_connections, 0U);
  const auto refused = client.send(request("GET", server.url()), patient());
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::pool_closed);
}

TEST(Client, closing_ends_a_request_that_waits_for_its_answer) {
  std::promise<void> asked;
  const HttpServer server([&](ServerConnection& connection, int) {
    (void)read_request(connection);
    asked.set_value();
    connection.read_to_end();
  });
  Client client;
  auto waiting =
      std::async(std::launch::async, [&] { return client.send(request("POST", server.url(), "x"), patient()); });
  support::wait_for("the server has read the request", asked);
  client.close();
  const auto ended = support::value_of("the closed request ends", waiting);
  ASSERT_FALSE(ended.ok());
  EXPECT_EQ(ended.error().code, ErrorCode::pool_closed);
  EXPECT_GT(ended.error().bytes_sent, 0U) << "the server may have read it";
  EXPECT_NE(ended.error().detail.find("the pool was closed"), std::string::npos) << ended.error().detail;
  EXPECT_EQ(client.stats().all.total_connections, 0U);
}

TEST(Client, closing_ends_a_request_whose_body_is_still_coming) {
  std::promise<void> begun;
  const HttpServer server([&](ServerConnection& connection, int) {
    (void)read_request(connection);
    connection.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    begun.set_value();
    connection.read_to_end();
  });
  Client client;
  auto waiting = std::async(std::launch::async, [&] { return client.send(request("GET", server.url()), patient()); });
  support::wait_for("the server has sent half of the body", begun);
  client.close();
  EXPECT_EQ(support::value_of("the closed request ends", waiting).error().code, ErrorCode::pool_closed);
}

TEST(Client, a_switch_of_protocols_is_a_response_without_a_body_and_its_connection_ends) {
  const HttpServer server([](ServerConnection& connection, int) {
    (void)read_request(connection);
    connection.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nnot a body");
    connection.read_to_end();
  });
  Client client;
  Request upgrade = request("GET", server.url());
  upgrade.headers = {{"Upgrade", "x"}, {"Connection", "upgrade"}};
  const auto response = client.send(upgrade, patient());
  ASSERT_TRUE(response.ok()) << response.error().detail;
  EXPECT_EQ(response->status, 101);
  EXPECT_EQ(response->body, "");
  EXPECT_EQ(client.stats().all.total_connections, 0U);

  const auto unasked = client.send(request("GET", server.url()), patient());
  ASSERT_FALSE(unasked.ok());
  EXPECT_EQ(unasked.error().code, ErrorCode::remote_protocol);
}

TEST(Client, an_answer_in_doubt_is_given_and_its_connection_ends) {
  const HttpServer server([](ServerConnection& connection, int) {
    while (read_request(connection))
      connection.write("HTTP/1.1 200 OK\nContent-Length: 2\n\nok");
  });
  Client client;
  const auto response = client.send(request("POST", server.url(), "paid for"), patient());
  ASSERT_TRUE(response.ok()) << response.error().detail;
  EXPECT_EQ(response->body, "ok");
  EXPECT_EQ(client.stats().all.total_connections, 0U);
}

TEST(Client, chunks_that_the_caller_asks_for_go_out_without_a_length) {
  std::promise<Seen> seen;
  const HttpServer server([&](ServerConnection& connection, int) {
    seen.set_value(read_request(connection));
    connection.write(ok("thanks"));
  });
  Client client;
  Request chunked = request("POST", server.url(), "hello");
  chunked.headers = {{"Transfer-Encoding", "chunked"}};
  ASSERT_TRUE(client.send(chunked, patient()).ok());
  const Seen got = support::value_of("the server has read the request", seen);
  EXPECT_EQ(got.head.find("Content-Length"), std::string::npos) << got.head;
  EXPECT_EQ(got.body, "5\r\nhello\r\n0\r\n\r\n");
}

TEST(Client, a_negative_timeout_is_no_time_and_an_idle_connection_needs_none) {
  const HttpServer server;
  Client client;
  ASSERT_TRUE(client.send(request("GET", server.url()), patient()).ok());
  Call hasty = patient();
  hasty.timeouts.pool = hasty.timeouts.connect = seconds(-1);
  EXPECT_TRUE(client.send(request("GET", server.url()), hasty).ok());
  EXPECT_EQ(server.connections(), 1);
}

/// Threads send, and each gets the answers to its own requests.
void echo_from_threads(Client& client, const HttpServer& server) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 100; ++i) {
        const std::string body = std::to_string(t) + ":" + std::to_string(i);
        const auto response = client.send(request("POST", server.url(), body), patient());
        ASSERT_TRUE(response.ok()) << response.error().detail;
        EXPECT_EQ(response->body, body);
      }
    });
  }
  for (std::thread& thread : threads)
    thread.join();
}

TEST(Client, threads_get_their_own_answers) {
  const HttpServer server;
  PoolSettings settings;
  settings.max_connections_per_endpoint = 2;
  Client client(settings);
  echo_from_threads(client, server);
  EXPECT_LE(server.connections(), 2);
}

TEST(Client, many_origins_are_all_kept_while_they_have_connections) {
  std::deque<HttpServer> servers(5);
  Client client;
  for (int round = 0; round < 3; ++round) {
    for (const HttpServer& server : servers) {
      const auto response = client.send(request("POST", server.url(), "hello"), patient());
      ASSERT_TRUE(response.ok()) << response.error().detail;
    }
  }
  for (const HttpServer& server : servers)
    EXPECT_EQ(server.connections(), 1);
  EXPECT_EQ(client.stats().endpoints.size(), 5U);
}

}  // namespace
}  // namespace fastpool::client::test
