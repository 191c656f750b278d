// One thread simulates the callers of ten thousand endpoints, the dialer, the peers and the clock. It makes a million random
// operations, most of them at the limits. In the end nothing has leaked, and no limit was exceeded at any time.

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <random>

#include "pool/acquisition.h"
#include "pool/pool_fixture.h"

namespace fastpool::pool::test {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::size_t endpoint_count = 2'000;
constexpr std::size_t operation_count = 100'000;
#else
constexpr std::size_t endpoint_count = 10'000;
constexpr std::size_t operation_count = 1'000'000;
#endif
constexpr std::uint32_t total_limit = 600;
constexpr std::uint32_t endpoint_limit = 4;
constexpr std::size_t most_held = 590;  // leases in use at once; dials and idle connections use the rest of the limit
constexpr std::size_t most_callers = 300;  // waiting at once

/// Counts how often the pool reads the clock: a measure of its work that other processes do not disturb.
class CountingClock final : public PoolClock {
 public:
  [[nodiscard]] TimePoint now() const noexcept override {
    ++looks_;
    return clock_.now();
  }
  [[nodiscard]] TimePoint coarse_now() const noexcept override { return now(); }
  [[nodiscard]] TimePoint unseen() const noexcept { return clock_.now(); }
  [[nodiscard]] std::uint64_t looks() const noexcept { return looks_; }
  void advance(Duration by) noexcept { clock_.advance(by); }

 private:
  FakeClock clock_;
  mutable std::uint64_t looks_ = 0;
};

/// The live connections, by number, so that the test can choose one at random.
class Peers {
 public:
  [[nodiscard]] std::size_t count() const noexcept { return living_.size(); }
  /// The most that have lived after a step. Within one there may be one more: the result of a dial whose place another
  /// connection has taken meanwhile, which the pool closes as soon as it has it.
  [[nodiscard]] std::size_t most() const noexcept { return most_; }
  void note() noexcept { most_ = std::max(most_, living_.size()); }
  [[nodiscard]] std::uint64_t token(std::size_t which) const { return *living_[which]; }
  /// \param token of the connection. \param place the variable that holds the connection's number; remove() updates it.
  std::size_t add(const std::uint64_t* token, std::size_t* place) {
    living_.push_back(token);
    places_.push_back(place);
    return living_.size() - 1;
  }
  void remove(std::size_t place) {
    living_[place] = living_.back();
    places_[place] = places_.back();
    *places_[place] = place;
    living_.pop_back();
    places_.pop_back();
  }

 private:
  std::vector<const std::uint64_t*> living_;
  std::vector<std::size_t*> places_;
  std::size_t most_ = 0;
};

class SimulatedConnection final : public Pooled {
 public:
  SimulatedConnection(Peers& peers, bool sound) : peers_(peers), sound_(sound) {
    place_ = peers_.add(&token_, &place_);
  }
  ~SimulatedConnection() override { peers_.remove(place_); }
  [[nodiscard]] bool check_alive() noexcept override { return sound_; }
  void interrupt() noexcept override {}
  void on_seated(std::uint64_t token) noexcept override { token_ = token; }
  void end(CloseReason, std::string_view) noexcept override {}

 private:
  Peers& peers_;
  const bool sound_;
  std::uint64_t token_ = 0;
  std::size_t place_ = 0;
};

class QueuingDialer final : public Dialer {
 public:
  struct Dial {
    Endpoint* endpoint;
    Slot* slot;
    DialTimes times;
  };
  void dial(Endpoint& endpoint, Slot& slot, DialTimes times) override {
    dials.push_back({&endpoint, &slot, times});
    highest_slot = std::max(highest_slot, slot.index);
  }

  std::vector<Dial> dials;
  std::uint32_t highest_slot = 0;
};

/// A caller that waits for a lease, or that holds a bare lease and waits for its connection.
struct Caller final : sync::Waker {
  void wake() noexcept override { woken = true; }

