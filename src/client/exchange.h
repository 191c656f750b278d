#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fastpool/error.h>
#include <fastpool/headers.h>
#include <fastpool/interrupt.h>
#include <fastpool/timeouts.h>

#include "client/core.h"
#include "client/retry.h"
#include "driver/blocking.h"
#include "h1/request_encoder.h"
#include "h1/response_parser.h"
#include "pool/lease.h"

namespace fastpool::client {

/// A request as it is to stand on the wire: the headers exactly as given (Host and framing included). Views.
struct RequestView {
  std::string_view method;
  std::string_view target;
  std::span<const Header> headers;
};

/// How long each step may take, and how the caller stops it.
struct CallOptions {
  Timeouts timeouts;
  Interrupt interrupt;
  int connect_retries = 0;  ///< dials tried again after a connect error or timeout (httpx's `retries`)
};

/// One request and its response on one lease: sends, reads, and ends in the one release, however it ends. Holds the parser
/// and nothing else heavy. Used by one thread at a time. Its core must outlive it; in the child of a fork every use fails
/// with `forked` and its end does nothing.
class Exchange {
 public:
  Exchange(Exchange&&) noexcept = default;
  Exchange& operator=(Exchange&&) = delete;
  ~Exchange();

  /// Encodes the request for an endpoint; no I/O, no wait, and the request's views are not kept.
  [[nodiscard]] static Result<Exchange> open(Core& core, pool::EndpointHold endpoint, const RequestView& request);
  /// The same on a lease that the caller keeps. stale_lease if it ended or is in use.
  [[nodiscard]] static Result<Exchange> open_on(Core& core, pool::LeaseRef lease, const RequestView& request);

  /// Gets a live connection: before the first write(), finish() or send().
  [[nodiscard]] Result<void> obtain(const CallOptions& options);
  /// Sends the whole request and reads the head of the response; tries again by the retry table. An early response (the peer
  /// answered before it had read all) is taken. `body` must last as long as the call.
  [[nodiscard]] Result<void> send(std::string_view body, const CallOptions& options);

  /// Streamed bodies: sends one piece (the first with the head before it); one of which a byte went out is not kept, so
  /// there is no retry after it. \returns false if the peer has stopped reading:
  /// go on with finish(), which reads its early response or tells the error.
  [[nodiscard]] Result<bool> write(std::string_view piece, const CallOptions& options);
  /// Ends a streamed body and reads the head of the response.
  [[nodiscard]] Result<void> finish(const CallOptions& options);

  [[nodiscard]] const h1::ResponseHead& head() const noexcept { return parser_->head(); }
  [[nodiscard]] h1::ResponseHead& head() noexcept { return parser_->head(); }

  /// Reads on until there is a piece of the body or its end. \param pieces gets views that last until the next call on this
  /// thread; together they are what had arrived. \returns false at the end of the body; the connection is then back in the pool.
  [[nodiscard]] Result<bool> read(std::vector<std::string_view>& pieces, const CallOptions& options);

  /// Whether all of the body is here, or was read.
  [[nodiscard]] bool body_arrived() const noexcept {
    return state_ == State::body_arrived || state_ == State::complete;
  }
  /// Whether the next read() needs no I/O.
  [[nodiscard]] bool read_is_ready() const noexcept { return !arrived_.empty() || state_ == State::complete; }

  /// Ends it: a rest of the body that has already arrived (at most 64 KiB) is drained without waiting and the connection
  /// kept, else it is closed. Idempotent.
  void close() noexcept;
  /// Ends it without reading: for finalizers. Idempotent.
  void abandon() noexcept;
  /// Whether it still has its connection: not after the end of the body, an error, or close().
  [[nodiscard]] bool holds() const noexcept { return static_cast<bool>(lease_) || static_cast<bool>(stream_); }
  /// Which connection that is, if the lease is its own.
  [[nodiscard]] std::optional<pool::ConnectionId> connection_id() const noexcept {
    return lease_ ? std::optional(lease_.ref().id()) : std::nullopt;
  }
  [[nodiscard]] int descriptor() const noexcept;
  /// Both ends of the connection in use, or used last; nothing before obtain().
  [[nodiscard]] const std::optional<connection::Addresses>& addresses() const noexcept { return addresses_; }
  [[nodiscard]] std::uint64_t bytes_sent() const noexcept { return bytes_sent_; }

 private:
  /// The caller's lease, taken for this exchange; moves as an owner does.
  struct StreamHold {
    pool::LeaseRef ref;
    StreamHold() = default;
    StreamHold(StreamHold&& other) noexcept : ref(other.take()) {}
    StreamHold& operator=(StreamHold&&) = delete;
    ~StreamHold() = default;
    [[nodiscard]] explicit operator bool() const noexcept { return ref.slot != nullptr; }
    pool::LeaseRef take() noexcept { return std::exchange(ref, pool::LeaseRef{}); }
  };
  enum class State : std::uint8_t { ready, sending, reading_head, reading_body, body_arrived, complete, ended };

  Exchange(Core& core, pool::EndpointHold endpoint) noexcept;

  [[nodiscard]] Result<void> prepare(const RequestView& request);
  [[nodiscard]] Result<void> send_once(std::string_view body, const CallOptions& options);
  [[nodiscard]] Result<bool> send_part(std::string_view piece, bool last, const CallOptions& options);
  [[nodiscard]] Result<void> read_head(const CallOptions& options);
  enum class Progress : std::uint8_t { more, head, end };
  [[nodiscard]] Result<Progress> take_events(std::string_view input, std::vector<std::string_view>* pieces);
  [[nodiscard]] Result<Progress> take_from_peer(driver::Blocking& driver, std::vector<std::string_view>* pieces);
  [[nodiscard]] Result<Progress> take_end(bool truncated);
  [[nodiscard]] Error fail(Error error) noexcept;
  [[nodiscard]] Retry retry_after(const Error& error, bool rewindable) const noexcept;
  [[nodiscard]] Result<void> begin_again(Error error, const CallOptions& options, bool rewindable);
  [[nodiscard]] Result<void> begin_again_if_unread(Error error, const CallOptions& options);
  void note_connection();
  [[nodiscard]] std::optional<Error> check_process() const;
  void complete() noexcept;
  void release(pool::Reuse reuse) noexcept;
  void drop_connection() noexcept;
  [[nodiscard]] connection::Connection& connection() const noexcept;

  Core* core_;
  pool::EndpointHold endpoint_;
  pool::Lease lease_;  // of our own, or
  StreamHold stream_;  // on the caller's
  bool stream_fresh_ = false;
  unsigned epoch_;
  State state_ = State::ready;
  bool head_request_ = false;
  bool replayable_ = false;
  bool close_asked_ = false;
  bool spent_ = false;  // the connection must not carry another request, whatever the response says
  h1::EncodedHead framing_;
  std::uint64_t bytes_sent_ = 0;
  std::uint64_t body_sent_ = 0;
  std::uint64_t written_before_ = 0;       // to the kernel, on this connection, before this request
  bool peer_ended_ = false;                // reading has met the peer's end
  bool piece_taken_ = false;               // of a streamed body, in whole or in part: it cannot be had again
  std::string head_bytes_;                 // unsent until the first write
  std::string pending_;                    // bytes behind the last event, to be presented again
  std::string current_;                    // what arrived_ looks into
  std::vector<std::string_view> arrived_;  // of the body, with the head
  std::optional<Error> body_error_;        // met behind what was handed out
  std::optional<Error> write_error_;
  std::unique_ptr<h1::ResponseParser> parser_;
  std::optional<connection::Addresses> addresses_;
};

}  // namespace fastpool::client
