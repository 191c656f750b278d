#include <fastpool/redirect.h>

#include <algorithm>
#include <cstdint>
#include <exception>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>

#include "client/errors.h"
#include "client/redirection.h"
#include "client/stream_state.h"
#include "pool/decisions.h"

namespace fastpool::client {

namespace {

/// A request on its way from redirect to redirect.
class Following {
 public:
  /// \param sent counts the bytes of the requests that were answered by a redirect.
  Following(Client& client, Request request, const Redirects& redirects, const Call& call, std::uint64_t& sent)
      : client_(client), request_(std::move(request)), redirects_(redirects), call_(call), sent_(sent) {
    if (call.total) deadline_ = pool::later(Clock::now(), *call.total);
  }

  /// Returns the stream of the last response.
  [[nodiscard]] Result<Stream> run() {
    for (int followed = 0;; ++followed) {
      auto stream = client_.open(request_, call_);
      if (!stream) return after(sent_, std::move(stream).error());
      const std::uint64_t sent_before = sent_;
      sent_ += std::max<std::uint64_t>(stream->state().transfer.bytes_sent(), 1);
      auto next = step(*stream, followed);
      if (!next) return after(sent_, std::move(next).error());
      if (!*next) {
        sent_ = sent_before;
        return stream;
      }
      if (call_.total) call_.total = std::max(deadline_ - Clock::now(), Duration{});
    }
  }

  /// The error of a request, with what the ones before it sent: they have been processed.
  [[nodiscard]] static Error after(std::uint64_t sent, Error error) noexcept {
    error.bytes_sent += sent;
    return error;
  }

 private:
  /// Makes the next request of the response; false: this response is the result.
  [[nodiscard]] Result<bool> step(Stream& stream, int followed) {
    auto next = redirect(request_, stream.head(), redirects_);
    if (!next || !*next) return next;
    if (followed >= redirects_.most) {
      return Error::make(ErrorCode::remote_protocol, Phase::read_head,
                         "the request was redirected more than " + std::to_string(redirects_.most) +
                             " times: if this is no loop, raise Redirects::most");
    }
    try {
      if (redirects_.follow && !redirects_.follow(stream.head(), request_)) return false;
      if (request_.body.kind() == Body::Kind::pull && request_.body.rewind_function()) {
        if (auto rewound = request_.body.rewind_function()(); !rewound) return std::move(rewound).error();
      }
    } catch (const std::bad_alloc&) {
      return no_memory();
    } catch (const std::exception& exception) {
      return threw(exception.what());
    } catch (...) {
      return threw("something that is no std::exception");
    }
    return true;
  }

  [[nodiscard]] static Error threw(std::string_view what) {
    return Error::make(ErrorCode::cancelled, Phase::none,
                       "a function that was called for a redirect threw: " + std::string(what));
  }

  Client& client_;
  Request request_;
  const Redirects& redirects_;
  Call call_;
  TimePoint deadline_ = TimePoint::max();
  std::uint64_t& sent_;
};

Result<Response> collect(Stream& stream) {
  Response response;
  response.status = stream.head().status;
  response.reason = stream.head().reason;
  response.headers = stream.head().headers;
  for (;;) {
    auto piece = stream.read();
    if (!piece) return std::move(piece).error();
    if (piece->empty()) break;
    response.body.append(*piece);
  }
  response.trailers = stream.trailers();
  return response;
}

}  // namespace

}  // namespace fastpool::client

namespace fastpool::inline v1 {

Result<Response> send(Client& client, Request request, const Redirects& redirects, const Call& call) {
  if (request.body.kind() == Body::Kind::written) return client.send(request, call);  // which says what is wrong
  std::uint64_t sent = 0;
  try {
    auto stream = client::Following(client, std::move(request), redirects, call, sent).run();
    if (!stream) return std::move(stream).error();
    auto response = client::collect(*stream);
    if (!response) return client::Following::after(sent, std::move(response).error());
    return response;
  } catch (const std::bad_alloc&) {
  } catch (const std::length_error&) {  // beyond what a string can hold
  }
  return client::no_memory(std::max<std::uint64_t>(sent, 1));
}

Result<Stream> open(Client& client, Request request, const Redirects& redirects, const Call& call) {
  if (request.body.kind() == Body::Kind::written) return client.open(request, call);
  std::uint64_t sent = 0;
  try {
    return client::Following(client, std::move(request), redirects, call, sent).run();
  } catch (const std::bad_alloc&) {
  } catch (const std::length_error&) {
  }
  return client::no_memory(sent);
}

}  // namespace fastpool::inline v1
