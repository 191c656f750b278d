#pragma once

/// \file
/// Requests that coroutines await. Works with any coroutine type; the coroutine is resumed within a turn of the loop.
///
///     auto response = co_await fastpool::send(loop, client, {.url = url});
///     auto stream = co_await fastpool::open(loop, client, {.url = url});
///     while (true) {
///       auto piece = co_await fastpool::read(loop, *stream);
///       if (!piece || piece->empty()) break;
///     }
///
/// GCC before version 13 destroys a temporary twice that is initialised as an aggregate within a co_await expression. There a
/// request or call in braces does not compile inside of one: give it a name.
///
///     const fastpool::Request request{.url = url};
///     auto response = co_await fastpool::send(loop, client, request);
///
/// Destroying a coroutine that waits here cancels the request. Call::stop and Stream::cancel() make it resume with `cancelled`.
/// Loop, client and stream outlive the await.

#include <coroutine>
#include <string_view>
#include <utility>

#include <fastpool/detail/gcc_12_coroutines.h>
#include <fastpool/detail/operation.h>

namespace fastpool::inline v1 {

namespace detail {

/// Resumes the coroutine whose handle the context holds.
struct Resumption {
  std::coroutine_handle<> waiting{};
  [[nodiscard]] Completion completion() noexcept {
    return {[](void* self) noexcept { static_cast<Resumption*>(self)->waiting.resume(); }, this};
  }
};

/// \tparam What a Request, or a URL. \tparam begin, take: of Operation.
template <typename Value, typename What, auto begin, Result<Value> (Operation::*take)()>
class [[nodiscard]] AwaitedRequest {
 public:
  AwaitedRequest(Loop& loop, Client& client, What request, Call call)
      : loop_(loop), client_(client), request_(std::move(request)), call_(std::move(call)) {}
  AwaitedRequest(const AwaitedRequest&) = delete;
  AwaitedRequest& operator=(const AwaitedRequest&) = delete;
  ~AwaitedRequest() = default;

  [[nodiscard]] bool await_ready() const noexcept { return false; }
  [[nodiscard]] bool await_suspend(std::coroutine_handle<> waiting) {
    resumption_.waiting = waiting;
    operation_ = begin(loop_, client_, std::move(request_), std::move(call_), resumption_.completion());
    return operation_.under_way();
  }
  Result<Value> await_resume() { return (operation_.*take)(); }

 private:
  Loop& loop_;
  Client& client_;
  What request_;
  Call call_;
  Resumption resumption_;
  Operation operation_;
};

using AwaitedSend = AwaitedRequest<Response, Request, &Operation::send, &Operation::take_response>;
using AwaitedOpen = AwaitedRequest<Stream, Request, &Operation::open, &Operation::take_stream>;
using AwaitedLease = AwaitedRequest<Lease, std::string_view, &Operation::lease, &Operation::take_lease>;

#ifdef FASTPOOL_GCC_12_COROUTINES
/// What was made of a temporary: to be awaited from a variable of its own.
template <typename Awaited>
struct [[nodiscard]] NotWithinCoAwait : Awaited {
  using Awaited::Awaited;
  struct Awaiter {
    Awaited& awaited;
    [[nodiscard]] bool await_ready() const noexcept { return awaited.await_ready(); }
    [[nodiscard]] bool await_suspend(std::coroutine_handle<> waiting) { return awaited.await_suspend(waiting); }
    auto await_resume() { return awaited.await_resume(); }
  };
  [[nodiscard]] Awaiter operator co_await() & noexcept { return {*this}; }
  /// Make the request and the call variables of their own: `const Request request{...}; co_await send(loop, client, request);`
  Awaiter operator co_await() && = delete;
};
#endif

/// An operation of a stream. \tparam Begin begins it with a completion.
template <typename Value, typename Begin, Result<Value> (*take)(Stream&)>
class [[nodiscard]] AwaitedStream {
 public:
  AwaitedStream(Stream& stream, Begin begin) : stream_(stream), begin_(std::move(begin)) {}
  AwaitedStream(const AwaitedStream&) = delete;
  AwaitedStream& operator=(const AwaitedStream&) = delete;
  ~AwaitedStream() {
    if (waiting_) end_operation(stream_);
  }

  [[nodiscard]] bool await_ready() const noexcept { return false; }
  [[nodiscard]] bool await_suspend(std::coroutine_handle<> waiting) {
    resumption_.waiting = waiting;
    waiting_ = true;
    return begin_(resumption_.completion());
  }
  Result<Value> await_resume() {
    waiting_ = false;
    return take(stream_);
  }

