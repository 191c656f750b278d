#pragma once

/// \file
/// Server-sent events (WHATWG HTML section 9.2): what `text/event-stream` carries.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <fastpool/export.h>
#include <fastpool/result.h>
#include <fastpool/stream.h>
#include <fastpool/timeouts.h>

namespace fastpool::inline v1 {

/// One event. Its views last until the next call of the scanner, or of the ServerSentEvents, that returned it.
struct ServerSentEvent {
  std::string_view event{};  ///< its type; "message" where the server named none
  std::string_view data{};   ///< its lines of data, joined by a line feed
  std::string_view id{};     ///< the last event ID: of this event, or of an earlier one
  /// The reconnection time, if the server set it since the event before. One too large for a Duration is the largest Duration.
  std::optional<Duration> retry{};
};

/// Splits the bytes of an event stream into events. Does no I/O: the caller feeds it the body's pieces as they arrive, cut
/// anywhere.
///
///     fastpool::EventScanner scanner;
///     std::function<void(fastpool::Result<std::string_view>)> take = [&](auto piece) {  // in an event loop
///       if (!piece || piece->empty()) return;  // an error, or the end; an event that is cut off is dropped
///       scanner.feed(*piece);
///       auto event = scanner.next();
///       for (; event && *event; event = scanner.next()) use(**event);
///       if (event) fastpool::read(loop, stream, take);
///     };
///     fastpool::read(loop, stream, take);
///
/// Lines end with CR, LF or CRLF. A byte order mark at the start, comments and unknown fields are ignored. Bytes that are not
/// UTF-8 are passed on as they are. One thread at a time.
class FASTPOOL_EXPORT EventScanner {
 public:
  static constexpr std::size_t default_most = std::size_t{16} << 20U;

  /// \param most bytes of one line, and of the data of one event; beyond them next() fails.
  explicit EventScanner(std::size_t most = default_most) noexcept : most_(most) {}

  /// Gives the scanner the next piece, which lasts until next() has returned nothing or an error. Before the first piece, and
  /// whenever next() has returned nothing.
  void feed(std::string_view piece) noexcept;
  /// Returns the next event that is complete; nothing: feed() the next piece. Errors, which last: body_too_large,
  /// out_of_memory, and invalid_argument for a piece that was fed before the events of the last one were taken.
  [[nodiscard]] Result<std::optional<ServerSentEvent>> next() noexcept;

  /// The last event ID: the value of `Last-Event-ID` in the request that opens the stream again. Lasts until the next call of next().
  [[nodiscard]] std::string_view last_event_id() const noexcept { return last_id_; }
  /// How long the server asks clients to wait before they open the stream again; absent: it has not said.
  [[nodiscard]] std::optional<Duration> retry() const noexcept { return retry_; }

 private:
  enum class Failure : std::uint8_t { none, too_large, no_memory, fed_early };

  [[nodiscard]] bool take_line();
  [[nodiscard]] bool take_field(std::string_view line);
  [[nodiscard]] std::optional<ServerSentEvent> end_event();
  void set_retry(std::string_view digits) noexcept;
  [[nodiscard]] Error failed(Failure failure) noexcept;

  std::size_t most_;
  Failure failure_ = Failure::none;

  // Lines.
  std::string_view input_;   // of the piece, what has not been looked at
  std::string_view line_;    // after take_line(): in the piece or in `begun_`
  std::string begun_;        // a line whose end has not arrived
  bool line_taken_ = false;  // `begun_` belongs to a line that has been given out
  bool first_line_ = true;
  bool after_cr_ = false;  // an LF that follows belongs to the line before

  // The event that is being built, and what outlives it.
  std::string data_;  // an LF after each line
  std::string event_;
  std::string id_;
  std::string last_id_;  // `id_` as of the last empty line
  bool ended_ = false;   // `data_` and `event_` belong to an event that has been given out
  std::optional<Duration> retry_;
  bool retry_set_ = false;  // since the last event
};

/// The events of a stream, one after the other, on the calling thread. Refers to the stream, which outlives it; nothing else
/// reads the stream meanwhile.
///
///     auto stream = client.open({.url = url, .headers = {{"Accept", "text/event-stream"}}});
///     if (!stream) return stream.error();
///     fastpool::ServerSentEvents events(*stream);
///     for (;;) {
///       const auto event = events.next();
///       if (!event) return event.error();
///       if (!*event) break;  // the end
///       use((*event)->data);
///     }
///
/// Status and Content-Type are the caller's to look at, in Stream::head(): a body that is no event stream has no events. The
/// stream is not opened again after its end.
class FASTPOOL_EXPORT ServerSentEvents {
 public:
  /// \param stream outlives this object. \param most \see EventScanner
  explicit ServerSentEvents(Stream& stream, std::size_t most = EventScanner::default_most) noexcept
      : stream_(stream), scanner_(most) {}

  /// Waits for the next event; nothing at the end of the stream, from then on. An event that the end cuts off is dropped.
  /// Errors: those of Stream::read(), after which the stream is spent, and those of EventScanner::next().
  [[nodiscard]] Result<std::optional<ServerSentEvent>> next();

  /// \see EventScanner::last_event_id()
  [[nodiscard]] std::string_view last_event_id() const noexcept { return scanner_.last_event_id(); }
  /// \see EventScanner::retry()
  [[nodiscard]] std::optional<Duration> retry() const noexcept { return scanner_.retry(); }

 private:
  Stream& stream_;
  EventScanner scanner_;
};

}  // namespace fastpool::inline v1
