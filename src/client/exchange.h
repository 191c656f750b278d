#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fastpool/error.h>
#include <fastpool/headers.h>
#include <fastpool/result.h>
#include <fastpool/timeouts.h>

#include "client/core.h"
#include "client/handle.h"
#include "client/retry.h"
#include "client/unread_watch.h"
#include "driver/cancellation.h"
#include "driver/driver.h"
#include "h1/request_encoder.h"
#include "h1/response_parser.h"
#include "http/interrupt.h"
#include "net/tls_session.h"
#include "pool/lease.h"
#include "pool/lease_limit.h"

namespace fastpool::client {

/// A request as it is to stand on the wire: the headers exactly as given (Host and framing included). Views.
struct RequestView {
  std::string_view method;
  std::string_view target;
  std::span<const Header> headers;
  const Origin* origin = nullptr;  ///< for a lease at a proxy that forwards; null: the endpoint's use knows it
};

using InterimListener = std::function<void(const h1::ResponseHead&)>;
using RetryListener = std::function<void(const Error&)>;

/// How long each step may take, and how the caller stops it.
struct CallOptions {
  Timeouts timeouts;
  Interrupt interrupt;
  int connect_retries = 0;                ///< dials tried again after a connect error or timeout
  TimePoint deadline = TimePoint::max();  ///< of the request as a whole
};

/// One request and its response on one lease: sends, reads, and ends in the one release, however it ends. Holds the parser
/// and nothing else heavy. Its core must outlive it; in the child of a fork every use fails with `forked` and its end does
/// nothing.
///
/// What takes time is an operation: begun, then advanced by a driver until it is done. The blocking driver needs one
/// advance(), which the functions of the same names do; an event loop's needs as many as there are waits (exchange_steps.cpp
/// is the state machine). One operation at a time; used by one thread at a time, not always the same.
class Exchange {
 public:
  /// With an endpoint of that core. prepare() comes before all else.
  Exchange(Core& core, EndpointUse endpoint) noexcept;
  /// With the endpoint of a lease that the caller keeps. prepare_on() comes before all else.
  Exchange(Core& core, pool::LeaseRef lease) noexcept;
  Exchange(Exchange&&) noexcept = default;
  Exchange& operator=(Exchange&&) = delete;
  ~Exchange();

  /// Encodes the request for the endpoint; no I/O, no wait, and the request's views are not kept. After an error the exchange
  /// can only be destroyed.
  [[nodiscard]] Result<void> prepare(const RequestView& request);
  /// The same on the lease. stale_lease if it ended or is in use.
  [[nodiscard]] Result<void> prepare_on(pool::LeaseRef lease, const RequestView& request);
  /// An exchange that is prepared.
  [[nodiscard]] static Result<Exchange> open(Core& core, EndpointUse endpoint, const RequestView& request);
  [[nodiscard]] static Result<Exchange> open_on(Core& core, pool::LeaseRef lease, const RequestView& request);
  /// Puts it under a transport's own limits, on leases and on what they leave idle (null: none), and says how often a failed
  /// dial is tried again. Before the first operation.
  void configure(pool::LeaseLimit* limit, pool::KeepAliveLimit* keep, int connect_retries) noexcept {
    limit_ = limit;
    keep_ = keep;
    connect_retries_ = connect_retries;
  }

  /// Gets a connection that no other exchange shares, whatever protocol it speaks. Before the first operation.
  void set_unshared() noexcept { unshared_ = true; }

  // ---- what a call asks for besides; before the first operation ----

  /// Lets another thread end it; outlives the exchange. Every operation fails with `cancelled` from then on.
  void set_cancellation(driver::Cancellation& cancellation) noexcept { cancellation_ = &cancellation; }
  /// May be sent again like a GET, whatever its method.
  void set_replayable() noexcept { replayable_ = true; }
  /// Its body can be produced again; \see take_rewind().
  void set_rewindable() noexcept { rewindable_ = true; }
  /// Notes how it got its connection; \see obtained().
  void set_timed() noexcept { timed_ = true; }
  /// Calls `listener` (or none) for each interim head, and knows a 100 (Continue). The function outlives the exchange.
  void report_interim(const InterimListener* listener) {
    interim_ = listener;
    reports_interim_ = true;
    kept_->parser.start(head_request_, true);
  }

  /// Calls `listener` (or none) before the request begins again on another connection, with the error of the last one. The
  /// function outlives the exchange.
  void report_retries(const RetryListener* listener) noexcept { retry_listener_ = listener; }

