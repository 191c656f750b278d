// Requests as Asio's asynchronous operations: handlers, coroutines, futures, cancellation, executors.

// GCC 12 says that the operator delete of an inlined coroutine frame does not match its allocation, which it does.
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 13
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"
#endif

#include <fcntl.h>
#include <sys/eventfd.h>

#include <thread>

#include <fastpool/asio.h>

#include "client/client_fixture.h"
#include "support/http2_server.h"

namespace fastpool::client::test {
namespace {

namespace net = detail::net;

class AsioTest : public ::testing::Test {
 protected:
  /// Runs until nothing is left to do.
  void run() {
    context_.restart();
    context_.run_for(support::wait_limit);
    EXPECT_TRUE(context_.stopped()) << support::waited_in_vain("the context has nothing to do");
  }

  net::io_context context_;
  Client client_;
  AsioLoop loop_{context_.get_executor()};
};

/// Accepts requests and answers none.
class SilentServer : public HttpServer {
 public:
  SilentServer() : HttpServer([](ServerConnection& connection, int) { connection.read_to_end(); }) {}
};

TEST_F(AsioTest, requests_over_http2_share_a_connection) {
  std::vector<support::Http2Request> held;
  support::Http2Server server([&](const support::Http2Request& request) {  // answers none before all have come
    held.push_back(request);
    if (held.size() < 20) return;
    for (const support::Http2Request& each : held)
      each.answer(200, each.body);
  });
  Profile profile;
  profile.protocols = {.http1 = false, .http2 = true};
  Client client({}, profile);
  int answered = 0;
  for (int number = 0; number < 20; ++number) {
    const std::string body = std::to_string(number);
    async_send(loop_, client, request("POST", server.url(), body), patient(), [&, body](Result<Response> response) {
      ASSERT_TRUE(response.ok()) << response.error().detail;
      EXPECT_EQ(response->body, body);
      ++answered;
    });
  }
  run();
  EXPECT_EQ(answered, 20);
  EXPECT_EQ(server.connections(), 1);
}

#ifdef FASTPOOL_ASIO_HAS_CANCELLATION
TEST_F(AsioTest, a_request_over_http2_is_cancelled_alone) {
  support::Http2Server server([](const support::Http2Request& request) {
    if (request.path != "/silent") support::Http2Server::answer_it(request);
  });
  Profile profile;
  profile.protocols = {.http1 = false, .http2 = true};
  Client client({}, profile);
  net::cancellation_signal signal;
  std::optional<ErrorCode> code;
  async_send(loop_, client, request("GET", server.url("/silent")), patient(),
             net::bind_cancellation_slot(signal.slot(),
                                         [&](const Result<Response>& response) { code = response.error_or({}).code; }));
  async_send(loop_, client, request("GET", server.url()), patient(), [&](const Result<Response>& response) {
    EXPECT_TRUE(response.ok()) << response.error().detail;
    signal.emit(net::cancellation_type::terminal);
  });
  run();
  EXPECT_EQ(code, ErrorCode::cancelled);
  EXPECT_TRUE(support::eventually("the stream is reset", [&] { return server.resets()[0x8] == 1; }));
  EXPECT_EQ(server.connections(), 1);
}
#endif

TEST_F(AsioTest, a_handler_gets_the_response_and_the_context_runs_no_longer) {
  const HttpServer server;
  bool within = true;
  std::string body;
  async_send(loop_, client_, request("POST", server.url(), "echo"), patient(), [&](Result<Response> response) {
    EXPECT_FALSE(within) << "called from within async_send()";
    ASSERT_TRUE(response.ok()) << response.error().detail;
    body = response->body;
  });
  within = false;
  run();
  EXPECT_EQ(body, "echo");
  async_send(loop_, client_, request("POST", server.url(), "again"), patient(),
             [&](Result<Response> response) { body = response->body; });
  run();
  EXPECT_EQ(body, "again");
  EXPECT_EQ(server.connections(), 1);
}

TEST_F(AsioTest, a_request_that_cannot_begin_completes_later) {
  bool within = true;
  ErrorCode code{};
  async_send(loop_, client_, request("GET", "nonsense"), patient(), [&](const Result<Response>& response) {
    EXPECT_FALSE(within);
    code = response.error().code;
  });
  within = false;
  run();
  EXPECT_EQ(code, ErrorCode::invalid_argument);
}

TEST_F(AsioTest, many_requests_at_once_get_their_own_answers) {
  const HttpServer server;
  int answered = 0;
  for (int number = 0; number < 100; ++number) {
    const std::string body = std::to_string(number);
    async_send(loop_, client_, request("POST", server.url(), body), patient(), [&, body](Result<Response> response) {
      ASSERT_TRUE(response.ok()) << response.error().detail;
      EXPECT_EQ(response->body, body);
      ++answered;
    });
  }
  run();
  EXPECT_EQ(answered, 100);
}

TEST_F(AsioTest, each_handler_may_begin_the_next_request) {
  const HttpServer server;
  int left = 30;
  std::function<void(Result<Response>)> next = [&](const Result<Response>& response) {
    ASSERT_TRUE(response.ok()) << response.error().detail;
    if (--left > 0) async_send(loop_, client_, request("GET", server.url()), patient(), next);
  };
  async_send(loop_, client_, request("GET", server.url()), patient(), next);
  run();
  EXPECT_EQ(left, 0);
}

TEST_F(AsioTest, a_handler_runs_on_its_associated_executor) {
  const HttpServer server;
  net::io_context other;
  bool called = false;
  async_send(loop_, client_, request("GET", server.url()), patient(),
             net::bind_executor(other.get_executor(), [&](const Result<Response>& response) {
               EXPECT_TRUE(response.ok());
               called = true;
             }));
  run();
  EXPECT_FALSE(called);
  other.run();
  EXPECT_TRUE(called);
}

TEST_F(AsioTest, a_handler_may_be_movable_only) {
  const HttpServer server;
  std::string body;
  async_send(loop_, client_, request("GET", server.url()), patient(),
             [&body, owned = std::make_unique<int>(1)](Result<Response> response) {
               EXPECT_EQ(*owned, 1);
               body = response->body;
             });
  run();
  EXPECT_EQ(body, "hello");
}

TEST_F(AsioTest, a_future_gets_the_response) {
  const HttpServer server;
  std::future<Result<Response>> response =
      async_send(loop_, client_, request("GET", server.url()), patient(), net::use_future);
  run();
  EXPECT_EQ(support::value_of("the response has come", response)->body, "hello");
}

TEST_F(AsioTest, destroying_the_loop_completes_pending_operations) {
  const SilentServer server;
  ErrorCode code{};
  {
    AsioLoop ending(context_.get_executor());
    async_send(ending, client_, request("GET", server.url()), patient(),
               [&](const Result<Response>& response) { code = response.error().code; });
    context_.poll();
  }
  run();
  EXPECT_EQ(code, ErrorCode::cancelled);
}

TEST_F(AsioTest, a_loop_that_ends_leaves_the_reuse_of_its_descriptor_alone) {
  std::atomic<bool> asked{false};
  const HttpServer server([&](ServerConnection& connection, int) {
    asked = !read_request(connection).head.empty();
    connection.read_to_end();
  });
  net::posix::stream_descriptor readable(context_, ::eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK));
  auto ending = std::make_unique<AsioLoop>(context_.get_executor());
  const int number = ending->loop().descriptor();
  net::posix::stream_descriptor successor(context_);
  bool told = false;
  Client client({}, {}, {.on_event = [&](const Event& event) {
                  if (event.kind != Event::Kind::request_end) return;
                  successor.assign(::fcntl(readable.native_handle(), F_DUPFD_CLOEXEC, number));
                  successor.async_wait(net::posix::descriptor_base::wait_read,
                                       [&](const auto& error) { told = !error; });
                }});
  async_send(*ending, client, request("GET", server.url()), patient(), [](const Result<Response>&) {});
  ASSERT_TRUE(support::eventually("the request is under way", [&] {
    context_.poll();
    return asked.load();
  }));
  ending.reset();
  ASSERT_EQ(successor.native_handle(), number);
  run();
  EXPECT_TRUE(told);
}

TEST_F(AsioTest, a_context_that_ends_first_destroys_its_handlers) {
  const SilentServer server;
  auto context = std::make_unique<net::io_context>();
  auto loop = std::make_unique<AsioLoop>(context->get_executor());
  bool called = false;
  async_send(*loop, client_, request("GET", server.url()), patient(), [&](const Result<Response>&) { called = true; });
  context->poll();
  loop.reset();
  context.reset();
  EXPECT_FALSE(called);
}

#ifdef FASTPOOL_ASIO_HAS_CANCELLATION
TEST_F(AsioTest, a_cancellation_slot_cancels_the_request) {
  std::atomic<bool> asked{false};
  const HttpServer server([&](ServerConnection& connection, int) {
    asked = !read_request(connection).head.empty();
    connection.read_to_end();
  });
  net::cancellation_signal signal;
  ErrorCode code{};
  async_send(loop_, client_, request("GET", server.url()), patient(),
             net::bind_cancellation_slot(signal.slot(),
                                         [&](const Result<Response>& response) { code = response.error().code; }));
  ASSERT_TRUE(support::eventually("the request is under way", [&] {
    context_.poll();
    return asked.load();
  }));
  signal.emit(net::cancellation_type::total);
  run();
  EXPECT_EQ(code, ErrorCode::cancelled);
  EXPECT_EQ(client_.stats().all.total_connections, 0U);
  signal.emit(net::cancellation_type::total);  // after the end: nothing
}
#endif

#if defined(__cpp_impl_coroutine)
TEST_F(AsioTest, a_handler_gets_a_lease) {
  const HttpServer server;
  std::string body;
  std::optional<Lease> kept;
  async_lease(loop_, client_, server.url(), patient(), [&](Result<Lease> leased) {
    ASSERT_TRUE(leased.ok()) << leased.error().detail;
    kept.emplace(std::move(leased).value());
    Call call = patient();
    call.lease = &*kept;
    async_send(loop_, client_, request("POST", server.url(), "echo"), call, [&](const Result<Response>& response) {
      ASSERT_TRUE(response.ok()) << response.error().detail;
      body = response->body;
    });
  });
  run();
  EXPECT_EQ(body, "echo");
  EXPECT_EQ(server.connections(), 1);
}

TEST_F(AsioTest, a_coroutine_sends_and_streams) {
  const HttpServer server;
  bool done = false;
  net::co_spawn(
      context_,
      [&]() -> net::awaitable<void> {
        const Request post = request("POST", server.url(), "co");
        const Call call = patient();
        const Result<Response> response = co_await async_send(loop_, client_, post, call, net::use_awaitable);
        EXPECT_TRUE(response.ok());
        EXPECT_EQ(response->body, "co");
        Request upload = request("POST", server.url());
        upload.body = Body::written(6);
        Result<Stream> stream = co_await async_open(loop_, client_, upload, call, net::use_awaitable);
        EXPECT_TRUE(stream.ok());
        EXPECT_TRUE(*(co_await async_write(loop_, *stream, "abc", net::use_awaitable)));
        EXPECT_TRUE(*(co_await async_write(loop_, *stream, "def", net::use_awaitable)));
        const Result<void> finished = co_await async_finish(loop_, *stream, net::use_awaitable);
        EXPECT_TRUE(finished.ok());
        std::string body;
        for (;;) {
          const Result<std::string_view> piece = co_await async_read(loop_, *stream, net::use_awaitable);
          EXPECT_TRUE(piece.ok());
          if (!piece.ok() || piece->empty()) break;
          body += *piece;
        }
        EXPECT_EQ(body, "abcdef");
        done = true;
      },
      net::detached);
  run();
  EXPECT_TRUE(done);
}
#endif

}  // namespace
}  // namespace fastpool::client::test
