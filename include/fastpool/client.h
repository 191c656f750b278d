#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <fastpool/export.h>
#include <fastpool/headers.h>
#include <fastpool/interrupt.h>
#include <fastpool/profile.h>
#include <fastpool/result.h>
#include <fastpool/settings.h>
#include <fastpool/stats.h>
#include <fastpool/timeouts.h>

namespace fastpool::inline v1 {

/// A request. Host and, with a body, Content-Length are added where `headers` lack them; the rest goes out as given.
struct Request {
  std::string method = "GET";
  std::string url{};  ///< "https://host[:port]/path?query"
  std::vector<std::pair<std::string, std::string>> headers{};
  std::string body{};
};

/// A whole response.
struct Response {
  int status = 0;
  std::string reason{};
  HeaderList headers{};
  std::string body{};
};

struct RequestOptions {
  Timeouts timeouts{std::chrono::seconds(5), std::chrono::seconds(5), std::chrono::seconds(5), std::chrono::seconds(5)};
  Interrupt interrupt{};
};

/// An HTTP client over one connection pool. Thread-safe. Connections are verified, kept, watched and reused; a request that
/// the server may have processed is never sent twice. In the child of a fork the client starts with an empty pool; the
/// parent's connections stay the parent's.
class FASTPOOL_EXPORT Client {
 public:
  explicit Client(PoolSettings settings = {}, Profile profile = {});
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  /// Closes every connection. No call may be under way.
  ~Client();

  /// Sends the request and reads the whole response, on the calling thread.
  [[nodiscard]] Result<Response> send(const Request& request, const RequestOptions& options = {});
  /// Dials until `count` connections to the URL's origin are idle. \returns how many are.
  [[nodiscard]] Result<std::uint32_t> warm(std::string_view url, std::uint32_t count,
                                           const RequestOptions& options = {});
  [[nodiscard]] PoolStats stats() const;
  /// Ends waits and idle connections, and interrupts the rest. Idempotent; later requests fail with pool_closed.
  void close();

 private:
  struct FASTPOOL_LOCAL State;
  std::unique_ptr<State> state_;
};

}  // namespace fastpool::inline v1
