// Many threads and loops on one client, whose server has small limits and says goodbye, refuses and breaks at random: no
// request is lost, doubled or mixed up. Under ThreadSanitizer it looks for races.

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <random>
#include <stop_token>

#include "client/http2_fixture.h"

namespace fastpool::client::test {
namespace {

constexpr int threads = 8;
constexpr int of_thread = 120;
constexpr int loops = 2;
constexpr int of_loop = 300;
constexpr int at_once = 16;

/// Does things a moment after it is told to, in their order, on a thread of its own.
class Soon {
 public:
  Soon() : thread_([this] { run(); }) {}
  Soon(const Soon&) = delete;
  Soon& operator=(const Soon&) = delete;
  ~Soon() { stop(); }
  void call(std::function<void()> function) {
    const std::lock_guard lock(mutex_);
    functions_.push_back(std::move(function));
    changed_.notify_one();
  }
  /// From here on it does nothing of what it is told to. Idempotent.
  void stop() {
    {
      const std::lock_guard lock(mutex_);
      over_ = true;
    }
    changed_.notify_one();
    if (thread_.joinable()) thread_.join();
  }

 private:
  void run() {
    for (;;) {
      std::function<void()> next;
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return over_ || !functions_.empty(); });
        if (over_) return;
        next = std::move(functions_.front());
        functions_.pop_front();
      }
      std::this_thread::yield();
      next();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool over_ = false;
  std::deque<std::function<void()>> functions_;
  std::thread thread_;  // last: it uses the other members
};

/// Answers each request with its id, some of them later, and does harm at random.
class Moody {
 public:
  explicit Moody(int breaks_one_in, const std::optional<support::CertificateFiles>& certificate = {})
      : breaks_one_in_(breaks_one_in),
        server_({.certificate = certificate, .max_streams = 5},
                [this](const Http2Request& request) { serve(request); }) {}
  Moody(const Moody&) = delete;
  Moody& operator=(const Moody&) = delete;
  // What is to be done later uses the server, whose thread may tell it more until its end.
  ~Moody() { later_.stop(); }

  [[nodiscard]] std::string url() const { return server_.url(); }
  [[nodiscard]] int processed(const std::string& id) const {
    const std::lock_guard lock(mutex_);
    const auto found = processed_.find(id);
    return found == processed_.end() ? 0 : found->second;
  }
  [[nodiscard]] const Http2Server& server() const noexcept { return server_; }

 private:
  [[nodiscard]] bool one_in(int chances) { return chances > 0 && random_() % static_cast<unsigned>(chances) == 0; }
  static void answer(const Http2Request& request) {
    request.answer(200, request.body, {{"x-id", request.field("x-id")}});
  }
  // On the server's thread.
  void serve(const Http2Request& request) {
    if (one_in(60)) return request.reset(0x7);  // REFUSED_STREAM
    {
      const std::lock_guard lock(mutex_);
      ++processed_[request.field("x-id")];
    }
    if (one_in(150)) request.server().say_goodbye(request.connection);
    if (one_in(breaks_one_in_)) return request.server().close(request.connection);
    if (!one_in(3)) return answer(request);
    later_.call([request] { answer(request); });
  }

  const int breaks_one_in_;
  std::minstd_rand random_{1};  // of the server's thread

