// Many threads make all kinds of calls at once. In the end nothing has leaked, and no limit was exceeded at any time.
// FASTPOOL_STRESS_SECONDS makes the test run at least for that long.

#include <array>
#include <condition_variable>
#include <cstdlib>
#include <ostream>
#include <random>

#include "pool/pool_fixture.h"

namespace fastpool::pool::test {
namespace {

/// Counts connections that are dialed or live, and their maximum.
struct Gauge {
  std::atomic<int> now{0};
  std::atomic<int> most{0};
  void up() noexcept {
    const int count = now.fetch_add(1) + 1;
    int seen = most;
    while (seen < count && !most.compare_exchange_weak(seen, count)) {
    }
  }
  void down() noexcept { now.fetch_sub(1); }
};

constexpr std::size_t passing = 3;

struct Peers {
  Gauge total;
  std::array<Gauge, 4> each;                            ///< the three endpoints, and all temporary ones
  std::array<std::atomic<std::uint64_t>, 64> tokens{};  ///< of present and past connections
  std::atomic<unsigned> next_token{0};
  KeepAliveLimit::Ref keep{2, milliseconds(5)};  ///< the limit for connections returned under it
};

class CountedConnection final : public Pooled {
 public:
  CountedConnection(Peers& peers, std::size_t endpoint) : peers_(peers), endpoint_(endpoint) {}
  ~CountedConnection() override {
    EXPECT_FALSE(used_) << "closed while in use";
    peers_.each[endpoint_].down();
    peers_.total.down();
  }
  [[nodiscard]] bool check_alive() noexcept override { return alive_; }
  void interrupt() noexcept override { interrupted_ = true; }
  void on_seated(std::uint64_t token) noexcept override { peers_.tokens[peers_.next_token++ % 64] = token; }
  void end(CloseReason, std::string_view) noexcept override {}

  /// Fails the test if two threads use the connection at once.
  void use(bool dies) {
    EXPECT_FALSE(used_.exchange(true)) << "two users of one connection";
    std::this_thread::yield();
    if (dies) alive_ = false;
    used_ = false;
  }

 private:
  Peers& peers_;
  const std::size_t endpoint_;
  std::atomic<bool> used_{false};
  bool alive_ = true;  // belongs to the user of the connection
  std::atomic<bool> interrupted_{false};
};

/// Begins and ends dials on a thread of its own, as the reactor does. Some of them fail.
class BusyDialer final : public Dialer {
 public:
  explicit BusyDialer(Peers& peers) : peers_(peers) {}
  ~BusyDialer() override { stop(); }
  void start(Pool& pool, std::array<Endpoint*, 3> endpoints) {
    endpoints_ = endpoints;
    thread_ = std::thread([this, &pool] { run(pool); });
  }
  void stop() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    some_.notify_one();
    if (thread_.joinable()) thread_.join();
  }
  void dial(Endpoint& endpoint, Slot& slot, DialTimes) override { command({index_of(endpoint), &slot}); }
  void hurry(Slot& slot) noexcept override { command({hurried, &slot}); }

 private:
  struct Request {
    std::size_t endpoint;  ///< or `hurried`
    Slot* slot;
  };
  static constexpr std::size_t hurried = ~std::size_t{0};