  // ---- operations; not to be moved while one is under way ----

  /// Gets a live connection.
  void begin_obtain();
  /// Gets a connection if there is none yet, sends the whole request and reads the head of the response; tries again by the
  /// retry table. An early response (the peer answered before it had read all) is taken. `body` must last until it is done.
  void begin_send(std::string_view body);
  /// After obtain: sends the head alone, and waits at most that long for the server's word whether the body is wanted
  /// (Expect: 100-continue, RFC 9110 section 10.1.1). Its result is false if the final response has come: go on with finish.
  void begin_expect(Duration at_most);
  /// Streamed bodies, after obtain: sends one piece (the first with the head before it), which must last until it is done; one
  /// of which a byte went out is not kept, so there is no retry after it. Its result is false if the peer has answered with an
  /// error or stopped reading: go on with finish.
  void begin_write(std::string_view piece);
  /// Ends a streamed body and reads the head of the response.
  void begin_finish();
  /// Reads on until there is a piece of the body or its end. \param pieces gets views that last until the next read on this
  /// thread; together they are what had arrived. Its result is false at the end of the body; the connection is then back in
  /// the pool.
  /// \param whole the string that the caller appends the pieces to, or null. The larger part of a long body of known length is
  /// read right into it, so that nothing is copied: there are no pieces of that, \see appended().
  void begin_read(std::vector<std::string_view>& pieces, std::string* whole = nullptr);
  /// How many bytes the last read has appended to `whole`.
  [[nodiscard]] std::size_t appended() const noexcept { return appended_; }
  /// On a connection that was handed over (switched()): reads what arrives, or sends all of the bytes. The result of a read is
  /// false at the peer's end.
  void begin_receive(std::vector<std::string_view>& pieces);
  void begin_transmit(std::string_view bytes);
  /// Whether the body must be produced again from its first byte: the request begins anew on another connection. Asked after
  /// each operation of a streamed body that succeeded; resets.
  [[nodiscard]] bool take_rewind() noexcept { return std::exchange(rewinds_, false); }
  /// Goes on with what was begun. \returns its result, once; nothing: the driver is waiting, so advance it again.
  [[nodiscard]] std::optional<Result<bool>> advance(driver::Driver& driver);

  // ---- the same, blocking ----

  [[nodiscard]] Result<void> obtain(const CallOptions& options);
  [[nodiscard]] Result<void> send(std::string_view body, const CallOptions& options);
  [[nodiscard]] Result<bool> write(std::string_view piece, const CallOptions& options);
  [[nodiscard]] Result<void> finish(const CallOptions& options);
  [[nodiscard]] Result<bool> read(std::vector<std::string_view>& pieces, const CallOptions& options);

  [[nodiscard]] const h1::ResponseHead& head() const noexcept {
    return over_http2_ ? kept_->stream_head : kept_->parser.head();
  }
  [[nodiscard]] h1::ResponseHead& head() noexcept { return over_http2_ ? kept_->stream_head : kept_->parser.head(); }
  /// Complete at the end of the body.
  [[nodiscard]] HeaderList& trailers() noexcept {
    return over_http2_ ? kept_->stream_trailers : kept_->parser.trailers();
  }
  /// Whether the connection in use, or used last, speaks HTTP/2. After obtain.
  [[nodiscard]] bool over_http2() const noexcept { return over_http2_; }
  /// Over HTTP/2: the id of its stream, or of the last one; 0 otherwise.
  [[nodiscard]] std::int32_t stream_id() const noexcept { return stream_id_; }
  /// How it got the connection in use, or used last; with set_timed().
  struct Obtained {
    TimePoint at{};
    bool fresh = false;
    connection::DialTimings dialed;
  };
  [[nodiscard]] const Obtained& obtained() const noexcept { return obtained_how_; }

  /// Whether all of the body is here, or was read.
  [[nodiscard]] bool body_arrived() const noexcept {
    return state_ == State::body_arrived || state_ == State::complete || state_ == State::switched;
  }
  /// Whether the next read() needs no I/O.
  [[nodiscard]] bool read_is_ready() const noexcept {
    return !kept_->arrived.empty() || state_ == State::complete || state_ == State::switched;
  }

  // ---- after a switch of protocols ----

