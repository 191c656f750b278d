// What taking an idle connection and giving it back costs, with connections that do no I/O.
//
//   fastpool_bench_pool [ROUNDS [SECONDS]]
//
// Prints one JSON object per case: nanoseconds per pair (acquire and release), median and range of the rounds.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "pool/pool.h"

#include "locked_pool.h"
#include "measure.h"
#include "scripted.h"

namespace fastpool::bench {
namespace {

constexpr std::size_t many_endpoints = 8;
constexpr std::size_t spread_endpoints = 10;
constexpr std::size_t loop_leases = 64;

pool::AcquireOptions unchecked() {
  pool::AcquireOptions options;
  options.check = false;
  return options;
}

void acquire_and_release(pool::Pool& pool, pool::Endpoint& endpoint, std::uint64_t pairs) {
  const pool::AcquireOptions options = unchecked();
  for (; pairs > 0; --pairs) {
    auto lease = pool.acquire(endpoint, options);
    if (!lease) std::abort();
    lease->release(pool::Reuse::yes());
  }
}

void lease_and_release(pool::Pool& pool, pool::Endpoint& endpoint, std::uint64_t pairs) {
  for (; pairs > 0; --pairs) {
    const auto lease = pool.try_lease(endpoint);
    if (!lease) std::abort();
    pool.release(*lease, pool::Reuse::yes());
  }
}

void in_turn(pool::Pool& pool, const std::vector<pool::Endpoint*>& endpoints, std::uint64_t pairs) {
  const pool::AcquireOptions options = unchecked();
  for (std::size_t i = 0; pairs > 0; --pairs) {
    auto lease = pool.acquire(*endpoints[i], options);
    if (!lease) std::abort();
    lease->release(pool::Reuse::yes());
    if (++i == endpoints.size()) i = 0;
  }
}

void locked_pairs(LockedPool::Endpoint& endpoint, std::uint64_t pairs) {
  for (; pairs > 0; --pairs) {
    LockedPool::Connection* connection = LockedPool::acquire(endpoint);
    if (connection == nullptr) std::abort();
    LockedPool::release(endpoint, connection);
  }
}

/// With the two looks at the clock that a pool with idle timeouts needs.
void locked_pairs_with_clock(LockedPool::Endpoint& endpoint, const pool::PoolClock& clock, std::uint64_t pairs) {
  std::int64_t sum = 0;
  for (; pairs > 0; --pairs) {
    LockedPool::Connection* connection = LockedPool::acquire(endpoint);
    if (connection == nullptr) std::abort();
    sum ^= clock.coarse_now().time_since_epoch().count();
    LockedPool::release(endpoint, connection);
    sum ^= clock.coarse_now().time_since_epoch().count();
  }
  if (sum == 1) std::abort();  // it is used
}

/// As an event loop with many requests under way: leases are held together, and given back in the order of their beginning.
void held_together(pool::Pool& pool, pool::Endpoint& endpoint, std::uint64_t pairs) {
  std::array<pool::Lease, loop_leases> held;
  const pool::AcquireOptions options = unchecked();
  for (std::size_t i = 0; pairs > 0; --pairs) {
    held[i].release(pool::Reuse::yes());
    auto lease = pool.acquire(endpoint, options);
    if (!lease) std::abort();
    held[i] = std::move(lease).value();
    if (++i == held.size()) i = 0;
  }
  for (pool::Lease& lease : held)
    lease.release(pool::Reuse::yes());
}
void locked_held_together(LockedPool::Endpoint& endpoint, std::uint64_t pairs) {
  std::array<LockedPool::Connection*, loop_leases> held{};
  for (std::size_t i = 0; pairs > 0; --pairs) {
    if (held[i] != nullptr) LockedPool::release(endpoint, held[i]);
    held[i] = LockedPool::acquire(endpoint);
    if (held[i] == nullptr) std::abort();
    if (++i == held.size()) i = 0;
  }
  for (LockedPool::Connection* connection : held)
    if (connection != nullptr) LockedPool::release(endpoint, connection);
}

void exchanges(std::uint64_t count) {
  std::atomic<std::uint64_t> word{0};
  for (; count > 0; --count)
    word.exchange(count);
}

/// One thread, one endpoint: with the reader's yardstick, one atomic exchange that nobody else wants.
void add_uncontended(Measurement& to, IdlePool& ours, LockedPool& locked) {
  to.add("uncontended.exchange", 1, [](std::size_t, std::uint64_t pairs) { exchanges(pairs); });
  to.add("uncontended.acquire", 1,
         [&ours](std::size_t, std::uint64_t pairs) { acquire_and_release(ours.pool(), *ours.endpoints()[0], pairs); });
  to.add("uncontended.lease", 1,
         [&ours](std::size_t, std::uint64_t pairs) { lease_and_release(ours.pool(), *ours.endpoints()[0], pairs); });
  // A pool of its own: nothing is idle there, and nothing is dialed.
  to.add("uncontended.bare", 1, [bare = std::make_shared<IdlePool>(1, 0)](std::size_t, std::uint64_t pairs) {
    lease_and_release(bare->pool(), *bare->endpoints()[0], pairs);
  });
  to.add("uncontended.locked", 1,
         [&locked](std::size_t, std::uint64_t pairs) { locked_pairs(locked.endpoint(0), pairs); });
  to.add("uncontended.clocked", 1, [&locked](std::size_t, std::uint64_t pairs) {
    locked_pairs_with_clock(locked.endpoint(0), pool::SystemClock{}, pairs);
  });
  to.add("loop.ours", 1, [own = std::make_shared<IdlePool>(1, loop_leases)](std::size_t, std::uint64_t pairs) {
    held_together(own->pool(), *own->endpoints()[0], pairs);
  });
  to.add("loop.locked", 1, [own = std::make_shared<LockedPool>(1, loop_leases)](std::size_t, std::uint64_t pairs) {
    locked_held_together(own->endpoint(0), pairs);
  });
}

/// Threads on one endpoint, and each on one of its own.
void add_threads(Measurement& to, IdlePool& ours, LockedPool& locked) {
  for (const std::size_t threads : {1U, 2U, 4U, 8U}) {
    const std::string count = std::to_string(threads);
    to.add("one.ours." + count, threads, [&ours](std::size_t, std::uint64_t pairs) {
      acquire_and_release(ours.pool(), *ours.endpoints()[0], pairs);
    });
    to.add("one.locked." + count, threads,
           [&locked](std::size_t, std::uint64_t pairs) { locked_pairs(locked.endpoint(0), pairs); });
    to.add("many.ours." + count, threads, [&ours](std::size_t thread, std::uint64_t pairs) {
      acquire_and_release(ours.pool(), *ours.endpoints()[thread % many_endpoints], pairs);
    });
    to.add("many.locked." + count, threads, [&locked](std::size_t thread, std::uint64_t pairs) {
      locked_pairs(locked.endpoint(thread % many_endpoints), pairs);
    });
  }
}

/// The same pair beside few and beside many idle connections. As many different connections are touched each time, but for
/// "walk", which goes round all endpoints and so tells what the machine's caches cost.
class Flatness {
 public:
  explicit Flatness(std::size_t idle)
      : one_(1, idle),
        ten_(spread_endpoints, idle / spread_endpoints),
        many_(idle == spread_endpoints ? idle : idle / 10, idle == spread_endpoints ? 1 : 10),
        idle_(idle) {
    const std::size_t stride = many_.endpoints().size() / spread_endpoints;
    for (std::size_t i = 0; i < spread_endpoints; ++i)
      some_of_many_.push_back(many_.endpoints()[i * stride]);
  }

