// Requests that follow redirects: what the next request is, and which redirects are not followed.

#include <fcntl.h>
#include <unistd.h>

#include <fastpool/origin.h>
#include <fastpool/redirect.h>

#include "client/client_fixture.h"
#include "client/redirection.h"
#include "support/temporary_directory.h"

namespace fastpool::client::test {
namespace {

std::string moved(int status, std::string_view location, std::string_view body = "moved") {
  return "HTTP/1.1 " + std::to_string(status) + " Moved\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\nLocation: " + std::string(location) + "\r\n\r\n" + std::string(body);
}

/// Answers each request by its path, and keeps what it got.
class RecordingServer {
 public:
  using Answer = std::function<std::string(std::string_view path)>;
  explicit RecordingServer(Answer answer)
      : server_([this, answer = std::move(answer)](ServerConnection& connection, int) {
          while (const Seen seen = read_request(connection)) {
            const std::size_t path = seen.head.find(' ') + 1;
            const std::string answered = answer(seen.head.substr(path, seen.head.find(' ', path) - path));
            {
              const std::lock_guard lock(mutex_);
              seen_.push_back(seen);
            }
            connection.write(answered);
          }
        }) {}

  [[nodiscard]] std::string url(std::string_view path = "/") const { return server_.url(path); }
  [[nodiscard]] int connections() const { return server_.connections(); }
  [[nodiscard]] std::vector<Seen> seen() const {
    const std::lock_guard lock(mutex_);
    return seen_;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<Seen> seen_;
  HttpServer server_;  // last: its threads use the rest
};

/// "/" redirects to `location`; any other path says "there".
RecordingServer::Answer once(int status, std::string location) {
  return [status, location = std::move(location)](std::string_view path) {
    return path == "/" ? moved(status, location) : ok("there");
  };
}

bool has(const Seen& seen, std::string_view header) {
  return seen.head.find("\r\n" + std::string(header)) != std::string::npos;
}

TEST(Redirect, is_followed_to_the_end_on_the_connection_that_is_kept) {
  const RecordingServer server([](std::string_view path) {
    if (path == "/") return moved(301, "a/b?c=d");
    if (path == "/a/b?c=d") return moved(302, "../e");
    if (path == "/e") return moved(307, "#f");
    return ok("there", "X-A: b\r\n");
  });
  Client client;
  int asked = 0;
  const auto response = send(client, request("GET", server.url()),
                             {.follow =
                                  [&](const ResponseHead& head, Request& next) {
                                    if (head.status != 307) return ++asked > 0;
                                    EXPECT_EQ(next.url, server.url("/e#f"));
                                    next.url = server.url("/g");
                                    return true;
                                  }},
                             patient());
  ASSERT_TRUE(response.ok()) << response.error().detail;
  EXPECT_EQ(response->status, 200);
  EXPECT_EQ(response->body, "there");
  EXPECT_EQ(response->headers.get("x-a"), "b");
  EXPECT_EQ(asked, 2);
  EXPECT_EQ(server.seen().size(), 4U);
  EXPECT_EQ(server.connections(), 1);
}

TEST(Redirect, is_not_followed_by_the_client_itself) {
  const RecordingServer server(once(302, "/x"));
  Client client;
  const auto response = client.send(request("GET", server.url()), patient());
  ASSERT_TRUE(response.ok()) << response.error().detail;
  EXPECT_EQ(response->status, 302);
  EXPECT_EQ(response->body, "moved");
  EXPECT_EQ(server.seen().size(), 1U);
}

TEST(Redirect, gives_the_last_response_as_a_stream_too) {
  const RecordingServer server(once(302, "/x"));
  Client client;
  auto stream = open(client, request("GET", server.url()), Redirects{}, patient());
  ASSERT_TRUE(stream.ok()) << stream.error().detail;
  EXPECT_EQ(stream->head().status, 200);
  EXPECT_EQ(*stream->read(), "there");
}

TEST(Redirect, turns_methods_into_get_as_browsers_do) {
  struct Row {
    int status;
    std::string_view method;
    bool get;
  };
  for (const auto& [status, method, get] :
       {Row{301, "POST", true}, Row{302, "POST", true}, Row{303, "POST", true}, Row{303, "PUT", true},
        Row{303, "DELETE", true}, Row{301, "PUT", false}, Row{302, "DELETE", false}, Row{302, "post", false},
        Row{307, "POST", false}, Row{308, "POST", false}, Row{303, "HEAD", false}, Row{301, "HEAD", false},
        Row{303, "GET", false}, Row{308, "GET", false}})
    EXPECT_EQ(becomes_get(status, method), get) << method << " after " << status;
}

TEST(Redirect, leaves_the_body_and_its_headers_behind_where_a_post_becomes_a_get) {
  for (const int status : {301, 302, 303}) {
    const RecordingServer server(once(status, "/x"));
    Client client;
    Request post = request("POST", server.url(), "secret body");
    post.headers = {{"content-type", "text/plain"},
                    {"Content-Encoding", "identity"},
                    {"X-Other", "kept"},
                    {"Digest", "x"},
                    {"Authorization", "kept too"},
                    {"Host", "named"}};
    ASSERT_TRUE(send(client, post, Redirects{}, patient()).ok());
    const auto seen = server.seen();
    ASSERT_EQ(seen.size(), 2U);
    EXPECT_EQ(seen[0].body, "secret body");
    EXPECT_TRUE(seen[1].head.starts_with("GET /x HTTP/1.1\r\n")) << seen[1].head;
    for (const std::string_view dropped :
         {"content-type", "Content-Encoding", "Content-Length", "Transfer-Encoding", "Digest"})
      EXPECT_FALSE(has(seen[1], dropped)) << dropped;
    for (const std::string_view kept : {"X-Other: kept", "Authorization: kept too", "Host: named"})
      EXPECT_TRUE(has(seen[1], kept)) << kept;
  }
}

TEST(Redirect, sends_bytes_a_file_and_a_function_again_from_their_start) {
  const RecordingServer server(once(307, "/x"));
  Client client;
  const support::TemporaryDirectory directory;
  const int file = ::open(directory.path("body").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  ASSERT_EQ(::write(file, "--the body", 10), 10);
  std::size_t position = 0;
  int rewinds = 0;
  const auto pull = [&](std::span<char> buffer) -> Result<std::size_t> {
    return std::exchange(position, 8) == 0 ? std::string_view("the body").copy(buffer.data(), buffer.size()) : 0;
  };
  const auto rewind = [&]() -> Result<void> {
    ++rewinds;
    position = 0;
    return {};
  };
  for (const Body& body : {Body("the body"), Body::file(file, 2), Body::pull(8, pull, rewind)}) {
    const std::size_t before = server.seen().size();
    const auto response = send(client, {.method = "PUT", .url = server.url(), .body = body}, Redirects{}, patient());
    ASSERT_TRUE(response.ok()) << response.error().detail;
    EXPECT_EQ(response->body, "there");
    const auto seen = server.seen();
    ASSERT_EQ(seen.size(), before + 2);
    for (std::size_t index = before; index < seen.size(); ++index) {
      EXPECT_TRUE(seen[index].head.starts_with("PUT /")) << seen[index].head;
      EXPECT_EQ(seen[index].body, "the body");
    }
  }
  EXPECT_EQ(rewinds, 1);
  ::close(file);
}

TEST(Redirect, that_needs_a_body_which_cannot_start_again_is_the_result) {
  const RecordingServer server([](std::string_view path) { return moved(path == "/see" ? 303 : 307, "/see"); });
  Client client;
  const auto produced = [](std::string_view url) -> Request {
    return {.method = "POST",
            .url = std::string(url),
            .body = Body::pull(4, [given = false](std::span<char> buffer) mutable -> Result<std::size_t> {
              return std::exchange(given, true) ? 0 : std::string_view("once").copy(buffer.data(), buffer.size());
            })};
  };
  const auto kept = send(client, produced(server.url()), Redirects{}, patient());
  ASSERT_TRUE(kept.ok()) << kept.error().detail;
  EXPECT_EQ(kept->status, 307);
  EXPECT_EQ(kept->body, "moved");
  EXPECT_EQ(server.seen().size(), 1U);
  const auto as_get = send(client, produced(server.url("/see")), Redirects{.most = 1}, patient());
  EXPECT_FALSE(as_get.ok()) << "a GET needs no body, so that this one runs into the limit";
  EXPECT_EQ(server.seen().size(), 3U);

  auto written =
      open(client, {.method = "POST", .url = server.url(), .body = Body::written(4)}, Redirects{}, patient());
  ASSERT_TRUE(written.ok()) << written.error().detail;
  EXPECT_TRUE(*written->write("once"));
  ASSERT_TRUE(written->finish().ok());
  EXPECT_EQ(written->head().status, 307);
  EXPECT_EQ(send(client, {.method = "POST", .url = server.url(), .body = Body::written(4)}, Redirects{}, patient())
                .error()
                .code,
            ErrorCode::invalid_argument);
}

TEST(Redirect, to_another_origin_takes_no_credentials_along) {
  const RecordingServer other([](std::string_view) { return ok("there"); });
  const RecordingServer server(once(307, other.url("/x")));
  Client client;
  Request post = request("POST", server.url(), "body");
  const std::vector<std::pair<std::string, std::string>> secrets = {{"Authorization", "Bearer s"},
                                                                    {"COOKIE", "s"},
                                                                    {"Proxy-Authorization", "s"},
                                                                    {"x-api-key", "s"},
                                                                    {"Api-Key", "s"},
                                                                    {"Host", "named"}};
  post.headers = secrets;
  post.headers.emplace_back("X-Other", "kept");
  post.headers.emplace_back("Content-Type", "text/plain");
  ASSERT_TRUE(send(client, post, Redirects{}, patient()).ok());
  ASSERT_EQ(other.seen().size(), 1U);
  const Seen there = other.seen()[0];
  for (const auto& [name, value] : secrets) {
    EXPECT_TRUE(has(server.seen()[0], name + ": " + value)) << name;
    EXPECT_FALSE(has(there, name + ": " + value)) << name;
  }
  EXPECT_TRUE(has(there, "Host: 127.0.0.1:")) << there.head;
  EXPECT_TRUE(has(there, "X-Other: kept"));
  EXPECT_TRUE(has(there, "Content-Type: text/plain"));
  EXPECT_EQ(there.body, "body");
}

TEST(Redirect, back_to_the_first_origin_does_not_bring_credentials_back) {
  std::string home;
  const RecordingServer other([&](std::string_view) { return moved(302, home); });
  const RecordingServer server(once(302, other.url("/x")));
  home = server.url("/back");
  Client client;
  Request get = request("GET", server.url());
  get.headers = {{"Authorization", "s"}};
  EXPECT_EQ(send(client, get, Redirects{}, patient())->body, "there");
  ASSERT_EQ(server.seen().size(), 2U);
  EXPECT_TRUE(has(server.seen()[0], "Authorization"));
  EXPECT_FALSE(has(server.seen()[1], "Authorization"));
}

TEST(Redirect, shares_credentials_within_an_origin_and_with_its_own_tls) {
  const auto shares = [](std::string_view from, std::string_view to) {
    return shares_credentials(*Origin::parse(from), *Origin::parse(to));
  };
  EXPECT_TRUE(shares("http://a/x", "http://A:80/y"));
  EXPECT_TRUE(shares("http://a/x", "https://a/x"));
  EXPECT_FALSE(shares("https://a/", "http://a/"));
  EXPECT_FALSE(shares("http://a/", "https://a:8443/"));
  EXPECT_FALSE(shares("http://a:8080/", "https://a/"));
  EXPECT_FALSE(shares("http://a/", "https://b/"));
  EXPECT_FALSE(shares("https://a/", "https://a:444/"));
  EXPECT_FALSE(shares("https://a/", "https://sub.a/"));
}

TEST(Redirect, from_https_to_http_is_the_result_unless_it_is_asked_for) {
  support::CertificateAuthority authority;
  const RecordingServer plain([](std::string_view) { return ok("there"); });
  const support::LoopbackServer server(support::ServerTls{authority.issue_localhost()},
                                       [&](ServerConnection& connection) {
                                         while (read_request(connection))
                                           connection.write(moved(302, plain.url("/x")));
                                       });
  Profile profile;
  profile.tls.ca_file = authority.ca_file();
  Client client({}, profile);
  Request get = request("GET", "https://localhost:" + std::to_string(server.port()));
  get.headers = {{"Authorization", "s"}};
  const auto stays = send(client, get, Redirects{}, patient());
  ASSERT_TRUE(stays.ok()) << stays.error().detail;
  EXPECT_EQ(stays->status, 302);
  EXPECT_EQ(plain.seen().size(), 0U);
  EXPECT_EQ(send(client, get, Redirects{.downgrade = true}, patient())->body, "there");
  ASSERT_EQ(plain.seen().size(), 1U);
  EXPECT_FALSE(has(plain.seen()[0], "Authorization"));
}

TEST(Redirect, without_a_location_or_of_another_kind_is_the_result) {
  for (const std::string head :
       {"302 Found\r\n", "302 Found\r\nLocation:\r\n", "304 Not Modified\r\nLocation: /x\r\n",
        "300 Choices\r\nLocation: /x\r\n", "305 Use Proxy\r\nLocation: /x\r\n", "201 Created\r\nLocation: /x\r\n"}) {
    const RecordingServer server([&](std::string_view) { return "HTTP/1.1 " + head + "Content-Length: 0\r\n\r\n"; });
    Client client;
    const auto response = send(client, request("GET", server.url()), Redirects{}, patient());
    ASSERT_TRUE(response.ok()) << response.error().detail;
    EXPECT_EQ(std::to_string(response->status), head.substr(0, 3));
    EXPECT_EQ(server.seen().size(), 1U) << head;
  }
}

TEST(Redirect, to_another_scheme_is_an_error_without_secrets) {
  for (const std::string_view location :
       {"ftp://h/secret", "mailto:secret@h", "http://", "https:secret", "http://u:secret@h/"}) {
    const RecordingServer server(once(302, std::string(location)));
    Client client;
    const auto broken = send(client, request("GET", server.url()), Redirects{}, patient());
    ASSERT_FALSE(broken.ok()) << location;
    EXPECT_EQ(broken.error().code, ErrorCode::remote_protocol);
    EXPECT_GT(broken.error().bytes_sent, 0U);
    EXPECT_EQ(broken.error().detail.find("secret"), std::string::npos) << broken.error().detail;
  }
}

TEST(Redirect, beyond_the_most_is_an_error) {
  const RecordingServer server([](std::string_view path) {
    return path == "/3" ? ok("there")
                        : moved(302, path == "/"    ? "/1"
                                     : path == "/1" ? "/2"
                                     : path == "/2" ? "/3"
                                                    : "/");
  });
  Client client;
  EXPECT_EQ(send(client, request("GET", server.url()), Redirects{.most = 3}, patient())->body, "there");
  EXPECT_EQ(server.seen().size(), 4U);
  const auto beyond = send(client, request("GET", server.url()), Redirects{.most = 2}, patient());
  ASSERT_FALSE(beyond.ok());
  EXPECT_EQ(beyond.error().code, ErrorCode::remote_protocol);
  EXPECT_NE(beyond.error().detail.find("more than 2 times"), std::string::npos) << beyond.error().detail;
  EXPECT_EQ(server.seen().size(), 7U);

  const RecordingServer loop([](std::string_view) { return moved(302, "/"); });
  EXPECT_FALSE(send(client, request("GET", loop.url()), Redirects{}, patient()).ok());
  EXPECT_EQ(loop.seen().size(), 21U);
  EXPECT_FALSE(send(client, request("GET", loop.url()), Redirects{.most = 0}, patient()).ok());
  EXPECT_EQ(loop.seen().size(), 22U);
}

TEST(Redirect, that_the_policy_refuses_is_the_result) {
  const RecordingServer server(once(302, "/x"));
  Client client;
  const auto refused = send(client, request("GET", server.url()),
                            {.follow =
                                 [](const ResponseHead& head, const Request& next) {
                                   EXPECT_EQ(head.status, 302);
                                   return !next.url.ends_with("/x");
                                 }},
                            patient());
  ASSERT_TRUE(refused.ok()) << refused.error().detail;
  EXPECT_EQ(refused->status, 302);
  EXPECT_EQ(refused->body, "moved");
  EXPECT_EQ(server.seen().size(), 1U);
  const auto threw =
      send(client, request("GET", server.url()),
           {.follow = [](const ResponseHead&, Request&) -> bool { throw std::runtime_error("no more"); }}, patient());
  ASSERT_FALSE(threw.ok());
  EXPECT_EQ(threw.error().code, ErrorCode::cancelled);
  EXPECT_NE(threw.error().detail.find("no more"), std::string::npos);
  EXPECT_GT(threw.error().bytes_sent, 0U);
}

TEST(Redirect, leaves_a_target_of_its_own_behind) {
  const RecordingServer server([](std::string_view path) { return path == "*" ? moved(307, "/x") : ok("there"); });
  Client client;
  EXPECT_EQ(send(client, {.method = "OPTIONS", .url = server.url(), .target = "*"}, Redirects{}, patient())->body,
            "there");
  EXPECT_TRUE(server.seen()[1].head.starts_with("OPTIONS /x ")) << server.seen()[1].head;
}

TEST(Redirect, encodes_what_a_location_may_not_contain) {
  const RecordingServer server(once(302, "/a b\xC3\xA9"));
  Client client;
  ASSERT_TRUE(send(client, request("GET", server.url()), Redirects{}, patient()).ok());
  EXPECT_TRUE(server.seen()[1].head.starts_with("GET /a%20b%C3%A9 ")) << server.seen()[1].head;
}

// Each redirect comes in time; all of them together do not.
TEST(Redirect, has_one_total_for_all_requests) {
  const RecordingServer server([](std::string_view) {
    std::this_thread::sleep_for(milliseconds(60));
    return moved(302, "/");
  });
  Client client;
  Call call = patient();
  call.total = milliseconds(300);
  const auto late = send(client, request("GET", server.url()), Redirects{.most = 100}, call);
  ASSERT_FALSE(late.ok());
  EXPECT_EQ(late.error().code, ErrorCode::total_timeout);
}

TEST(Redirect, whose_next_request_fails_says_that_the_first_was_sent) {
  const HttpServer server([](ServerConnection& connection, int) {
    (void)read_request(connection);
    connection.write(moved(302, "http://127.0.0.1:1/"));
    connection.read_to_end();
  });
  Client client;
  const auto failed = send(client, request("POST", server.url(), "body"), Redirects{}, patient());
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code, ErrorCode::connect_failed);
  EXPECT_GT(failed.error().bytes_sent, 0U) << "the first request was processed";
}

}  // namespace
}  // namespace fastpool::client::test