  /// Whether the connection was handed over: the peer agreed to another protocol (101), or opened a tunnel (2xx to CONNECT).
  /// There is no body then, and the connection is the caller's until close(); it never goes back to the pool.
  [[nodiscard]] bool switched() const noexcept { return state_ == State::switched; }
  /// Reads from such a connection without waiting; bytes that arrived with the head come first. The status is never `error`: that
  /// is a read_failed, also after close().
  [[nodiscard]] Result<net::IoResult> receive(std::span<char> buffer);
  /// Writes to it without waiting; `bytes` of the result may fall short of all. As receive(); write_failed.
  [[nodiscard]] Result<net::IoResult> transmit(std::string_view bytes);

  /// Ends it after obtain, and returns the connection that it got: the caller's from now on.
  [[nodiscard]] pool::Lease take_lease() noexcept;
  /// Its place under the origin's limit, if it has one, which goes along with that connection. Before take_lease().
  [[nodiscard]] pool::LeaseLimit::Place take_origin_place() noexcept { return std::move(origin_place_); }
  /// Ends it: a rest of the body that has already arrived (at most 64 KiB) is drained without waiting and the connection
  /// kept, else it is closed. Idempotent.
  void close() noexcept;
  /// Ends it without reading: for finalizers. Idempotent.
  void abandon() noexcept;
  /// Whether it still has its connection: not after the end of the body, an error, or close().
  [[nodiscard]] bool holds() const noexcept {
    return static_cast<bool>(lease_) || static_cast<bool>(stream_) || static_cast<bool>(shared_);
  }
  /// Whether the connection in use was dialed for this exchange.
  [[nodiscard]] bool fresh() const noexcept {
    return shared_ ? shared_.fresh() : lease_ ? lease_.fresh() : stream_fresh_;
  }
  /// Which connection that is, if the lease is its own.
  [[nodiscard]] std::optional<pool::ConnectionId> connection_id() const noexcept {
    return lease_ ? std::optional(lease_.ref().id()) : std::nullopt;
  }
  [[nodiscard]] int descriptor() const noexcept;
  /// Both ends of the connection in use, or used last; nothing before obtain().
  [[nodiscard]] const std::optional<connection::Addresses>& addresses() const noexcept { return addresses_; }
  /// Of the same; \see connection::Connection::number(). 0 before obtain().
  [[nodiscard]] std::uint32_t connection_number() const noexcept { return connection_number_; }
  /// The engine of the channel in use, or used last; \see net::Channel::engine().
  [[nodiscard]] const std::shared_ptr<const void>& engine() const noexcept { return engine_; }
  /// Of the same; \see net::Channel::tls_session().
  [[nodiscard]] const std::shared_ptr<const net::TlsSession>& tls_session() const noexcept { return tls_session_; }
  /// Of the connection in use, after obtain(); null if it has none. \see connection::Connection::tunnel_answer().
  [[nodiscard]] std::shared_ptr<const h1::ResponseHead> tunnel_answer() const noexcept;
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
  enum class State : std::uint8_t {
    ready,
    sending,
    reading_head,
    reading_body,
    body_arrived,
    complete,
    switched,
    ended
  };
  enum class Operation : std::uint8_t { none, obtain, send, expect, write, finish, read, receive, transmit };
  /// Where the operation stands; \see advance().
  enum class Step : std::uint8_t {
    settled,
    enter,
    look,
    acquire,
    connected,
    handshake,
    listen,
    write,
    await_continue,
    head,
    body,
    next,
    prove,
    receive,
    transmit
  };
  /// What a step came to.
  enum class Turn : std::uint8_t { go_on, wait, done };
  enum class Progress : std::uint8_t { more, head, end, pending };

  /// What a thread keeps of an exchange that has ended, for its next one: the parser and the buffers with their capacity.
  struct Kept {
    h1::ResponseParser parser;
    std::string head;                       ///< of the request: unsent until the first write
    std::string pending;                    ///< bytes behind the last event, to be presented again
    std::string current;                    ///< what `arrived` looks into
    std::vector<std::string_view> arrived;  ///< of the body, with the head
    h1::ResponseHead stream_head;           ///< over HTTP/2, in place of the parser's
    HeaderList stream_trailers;
  };
  using KeptList = std::vector<std::unique_ptr<Kept>>;
  [[nodiscard]] static KeptList& kept_by_thread();
  [[nodiscard]] static std::unique_ptr<Kept> take_kept();
  static void give_kept(std::unique_ptr<Kept> kept);

  [[nodiscard]] Result<void> encode_for_target(const RequestView& request);
  [[nodiscard]] Result<void> encode_forwarded(const RequestView& request, const connection::Target& target);
  [[nodiscard]] Result<void> encode(const RequestView& request);
  [[nodiscard]] bool may_begin(Operation operation);
  [[nodiscard]] Result<bool> run(const CallOptions& options);

