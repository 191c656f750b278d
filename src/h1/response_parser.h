#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include <fastpool/headers.h>
#include <fastpool/message.h>

namespace fastpool::h1 {

using fastpool::ResponseHead;

/// Sans-IO parser of one HTTP/1.1 response (RFC 9112). The caller feeds bytes and acts on events; the parser never waits,
/// never reads ahead of what it is given, and keeps views into the caller's buffer only in the Step that it returns.
/// One parser serves many responses, one after the other: start() begins the next.
///
/// Reads what httpx's own parser (h11) reads; where that leaves doubt about the end of the response, the response is given and
/// the connection is not reusable.
class ResponseParser {
 public:
  enum class Event : std::uint8_t {
    need_more,  ///< feed more; bytes not `consumed` must be presented again, followed by more
    interim,    ///< a 1xx head, where start() asked for them: head() is valid until the next parse()
    head,       ///< the final head is complete: head() is valid until the next start()
    body,       ///< `body` is the next piece of the decoded body
    end,        ///< the response is complete; bytes behind `consumed` do not belong to it
    error       ///< the peer broke the protocol: error_detail() says how; the connection is not reusable
  };
  struct Step {
    Event event = Event::need_more;
    std::size_t consumed = 0;
    std::string_view body;  ///< into the input; valid only for Event::body
  };

  ResponseParser();
  ~ResponseParser();
  ResponseParser(ResponseParser&&) noexcept;
  ResponseParser& operator=(ResponseParser&&) noexcept;

  /// Begins the next response. \param head_request whether the request was HEAD (no body follows, whatever is promised).
  /// \param report_interim whether interim heads are events; else they are skipped.
  void start(bool head_request, bool report_interim = false);
  /// One event's worth of `input`. Call again with the rest until need_more, end or error.
  [[nodiscard]] Step parse(std::string_view input);
  /// Of a body of known length whose head has been read: how many bytes have still to come. 0 for all else.
  [[nodiscard]] std::uint64_t missing() const noexcept;
  /// So many of the missing bytes were read past the parser; fewer than all.
  void skip(std::size_t bytes) noexcept;
  /// The peer closed in order: completes an until-close body (end), else error (an early end).
  [[nodiscard]] Step finish();

  [[nodiscard]] const ResponseHead& head() const noexcept;
  [[nodiscard]] ResponseHead& head() noexcept;
  /// The fields behind a body in chunks; complete at Event::end.
  [[nodiscard]] HeaderList& trailers() noexcept;
  /// Whether any byte of a response (1xx included) was seen since start().
  [[nodiscard]] bool saw_bytes() const noexcept;
  /// After end: whether the connection may carry another request (keep-alive rules of RFC 9112 section 9.3, framed body,
  /// no 101, nothing read leniently that leaves doubt about the framing). Bytes left over are the caller's to notice.
  [[nodiscard]] bool reusable() const noexcept;
  /// After finish() returned error: whether it was merely an early end (no protocol was broken, the peer went away).
  [[nodiscard]] bool ended_early() const noexcept;
  /// `Keep-Alive: timeout=N` in seconds and `max=N`; -1 where absent or unreadable.
  [[nodiscard]] long keep_alive_timeout() const noexcept;
  [[nodiscard]] long keep_alive_max() const noexcept;
  [[nodiscard]] const std::string& error_detail() const noexcept;

  static constexpr std::size_t max_head_bytes = 256UL * 1024;  ///< status line, headers and trailers together

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace fastpool::h1
