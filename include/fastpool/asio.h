#pragma once

/// \file
/// Requests as asynchronous operations of Asio, with any completion token. Header-only: fastpool links to neither Boost.Asio nor
/// standalone Asio. Boost.Asio is used where <boost/asio.hpp> is found; define FASTPOOL_STANDALONE_ASIO before the include for
/// standalone Asio (<asio.hpp>).
///
///     boost::asio::io_context context;
///     fastpool::AsioLoop loop(context.get_executor());
///     fastpool::async_send(loop, client, {.url = url}, {}, [](fastpool::Result<fastpool::Response> response) { ... });
///     // in a coroutine:
///     const fastpool::Request request{.url = url};
///     const fastpool::Call call;
///     fastpool::Result<fastpool::Response> response = co_await fastpool::async_send(loop, client, request, call, use_awaitable);
///
/// Cancellation slots are observed: every cancellation type ends the request with ErrorCode::cancelled. Completion handlers run
/// on their associated executors, by default the loop's. All operations of an AsioLoop are begun on one thread at a time, or on
/// one strand, which is its executor.

#include <utility>  // which Boost 1.74's awaitable.hpp needs and does not include

#ifdef FASTPOOL_STANDALONE_ASIO
#include <asio.hpp>
#else
#include <boost/asio.hpp>
#endif

#include <cstddef>
#include <functional>
#include <memory>
#include <string_view>
#include <system_error>
#include <type_traits>

#include <fastpool/detail/gcc_12_coroutines.h>
#include <fastpool/detail/operation.h>

namespace fastpool::inline v1 {

namespace detail {
#ifdef FASTPOOL_STANDALONE_ASIO
namespace net = ::asio;
using AsioErrorCode = std::error_code;
#else
namespace net = ::boost::asio;
using AsioErrorCode = ::boost::system::error_code;
#endif
}  // namespace detail

/// A Loop that an Asio executor turns while operations are under way; it keeps run() from returning no longer than they last.
/// Outlives its operations: destroying it ends them with `cancelled`.
class AsioLoop {
 public:
  /// Throws std::system_error where no descriptors are left, as Asio's objects do.
  explicit AsioLoop(const detail::net::any_io_executor& executor) : shared_(std::make_shared<Shared>(executor)) {}
  AsioLoop(const AsioLoop&) = delete;
  AsioLoop& operator=(const AsioLoop&) = delete;
  ~AsioLoop() { shared_->stop(); }

  [[nodiscard]] detail::net::any_io_executor get_executor() const { return shared_->watched.get_executor(); }
  [[nodiscard]] Loop& loop() const noexcept { return shared_->loop; }

  /// Internal.
  struct Shared : std::enable_shared_from_this<Shared> {
    explicit Shared(const detail::net::any_io_executor& executor)
        : loop(made()), watched(executor, loop.descriptor()) {}
    Shared(const Shared&) = delete;
    Shared& operator=(const Shared&) = delete;
    ~Shared() { release(); }

    [[nodiscard]] static Loop made() {
      auto made = Loop::make();
      if (!made)
        detail::net::detail::throw_exception(std::system_error(made.error().error_code(), made.error().detail));
      return std::move(made).value();
    }
    /// An operation has begun.
    void enter() {
      ++under_way;
      if (!watching && watched.is_open()) watch();
    }
    /// One has ended.
    void leave() {
      if (--under_way == 0 && watched.is_open()) watched.cancel();
    }
    void watch() {
      watching = true;
      watched.async_wait(detail::net::posix::descriptor_base::wait_read,
                         [self = this->weak_from_this()](const detail::AsioErrorCode& error) {
                           const auto shared = self.lock();
                           if (!shared) return;
                           if (!error && shared->watched.is_open()) shared->loop.turn();
                           shared->watching = false;
                           if (shared->under_way > 0 && shared->watched.is_open()) shared->watch();
                         });
    }
    void stop() {
      release();  // first: a closed descriptor's number may be another one's at once
      loop.close();
    }
    /// The descriptor is the loop's to close.
    void release() {
      if (watched.is_open()) watched.release();
    }

    Loop loop;
    detail::net::posix::stream_descriptor watched;
    std::size_t under_way = 0;
    bool watching = false;  ///< a wait is under way; a cancelled one still is, until its handler runs
  };
  [[nodiscard]] const std::shared_ptr<Shared>& shared() const noexcept { return shared_; }