  void add(Measurement& to) {
    const std::string count = std::to_string(idle_);
    to.add("flat.one." + count, 1,
           [this](std::size_t, std::uint64_t pairs) { in_turn(one_.pool(), one_.endpoints(), pairs); });
    to.add("flat.ten." + count, 1,
           [this](std::size_t, std::uint64_t pairs) { in_turn(ten_.pool(), ten_.endpoints(), pairs); });
    to.add("flat.many." + count, 1,
           [this](std::size_t, std::uint64_t pairs) { in_turn(many_.pool(), some_of_many_, pairs); });
    to.add("flat.walk." + count, 1,
           [this](std::size_t, std::uint64_t pairs) { in_turn(many_.pool(), many_.endpoints(), pairs); });
  }
  void expect_all_idle() const {
    one_.expect_all_idle(idle_);
    ten_.expect_all_idle(idle_);
    many_.expect_all_idle(idle_);
  }

 private:
  IdlePool one_;
  IdlePool ten_;
  IdlePool many_;
  std::size_t idle_;
  std::vector<pool::Endpoint*> some_of_many_;
};

void measure(int rounds, double seconds) {
  Measurement measurement;
  IdlePool ours(many_endpoints, many_endpoints);  // as many to each as there are threads: none ever queues
  LockedPool locked(many_endpoints, many_endpoints);
  add_uncontended(measurement, ours, locked);
  add_threads(measurement, ours, locked);
  std::vector<std::unique_ptr<Flatness>> flat;
  for (const std::size_t idle : {10U, 1'000U, 100'000U}) {
    flat.push_back(std::make_unique<Flatness>(idle));
    flat.back()->add(measurement);
  }
  measurement.run(rounds, seconds);
  ours.expect_all_idle(many_endpoints * many_endpoints);
  for (const auto& each : flat)
    each->expect_all_idle();
  measurement.print();
}

}  // namespace
}  // namespace fastpool::bench

int main(int count, char** arguments) {
  const int rounds = count > 1 ? std::atoi(arguments[1]) : 41;
  const double seconds = count > 2 ? std::atof(arguments[2]) : 0.008;
  if (rounds < 1 || !(seconds > 0)) {
    std::fputs("usage: fastpool_bench_pool [ROUNDS [SECONDS]]\n", stderr);
    return 2;
  }
  fastpool::bench::measure(rounds, seconds);
  return 0;
}
