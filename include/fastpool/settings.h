#pragma once

#include <cstdint>
#include <limits>

#include <fastpool/export.h>
#include <fastpool/timeouts.h>

namespace fastpool::inline v1 {

/// Returns the default of PoolSettings::max_connections: max(soft / 2, min(1000, soft - 128)), at least 1, where `soft` is
/// the soft limit of open descriptors (RLIMIT_NOFILE), which is read at each call and never changed.
[[nodiscard]] FASTPOOL_EXPORT std::uint32_t default_max_connections() noexcept;

/// Limits and lifetimes of one pool. Limits count connections: reserved, dialing, idle, leased and closing ones.
struct PoolSettings {
  static constexpr std::uint32_t unlimited = std::numeric_limits<std::uint32_t>::max();

  std::uint32_t max_connections_per_endpoint = unlimited;
  std::uint32_t max_connections = default_max_connections();  ///< of all endpoints together
  std::uint32_t max_idle_connections = unlimited;  ///< of all endpoints together; more are closed when returned
  std::uint32_t max_dials_per_endpoint = 64;       ///< under way at once
  OptionalDuration idle_timeout = std::chrono::seconds(120);  ///< a server's Keep-Alive: timeout=N shortens it
  OptionalDuration max_lifetime = std::chrono::hours(1);      ///< +- 10 %, so that a fleet does not reconnect at once
  Duration dial_timeout =
      std::chrono::seconds(60);  ///< the endpoint's own cap on a dial; a longer connect timeout of a waiter extends it
  Duration dns_lifetime = std::chrono::seconds(
      5);  ///< a look-up serves dials for so long, unless its addresses all fail; zero: each dial looks up
  OptionalDuration leak_after{};  ///< a lease held longer is reported, once; absent: leaks are not looked for
};

/// Calls `visit(name, member, least)` for each setting, in the order of the struct: the table from which the bindings read
/// and show settings. `least` is the smallest value that makes sense of a count, and 0 for a duration; an unlimited count
/// and an absent duration are always meant. \param settings PoolSettings or const PoolSettings.
/// \param visit takes (const char*, auto& or const auto&, unsigned).
template <typename Settings, typename Visit>
constexpr void for_each_setting(Settings& settings, Visit&& visit) {
  visit("max_connections_per_endpoint", settings.max_connections_per_endpoint, 1U);
  visit("max_connections", settings.max_connections, 1U);
  visit("max_idle_connections", settings.max_idle_connections, 0U);
  visit("max_dials_per_endpoint", settings.max_dials_per_endpoint, 1U);
  visit("idle_timeout", settings.idle_timeout, 0U);
  visit("max_lifetime", settings.max_lifetime, 0U);
  visit("dial_timeout", settings.dial_timeout, 0U);
  visit("dns_lifetime", settings.dns_lifetime, 0U);
  visit("leak_after", settings.leak_after, 0U);
}

}  // namespace fastpool::inline v1
