// What an idle connection costs the client process in memory: real connections to a server in another process, each of
// which has carried one request.
//
//   fastpool_bench_memory PORT CONNECTIONS
//
// Prints one JSON object: bytes per connection of heap in use (what the allocator handed out and did not get back: slot,
// connection, watch, and whatever the exchange left behind), and of resident memory. The kernel's part of a socket is in
// neither.

#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "client/core.h"
#include "client/exchange.h"

namespace fastpool::bench {
namespace {

constexpr std::size_t warm_up = 512;  // two chunks of the slab

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "fastpool_bench_memory: %s\n", why.c_str());
  std::_Exit(1);
}

struct Memory {
  std::int64_t heap = 0;
  std::int64_t resident = 0;

  [[nodiscard]] static Memory now() {
    const struct mallinfo2 info = ::mallinfo2();
    std::ifstream statm("/proc/self/statm");
    std::int64_t size = 0;
    std::int64_t resident = 0;
    statm >> size >> resident;
    return {static_cast<std::int64_t>(info.uordblks + info.hblkhd), resident * ::sysconf(_SC_PAGESIZE)};
  }
};

void allow_descriptors(std::size_t count) {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_max < count + 100)
    give_up("only " + std::to_string(limit.rlim_max) + " descriptors");
}

void request_on(client::Core& core, pool::LeaseRef lease, std::span<const Header> headers) {
  const client::CallOptions options{
      {std::chrono::seconds(30), std::chrono::seconds(30), std::chrono::seconds(30), {}}, {}, 0};
  auto exchange = client::Exchange::open_on(core, lease, {"GET", "/", headers});
  if (!exchange) give_up(exchange.error().detail);
  if (auto obtained = exchange->obtain(options); !obtained) give_up(obtained.error().detail);
  if (auto sent = exchange->send({}, options); !sent) give_up(sent.error().detail);
  std::vector<std::string_view> pieces;
  for (;;) {
    auto more = exchange->read(pieces, options);
    if (!more) give_up(more.error().detail);
    if (!*more) return;
  }
}

/// So many connections at once, each with one request; all idle afterwards.
void use(client::Core& core, pool::Endpoint& endpoint, std::vector<pool::LeaseRef>& leases, std::size_t count,
         std::span<const Header> headers) {
  leases.clear();
  for (std::size_t i = 0; i < count; ++i) {
    const auto lease = core.pool().try_lease(endpoint);
    if (!lease) give_up("no lease");
    leases.push_back(*lease);
    request_on(core, *lease, headers);
  }
  for (const pool::LeaseRef lease : leases)
    core.pool().release(lease, pool::Reuse::yes());
  if (const auto stats = core.pool().stats();
      stats.all.idle_connections != count || stats.all.total_connections != count)
    give_up("not all connections are idle");
}

void measure(const std::string& port, std::size_t count) {
  allow_descriptors(count);
  PoolSettings settings;
  settings.max_connections = settings.max_connections_per_endpoint = PoolSettings::unlimited;
  client::Core core(settings);
  const auto origin = Origin::parse("http://127.0.0.1:" + port);
  if (!origin) give_up(origin.error().detail);
  const auto held = core.endpoint(*origin, core.intern({}), pool::AfterUse::keep);
  if (!held) give_up(held.error().detail);
  pool::Endpoint& endpoint = **held;

  const std::string host = "127.0.0.1:" + port;
  const Header headers[] = {{"Host", host}};
  std::vector<pool::LeaseRef> leases;
  leases.reserve(count);
  use(core, endpoint, leases, warm_up, headers);
  const Memory before = Memory::now();
  use(core, endpoint, leases, count, headers);
  const Memory after = Memory::now();

  const auto added = static_cast<double>(count - warm_up);
  std::printf(R"({"connections": %zu, "heap": %.1f, "resident": %.1f, "slot": %zu})"
              "\n",
              count, static_cast<double>(after.heap - before.heap) / added,
              static_cast<double>(after.resident - before.resident) / added, sizeof(pool::Slot));
}

}  // namespace
}  // namespace fastpool::bench

int main(int count, char** arguments) {
  const long connections = count > 2 ? std::atol(arguments[2]) : 0;
  if (connections <= static_cast<long>(fastpool::bench::warm_up)) {
    std::fputs("usage: fastpool_bench_memory PORT CONNECTIONS (more than 512)\n", stderr);
    return 2;
  }
  fastpool::bench::measure(arguments[1], static_cast<std::size_t>(connections));
  return 0;
}