 private:
  Stream& stream_;
  Begin begin_;
  Resumption resumption_;
  bool waiting_ = false;
};

}  // namespace detail

#ifdef FASTPOOL_GCC_12_COROUTINES

/// Awaits the whole response. \see Client::send()
inline detail::AwaitedSend send(Loop& loop, Client& client, const Request& request) {
  return {loop, client, request, Call{}};
}
inline detail::AwaitedSend send(Loop& loop, Client& client, const Request& request, const Call& call) {
  return {loop, client, request, call};
}
inline detail::NotWithinCoAwait<detail::AwaitedSend> send(Loop& loop, Client& client, Request&& request) {
  return {loop, client, std::move(request), Call{}};
}
inline detail::NotWithinCoAwait<detail::AwaitedSend> send(Loop& loop, Client& client, Request&& request,
                                                          const Call& call) {
  return {loop, client, std::move(request), call};
}
inline detail::NotWithinCoAwait<detail::AwaitedSend> send(Loop& loop, Client& client, const Request& request,
                                                          Call&& call) {
  return {loop, client, request, std::move(call)};
}
inline detail::NotWithinCoAwait<detail::AwaitedSend> send(Loop& loop, Client& client, Request&& request, Call&& call) {
  return {loop, client, std::move(request), std::move(call)};
}
/// Awaits the head of the response. \see Client::open()
inline detail::AwaitedOpen open(Loop& loop, Client& client, const Request& request) {
  return {loop, client, request, Call{}};
}
inline detail::AwaitedOpen open(Loop& loop, Client& client, const Request& request, const Call& call) {
  return {loop, client, request, call};
}
inline detail::NotWithinCoAwait<detail::AwaitedOpen> open(Loop& loop, Client& client, Request&& request) {
  return {loop, client, std::move(request), Call{}};
}
inline detail::NotWithinCoAwait<detail::AwaitedOpen> open(Loop& loop, Client& client, Request&& request,
                                                          const Call& call) {
  return {loop, client, std::move(request), call};
}
inline detail::NotWithinCoAwait<detail::AwaitedOpen> open(Loop& loop, Client& client, const Request& request,
                                                          Call&& call) {
  return {loop, client, request, std::move(call)};
}
inline detail::NotWithinCoAwait<detail::AwaitedOpen> open(Loop& loop, Client& client, Request&& request, Call&& call) {
  return {loop, client, std::move(request), std::move(call)};
}

#else

/// Awaits the whole response. \see Client::send()
inline detail::AwaitedSend send(Loop& loop, Client& client, Request request, Call call = {}) {
  return {loop, client, std::move(request), std::move(call)};
}
/// Awaits the head of the response. \see Client::open()
inline detail::AwaitedOpen open(Loop& loop, Client& client, Request request, Call call = {}) {
  return {loop, client, std::move(request), std::move(call)};
}

#endif

/// Awaits a lease of a live connection to the origin of the URL, which outlives the await. \see Client::lease()
inline detail::AwaitedLease lease(Loop& loop, Client& client, std::string_view url, const Call& call) {
  return {loop, client, url, call};
}
inline detail::AwaitedLease lease(Loop& loop, Client& client, std::string_view url) {
  return {loop, client, url, Call{}};
}

/// Awaits the next piece of the body; empty at the end. \see Stream::read()
inline auto read(Loop& loop, Stream& stream) {
  const auto begin = [&loop, &stream](detail::Completion completion) {
    return detail::begin_read(loop, stream, completion);
  };
  return detail::AwaitedStream<std::string_view, decltype(begin), &detail::take_piece>(stream, begin);
}
/// Awaits that the piece has been sent, which lasts as long. \see Stream::write()
inline auto write(Loop& loop, Stream& stream, std::string_view piece) {
  const auto begin = [&loop, &stream, piece](detail::Completion completion) {
    return detail::begin_write(loop, stream, piece, completion);
  };
  return detail::AwaitedStream<bool, decltype(begin), &detail::take_written>(stream, begin);
}
/// Awaits the head of the response to a body that was written. \see Stream::finish()
inline auto finish(Loop& loop, Stream& stream) {
  const auto begin = [&loop, &stream](detail::Completion completion) {
    return detail::begin_finish(loop, stream, completion);
  };
  return detail::AwaitedStream<void, decltype(begin), &detail::take_finished>(stream, begin);
}

}  // namespace fastpool::inline v1