  void command(Request request) {
    const std::lock_guard lock(mutex_);
    commands_.push_back(request);
    some_.notify_one();
  }
  [[nodiscard]] std::size_t index_of(const Endpoint& endpoint) const {
    for (std::size_t i = 0; i < endpoints_.size(); ++i)
      if (endpoints_[i] == &endpoint) return i;
    EXPECT_EQ(endpoint.name(), "passing") << "a dial of an unknown endpoint";
    return passing;
  }
  void run(Pool& pool) {
    std::minstd_rand random(1);
    for (;;) {
      if (const auto command = next_command()) {
        obey(pool, *command);
        continue;
      }
      if (dials_.empty()) return;
      const Request request = take(random() % dials_.size());
      const auto luck = random() % 20;
      if (luck > 1) {
        pool.dial_done(*request.slot,
                       std::unique_ptr<Pooled>(std::make_unique<CountedConnection>(peers_, request.endpoint)), {});
      } else {
        fail(pool, request, luck == 0 ? EMFILE : ECONNREFUSED, random() % 4 == 0);
      }
    }
  }
  /// Waits until there is a command, a dial under way, or stop(). Returns nothing if there is no command.
  [[nodiscard]] std::optional<Request> next_command() {
    std::unique_lock lock(mutex_);
    some_.wait(lock, [&] { return stopping_ || !commands_.empty() || !dials_.empty(); });
    if (commands_.empty()) return std::nullopt;
    const Request command = commands_.front();
    commands_.pop_front();
    return command;
  }
  void obey(Pool& pool, const Request& command) {
    if (command.endpoint != hurried) {
      if (pool.dial_deadline(*command.slot) == TimePoint::min()) {  // dropped before the dial began
        end_badly(pool, command, ECANCELED, false);
        return;
      }
      peers_.each[command.endpoint].up();
      peers_.total.up();
      dials_.push_back(command);
      return;
    }
    for (std::size_t i = 0; i < dials_.size(); ++i) {
      if (dials_[i].slot != command.slot || pool.dial_deadline(*command.slot) > Clock::now()) continue;
      fail(pool, take(i), ECANCELED, false);
      return;
    }
  }
  [[nodiscard]] Request take(std::size_t which) {
    const Request request = dials_[which];
    dials_.erase(dials_.begin() + static_cast<std::ptrdiff_t>(which));
    return request;
  }
  void fail(Pool& pool, const Request& request, int os_error, bool final) {
    peers_.each[request.endpoint].down();
    peers_.total.down();
    end_badly(pool, request, os_error, final);
  }
  static void end_badly(Pool& pool, const Request& request, int os_error, bool final) {
    Error error = Error::make(ErrorCode::connect_failed, Phase::connect, "no luck", os_error);
    error.final = final;
    pool.dial_done(*request.slot, error, {});
  }

  Peers& peers_;
  std::array<Endpoint*, 3> endpoints_{};
  std::mutex mutex_;
  std::condition_variable some_;
  std::deque<Request> commands_;  // guarded by mutex_
  bool stopping_ = false;         // guarded by mutex_
  std::deque<Request> dials_;     // the thread's own
  std::thread thread_;
};

/// The steps of one thread. It returns every lease that it takes.
class Worker {
 public:
  Worker(Pool& pool, Peers& peers, const std::array<Endpoint*, 3>& endpoints, std::atomic<std::uint64_t>& shared,
         unsigned seed)
      : pool_(pool), peers_(peers), endpoints_(endpoints), shared_(shared), random_(seed) {}

  void step() {
    switch (below(20)) {
      case 0:
        pool_.on_hang_up(peers_.tokens[below(64)]);
        break;
      case 1:
        (void)pool_.cleanup();
        break;
      case 2:
        bare_lease();
        break;
      case 3:
        waiting_lease();
        break;
      case 4:
        release_anothers();
        break;
      case 5:
        if (below(20) == 0) (void)pool_.warm(endpoint(), below(4), options());
        break;
      case 6:
        pool_.maintain();
        break;
      case 7:
        (void)pool_.find_leaks();
        break;
      case 8:
      case 9:
        acquire_in_steps();
        break;
      case 10:
        passing_endpoint();
        break;
      default:
        request();
    }
  }

