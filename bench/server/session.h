#pragma once

#include <openssl/ssl.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
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
/// target asks for one. Owned by the server's loop and used by its one thread only. Does one recv and one send per request when a request arrives whole; it never reads until the
/// socket is empty first, because that second recv would be charged to the core that the client is measured on.
class Session {
 public:
  /// Takes the descriptor over. `ssl` is null for a plain connection; the references outlive the session.
  Session(int descriptor, SslHandle ssl, const Answers& answers, Pacer& pacer, Counters& counters);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  /// Serves what has arrived. False: the connection is over and is to be dropped.
  [[nodiscard]] bool serve();

  /// Sends the next event of the paced stream, and asks the pacer for the one after it. False: as of serve().
  [[nodiscard]] bool go_on(const Pacer::Due& due);

 private:
  enum class Received { Bytes, Nothing, Closed };

  [[nodiscard]] Received receive();
  [[nodiscard]] bool answer_requests();
  [[nodiscard]] bool answer(std::string_view target);
  [[nodiscard]] bool begin_paced();
  [[nodiscard]] bool send(std::string_view bytes);
  [[nodiscard]] std::string stats_answer() const;

  int descriptor_;
  SslHandle ssl_;
  const Answers& answers_;
  Pacer& pacer_;
  Counters& counters_;
  std::uint64_t serial_ = 0;     ///< of the paced stream, 0 for none: descriptors are used again
  std::size_t events_left_ = 0;  ///< of the paced stream
  bool greeted_;                 ///< the TLS handshake is over (true from the start on a plain connection)
  std::size_t filled_ = 0;
  std::array<char, 16'384> buffer_;
};

}  // namespace fastpool::bench
