#pragma once

#include <openssl/ssl.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "server/answers.h"
#include "server/pacer.h"

namespace fastpool::bench {

struct SslDeleter {
  void operator()(SSL* ssl) const noexcept { SSL_free(ssl); }
};
using SslHandle = std::unique_ptr<SSL, SslDeleter>;

/// What the server has counted since it started; read by the harness with GET /stats.
struct Counters {
  std::uint64_t connections = 0;
  std::uint64_t handshakes = 0;
  std::uint64_t requests = 0;
};

/// One accepted connection: reads requests, answers each with the same bytes, or with a stream of events where its
/// target asks for one. Owned by the server's loop and used by its one thread only. Does one recv and one send per request
/// when a request arrives whole and the socket takes the answer whole; it never reads until the socket is empty first,
/// because that second recv would be charged to the core that the client is measured on.
class Session {
 public:
  /// Takes the descriptor over. `ssl` is null for a plain connection; the references outlive the session.
  Session(int descriptor, SslHandle ssl, const Answers& answers, Pacer& pacer, Counters& counters);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  /// Sends the rest of an answer, or serves what has arrived. False: the connection is over and is to be dropped.
  [[nodiscard]] bool serve();
  /// Whether the rest of an answer waits for room in the socket: then serve() is to be called when there is some.
  [[nodiscard]] bool blocked() const { return !rest_.empty(); }

  /// Sends the next event of the paced stream, and asks the pacer for the one after it. False: as of serve().
  [[nodiscard]] bool go_on(const Pacer::Due& due);

 private:
  enum class Received { Bytes, Nothing, Closed };

  [[nodiscard]] Received receive();
  [[nodiscard]] bool answer_requests();
  [[nodiscard]] bool answer(std::string_view target);
  [[nodiscard]] bool begin_paced();
  /// Sends an answer that outlives the session, or begins to.
  [[nodiscard]] bool send(std::string_view answer);
  /// Sends bytes that are smaller than any socket's send buffer; a short write means a broken peer.
  [[nodiscard]] bool send_whole(std::string_view bytes);
  [[nodiscard]] bool send_rest();
  /// How much of it went out, 0 if there is no room; nothing if the connection is broken.
  [[nodiscard]] std::optional<std::size_t> write_some(std::string_view bytes);
  [[nodiscard]] std::string stats_answer() const;

  int descriptor_;
  SslHandle ssl_;
  const Answers& answers_;
  Pacer& pacer_;
  Counters& counters_;
  std::uint64_t serial_ = 0;     ///< of the paced stream, 0 for none: descriptors are used again
  std::size_t events_left_ = 0;  ///< of the paced stream
  std::string_view rest_;        ///< of an answer
  bool greeted_;                 ///< the TLS handshake is over (true from the start on a plain connection)
  std::size_t filled_ = 0;
  std::array<char, 16'384> buffer_;
};

}  // namespace fastpool::bench