 private:
  [[nodiscard]] unsigned below(unsigned limit) { return static_cast<unsigned>(random_() % limit); }
  [[nodiscard]] Endpoint& endpoint() { return *endpoints_[below(3)]; }
  [[nodiscard]] AcquireOptions options() {
    AcquireOptions options;
    const OptionalDuration patience[] = {
        std::nullopt, std::nullopt, std::nullopt, seconds(0), std::chrono::microseconds(50), milliseconds(2)};
    options.pool_timeout = patience[below(6)];
    options.connect_timeout = patience[below(6)];
    options.check = below(4) != 0;
    options.keep = keep();
    return options;
  }
  [[nodiscard]] Reuse reuse() {
    switch (below(8)) {
      case 0:
        return Reuse::no();
      case 1:
        return Reuse::yes(milliseconds(1));
      default:
        return Reuse::yes();
    }
  }
  void request() {
    auto lease = pool_.acquire(endpoint(), options());
    if (!lease) return;
    static_cast<CountedConnection&>(**lease).use(below(16) == 0);
    lease->release(reuse(), keep());
  }
  [[nodiscard]] KeepAliveLimit* keep() { return below(2) == 0 ? peers_.keep.get() : nullptr; }
  void bare_lease() {
    if (const auto ref = pool_.try_lease(endpoint())) exchange_on(*ref);
  }
  void waiting_lease() {
    if (const auto ref = pool_.lease(endpoint(), options())) exchange_on(*ref);
  }
  // Acquires like an event loop that gives up at a random moment.
  void acquire_in_steps() {
    sync::ThreadWaker waker;
    Acquisition acquisition(pool_, endpoint(), options(), waker,
                            below(4) == 0 ? Waiter::Wants::lease : Waiter::Wants::connection);
    for (unsigned patience = below(5); patience > 0; --patience) {
      if (auto result = acquisition.poll()) {
        if (result->ok()) result->value().release(reuse(), keep());
        return;
      }
      (void)waker.park_until(Clock::now() + std::chrono::microseconds(below(200)));
    }
    if (below(2) == 0) acquisition.stop(Error::make(ErrorCode::interrupted, Phase::acquire, "enough"));
  }
  // Counted by the last gauge of Peers::each.
  void passing_endpoint() {
    EndpointHold hold = pool_.add_endpoint("passing", nullptr, below(2) == 0 ? "passing" : "", AfterUse::close);
    if (below(2) == 0) {
      if (const auto ref = pool_.try_lease(*hold)) exchange_on(*ref);
    } else if (auto lease = pool_.acquire(*hold, options())) {
      static_cast<CountedConnection&>(**lease).use(false);
      if (below(2) == 0) hold = EndpointHold();
      lease->release(reuse());
    }
  }
  // Another thread may return the lease at any time.
  void exchange_on(LeaseRef ref) {
    if (pool_.begin_stream(ref)) {
      if (below(2) == 0) shared_ = ref.id().value;
      if (pool_.connect(ref, options())) {
        static_cast<CountedConnection&>(*ref.slot->pooled).use(below(16) == 0);
        if (below(8) == 0) pool_.disconnect(ref);
        pool_.end_stream(ref, reuse());
      } else {
        pool_.end_stream(ref, Reuse::no());
      }
    }
    pool_.release(ref, reuse());
  }
  void release_anothers() {
    if (const auto ref = pool_.find(ConnectionId{shared_.exchange(0)})) pool_.release(*ref, reuse());
  }

  Pool& pool_;
  Peers& peers_;
  const std::array<Endpoint*, 3>& endpoints_;
  std::atomic<std::uint64_t>& shared_;
  std::minstd_rand random_;
};

struct Shape {
  const char* name;
  unsigned threads;
  PoolSettings settings;
};

void PrintTo(const Shape& shape, std::ostream* stream) {
  *stream << shape.name;
}

PoolSettings settings_of(std::uint32_t per_endpoint, std::uint32_t total, std::uint32_t most_idle,
                         OptionalDuration idle) {
  PoolSettings settings;
  settings.max_connections_per_endpoint = per_endpoint;
  settings.max_connections = total;
  settings.max_idle_connections = most_idle;
  settings.max_dials_per_endpoint = 4;
  settings.idle_timeout = idle;
  settings.leak_after = milliseconds(1);
  return settings;
}

/// A pool of three endpoints with counted connections.
struct BusyPool {
  explicit BusyPool(const PoolSettings& settings) : dialer(peers), pool(settings, clock, dialer) {
    for (std::size_t i = 0; i < endpoints.size(); ++i)
      endpoints[i] = &*(holds[i] = pool.add_endpoint(std::string(1, static_cast<char>('a' + i)), nullptr,
                                                     std::string(1, static_cast<char>('a' + i)), AfterUse::keep));
    dialer.start(pool, endpoints);
  }

  Peers peers;
  SystemClock clock;
  BusyDialer dialer;
  Pool pool;
  std::array<EndpointHold, 3> holds;
  std::array<Endpoint*, 3> endpoints{};
};

class Stress : public ::testing::TestWithParam<Shape> {};

TEST_P(Stress, nothing_leaks_and_no_limit_is_exceeded) {
  const Shape& shape = GetParam();
  BusyPool busy(shape.settings);
  auto& peers = busy.peers;
  auto& dialer = busy.dialer;
  auto& pool = busy.pool;
  const auto& endpoints = busy.endpoints;

  // NOLINTNEXTLINE(concurrency-mt-unsafe): nothing sets the environment
  const char* lengthen = std::getenv("FASTPOOL_STRESS_SECONDS");
  const auto until = std::chrono::steady_clock::now() + seconds(lengthen != nullptr ? std::atoi(lengthen) : 0);
  const seconds limit = test_limit + seconds(lengthen != nullptr ? std::atoi(lengthen) : 0);
  const support::Watchdog watchdog("all threads and the drain have ended", [&pool] { pool.close(); }, limit);
  std::atomic<std::uint64_t> shared{0};
  std::atomic<bool> done{false};
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < shape.threads; ++t) {
    threads.emplace_back([&, t] {
      Worker worker(pool, peers, endpoints, shared, t + 1);
      for (int i = 0; i < 6000 || (lengthen != nullptr && std::chrono::steady_clock::now() < until); ++i)
        worker.step();
    });
  }
  std::thread observer([&] {
    while (!done) {
      const PoolStats stats = pool.stats();
      EXPECT_EQ(stats.all.total_connections,
                stats.all.idle_connections + stats.all.active_connections + stats.all.dialing_connections);
      std::uint64_t sum = 0;
      for (const EndpointStats& each : stats.endpoints)
        sum += each.total_connections;
      EXPECT_EQ(stats.all.total_connections, sum);
      std::this_thread::yield();
    }
  });
  for (std::thread& thread : threads)
    thread.join();
  done = true;
  observer.join();