  mutable std::mutex mutex_;
  std::map<std::string, int> processed_;
  Soon later_;
  Http2Server server_;  // last: its thread uses the rest
};

/// What came of one request.
struct Outcome {
  std::string id;
  bool stopped = false;  // it was asked to stop
  std::optional<Result<Response>> result{};
};

struct Asked {
  Request request;
  Call call;
};

/// A POST whose id is its body and a field; one in five is stopped at some moment.
Asked ask(const std::string& url, Outcome& outcome, std::minstd_rand& random, Soon& soon) {
  Asked asked{request("POST", url, outcome.id), very_patient()};
  asked.request.headers = {{"X-Id", outcome.id}};
  if (random() % 5 == 0) {
    const std::stop_source source;
    asked.call.stop = source.get_token();
    outcome.stopped = true;
    soon.call([source]() mutable { source.request_stop(); });
  }
  return asked;
}

void send_in_thread(Client& client, const std::string& url, std::vector<Outcome>& outcomes, Soon& soon, unsigned seed) {
  std::minstd_rand random(seed);
  for (Outcome& outcome : outcomes) {
    const Asked asked = ask(url, outcome, random, soon);
    outcome.result = client.send(asked.request, asked.call);
  }
}

void send_in_loop(Client& client, const std::string& url, std::vector<Outcome>& outcomes, Soon& soon, unsigned seed) {
  std::minstd_rand random(seed);
  Loop loop = *Loop::make();
  std::size_t next = 0;
  std::function<void()> begin = [&] {
    if (next == outcomes.size()) return;
    Outcome& outcome = outcomes[next++];
    Asked asked = ask(url, outcome, random, soon);
    send(loop, client, std::move(asked.request), std::move(asked.call), [&](Result<Response> result) {
      outcome.result = std::move(result);
      begin();
    });
  };
  for (int number = 0; number < at_once; ++number)
    begin();
  while (loop.busy())
    loop.wait(seconds(1));
}

std::vector<std::vector<Outcome>> stress(Client& client, const std::string& url) {
  std::vector<std::vector<Outcome>> all(threads + loops);
  for (int worker = 0; worker < threads + loops; ++worker) {
    for (int number = 0; number < (worker < threads ? of_thread : of_loop); ++number)
      all[static_cast<std::size_t>(worker)].push_back({std::to_string(worker) + "-" + std::to_string(number)});
  }
  Soon soon;
  std::vector<std::thread> workers;
  for (int worker = 0; worker < threads + loops; ++worker) {
    workers.emplace_back([&, worker] {
      const auto send_all_of = worker < threads ? send_in_thread : send_in_loop;
      send_all_of(client, url, all[static_cast<std::size_t>(worker)], soon, static_cast<unsigned>(worker) + 1);
    });
  }
  for (std::thread& each : workers)
    each.join();
  return all;
}

/// \param may_break whether connections end without notice: requests may then fail, but not twice be processed.
void expect_each_once(const std::vector<std::vector<Outcome>>& all, const Moody& server, bool may_break) {
  int answered = 0;
  for (const auto& of_worker : all) {
    for (const Outcome& outcome : of_worker) {
      ASSERT_TRUE(outcome.result.has_value()) << outcome.id << " never ended";
      const auto& result = *outcome.result;
      EXPECT_LE(server.processed(outcome.id), 1) << outcome.id << " was doubled";
      if (result.ok()) {
        ++answered;
        EXPECT_EQ(result->body, outcome.id);
        EXPECT_EQ(result->headers.find("x-id"), outcome.id);
        EXPECT_EQ(server.processed(outcome.id), 1);
        continue;
      }
      const ErrorCode code = result.error().code;
      const bool expected =
          (outcome.stopped && code == ErrorCode::cancelled) || (may_break && code == ErrorCode::read_failed);
      EXPECT_TRUE(expected) << outcome.id << ": " << to_string(code) << ": " << result.error().detail;
    }
  }
  EXPECT_GT(answered, (threads * of_thread + loops * of_loop) / 4);
}

void expect_nothing_left(Client& client, const Moody& server) {
  EXPECT_TRUE(eventually("no stream is open", [&] { return server.server().open_streams() == 0; }));
  const ClientStats stats = client.stats();
  EXPECT_EQ(stats.all.active_connections, 0U);
  EXPECT_EQ(stats.all.waiters, 0U);
  EXPECT_LE(server.server().most_open_streams_of_connection(), 5);
}

TEST(Http2Stress, no_request_is_lost_doubled_or_mixed_up) {
  const Moody server(0);
  Client client(at_most(4), over_http2());
  const auto all = stress(client, server.url());
  expect_each_once(all, server, false);
  expect_nothing_left(client, server);
}

TEST(Http2Stress, no_request_is_lost_doubled_or_mixed_up_over_tls) {
  support::CertificateAuthority authority;
  const Moody server(0, authority.issue_localhost());
  Client client(at_most(4), over_http2_or_1(authority.ca_file()));
  const auto all = stress(client, server.url());
  expect_each_once(all, server, false);
  expect_nothing_left(client, server);
}

TEST(Http2Stress, connections_that_end_without_notice_double_no_request) {
  const Moody server(100);
  Client client(at_most(4), over_http2());
  const auto all = stress(client, server.url());
  expect_each_once(all, server, true);
  expect_nothing_left(client, server);
}

}  // namespace
}  // namespace fastpool::client::test
