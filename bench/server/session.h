#pragma once

#include <openssl/ssl.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

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

/// One accepted connection: reads requests, answers each with the same bytes. Owned by the server's loop and used by
/// its one thread only. Does one recv and one send per request when a request arrives whole; it never reads until the
/// socket is empty first, because that second recv would be charged to the core that the client is measured on.
class Session {
 public:
  /// Takes the descriptor over. `ssl` is null for a plain connection; `answer` outlives the session.
  Session(int descriptor, SslHandle ssl, std::string_view answer, Counters& counters);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  /// Serves what has arrived. False: the connection is over and is to be dropped.
  [[nodiscard]] bool serve();

 private:
  enum class Received { Bytes, Nothing, Closed };

  [[nodiscard]] Received receive();
  [[nodiscard]] bool answer_requests();
  [[nodiscard]] bool send(std::string_view bytes);
  [[nodiscard]] std::string stats_answer() const;

  int descriptor_;
  SslHandle ssl_;
  std::string_view answer_;
  Counters& counters_;
  bool greeted_;  ///< the TLS handshake is over (true from the start on a plain connection)
  std::size_t filled_ = 0;
  std::array<char, 16'384> buffer_;
};

}  // namespace fastpool::bench
