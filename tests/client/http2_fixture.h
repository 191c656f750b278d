#pragma once

/// \file
/// Clients of HTTP/2, the ways in which a program sends, and a server's handler whose answers wait for the test.

#include <algorithm>
#include <cstddef>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <ostream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "client/loop_fixture.h"
#include "support/http2_server.h"

namespace fastpool::client::test {

using support::eventually;
using support::Http2Fields;
using support::Http2Request;
using support::Http2Server;

/// Plain HTTP/2, with prior knowledge.
inline Profile over_http2() {
  Profile profile;
  profile.protocols = {.http1 = false, .http2 = true};
  return profile;
}
/// Over TLS, as the server chooses.
inline Profile over_http2_or_1(const std::string& ca_file) {
  Profile profile;
  profile.protocols = {.http1 = true, .http2 = true};
  profile.tls.ca_file = ca_file;
  return profile;
}

inline PoolSettings at_most(std::uint32_t connections) {
  PoolSettings settings;
  settings.max_connections_per_endpoint = connections;
  return settings;
}

/// For requests of which each may have to wait for many others.
inline Call very_patient() {
  Call call = patient();
  call.timeouts.pool = call.timeouts.connect = call.timeouts.read = call.timeouts.write = support::wait_limit;
  return call;
}

/// How a program sends its requests.
enum class Way : std::uint8_t { blocking, loop, coroutine };

inline std::string name_of(Way way) {
  return way == Way::blocking ? "blocking" : way == Way::loop ? "loop" : "coroutine";
}
inline void PrintTo(Way way, std::ostream* out) {
  *out << name_of(way);
}

/// Requests under way, all at once: each in a thread of its own, or in one loop that a thread turns. The destructor waits for them.
class Sending {
 public:
  Sending(Way way, Client& client, std::vector<Request> requests, const Call& call = patient())
      : Sending(way, client, std::move(requests), std::vector<Call>(requests.size(), call)) {}
  /// \param calls one for each request.
  Sending(Way way, Client& client, std::vector<Request> requests, std::vector<Call> calls) : results_(requests.size()) {
    if (way == Way::blocking) {
      for (std::size_t at = 0; at < requests.size(); ++at) {
        threads_.emplace_back([this, &client, at, call = std::move(calls[at]), request = std::move(requests[at])] {
          auto result = client.send(request, call);
          note(at, std::move(result));
        });
      }
      return;
    }
    threads_.emplace_back([this, way, &client, calls = std::move(calls), all = std::move(requests)] {
      Loop loop = *Loop::make();
      if (way == Way::loop) {
        for (std::size_t at = 0; at < all.size(); ++at)
          send(loop, client, all[at], calls[at], [this, at](Result<Response> result) { note(at, std::move(result)); });
        run(loop);
        return;
      }
      std::vector<Routine> routines;
      for (std::size_t at = 0; at < all.size(); ++at)
        routines.push_back(in_coroutine(loop, client, all[at], calls[at], at));
      run(loop);
    });
  }
  Sending(const Sending&) = delete;
  Sending& operator=(const Sending&) = delete;
  ~Sending() { join(); }

  [[nodiscard]] std::size_t done() const {
    const std::lock_guard lock(mutex_);
    return done_;
  }
  /// Waits for all. The calls' own timeouts bound the wait.
  [[nodiscard]] std::vector<Result<Response>> results() {
    join();
    std::vector<Result<Response>> all;
    for (auto& each : results_)
      all.push_back(each ? *std::move(each) : Error::make(ErrorCode::interrupted, Phase::none, "it never ended"));
    return all;
  }

 private:
  Routine in_coroutine(Loop& loop, Client& client, const Request& request, const Call& call, std::size_t at) {
    auto result = co_await send(loop, client, request, call);
    note(at, std::move(result));
  }
  void note(std::size_t at, Result<Response> result) {
    const std::lock_guard lock(mutex_);
    results_[at] = std::move(result);
    ++done_;
  }
  void join() {
    for (std::thread& each : threads_)
      if (each.joinable()) each.join();
  }

  mutable std::mutex mutex_;
  std::vector<std::optional<Result<Response>>> results_;
  std::size_t done_ = 0;
  std::vector<std::thread> threads_;
};

inline std::vector<Result<Response>> send_all(Way way, Client& client, std::vector<Request> requests,
                                              const Call& call = patient()) {
  return Sending(way, client, std::move(requests), call).results();
}

/// That many GET requests, "/0" and so on.
inline std::vector<Request> numbered(const Http2Server& server, int count) {
  std::vector<Request> requests;
  for (int number = 0; number < count; ++number)
    requests.push_back(request("GET", server.url("/" + std::to_string(number))));
  return requests;
}

/// Requests whose answers wait for the test. The handler outlives the server.
class Held {
 public:
  [[nodiscard]] Http2Server::Handler handler() {
    return [this](const Http2Request& request) {
      const std::lock_guard lock(mutex_);
      held_.push_back(request);
    };
  }
  /// Holds all but requests for that path, which are answered at once.
  [[nodiscard]] Http2Server::Handler all_but(std::string path) {
    return [this, path = std::move(path)](const Http2Request& request) {
      if (request.path == path) return Http2Server::answer_it(request);
      handler()(request);
    };
  }
  [[nodiscard]] std::size_t size() const {
    const std::lock_guard lock(mutex_);
    return held_.size();
  }
  [[nodiscard]] ::testing::AssertionResult become(std::size_t count) const {
    return eventually("the server holds " + std::to_string(count) + " requests", [&] { return size() >= count; });
  }
  /// Waits for that many requests, and returns them all, which are then no longer held.
  [[nodiscard]] std::vector<Http2Request> take(std::size_t count) {
    EXPECT_TRUE(become(count));
    const std::lock_guard lock(mutex_);
    return std::exchange(held_, {});
  }
  [[nodiscard]] Http2Request take_one() {
    auto all = take(1);
    if (all.size() != 1) throw std::runtime_error("the server holds " + std::to_string(all.size()) + " requests");
    return all.front();
  }

 private:
  mutable std::mutex mutex_;
  std::vector<Http2Request> held_;
};

class Http2WayTest : public ::testing::TestWithParam<Way> {};

}  // namespace fastpool::client::test
