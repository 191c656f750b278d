// Pool.get_stats(): what the core counted, as a dict.

#include "bindings/pool/statistics.h"

#include <array>
#include <charconv>
#include <string>
#include <string_view>

#include "bindings/interpreter/convert.h"
#include "bindings/pool/leak_reports.h"

namespace nb = nanobind;

namespace fastpool::bindings {

namespace {

nb::str text(std::string_view view) {
  return nb::str(view.data(), view.size());
}

/// The key of each bucket: its inclusive upper bound in seconds, as one writes it; "inf" for the last.
nb::str bucket_key(std::size_t bucket) {
  if (bucket == Histogram::bounds.size()) return text("inf");
  std::array<char, 32> digits{};
  const auto written = std::to_chars(digits.data(), digits.data() + digits.size(), Histogram::bounds.at(bucket));
  return text({digits.data(), static_cast<std::size_t>(written.ptr - digits.data())});
}

nb::dict dict_of(const Histogram& histogram) {
  nb::dict buckets;
  for (std::size_t bucket = 0; bucket < histogram.counts.size(); ++bucket)
    buckets[bucket_key(bucket)] = histogram.counts.at(bucket);
  nb::dict dict;
  dict["count"] = histogram.count;
  dict["sum"] = histogram.sum;
  dict["buckets"] = buckets;
  return dict;
}

void set_endpoint(nb::dict& dict, const EndpointStats& stats) {
  dict["total_connections"] = stats.total_connections;
  dict["active_connections"] = stats.active_connections;
  dict["idle_connections"] = stats.idle_connections;
  dict["dialing_connections"] = stats.dialing_connections;
  dict["waiters"] = stats.waiters;
  dict["min_idle"] = stats.min_idle;
  dict["wait_time"] = dict_of(stats.wait_time);
  dict["create_time"] = dict_of(stats.create_time);
  dict["handshake_time"] = dict_of(stats.handshake_time);
}

/// One origin may stand there several times, under several profiles.
nb::dict endpoints_of(const PoolStats& stats) {
  std::vector<EndpointStats> merged;
  std::unordered_map<std::string_view, std::size_t> places;
  for (const EndpointStats& each : stats.endpoints) {
    const auto [place, is_new] = places.try_emplace(each.name, merged.size());
    if (is_new) {
      merged.push_back(each);
    } else {
      merged[place->second] += each;
    }
  }
  nb::dict dict;
  for (const EndpointStats& each : merged) {
    nb::dict entry;
    set_endpoint(entry, each);
    dict[text(each.name)] = entry;
  }
  return dict;
}

nb::dict errors_of(const client::Core& core) {
  nb::dict errors;
  for (std::size_t code = 0; code < error_code_count; ++code) {
    const auto kind = static_cast<ErrorCode>(code);
    if (const std::uint64_t count = core.error_count(kind); count > 0) errors[text(to_string(kind))] = count;
  }
  return errors;
}

nb::object limit(std::uint32_t value) {
  if (value == PoolSettings::unlimited) return nb::none();
  return nb::int_(value);
}

}  // namespace

nb::dict get_stats(Pool& self) {
  deliver_leak_reports();
  client::Core& core = self.core();
  const PoolStats stats = core.pool().stats();
  const PoolSettings& settings = self.holder.settings();
  nb::dict dict;
  dict["pool_name"] = self.name;
  set_endpoint(dict, stats.all);
  dict["requests"] = self.requests;
  dict["leases"] = stats.leases;
  dict["reused"] = stats.reused;
  dict["waited"] = stats.all.wait_time.count;
  dict["leaks"] = stats.leaks;
  dict["dials"] = stats.dials;
  dict["dial_failures"] = stats.dial_failures;
  dict["connections_opened"] = stats.connections_opened;
  dict["connections_closed"] = stats.connections_closed;
  dict["handshakes"] = stats.handshakes;
  dict["resumed"] = stats.resumed;
  dict["evicted"] = stats.evicted;
  dict["expired"] = stats.expired;
  dict["peer_closed"] = stats.peer_closed;
  dict["discarded"] = stats.discarded;
  dict["pool_timeouts"] = stats.pool_timeouts;
  dict["retried"] = core.retried();
  dict["retried_unread"] = core.retried_unread();
  const client::Core::Http2Counts http2 = core.http2_counts();
  dict["http2_connections"] = http2.connections;
  dict["open_streams"] = http2.open_streams;
  dict["streams"] = http2.streams;
  dict["errors"] = errors_of(core);
  dict["endpoints"] = endpoints_of(stats);
  dict["max_connections"] = limit(settings.max_connections);
  dict["max_connections_per_endpoint"] = limit(settings.max_connections_per_endpoint);
  dict["draining"] = stats.draining;
  dict["closed"] = core.pool().closed();
  return dict;
}

}  // namespace fastpool::bindings