  std::optional<Acquisition> acquisition;
  std::optional<LeaseRef> holds;
  bool woken = false;
};

class Simulation : public ::testing::Test {
 protected:
  Simulation() : pool_(settings(), clock_, dialer_) {
    for (std::size_t i = 0; i < endpoint_count; ++i) {
      const std::string name = "endpoint-" + std::to_string(i);
      endpoints_.push_back(&*holds_.emplace_back(pool_.add_endpoint(name, nullptr, name, AfterUse::keep)));
    }
  }

  [[nodiscard]] static PoolSettings settings() {
    PoolSettings settings;
    settings.max_connections_per_endpoint = endpoint_limit;
    settings.max_connections = total_limit;
    settings.max_dials_per_endpoint = 2;
    settings.idle_timeout = seconds(20);
    settings.max_lifetime = minutes(2);
    return settings;
  }

  // ---- the steps ----------------------------------------------------------------------------------------------------

  void step() {
    clock_.advance(std::chrono::microseconds(below(2000)));
    const std::uint32_t what = below(100);
    // More leases are requested than returned, except in every fourth minute.
    const bool calm = clock_.unseen().time_since_epoch() / minutes(1) % 4 == 0;
    if ((what < 20 && calm) || (what >= 52 && what < 84)) {
      give_back();
    } else if (what < 40) {
      ask(Acquisition::Wants::connection);
    } else if (what < 44) {
      ask(Acquisition::Wants::lease);
    } else if (what < 48) {
      if (held_.size() < most_held) keep(pool_.try_lease(endpoint()));
    } else if (what < 52) {
      connect_one();
    } else if (what < 86) {
      hang_up();
    } else if (what < 88) {
      give_up();
    } else if (what < 99) {
      end_dial();
      end_dial();
      end_dial();
    } else if (below(10) == 0) {
      pool_.maintain();
    } else {
      (void)pool_.cleanup();
    }
    peers_.note();
    attend();
    peers_.note();
  }

  /// Requests a connection or a bare lease, and waits for it if necessary.
  void ask(Acquisition::Wants wants) {
    if (held_.size() >= most_held) return give_back();
    if (callers_.size() >= most_callers) return give_up();
    auto caller = std::make_unique<Caller>();
    caller->acquisition.emplace(pool_, endpoint(), options(), *caller, wants);
    callers_.push_back(std::move(caller));
    (void)attend(callers_.size() - 1);
  }
  /// Connects a bare lease. The waiting caller holds the lease.
  void connect_one() {
    if (held_.empty() || callers_.size() >= most_callers) return;
    auto caller = std::make_unique<Caller>();
    caller->holds = take_held();
    caller->acquisition.emplace(pool_, *caller->holds, options(), *caller);
    callers_.push_back(std::move(caller));
    (void)attend(callers_.size() - 1);
  }
  void give_back() {
    if (held_.empty()) return;
    const LeaseRef ref = take_held();
    const std::uint32_t luck = below(20);
    const Reuse reuse = luck == 0 ? Reuse::no() : luck == 1 ? Reuse::yes(seconds(2)) : Reuse::yes();
    EXPECT_TRUE(pool_.release(ref, reuse));
    EXPECT_FALSE(pool_.release(ref, reuse)) << "a lease ended twice";
  }
  void hang_up() {
    if (peers_.count() != 0) pool_.on_hang_up(peers_.token(below(peers_.count())));
  }
  void give_up() {
    if (callers_.empty()) return;
    const std::size_t which = below(callers_.size());
    if (callers_[which]->holds) held_.push_back(*callers_[which]->holds);
    callers_[which]->acquisition.reset();
    drop(which);
  }
  void end_dial() {
    if (dialer_.dials.empty()) return;
    const std::size_t which = below(dialer_.dials.size());
    const QueuingDialer::Dial dial = dialer_.dials[which];
    if (dial.times.start > clock_.unseen()) return;
    dialer_.dials[which] = dialer_.dials.back();
    dialer_.dials.pop_back();
    // One endpoint in ten refuses all dials for a minute; the others refuse one dial in ten.
    const auto minute = clock_.unseen().time_since_epoch() / minutes(1);
    const bool down = (dial.endpoint->name().back() - '0' + minute) % 10 == 0;
    const std::uint32_t luck = below(30);
    if (down || luck < 3) {
      Error error =
          Error::make(ErrorCode::connect_failed, Phase::connect, "refused", luck == 0 ? EMFILE : ECONNREFUSED);
      error.final = luck == 1;
      pool_.dial_done(*dial.slot, error, {});
    } else {
      pool_.dial_done(*dial.slot, std::unique_ptr<Pooled>(std::make_unique<SimulatedConnection>(peers_, luck > 3)), {});
    }
  }