  // Steps (exchange_steps.cpp).
  [[nodiscard]] std::optional<Result<bool>> take_steps(driver::Driver& driver);
  [[nodiscard]] Turn enter(driver::Driver& driver);
  [[nodiscard]] Turn look(driver::Driver& driver);
  [[nodiscard]] Turn acquire(driver::Driver& driver);
  [[nodiscard]] Turn shake_hands(driver::Driver& driver);
  [[nodiscard]] Turn listen(driver::Driver& driver);
  [[nodiscard]] Turn write_out(driver::Driver& driver);
  [[nodiscard]] Turn await_continue(driver::Driver& driver);
  [[nodiscard]] Turn read_head(driver::Driver& driver);
  [[nodiscard]] Turn read_body(driver::Driver& driver);
  [[nodiscard]] Turn append_body(driver::Driver& driver);
  [[nodiscard]] Turn acquire_next(driver::Driver& driver);
  [[nodiscard]] Turn prove(driver::Driver& driver);
  [[nodiscard]] Turn receive(driver::Driver& driver);
  [[nodiscard]] Turn transmit(driver::Driver& driver);

  // Over HTTP/2 (exchange_multiplexed.cpp).
  [[nodiscard]] connection::Multiplexer& multiplexer() const noexcept;
  [[nodiscard]] Turn send_on_stream(driver::Driver& driver);
  [[nodiscard]] std::optional<Turn> open_stream();
  [[nodiscard]] Turn await_sent(driver::Driver& driver);
  [[nodiscard]] Turn await_continue_on_stream(driver::Driver& driver);
  [[nodiscard]] Turn read_head_on_stream(driver::Driver& driver);
  [[nodiscard]] Turn read_body_on_stream(driver::Driver& driver);
  [[nodiscard]] Turn stream_failed();
  void report_interim_heads(const std::vector<ResponseHead>& heads);
  void note_taken(driver::Driver& driver, const connection::Multiplexer::Taken& taken,
                  std::vector<std::string_view>& pieces);
  void leave_stream() noexcept;
  [[nodiscard]] pool::Reuse reuse_after_stream(pool::Reuse reuse) const noexcept;

  [[nodiscard]] Turn go_to(Step step) noexcept {
    step_ = step;
    return Turn::go_on;
  }
  /// Gets another connection.
  [[nodiscard]] Turn reconnect() noexcept { return go_to(stream_ ? Step::look : Step::acquire); }
  [[nodiscard]] Turn done(Result<bool> result) noexcept {
    result_ = std::move(result);
    return Turn::done;
  }
  [[nodiscard]] Turn connected(driver::Driver& driver);
  [[nodiscard]] Turn connected_by_http1();
  [[nodiscard]] Turn not_connected(Error error);
  [[nodiscard]] std::uint32_t failed_tries() const noexcept {
    return static_cast<std::uint32_t>(connect_retries_ - tries_left_);
  }
  [[nodiscard]] Turn write_failed(Error error);
  [[nodiscard]] Turn part_written();
  [[nodiscard]] Turn head_failed(Error error);
  [[nodiscard]] Turn head_read();
  [[nodiscard]] Turn switch_protocols();
  [[nodiscard]] Result<net::IoResult> handed_over(ErrorCode code, Phase phase, const net::IoResult& io);
  [[nodiscard]] Turn begin_again(Error error);
  [[nodiscard]] Turn judge_unread(Unread verdict);
  void start_over(const Error& error, bool proved_unread);
  void prepare_part();
  [[nodiscard]] Result<Progress> take_events(std::string_view input, std::vector<std::string_view>* pieces);
  [[nodiscard]] Result<Progress> take_from_peer(driver::Driver& driver, std::vector<std::string_view>* pieces,
                                                bool only_arrived = false);
  [[nodiscard]] Result<Progress> take_end(bool truncated);

  [[nodiscard]] bool cancelled() const noexcept { return cancellation_ != nullptr && cancellation_->requested(); }
  [[nodiscard]] static Error cancelled_error();
  [[nodiscard]] Error fail(Error error) noexcept;
  [[nodiscard]] Retry retry_after(const Error& error) const noexcept;
  /// Whether it takes a stream of a connection, where HTTP/2 may be spoken.
  [[nodiscard]] bool shares_connections() const noexcept {
    return homes_ != nullptr && !unshared_ && !homes_->speaks_http1();
  }
  void start_connecting() noexcept;
  void note_connection();
  [[nodiscard]] std::optional<Error> check_process() const;
  [[nodiscard]] static Error lost_error();
  [[nodiscard]] static Error lost_before_answer();
  void complete() noexcept;
  void release(pool::Reuse reuse) noexcept;
  void drop_connection() noexcept;
  [[nodiscard]] connection::Connection& connection() const noexcept;

