#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <fastpool/timeouts.h>

namespace fastpool::inline v1 {

/// How long something took, over all times it was done: explicit buckets, as OpenTelemetry advises for
/// db.client.connection.wait_time and .create_time.
struct Histogram {
  static constexpr std::array<double, 9> bounds{0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10};  ///< seconds, inclusive

  std::array<std::uint64_t, bounds.size() + 1> counts{};  ///< not cumulative; the last: above all bounds
  std::uint64_t count = 0;
  double sum = 0;  ///< seconds

  void add(Duration taken) noexcept {
    const double seconds = std::chrono::duration<double>(taken).count();
    std::size_t bucket = 0;
    while (bucket < bounds.size() && seconds > bounds[bucket])
      ++bucket;
    ++counts[bucket];
    ++count;
    sum += seconds;
  }
  Histogram& operator+=(const Histogram& other) noexcept {
    for (std::size_t bucket = 0; bucket < counts.size(); ++bucket)
      counts[bucket] += other.counts[bucket];
    count += other.count;
    sum += other.sum;
    return *this;
  }
};

/// Gauges of one endpoint at one moment, and how long its callers waited. At every read total = idle + active + dialing.
struct EndpointStats {
  std::string name{};
  std::uint64_t total_connections = 0;
  std::uint64_t idle_connections = 0;
  std::uint64_t active_connections = 0;  ///< leased, unconnected leases included
  std::uint64_t dialing_connections = 0;
  std::uint64_t waiters = 0;
  std::uint64_t min_idle = 0;       ///< kept warm
  std::uint64_t failing_dials = 0;  ///< in a row, up to now
  Histogram wait_time{};            ///< of those who got a lease after they had to wait
  Histogram create_time{};          ///< of connections: look-up, connect and handshake together
  Histogram handshake_time{};       ///< TLS alone

  /// All but the name.
  EndpointStats& operator+=(const EndpointStats& other) noexcept {
    total_connections += other.total_connections;
    idle_connections += other.idle_connections;
    active_connections += other.active_connections;
    dialing_connections += other.dialing_connections;
    waiters += other.waiters;
    min_idle += other.min_idle;
    failing_dials += other.failing_dials;
    wait_time += other.wait_time;
    create_time += other.create_time;
    handshake_time += other.handshake_time;
    return *this;
  }
};

/// Gauges and counters of one pool. Counters grow from the pool's making on.
struct PoolStats {
  EndpointStats all{};  ///< sums over the endpoints; `name` is empty
  std::vector<EndpointStats> endpoints{};

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
  std::uint64_t leaks = 0;  ///< leases that were held longer than PoolSettings::leak_after
  bool draining = false;    ///< no new leases are given
};

}  // namespace fastpool::inline v1
