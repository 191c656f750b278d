#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace fastpool {

/// Gauges of one endpoint at one moment. At every read total = idle + active + dialing.
struct EndpointStats {
  std::string name;
  std::uint64_t total_connections = 0;
  std::uint64_t idle_connections = 0;
  std::uint64_t active_connections = 0;  ///< leased, unconnected leases included
  std::uint64_t dialing_connections = 0;
  std::uint64_t waiters = 0;
};

/// Gauges and counters of one pool. Counters grow from the pool's making on.
struct PoolStats {
  EndpointStats all;  ///< sums over the endpoints; `name` is empty
  std::vector<EndpointStats> endpoints;

  std::uint64_t leases = 0;  ///< leases given out that had a live connection
  std::uint64_t reused = 0;  ///< of these, on a connection that had been leased before
  std::uint64_t dials = 0;   ///< begun
  std::uint64_t dial_failures = 0;
  std::uint64_t connections_opened = 0;
  std::uint64_t connections_closed = 0;
  std::uint64_t handshakes = 0;   ///< TLS, completed
  std::uint64_t resumed = 0;      ///< of these, resumed sessions
  std::uint64_t evicted = 0;      ///< idle ones closed to make room
  std::uint64_t expired = 0;      ///< closed for their idle time or lifetime
  std::uint64_t peer_closed = 0;  ///< idle ones that the peer closed
  std::uint64_t discarded = 0;    ///< found unusable when they were to be used or returned
  std::uint64_t pool_timeouts = 0;
};

}  // namespace fastpool
