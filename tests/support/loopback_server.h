#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include <openssl/ssl.h>

#include "net/descriptor.h"
#include "support/certificates.h"
#include "support/waiting.h"

namespace fastpool::support {

/// Longer than wait_limit: a client that waits for the server reports first.
inline constexpr std::chrono::seconds server_wait_limit = wait_limit + std::chrono::seconds(5);

/// The server's end of one connection, for a handler in its own thread. All calls block. They fail quietly (an empty read,
/// false) once the peer is gone or the server stops. A call that waits for longer than `server_wait_limit` fails the test.
class ServerConnection {
 public:
  ServerConnection(net::Descriptor socket, SSL* tls, int number)
      : socket_(std::move(socket)), tls_(tls), number_(number) {}
  ServerConnection(const ServerConnection&) = delete;
  ServerConnection& operator=(const ServerConnection&) = delete;
  ~ServerConnection();

  /// Returns the next bytes, at most `most`; empty at the end.
  std::string read_some(std::size_t most = 65536);
  /// Returns exactly that many bytes, or fewer at the end.
  std::string read_exactly(std::size_t size);
  /// Returns the bytes up to and including `mark`, or all bytes until the end.
  std::string read_until(std::string_view mark);
  bool write(std::string_view bytes);
  /// Reads and discards until the peer closes.
  void read_to_end();
  /// TLS: sends close_notify, and leaves the socket open.
  void say_goodbye();
  /// Sends a FIN.
  void close_writing();
  /// Closes the socket so that the peer gets a reset.
  void reset();
  /// Waits until the peer's kernel has all that was written. The test fails if that takes too long.
  void wait_until_delivered() const;

  /// TLS: the protocols that the client offered by ALPN, with commas.
  [[nodiscard]] std::string offered_protocols() const;
  [[nodiscard]] SSL* tls() const noexcept { return tls_; }
  [[nodiscard]] int descriptor() const noexcept { return socket_.get(); }
  /// In the order in which the server accepted its connections, from 0.
  [[nodiscard]] int number() const noexcept { return number_; }

 private:
  net::Descriptor socket_;
  SSL* tls_;
  int number_;
};

/// The TLS settings of a LoopbackServer.
struct ServerTls {
  CertificateFiles certificate;
  int minimum_version = 0;
  int maximum_version = 0;
  std::string client_ca_file = {};  ///< not empty: clients must show a certificate of this authority
  int tickets = 2;                  ///< session tickets after a TLS 1.3 handshake
  std::string protocol = {};  ///< chosen by ALPN where the client offers it; empty: the first that the client offers
};

/// A server on a free port of 127.0.0.1, each connection handled in a thread of its own. With TLS the handler runs after
/// the handshake, and not at all if that fails. The destructor closes everything and joins.
class LoopbackServer {
 public:
  using Handler = std::function<void(ServerConnection&)>;

  explicit LoopbackServer(Handler handler);
  LoopbackServer(const ServerTls& tls, Handler handler);
  LoopbackServer(const LoopbackServer&) = delete;
  LoopbackServer& operator=(const LoopbackServer&) = delete;
  ~LoopbackServer();

  [[nodiscard]] std::uint16_t port() const noexcept;
  [[nodiscard]] int connections() const noexcept;      ///< accepted so far
  [[nodiscard]] int full_handshakes() const noexcept;  ///< completed and not resumed
  [[nodiscard]] int resumed_handshakes() const noexcept;

  /// Returns a blocking client socket connected to it.
  [[nodiscard]] net::Descriptor connect() const;

 private:
  struct State;
  void start();
  std::unique_ptr<State> state_;
};

/// Writes back all bytes that it reads.
void echo(ServerConnection& connection);

}  // namespace fastpool::support
