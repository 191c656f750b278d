// Boost.Beast: on threads with blocking calls, and in coroutines on one io_context.
//
// One connection per thread or coroutine, opened once and never given back: there is no pool. The message, the parser's buffer
// and the executor's type are the cheapest that Beast offers: the request is made once, the buffer is kept, and sockets
// name the io_context's executor instead of any_io_executor. TLS is beast::ssl_stream, which joins small buffers into one
// record. No timeouts.

#include <array>
#include <exception>
#include <memory>
#include <optional>
#include <vector>

#include <boost/asio.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <boost/beast/version.hpp>

#include "cpp/asio_context.h"
#include "cpp/worker.h"

namespace fastpool::bench {
namespace {

namespace net = boost::asio;
namespace ssl = boost::asio::ssl;
namespace beast = boost::beast;
namespace http = boost::beast::http;

using Executor = net::io_context::executor_type;
using Socket = net::basic_stream_socket<net::ip::tcp, Executor>;
using TlsSocket = beast::ssl_stream<Socket>;
using Message = http::request<http::string_body>;
using Parser = http::response_parser<http::string_body>;
using Buffer = beast::flat_buffer;
constexpr net::use_awaitable_t<Executor> kAwaitable{};
/// Beast reads at most so many bytes at once.
constexpr std::size_t kReadSize = 65'536;

Message message_of(const Task& task) {
  Message message{http::verb::post, task.target, 11};
  message.set(http::field::host, task.host + ":" + task.port);
  for (const auto& [name, value] : task.headers) {
    message.set(name, value);
  }
  message.body() = task.body;
  message.prepare_payload();
  return message;
}

std::unique_ptr<ssl::context> tls_context(const Task& task) {
  if (task.ca_file.empty()) return nullptr;
  auto context = std::make_unique<ssl::context>(ssl::context::tls_client);
  context->load_verify_file(task.ca_file);
  context->set_verify_mode(ssl::verify_peer);
  // Without it OpenSSL reads a record in two steps.
  SSL_CTX_set_read_ahead(context->native_handle(), 1);
  return context;
}

net::ip::tcp::endpoint endpoint_of(const Task& task) {
  return {net::ip::make_address(task.host), static_cast<std::uint16_t>(std::stoi(task.port))};
}

/// One socket, and what is kept for its next request.
template <typename Stream>
struct Connection {
  Connection(const Task& task, const Executor& executor, ssl::context* context) : stream(make(executor, context)) {
    buffer.reserve(kReadSize);
    if constexpr (std::is_same_v<Stream, TlsSocket>) {
      stream.set_verify_callback(ssl::host_name_verification(task.host));
    }
  }
  static Stream make(const Executor& executor, [[maybe_unused]] ssl::context* context) {
    if constexpr (std::is_same_v<Stream, TlsSocket>) {
      return Stream(executor, *context);
    } else {
      return Stream(executor);
    }
  }
  [[nodiscard]] Socket& socket() {
    if constexpr (std::is_same_v<Stream, TlsSocket>) {
      return stream.next_layer();
    } else {
      return stream;
    }
  }
  void check_answer(const Task& task, const Parser& parser) {
    check(task, parser.get().result_int(), parser.get().body().size());
  }

  Stream stream;
  Buffer buffer;
};

// ---- on threads ------------------------------------------------------------------------------------------------------

template <typename Stream>
class OnThread final : public Blocking {
 public:
  OnThread(const Task& task, ssl::context* context)
      : task_(task), message_(message_of(task)), connection_(task, context_.get_executor(), context) {
    connection_.socket().connect(endpoint_of(task));
    connection_.socket().set_option(net::ip::tcp::no_delay(true));
    if constexpr (std::is_same_v<Stream, TlsSocket>) {
      connection_.stream.handshake(ssl::stream_base::client);
    }
  }

  void exchange() override {
    http::write(connection_.stream, message_);
    Parser parser;
    http::read(connection_.stream, connection_.buffer, parser);
    connection_.check_answer(task_, parser);
  }

 private:
  const Task& task_;
  net::io_context context_{1};
  Message message_;
  Connection<Stream> connection_;
};

MakeBlocking on_threads(const Task& task) {
  const std::shared_ptr<ssl::context> context = tls_context(task);
  return [&task, context]() -> std::unique_ptr<Blocking> {
    if (context) return std::make_unique<OnThread<TlsSocket>>(task, context.get());
    return std::make_unique<OnThread<Socket>>(task, nullptr);
  };
}

// ---- in coroutines ---------------------------------------------------------------------------------------------------

template <typename Stream>
class Awaitables final : public Looping {
 public:
  explicit Awaitables(const Task& task)
      : Looping(task.width), task_(task), tls_(tls_context(task)), message_(message_of(task)) {
    for (std::size_t index = 0; index < task.width; ++index) {
      net::co_spawn(context_, repeat(index), [](const std::exception_ptr& error) {
        if (error) std::rethrow_exception(error);
      });
    }
  }

  void run_until(Clock::time_point end) override { bench::run_until(context_, end); }

 private:
  net::awaitable<void, Executor> repeat(std::size_t index) {
    Connection<Stream> connection(task_, context_.get_executor(), tls_.get());
    co_await connection.socket().async_connect(endpoint_of(task_), kAwaitable);
    connection.socket().set_option(net::ip::tcp::no_delay(true));
    if constexpr (std::is_same_v<Stream, TlsSocket>) {
      co_await connection.stream.async_handshake(ssl::stream_base::client, kAwaitable);
    }
    while (true) {
      co_await http::async_write(connection.stream, message_, kAwaitable);
      Parser parser;
      co_await http::async_read(connection.stream, connection.buffer, parser, kAwaitable);
      connection.check_answer(task_, parser);
      answered(index);
    }
  }

  const Task& task_;
  std::unique_ptr<ssl::context> tls_;
  Message message_;
  net::io_context context_{1};  // destroyed first: its coroutines use the rest
};

std::unique_ptr<Looping> on_context(const Task& task) {
  if (task.ca_file.empty()) return std::make_unique<Awaitables<Socket>>(task);
  return std::make_unique<Awaitables<TlsSocket>>(task);
}

constexpr std::array<ClientKind, 2> kClients{{
    {.name = "beast", .blocking = on_threads},
    {.name = "beast_async", .looping = on_context},
}};

}  // namespace

std::span<const ClientKind> clients() {
  return kClients;
}

std::string version() {
  return "Boost.Beast " BOOST_LIB_VERSION;
}

}  // namespace fastpool::bench
