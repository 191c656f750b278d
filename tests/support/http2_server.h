#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/loopback_server.h"

namespace fastpool::support {

class Http2Server;

using Http2Fields = std::vector<std::pair<std::string, std::string>>;

/// One request as an Http2Server has it, and the means to answer it, at once or later, from any thread. A copyable value; must not outlive the
/// server. An answer to a stream or connection that has ended does nothing.
class Http2Request {
 public:
  std::string method{};
  std::string path{};
  Http2Fields fields{};     ///< without pseudo-header fields
  std::string body{};       ///< what had arrived of it
  int connection = 0;       ///< its number, from 0
  std::int32_t stream = 0;  ///< its id

  /// The first value of that field; empty if there is none.
  [[nodiscard]] std::string field(std::string_view name) const;

  /// The whole response. \param fields in lower case.
  void answer(int status, std::string_view body = {}, const Http2Fields& fields = {},
              const Http2Fields& trailers = {}) const;
  /// The head of the response; send() and finish() follow.
  void begin(int status, const Http2Fields& fields = {}) const;
  void send(std::string_view piece) const;
  void finish(const Http2Fields& trailers = {}) const;
  /// An interim response (1xx).
  void inform(int status, const Http2Fields& fields = {}) const;
  /// RST_STREAM. \param code of RFC 9113 section 7.
  void reset(std::uint32_t code) const;
  /// RST_STREAM with NO_ERROR, behind an answer() with a body: the rest of the request is not wanted (RFC 9113 section 8.1).
  /// Before the answer.
  void stop_after_answer() const;
  /// With Settings::holds_bodies: lets the client send as much more of the body.
  void credit(std::size_t bytes) const;

  [[nodiscard]] Http2Server& server() const noexcept { return *server_; }

 private:
  friend class Http2Server;
  explicit Http2Request(Http2Server& server) noexcept : server_(&server) {}
  Http2Server* server_;
};

/// A server of HTTP/2 (nghttp2) on a free port of 127.0.0.1: over TLS by ALPN, or plain with prior knowledge. One thread serves all connections
/// and calls the handlers, which must not block: a handler that answers later keeps a copy of the request. Any thread may call anything.
/// The destructor closes everything and joins.
class Http2Server {
 public:
  using Handler = std::function<void(const Http2Request&)>;

  struct Settings {
    std::optional<CertificateFiles> certificate{};  ///< TLS
    std::optional<std::uint32_t> max_streams{};     ///< SETTINGS_MAX_CONCURRENT_STREAMS; absent: not sent
    std::optional<std::uint32_t> window{};          ///< of a request's body, SETTINGS_INITIAL_WINDOW_SIZE
    bool holds_bodies = false;  ///< a stream gets credit for its body by Http2Request::credit() alone
    bool silent = false;        ///< sends nothing at all, not even SETTINGS
    Handler at_head{};          ///< called when the head of a request has come
  };

  /// \param at_end called when the whole request has come, unless its response has begun.
  explicit Http2Server(Handler at_end = answer_it) : Http2Server(Settings(), std::move(at_end)) {}
  explicit Http2Server(const Settings& settings, Handler at_end = answer_it);
  Http2Server(const Http2Server&) = delete;
  Http2Server& operator=(const Http2Server&) = delete;
  ~Http2Server();

  /// Answers 200 with the body of the request, or "hello".
  static void answer_it(const Http2Request& request);

  [[nodiscard]] std::uint16_t port() const noexcept;
  /// "http://127.0.0.1:..." or "https://localhost:...".
  [[nodiscard]] std::string url(std::string_view path = "/") const;

  // ---- what happens to a connection ----

  /// GOAWAY. \param last the last stream that is processed; absent: all that have come.
  void say_goodbye(int connection, std::optional<std::int32_t> last = {});
  /// SETTINGS_MAX_CONCURRENT_STREAMS.
  void limit_streams(int connection, std::uint32_t most);
  /// Reads nothing more from the connection, until go_on_reading().
  void stop_reading(int connection);
  void go_on_reading(int connection);
  /// Closes it without a word of HTTP/2.
  void close(int connection);
  /// Closes it so that the client gets a reset.
  void reset(int connection);
  /// Asks the client for a sign of life.
  void ping(int connection);

  // ---- what has happened ----

  [[nodiscard]] int connections() const;       ///< accepted so far, their handshakes done
  [[nodiscard]] int open_connections() const;  ///< of them, not ended as far as the client's kernel knows
  [[nodiscard]] int open_streams() const;
  [[nodiscard]] int most_open_streams() const;                ///< at once, of all connections
  [[nodiscard]] int most_open_streams_of_connection() const;  ///< at once, of one connection
  /// Requests whose head has come, in order.
  [[nodiscard]] std::vector<Http2Request> requests() const;
  [[nodiscard]] int count(std::string_view path) const;
  /// RST_STREAM frames of the client, by code.
  [[nodiscard]] std::map<std::uint32_t, int> resets() const;
  [[nodiscard]] int goodbyes() const;  ///< GOAWAY frames of the client
  [[nodiscard]] int pings_answered() const;
  /// How many bytes of the body of that request have arrived.
  [[nodiscard]] std::size_t received(const Http2Request& request) const;

 private:
  friend class Http2Request;
  struct Connection;
  struct State;
  const std::unique_ptr<State> state_;
};

}  // namespace fastpool::support