 private:
  std::shared_ptr<Shared> shared_;
};

namespace detail {

#if defined(FASTPOOL_STANDALONE_ASIO) ? ASIO_VERSION >= 101900 : BOOST_ASIO_VERSION >= 101900
#define FASTPOOL_ASIO_HAS_CANCELLATION 1
#endif

/// An operation whose completion is a handler of Asio's. Owns itself until then.
/// \tparam Started what begin() returns: an Operation, or bool.
template <typename Value, typename Handler, typename Started, typename Take, typename Cancel>
class AsioOperation {
 public:
  /// \param begin begins it with a completion. \param take takes its result. \param cancel cancels it.
  template <typename Begin>
  static void start(const std::shared_ptr<AsioLoop::Shared>& loop, Handler handler, Begin begin, Take take,
                    Cancel cancel) {
    auto* const self = new AsioOperation(loop, std::move(handler), std::move(take), std::move(cancel));
    loop->enter();
#ifdef FASTPOOL_ASIO_HAS_CANCELLATION
    const bool cancels = net::get_associated_cancellation_slot(self->handler_).is_connected();
#else
    const bool cancels = false;
#endif
    self->started_ = begin(Completion{&end, self, cancels});
    if (!self->is_under_way()) {
      complete(std::unique_ptr<AsioOperation>(self), true);
      return;
    }
#ifdef FASTPOOL_ASIO_HAS_CANCELLATION
    if (auto slot = net::get_associated_cancellation_slot(self->handler_); slot.is_connected()) {
      slot.assign([self](net::cancellation_type kind) {
        if (kind != net::cancellation_type::none) self->cancel_(self->started_);
      });
    }
#endif
  }

 private:
  using Executor = net::associated_executor_t<Handler, net::any_io_executor>;

  AsioOperation(const std::shared_ptr<AsioLoop::Shared>& loop, Handler handler, Take take, Cancel cancel)
      : loop_(loop),
        handler_(std::move(handler)),
        executor_(net::get_associated_executor(handler_, loop->watched.get_executor())),
        work_(executor_),
        take_(std::move(take)),
        cancel_(std::move(cancel)) {}

  [[nodiscard]] bool is_under_way() const noexcept {
    if constexpr (std::is_same_v<Started, bool>) {
      return started_;
    } else {
      return started_.under_way();
    }
  }
  static void end(void* self) noexcept {
    complete(std::unique_ptr<AsioOperation>(static_cast<AsioOperation*>(self)), false);
  }
  static void complete(std::unique_ptr<AsioOperation> self, bool at_once) {
#ifdef FASTPOOL_ASIO_HAS_CANCELLATION
    if (auto slot = net::get_associated_cancellation_slot(self->handler_); slot.is_connected()) slot.clear();
#endif
    Result<Value> result = self->take_(self->started_);
    self->loop_->leave();
    auto call = [handler = std::move(self->handler_), result = std::move(result)]() mutable {
      std::move(handler)(std::move(result));
    };
    const Executor executor = self->executor_;
    const auto work = std::move(self->work_);  // until the handler is queued: without work an io_context stops
    self.reset();
    if (at_once) {
      net::post(executor, std::move(call));
    } else {
      net::dispatch(executor, std::move(call));
    }
  }

