#pragma once

/// \file
/// A client and a loopback server that follows the script of the test.

#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include <fastpool/client.h>

#include "client/core.h"
#include "client/exchange.h"
#include "client/headers.h"
#include "support/loopback_server.h"
#include "support/waiting.h"

namespace fastpool::client::test {

using std::chrono::milliseconds;
using std::chrono::seconds;
using support::ServerConnection;

/// One request as the server saw it.
struct Seen {
  std::string head;
  std::string body;
  [[nodiscard]] explicit operator bool() const noexcept { return !head.empty(); }
};

inline Seen read_request(ServerConnection& connection) {
  Seen seen;
  seen.head = connection.read_until("\r\n\r\n");
  if (!seen.head.ends_with("\r\n\r\n")) return {};
  if (const auto at = seen.head.find("Content-Length: "); at != std::string::npos) {
    seen.body = connection.read_exactly(std::stoul(seen.head.substr(at + 16)));
  } else if (seen.head.find("chunked") != std::string::npos) {
    seen.body = connection.read_until("0\r\n\r\n");
  }
  return seen;
}

inline std::string ok(std::string_view body, std::string_view headers = {}) {
  return "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + std::string(headers) + "\r\n" +
         std::string(body);
}

/// Answers every request with its own body, or "hello".
inline void serve(ServerConnection& connection) {
  while (const Seen seen = read_request(connection))
    connection.write(ok(seen.body.empty() ? "hello" : seen.body));
}

/// Connections are numbered from 0, in the order in which they came; each is handled by the script.
class HttpServer {
 public:
  using Script = std::function<void(ServerConnection&, int number)>;
  explicit HttpServer(Script script)
      : server_([run = std::move(script)](ServerConnection& connection) { run(connection, connection.number()); }) {}
  HttpServer() : HttpServer([](ServerConnection& connection, int) { serve(connection); }) {}

  [[nodiscard]] std::string url(std::string_view path = "/") const {
    return "http://127.0.0.1:" + std::to_string(server_.port()) + std::string(path);
  }
  [[nodiscard]] int connections() const { return server_.connections(); }

 private:
  support::LoopbackServer server_;
};

inline Call patient() {
  Call options;
  options.timeouts = {seconds(10), seconds(10), seconds(10), seconds(10)};
  return options;
}

inline Request request(std::string method, std::string url, std::string body = {}) {
  Request made;
  made.method = std::move(method);
  made.url = std::move(url);
  made.body = std::move(body);
  return made;
}

/// Exchanges on a core of their own.
class ExchangeTest : public ::testing::Test {
 protected:
  explicit ExchangeTest(const PoolSettings& settings = {}) : core_(settings) {}
  [[nodiscard]] pool::Endpoint& endpoint(const HttpServer& server) {
    return **handle_.use(*Origin::parse(server.url()));  // which the handle keeps
  }
  [[nodiscard]] Exchange open(const HttpServer& server, std::string_view method, std::vector<Header> headers = {}) {
    headers.insert(headers.begin(), {"Host", "test"});
    auto use = handle_.use(*Origin::parse(server.url()));
    auto exchange = Exchange::open(core_, std::move(use).value(), {method, "/", headers});
    EXPECT_TRUE(exchange.ok());
    return std::move(exchange).value();
  }
  [[nodiscard]] std::string read_all(Exchange& exchange) {
    std::string body;
    std::vector<std::string_view> pieces;
    while (true) {
      const auto more = exchange.read(pieces, options_);
      EXPECT_TRUE(more.ok());
      if (!more.ok() || !more.value()) return body;
      for (const std::string_view piece : pieces)
        body += piece;
    }
  }
  /// A whole GET, so that a connection is idle.
  void park(const HttpServer& server) {
    Exchange exchange = open(server, "GET");
    ASSERT_TRUE(exchange.obtain(options_));
    ASSERT_TRUE(exchange.send("", options_));
    (void)read_all(exchange);
    ASSERT_EQ(idle(), 1U);
  }
  [[nodiscard]] std::uint64_t idle() { return core_.pool().stats().all.idle_connections; }
  [[nodiscard]] std::uint64_t total() { return core_.pool().stats().all.total_connections; }

  Core core_;
  Handle handle_{core_, core_.intern({}), pool::AfterUse::keep, Handle::Isolation::by_handle};
  CallOptions options_{patient().timeouts, {}, 0};
};

}  // namespace fastpool::client::test