  const EndpointStats rest = pool.stats().all;
  EXPECT_EQ(rest.waiters, 0U);
  EXPECT_EQ(rest.active_connections, 0U) << "a lease leaked";
  EXPECT_LE(peers.keep.get()->idle(), 2U);
  // No place is lost: as many leases can be taken as the limits allow, and no more.
  for (Endpoint* endpoint : endpoints)
    (void)pool.warm(*endpoint, 0, {});
  ASSERT_TRUE(eventually("no dial is under way", [&] { return pool.stats().all.dialing_connections == 0; }));
  std::vector<LeaseRef> all;
  while (const auto ref = pool.try_lease(*endpoints[0]))
    all.push_back(*ref);
  EXPECT_EQ(all.size(), std::min(shape.settings.max_connections_per_endpoint, shape.settings.max_connections));
  for (const LeaseRef& ref : all)
    EXPECT_TRUE(pool.release(ref, Reuse::yes()));
  EXPECT_TRUE(*pool.drain(std::nullopt, {}));
  dialer.stop();
  EXPECT_EQ(pool.stats().all.total_connections, 0U);
  EXPECT_EQ(peers.keep.get()->idle(), 0U);
  EXPECT_EQ(peers.total.now, 0);
  EXPECT_LE(static_cast<std::uint32_t>(peers.total.most), shape.settings.max_connections);
  for (std::size_t i = 0; i < endpoints.size(); ++i)
    EXPECT_LE(static_cast<std::uint32_t>(peers.each[i].most), shape.settings.max_connections_per_endpoint);
  const PoolStats stats = pool.stats();
  EXPECT_EQ(stats.connections_opened, stats.connections_closed);
  EXPECT_EQ(stats.dials, stats.connections_opened + stats.dial_failures);
}

TEST_P(Stress, a_drain_under_load_ends_and_leaves_nothing_behind) {
  const Shape& shape = GetParam();
  for (int round = 0; round < 5; ++round) {
    BusyPool busy(shape.settings);
    auto& peers = busy.peers;
    auto& dialer = busy.dialer;
    auto& pool = busy.pool;
    const auto& endpoints = busy.endpoints;
    std::atomic<std::uint64_t> shared{0};
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < shape.threads; ++t) {
      threads.emplace_back([&, t] {
        Worker worker(pool, peers, endpoints, shared, t + 1);
        while (!pool.closed())
          worker.step();
      });
    }
    const support::Watchdog watchdog("the drain has ended", [&pool] { pool.close(); });
    EXPECT_TRUE(eventually("the threads have taken 50 leases", [&] { return pool.stats().leases > 50; }));
    EXPECT_TRUE(*pool.drain(std::nullopt, {}));
    for (std::thread& thread : threads)
      thread.join();
    dialer.stop();
    EXPECT_EQ(pool.stats().all.total_connections, 0U);
    EXPECT_EQ(peers.total.now, 0);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Pools, Stress,
    ::testing::Values(Shape{"one_connection_for_all", 4, settings_of(1, 1, PoolSettings::unlimited, std::nullopt)},
                      Shape{"at_the_endpoint_limit", 8, settings_of(2, 100, PoolSettings::unlimited, seconds(120))},
                      Shape{"at_the_total_limit", 8, settings_of(3, 4, PoolSettings::unlimited, milliseconds(3))},
                      Shape{"at_the_idle_limit", 6, settings_of(4, 6, 1, seconds(120))},
                      Shape{"below_all_limits", 6, settings_of(50, 100, PoolSettings::unlimited, milliseconds(1))}),
    ::testing::PrintToStringParamName());

}  // namespace
}  // namespace fastpool::pool::test
