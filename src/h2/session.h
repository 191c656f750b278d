#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <fastpool/result.h>

#include "h2/frame_guard.h"
#include "h2/request_fields.h"
#include "h2/stream.h"

struct nghttp2_session;

namespace fastpool::h2 {

/// How much the peer may send ahead, and at once.
struct SessionSettings {
  std::uint32_t stream_window = 1U << 20U;       ///< unread bytes of a response
  std::uint32_t connection_window = 16U << 20U;  ///< bytes on their way for all streams together
  std::size_t max_header_bytes =
      256UL * 1024;  ///< of a header block, as RFC 9113 section 6.5.2 counts: 32 more for each field
};

/// The client's side of one HTTP/2 connection (RFC 9113), without I/O: bytes of the peer go in by feed(), bytes for it come out
/// by pull(). Every call may make some to pull. It never waits, reads no clock, and calls nobody back: streams to which
/// something happened are listed (take_changed()).
///
/// One thread at a time, which the owner sees to; it owns no stream. An error of feed() is the connection's end: every stream that is
/// open then has a failure, and all later calls do nothing.
class Session {
 public:
  /// Null without memory.
  [[nodiscard]] static std::unique_ptr<Session> create(const SessionSettings& settings = {});
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  /// Touches no stream. Those that are open stay so: disconnect() ends them.
  ~Session();

  // ---- streams ----

  /// Whether a request may be opened now: below the peer's limit of streams, and before any GOAWAY.
  [[nodiscard]] bool may_open() const noexcept;
  /// Opens a stream for a request. \param stream new, at an address that stays until it is not open any more.
  /// \param end whether no body follows. Errors: local_protocol; unsupported if !may_open(); out_of_memory.
  [[nodiscard]] Result<void> open(Stream& stream, const RequestHead& request, bool end);
  /// More of the request's body, of which nothing may be unsent. \param bytes stay until they are sent (Stream::unsent()).
  void write(Stream& stream, std::string_view bytes, bool last) noexcept;
  /// Forgets what is unsent of the body: the rest of the request never comes. The response may still arrive.
  void stop_sending(Stream& stream) noexcept;
  /// The exchange has taken so many bytes of Stream::body: the peer may send as many more.
  void credit(Stream& stream, std::size_t bytes) noexcept;
  /// Gives a stream up, if it is open, and forgets it: to be called before it is destroyed. \param code of RFC 9113 section 7;
  /// CANCEL by default.
  void reset(Stream& stream, std::uint32_t code = 0x8) noexcept;
  /// The next stream to which something happened since it was taken last; null: none.
  [[nodiscard]] Stream* take_changed() noexcept;

  // ---- bytes ----

  /// Errors: remote_protocol, which ends the session; out_of_memory.
  [[nodiscard]] Result<void> feed(std::string_view bytes);
  /// The connection is gone: every open stream fails. \param detail why, for people.
  void disconnect(std::string_view detail) noexcept;
  /// Appends what is to be sent, until `out` has `most` bytes or more. Errors: out_of_memory.
  [[nodiscard]] Result<void> pull(std::string& out, std::size_t most = most_at_once);
  /// Whether pull() may give something.
  [[nodiscard]] bool has_output() const noexcept;

  // ---- the connection ----

  /// Asks the peer for a sign of life. pings_unanswered() says whether it came.
  void ping() noexcept;
  [[nodiscard]] unsigned pings_unanswered() const noexcept { return pings_unanswered_; }
  /// Tells the peer that no request follows (GOAWAY).
  void say_goodbye() noexcept;

  /// Whether a GOAWAY came, or the stream ids are used up: the streams that are open end as they do, and none follows.
  [[nodiscard]] bool draining() const noexcept;
  [[nodiscard]] bool failed() const noexcept { return failed_; }
  [[nodiscard]] std::span<Stream* const> streams() const noexcept { return streams_; }
  [[nodiscard]] std::uint32_t open_streams() const noexcept { return static_cast<std::uint32_t>(streams_.size()); }
  /// What the peer allows; before its SETTINGS 100.
  [[nodiscard]] std::uint32_t max_streams() const noexcept;
  /// Streams that ended without their response, by either side: peers punish many.
  [[nodiscard]] std::uint32_t resets() const noexcept { return resets_; }

 private:
  struct Callbacks;
  explicit Session(const SessionSettings& settings) noexcept : settings_(settings) {}

  void note(Stream& stream) noexcept;
  void finish(Stream& stream) noexcept;
  void fail(Stream& stream, StreamFailure failure, const char* detail = nullptr) noexcept;
  [[nodiscard]] int take_head(Stream& stream) noexcept;
  [[nodiscard]] int refuse_unsent_beyond_limit() noexcept;
  [[nodiscard]] Result<void> flush(std::string& out, std::size_t most);
  [[nodiscard]] int receive(std::string_view bytes) noexcept;
  [[nodiscard]] int receive_headers_whole(std::string_view bytes);
  [[nodiscard]] Error end(std::string detail);

  static constexpr std::size_t most_at_once = 64UL * 1024;

  struct Deleter {
    void operator()(nghttp2_session* session) const noexcept;
  };
  const SessionSettings settings_;
  std::unique_ptr<nghttp2_session, Deleter> session_;
  FrameGuard guard_;
  std::vector<Stream*> streams_;  // open
  std::vector<Stream*> changed_;
  std::string outbox_;  // what feed() found to send
  std::string held_;    // the begin of a frame header
  std::uint32_t resets_ = 0;
  std::int32_t last_served_ = 0;  // of the last GOAWAY
  unsigned pings_unanswered_ = 0;
  bool settled_ = false;  // the peer's SETTINGS came
  bool draining_ = false;
  bool failed_ = false;
  bool no_memory_ = false;
  std::string complaint_;  // what broke the connection
};

/// The name of an error code (RFC 9113 section 7), "CANCEL"; "unknown error" for others.
[[nodiscard]] std::string_view error_name(std::uint32_t code) noexcept;

}  // namespace fastpool::h2