  // ---- waiting callers ------------------------------------------------------------------------------------------------

  /// Polls all callers that were woken or whose deadline has passed. The others have no result yet.
  void attend() {
    const TimePoint now = clock_.unseen();
    for (std::size_t i = callers_.size(); i-- > 0;) {
      if (callers_[i]->woken || callers_[i]->acquisition->deadline() <= now) (void)attend(i);
    }
  }
  bool attend(std::size_t which) {
    Caller& caller = *callers_[which];
    caller.woken = false;
    auto result = caller.acquisition->poll();
    if (!result) return false;
    if (result->ok()) {
      ++served_;
      keep(result->value().detach());
    } else {
      ++refused_;
      if (caller.holds) keep(caller.holds);
    }
    caller.acquisition.reset();
    drop(which);
    return true;
  }
  void drop(std::size_t which) {
    callers_[which] = std::move(callers_.back());
    callers_.pop_back();
  }

  // ---- the rest -------------------------------------------------------------------------------------------------------

  [[nodiscard]] std::uint32_t below(std::size_t limit) { return static_cast<std::uint32_t>(random_() % limit); }
  /// Half of the requests go to a hundred endpoints, the others to all.
  [[nodiscard]] Endpoint& endpoint() { return *endpoints_[below(below(2) == 0 ? 100 : endpoint_count)]; }
  [[nodiscard]] AcquireOptions options() {
    AcquireOptions options;
    options.pool_timeout = milliseconds(below(400));
    if (below(2) == 0) options.connect_timeout = milliseconds(below(400));
    return options;
  }
  void keep(const std::optional<LeaseRef>& ref) {
    if (!ref) return;
    held_.push_back(*ref);
    highest_slot_ = std::max(highest_slot_, ref->slot->index);
  }
  [[nodiscard]] LeaseRef take_held() {
    const std::size_t which = below(held_.size());
    const LeaseRef ref = held_[which];
    held_[which] = held_.back();
    held_.pop_back();
    return ref;
  }
  /// Returns the number of slots in the slab, as far as leases and dials have shown it.
  [[nodiscard]] std::uint32_t slots() const { return std::max(highest_slot_, dialer_.highest_slot) + 1; }

  void expect_limits_kept() {
    const PoolStats stats = pool_.stats();
    EXPECT_LE(stats.all.total_connections, total_limit);
    EXPECT_EQ(stats.all.total_connections,
              stats.all.idle_connections + stats.all.active_connections + stats.all.dialing_connections);
    for (const EndpointStats& each : stats.endpoints)
      EXPECT_LE(each.total_connections, endpoint_limit) << each.name;
    std::size_t holding = held_.size();
    for (const auto& caller : callers_)
      if (caller->holds) ++holding;
    EXPECT_EQ(stats.all.active_connections, holding);
  }

