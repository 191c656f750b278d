// fastpool on an io_context of Boost.Asio, by asio.h: completion by a function, and in a coroutine of Asio's.

#include <array>
#include <exception>
#include <memory>

#include <boost/asio.hpp>
#include <boost/version.hpp>

#include <fastpool/asio.h>
#include <fastpool/version.h>

#include "cpp/asio_context.h"
#include "cpp/fastpool_task.h"
#include "cpp/worker.h"

namespace fastpool::bench {
namespace {

namespace net = boost::asio;

class OnAsio : public Looping {
 public:
  explicit OnAsio(const Task& task)
      : Looping(task.width),
        task_(task),
        client_(PoolSettings{}, profile_of(task)),
        request_(request_of(task)),
        call_(call_of()),
        loop_(std::make_unique<AsioLoop>(context_.get_executor())) {
    open_connections(task_, client_, call_);
  }

  void run_until(Clock::time_point end) override { bench::run_until(context_, end); }

 protected:
  /// Ends the requests under way while the members that their handlers use are alive.
  void close() {
    closing_ = true;
    loop_.reset();
    context_.restart();
    context_.run();
  }

  const Task& task_;
  Client client_;
  const Request request_;
  const Call call_;
  net::io_context context_{1};
  std::unique_ptr<AsioLoop> loop_;
  bool closing_ = false;
};

class Handlers final : public OnAsio {
 public:
  explicit Handlers(const Task& task) : OnAsio(task) {
    for (std::size_t index = 0; index < task.width; ++index) {
      begin(index);
    }
  }
  ~Handlers() override { close(); }

 private:
  void begin(std::size_t index) {
    async_send(*loop_, client_, request_, call_, [this, index](const Result<Response>& response) {
      if (closing_) return;
      check(task_, response);
      answered(index);
      begin(index);
    });
  }
};

class Awaitables final : public OnAsio {
 public:
  explicit Awaitables(const Task& task) : OnAsio(task) {
    for (std::size_t index = 0; index < task.width; ++index) {
      net::co_spawn(context_, repeat(index), net::detached);
    }
  }
  ~Awaitables() override { close(); }

 private:
  net::awaitable<void> repeat(std::size_t index) {
    while (!closing_) {
      const auto response = co_await async_send(*loop_, client_, request_, call_, net::use_awaitable);
      if (closing_) co_return;
      check(task_, response);
      answered(index);
    }
  }
};

template <typename Kind>
std::unique_ptr<Looping> on_asio(const Task& task) {
  return std::make_unique<Kind>(task);
}

constexpr std::array<ClientKind, 2> kClients{{
    {.name = "asio", .looping = on_asio<Handlers>},
    {.name = "asio_awaitable", .looping = on_asio<Awaitables>},
}};

}  // namespace

std::span<const ClientKind> clients() {
  return kClients;
}

std::string version() {
  return std::string("fastpool ") + fastpool::version() + " on Boost.Asio " BOOST_LIB_VERSION;
}

}  // namespace fastpool::bench