  std::shared_ptr<AsioLoop::Shared> loop_;
  Handler handler_;
  Executor executor_;
  net::executor_work_guard<Executor> work_;
  Take take_;
  Cancel cancel_;
  Started started_{};
};

/// \tparam What a Request, or a URL. \tparam begin, take: of Operation.
template <typename Value, typename What, auto begin, Result<Value> (Operation::*take)(), typename Token>
auto async_request(AsioLoop& loop, Client& client, What request, Call call, Token&& token) {
  return net::async_initiate<Token, void(Result<Value>)>(
      [](auto handler, const std::shared_ptr<AsioLoop::Shared>& shared, Client& sender, What sent, Call observed) {
        const auto start = [&](Completion completion) {
          return begin(shared->loop, sender, std::move(sent), std::move(observed), completion);
        };
        const auto taken = [](Operation& operation) { return (operation.*take)(); };
        const auto cancelled = [](Operation& operation) { operation.cancel(); };
        AsioOperation<Value, decltype(handler), Operation, decltype(taken), decltype(cancelled)>::start(
            shared, std::move(handler), start, taken, cancelled);
      },
      token, loop.shared(), std::ref(client), std::move(request), std::move(call));
}

template <typename Value, Result<Value> (*take)(Stream&), typename Token, typename Begin>
auto async_stream(AsioLoop& loop, Stream& stream, Token&& token, Begin begin) {
  return net::async_initiate<Token, void(Result<Value>)>(
      [](auto handler, const std::shared_ptr<AsioLoop::Shared>& shared, Stream& used, Begin start_with) {
        const auto start = [&](Completion completion) { return start_with(shared->loop, used, completion); };
        const auto taken = [&used](bool) { return take(used); };
        const auto cancelled = [&used](bool) { used.cancel(); };
        AsioOperation<Value, decltype(handler), bool, decltype(taken), decltype(cancelled)>::start(
            shared, std::move(handler), start, taken, cancelled);
      },
      token, loop.shared(), std::ref(stream), std::move(begin));
}

}  // namespace detail

/// Sends the request and reads the whole response. Completes with Result<Response>; \see Client::send()
template <typename Token>
auto async_send(AsioLoop& loop, Client& client, Request request, Call call, Token&& token) {
  return detail::async_request<Response, Request, &detail::Operation::send, &detail::Operation::take_response>(
      loop, client, std::move(request), std::move(call), std::forward<Token>(token));
}
/// Sends the request and reads the head. Completes with Result<Stream>; \see Client::open()
template <typename Token>
auto async_open(AsioLoop& loop, Client& client, Request request, Call call, Token&& token) {
  return detail::async_request<Stream, Request, &detail::Operation::open, &detail::Operation::take_stream>(
      loop, client, std::move(request), std::move(call), std::forward<Token>(token));
}

/// Leases a live connection to the URL's origin; the URL outlives the operation's begin. Completes with Result<Lease>;
/// \see Client::lease()
template <typename Token>
auto async_lease(AsioLoop& loop, Client& client, std::string_view url, Call call, Token&& token) {
  return detail::async_request<Lease, std::string_view, &detail::Operation::lease, &detail::Operation::take_lease>(
      loop, client, url, std::move(call), std::forward<Token>(token));
}

#ifdef FASTPOOL_GCC_12_COROUTINES
// Make the request and the call variables of their own; \see coroutine.h.
template <typename Executor>
void async_send(AsioLoop&, Client&, Request&&, Call, detail::net::use_awaitable_t<Executor>) = delete;
template <typename Executor>
void async_send(AsioLoop&, Client&, const Request&, Call&&, detail::net::use_awaitable_t<Executor>) = delete;
template <typename Executor>
void async_open(AsioLoop&, Client&, Request&&, Call, detail::net::use_awaitable_t<Executor>) = delete;
template <typename Executor>
void async_open(AsioLoop&, Client&, const Request&, Call&&, detail::net::use_awaitable_t<Executor>) = delete;
#endif

// Of a stream, which outlives the operation and is not moved meanwhile. One at a time.

/// Completes with Result<std::string_view>: the next piece of the body, empty at the end. \see Stream::read()
template <typename Token>
auto async_read(AsioLoop& loop, Stream& stream, Token&& token) {
  return detail::async_stream<std::string_view, &detail::take_piece>(
      loop, stream, std::forward<Token>(token),
      [](Loop& turned, Stream& used, detail::Completion done) { return detail::begin_read(turned, used, done); });
}
/// Completes with Result<bool> once the piece has been sent, which lasts as long. \see Stream::write()
template <typename Token>
auto async_write(AsioLoop& loop, Stream& stream, std::string_view piece, Token&& token) {
  return detail::async_stream<bool, &detail::take_written>(
      loop, stream, std::forward<Token>(token), [piece](Loop& turned, Stream& used, detail::Completion done) {
        return detail::begin_write(turned, used, piece, done);
      });
}
/// Completes with Result<void> once the head of the response has come. \see Stream::finish()
template <typename Token>
auto async_finish(AsioLoop& loop, Stream& stream, Token&& token) {
  return detail::async_stream<void, &detail::take_finished>(
      loop, stream, std::forward<Token>(token),
      [](Loop& turned, Stream& used, detail::Completion done) { return detail::begin_finish(turned, used, done); });
}

}  // namespace fastpool::inline v1
