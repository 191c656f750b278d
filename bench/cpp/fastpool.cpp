// fastpool's clients: one Client for all threads, its default settings.

#include <array>
#include <coroutine>
#include <exception>
#include <memory>
#include <utility>

#include <fastpool/client.h>
#include <fastpool/coroutine.h>
#include <fastpool/loop.h>
#include <fastpool/version.h>

#include "cpp/fastpool_task.h"
#include "cpp/worker.h"

namespace fastpool::bench {
namespace {

// ---- on threads ------------------------------------------------------------------------------------------------------

class OnThread : public Blocking {
 public:
  OnThread(const Task& task, Client& client)
      : task_(task), client_(client), request_(request_of(task)), call_(call_of()) {}

 protected:
  const Task& task_;
  Client& client_;
  const Request request_;
  const Call call_;
};

class Send final : public OnThread {
 public:
  using OnThread::OnThread;
  void exchange() override { check(task_, client_.send(request_, call_)); }
};

class Reuse final : public OnThread {
 public:
  using OnThread::OnThread;
  void exchange() override {
    if (const auto sent = client_.send(request_, response_, call_); !sent) {
      fail(sent.error().detail);
    }
    check(task_, static_cast<unsigned>(response_.status), response_.body.size());
  }

 private:
  Response response_;
};

/// Looks at each piece of the body and keeps none.
class Streamed final : public OnThread {
 public:
  using OnThread::OnThread;
  void exchange() override {
    auto stream = client_.open(request_, call_);
    if (!stream) {
      fail(stream.error().detail);
    }
    std::size_t size = 0;
    while (true) {
      const auto piece = stream->read();
      if (!piece) {
        fail(piece.error().detail);
      }
      if (piece->empty()) {
        break;
      }
      size += piece->size();
    }
    check(task_, static_cast<unsigned>(stream->head().status), size);
  }
};

class Leased final : public OnThread {
 public:
  Leased(const Task& task, Client& client) : OnThread(task, client), lease_(client.lease(task.url, call_)) {
    if (!lease_) {
      fail(lease_.error().detail);
    }
  }
  void exchange() override { check(task_, lease_->send(request_, call_)); }

 private:
  Result<Lease> lease_;
};

template <typename Kind>
MakeBlocking sharing_a_client(const Task& task) {
  auto client = std::make_shared<Client>(PoolSettings{}, profile_of(task));
  return [&task, client] { return std::make_unique<Kind>(task, *client); };
}

// ---- on a Loop -------------------------------------------------------------------------------------------------------

class OnLoop : public Looping {
 public:
  explicit OnLoop(const Task& task)
      : Looping(task.width),
        task_(task),
        client_(PoolSettings{}, profile_of(task)),
        request_(request_of(task)),
        call_(call_of()),
        loop_(Loop::make().value()) {
    open_connections(task_, client_, call_);
  }

  void run_until(Clock::time_point end) override {
    while (Clock::now() < end) {
      loop_.wait(end - Clock::now());
    }
  }

 protected:
  /// Ends the requests under way while the members that their functions use are alive.
  void close() {
    closing_ = true;
    loop_.close();
  }

  const Task& task_;
  Client client_;
  const Request request_;
  const Call call_;
  Loop loop_;
  bool closing_ = false;
};

class Callbacks final : public OnLoop {
 public:
  explicit Callbacks(const Task& task) : OnLoop(task) {
    for (std::size_t index = 0; index < task.width; ++index) {
      begin(index);
    }
  }
  ~Callbacks() override { close(); }

 private:
  void begin(std::size_t index) {
    send(loop_, client_, request_, call_, [this, index](const Result<Response>& response) {
      if (closing_) return;
      check(task_, response);
      answered(index);
      begin(index);
    });
  }
};

/// A detached coroutine: it starts at once, and its caller does not await it.
struct Detached {
  struct promise_type {
    Detached get_return_object() { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() noexcept {}
    void unhandled_exception() { std::terminate(); }
  };
};

class Coroutines final : public OnLoop {
 public:
  explicit Coroutines(const Task& task) : OnLoop(task) {
    for (std::size_t index = 0; index < task.width; ++index) {
      repeat(index);
    }
  }
  ~Coroutines() override { close(); }

 private:
  Detached repeat(std::size_t index) {
    while (true) {
      const auto response = co_await send(loop_, client_, request_, call_);
      if (closing_) co_return;
      check(task_, response);
      answered(index);
    }
  }
};

template <typename Kind>
std::unique_ptr<Looping> on_loop(const Task& task) {
  return std::make_unique<Kind>(task);
}

constexpr std::array<ClientKind, 8> kClients{{
    {.name = "send", .blocking = sharing_a_client<Send>},
    {.name = "reuse", .blocking = sharing_a_client<Reuse>},
    {.name = "stream", .blocking = sharing_a_client<Streamed>},
    {.name = "lease", .blocking = sharing_a_client<Leased>},
    {.name = "loop", .looping = on_loop<Callbacks>},
    {.name = "coroutine", .looping = on_loop<Coroutines>},
    {.name = "send_http2", .blocking = sharing_a_client<Send>, .http2 = true},
    {.name = "loop_http2", .looping = on_loop<Callbacks>, .http2 = true},
}};

}  // namespace

std::span<const ClientKind> clients() {
  return kClients;
}

std::string version() {
  return std::string("fastpool ") + fastpool::version();
}

}  // namespace fastpool::bench