  CountingClock clock_;
  Peers peers_;
  QueuingDialer dialer_;
  Pool pool_;
  std::vector<EndpointHold> holds_;
  std::vector<Endpoint*> endpoints_;
  std::vector<LeaseRef> held_;
  std::vector<std::unique_ptr<Caller>> callers_;
  std::mt19937_64 random_{20'26};
  std::uint32_t highest_slot_ = 0;
  std::uint64_t served_ = 0;
  std::uint64_t refused_ = 0;
};

TEST_F(Simulation, a_million_operations_leak_nothing_and_their_cost_does_not_grow) {
  std::vector<std::uint64_t> looks;
  for (std::size_t tenth = 0; tenth < 10; ++tenth) {
    const std::uint64_t looks_before = clock_.looks();
    const auto begin = std::chrono::steady_clock::now();
    for (std::size_t i = 0; i < operation_count / 10; ++i)
      step();
    const std::chrono::duration<double, std::nano> taken = std::chrono::steady_clock::now() - begin;
    looks.push_back(clock_.looks() - looks_before);
    constexpr double each = operation_count / 10.0;
    std::printf(
        "tenth %2zu: %5.0f ns and %.2f looks at the clock per operation; %u slots, %zu connections, %zu leases, ",
        tenth + 1, taken.count() / each, static_cast<double>(looks.back()) / each, slots(), peers_.count(),
        held_.size());
    std::printf("%zu wait\n", callers_.size());
    expect_limits_kept();
  }
  // Each kind of event has happened often enough.
  const PoolStats stats = pool_.stats();
  const auto print = [](const char* what, std::uint64_t count) {
    std::printf("%llu %s, ", static_cast<unsigned long long>(count), what);
  };
  print("leases", served_);
  print("refusals", refused_);
  print("of these pool timeouts", stats.pool_timeouts);
  print("dials", stats.dials);
  print("of these failed", stats.dial_failures);
  print("evicted", stats.evicted);
  print("expired", stats.expired);
  print("hung up", stats.peer_closed);
  std::printf("as of %zu operations\n", operation_count);
  const std::uint64_t some = operation_count / 1000;
  EXPECT_GT(served_, 10 * some);
  EXPECT_GT(refused_, some);
  EXPECT_GT(stats.reused, some);
  EXPECT_GT(stats.dial_failures, some);
  EXPECT_GT(stats.evicted, some);
  EXPECT_GT(stats.expired, 0U);
  EXPECT_GT(stats.peer_closed, some);
  EXPECT_GT(stats.pool_timeouts, some);
  // The first tenth also fills the pool. Work that grows with the number of past operations would be several times as much in
  // the last tenths.
  EXPECT_LT(looks[7] + looks[8] + looks[9], (looks[1] + looks[2] + looks[3]) * 3 / 2);
  EXPECT_LE(peers_.most(), total_limit);
  // Memory is bounded: a few dead cells may stay linked for a while. If cells leaked, the slab would grow without bound.
  EXPECT_LE(slots(), total_limit * 3 / 2);

  // All callers give up, all leases are returned, and all dials end.
  while (!callers_.empty())
    give_up();
  while (!held_.empty())
    EXPECT_TRUE(pool_.release(take_held(), Reuse::yes()));
  while (!dialer_.dials.empty()) {
    clock_.advance(seconds(1));
    end_dial();
  }
  EXPECT_EQ(pool_.stats().all.active_connections, 0U);
  EXPECT_EQ(pool_.stats().all.dialing_connections, 0U);
  EXPECT_EQ(pool_.stats().all.waiters, 0U);
  EXPECT_EQ(pool_.stats().all.idle_connections, peers_.count());
  pool_.close();
  const PoolStats rest = pool_.stats();
  EXPECT_EQ(rest.all.total_connections, 0U);
  EXPECT_EQ(peers_.count(), 0U);
  EXPECT_EQ(rest.connections_opened, rest.connections_closed);
  EXPECT_EQ(rest.dials, rest.connections_opened + rest.dial_failures);
}

}  // namespace
}  // namespace fastpool::pool::test