  Core* core_;
  EndpointUse endpoint_;  // until it ends
  pool::LeaseLimit* limit_ = nullptr;
  pool::KeepAliveLimit* keep_ = nullptr;
  int connect_retries_ = 0;
  bool enters_limit_ = false;                 // its connection counts under `limit_`
  pool::LeaseLimit* origin_limit_ = nullptr;  // of all requests and leases to the origin
  pool::LeaseLimit::Place place_;
  pool::LeaseLimit::Place origin_place_;
  pool::Lease lease_;  // of our own, or
  StreamHold stream_;  // on the caller's
  bool stream_fresh_ = false;
  connection::Homes* homes_ = nullptr;       // the endpoint's connections may speak HTTP/2
  bool unshared_ = false;                    // wants a connection of its own all the same
  connection::Home::Place shared_;           // one stream of a connection that others use, too
  connection::Home::Connecting connecting_;  // others wait for the protocol of the connection in use
  bool over_http2_ = false;                  // the connection in use, or used last
  std::shared_ptr<connection::MultiplexedStream> stream_at_peer_;
  std::int32_t stream_id_ = 0;
  bool stream_closed_ = false;  // the connection knows it no more
  bool part_given_ = false;     // to the stream
  bool part_unsent_ = false;    // the stream may still look into it
  int unread_tries_ = 0;        // that the peer proved to have left unread
  int goodbyes_ = 0;            // the same, by a GOAWAY after it had served others
  unsigned epoch_;
  State state_ = State::ready;
  bool head_request_ = false;
  bool connect_request_ = false;
  bool replayable_ = false;
  bool rewindable_ = false;
  bool reports_interim_ = false;
  bool timed_ = false;
  bool close_asked_ = false;
  bool authenticates_connection_ = false;  // \see authenticates_connection()
  bool spent_ = false;                     // the connection must not carry another request, whatever the response says
  h1::EncodedHead framing_;
  std::uint64_t bytes_sent_ = 0;
  std::uint64_t body_sent_ = 0;
  std::uint64_t written_before_ = 0;  // to the kernel, on this connection, before this request
  bool obtained_ = false;             // a connection, once
  bool peer_ended_ = false;           // reading has met the peer's end
  bool piece_taken_ = false;          // of a streamed body, in whole or in part: it cannot be had again
  bool heeds_ = true;                 // looks for an early answer while it sends
  int heard_error_ = 0;               // of the socket, fetched while sending
  bool early_head_ = false;           // the head of the response came before all was sent
  bool refused_ = false;              // and is an error: nothing more is to be sent
  bool continue_seen_ = false;        // a 100 (Continue)
  bool rewinds_ = false;              // the body is to be produced again
  std::optional<Error> body_error_;   // met behind what was handed out
  std::optional<Error> write_error_;
  std::unique_ptr<Kept> kept_;
  std::optional<connection::Addresses> addresses_;
  std::uint32_t connection_number_ = 0;
  std::shared_ptr<const void> engine_;
  std::shared_ptr<const net::TlsSession> tls_session_;
  Obtained obtained_how_;
  driver::Cancellation* cancellation_ = nullptr;
  const InterimListener* interim_ = nullptr;
  const RetryListener* retry_listener_ = nullptr;

  // The operation under way.
  Operation operation_ = Operation::none;
  Step step_ = Step::settled;
  int tries_left_ = 0;  // of connect_retries_
  TimePoint handshake_began_{};
  Duration expect_timeout_{};
  TimePoint expect_until_{};
  OptionalDuration read_timeout_;
  std::string_view part_;  // of the body
  bool last_part_ = false;
  std::string chunk_head_;
  std::array<iovec, 5> pieces_{};
  std::span<iovec> unsent_;                         // of pieces_
  std::vector<std::string_view>* taken_ = nullptr;  // where read() puts the pieces
  std::string* whole_ = nullptr;                    // where it may append long parts of the body
  std::size_t appended_ = 0;
  std::optional<Error> failed_;  // what it failed with, while the proof is looked for
  std::optional<UnreadWatch> watch_;
  pool::Lease next_;  // to go on with, if it was unread
  std::optional<Result<bool>> result_;
};

}  // namespace fastpool::client
