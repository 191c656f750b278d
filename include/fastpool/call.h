#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <limits>
#include <stop_token>

#include <fastpool/message.h>
#include <fastpool/profile.h>
#include <fastpool/timeouts.h>

namespace fastpool::inline v1 {

class Lease;

/// What one request may take, and how it is stopped.
///
///     client.send({.url = url}, {.total = std::chrono::seconds(10), .max_body = 1 << 20});
struct Call {
  static constexpr std::uint64_t unlimited = std::numeric_limits<std::uint64_t>::max();

  /// Five seconds each. Of a single wait: a server that sends a byte now and then keeps a request alive; \see total.
  Timeouts timeouts{std::chrono::seconds(5), std::chrono::seconds(5), std::chrono::seconds(5), std::chrono::seconds(5)};
  /// From the call to the last byte of the body, waits included; total_timeout after it. Absent: none.
  OptionalDuration total = {};
  /// Bytes of the response's body, as they come over the wire; body_too_large beyond.
  std::uint64_t max_body = unlimited;
  /// A request to stop ends the request with `cancelled`: at once where it reads or writes, within 100 ms where it waits for a
  /// connection on a blocked thread.
  std::stop_token stop = {};
  /// Replaces the client's profile for this request; outlives the call. Equal profiles share connections. Null: the client's.
  const Profile* profile = nullptr;
  /// Sends the request on this lease's connection, as Lease::send() does; outlives the call, and carries one request at a time.
  /// Null: a connection of the pool's.
  Lease* lease = nullptr;
  /// The request may be processed twice without harm, so it is sent again where a GET is, whatever its method.
  bool idempotent = false;
  /// How often a failed connect is tried again, with growing pauses.
  int connect_retries = 0;
  /// How long a request with `Expect: 100-continue` waits for the server's word before it sends its body all the same
  /// (RFC 9110 section 10.1.1).
  Duration expect_timeout = std::chrono::seconds(1);
  /// Called for each interim response (1xx, but 101), such as 103 Early Hints (RFC 8297), on the thread that reads, before the
  /// final head. Must not throw.
  std::function<void(const ResponseHead&)> on_interim = {};
};

}  // namespace fastpool::inline v1
