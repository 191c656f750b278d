#pragma once

/// \file
/// A pool whose clock and dialer the test controls. No test waits for time to pass: it sets the clock.

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "pool/decisions.h"
#include "pool/pool.h"
#include "support/waiting.h"

namespace fastpool::pool::test {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

/// A clock that the test sets. Its time is long before the system's time, so that a waiter with a deadline never sleeps, and
/// reads this clock again and again.
class FakeClock final : public PoolClock {
 public:
  [[nodiscard]] TimePoint now() const noexcept override { return TimePoint(Duration(nanos_.load())); }
  [[nodiscard]] TimePoint coarse_now() const noexcept override {
    if (during_look) std::exchange(during_look, {})();
    return now();
  }
  void advance(Duration by) noexcept { nanos_.fetch_add(by.count()); }

  /// Called once, by the next call of coarse_now(), which the pool makes between its steps.
  mutable std::function<void()> during_look{};

 private:
  std::atomic<Duration::rep> nanos_{-std::chrono::duration_cast<Duration>(hours(10'000)).count()};
};

/// The state of one connection that a test sees; outlives the connection.
struct Record {
  int number = 0;  ///< in the order of completed dials, from 1
  std::atomic<bool> alive{true};
  std::atomic<bool> closed{false};
  std::atomic<bool> interrupted{false};
  std::atomic<CloseReason> reason{CloseReason::not_reusable};  ///< why it was closed
  std::string endpoint{};                                      ///< the name it was closed with
  std::function<void()> during_check{};                        ///< called by the liveness check, if it is set
  std::atomic<std::uint64_t> token{0};
};

class FakeConnection final : public Pooled {
 public:
  explicit FakeConnection(std::shared_ptr<Record> record) : record_(std::move(record)) {}
  ~FakeConnection() override { record_->closed = true; }
  [[nodiscard]] bool check_alive() noexcept override {
    if (record_->during_check) record_->during_check();
    return record_->alive;
  }
  void interrupt() noexcept override { record_->interrupted = true; }
  void on_seated(std::uint64_t token) noexcept override { record_->token = token; }
  void end(CloseReason reason, std::string_view endpoint) noexcept override {
    record_->reason = reason;
    record_->endpoint = endpoint;
  }
  [[nodiscard]] Record& record() const noexcept { return *record_; }

 private:
  const std::shared_ptr<Record> record_;
};

/// Records every dial. The test ends them.
class ScriptedDialer final : public Dialer {
 public:
  struct Request {
    Endpoint* endpoint = nullptr;
    Slot* slot = nullptr;
    TimePoint start;
    TimePoint deadline;
  };

  void dial(Endpoint& endpoint, Slot& slot, DialTimes times) override {
    const std::lock_guard lock(mutex_);
    under_way_.push_back({&endpoint, &slot, times.start, times.deadline});
    ++begun_;
  }
  void hurry(Slot& slot) noexcept override {
    const std::lock_guard lock(mutex_);
    hurried_.push_back(&slot);
  }
  /// Returns whether the pool asked to end the dial of that slot early.
  [[nodiscard]] bool hurried(const Slot* slot) const {
    const std::lock_guard lock(mutex_);
    return std::find(hurried_.begin(), hurried_.end(), slot) != hurried_.end();
  }
  [[nodiscard]] std::size_t under_way() const {
    const std::lock_guard lock(mutex_);
    return under_way_.size();
  }
  [[nodiscard]] std::size_t begun() const {
    const std::lock_guard lock(mutex_);
    return begun_;
  }
  [[nodiscard]] Request peek(std::size_t which = 0) const {
    const std::lock_guard lock(mutex_);
    return under_way_.at(which);
  }
  /// Removes and returns a dial, by default the oldest.
  Request take(std::size_t which = 0) {
    const std::lock_guard lock(mutex_);
    const Request request = under_way_.at(which);
    under_way_.erase(under_way_.begin() + static_cast<std::ptrdiff_t>(which));
    return request;
  }

 private:
  mutable std::mutex mutex_;
  std::deque<Request> under_way_;
  std::vector<const Slot*> hurried_;
  std::size_t begun_ = 0;
};

using support::eventually;

/// How long the calls of one test may take together. Below the limit of ctest, 120 s; without sanitizers also below that of
/// `make mutants`, 60 s.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr seconds test_limit = 4 * support::wait_limit;
#else
inline constexpr seconds test_limit = 2 * support::wait_limit;
#endif

inline std::string describe(const EndpointStats& stats) {
  std::string text;
  const auto add = [&](std::uint64_t count, const char* what) {
    if (count == 0) return;
    if (!text.empty()) text += ", ";
    text += std::to_string(count) + " " + what;
  };
  add(stats.active_connections, "leased");
  add(stats.idle_connections, "idle");
  add(stats.dialing_connections, "dialing");
  add(stats.waiters, "waiting");
  return text.empty() ? "empty" : text;
}

/// A caller in a thread of its own. Its destructor closes the pool if the caller still waits.
template <typename T>
class Caller {
 public:
  /// \param what the call, for the message of a get() that reaches its limit.
  template <typename Call>
  Caller(Pool& pool, std::string what, Call call)
      : pool_(pool), what_(std::move(what)), result_(std::async(std::launch::async, std::move(call))) {}
  Caller(Caller&&) noexcept = default;
  ~Caller() {
    if (result_.valid() && waits()) pool_.close();
  }
  /// Returns the result of the call. At the limit the test fails and the pool is closed, which ends the call.
  [[nodiscard]] T get() {
    if (!support::wait_for(what_ + " returns; the pool is: " + describe(pool_.stats().all), result_)) pool_.close();
    return result_.get();
  }
  [[nodiscard]] bool waits() const { return result_.wait_for(seconds(0)) != std::future_status::ready; }

 private:
  Pool& pool_;
  std::string what_;
  std::future<T> result_;
};

/// An Interrupt that counts its calls, which shows that the caller waits, and that can stop the caller.
struct Looks {
  std::atomic<int> count{0};
  std::atomic<bool> stop{false};

  [[nodiscard]] static bool look(void* context) noexcept {
    Looks& looks = *static_cast<Looks*>(context);
    looks.count.fetch_add(1);
    std::this_thread::yield();
    return looks.stop;
  }
  [[nodiscard]] Interrupt interrupt() noexcept { return {look, this}; }
};

class PoolTest : public ::testing::Test {
 protected:
  ~PoolTest() override {
    watchdog_.reset();
    if (pool_ == nullptr) return;
    holds_.clear();
    pool_->close();
    while (dialer_.under_way() != 0)
      refuse_dial(Error::make(ErrorCode::pool_closed, Phase::connect, "the test has ended"));
    EXPECT_EQ(pool_->stats().all.total_connections, 0U) << "a slot leaked: " << describe();
    for (const auto& record : records_)
      EXPECT_TRUE(record->closed) << "connection " << record->number << " was not closed";
  }

  Pool& make(const PoolSettings& settings = {}) {
    holds_.clear();
    pool_ = std::make_unique<Pool>(settings, clock_, dialer_);
    a_ = endpoint("a");
    return *pool_;
  }
  [[nodiscard]] Endpoint* endpoint(const std::string& name) {
    return &*holds_.emplace_back(pool_->add_endpoint(name, nullptr, name, AfterUse::keep));
  }

  /// "2 leased, 1 idle, 1 dialing, 3 waiting"
  [[nodiscard]] std::string describe() const { return test::describe(pool_->stats().all); }
  [[nodiscard]] std::string describe(const Endpoint& endpoint) const {
    for (const EndpointStats& each : pool_->stats().endpoints) {
      if (each.name == endpoint.name()) return test::describe(each);
    }
    return "unknown";
  }
  [[nodiscard]] ::testing::AssertionResult becomes(const std::string& description) const {
    auto result = eventually("the pool is: " + description, [&] { return describe() == description; });
    if (!result) result << "; it is: " << describe();
    return result;
  }

  /// Ends a dial under way, by default the oldest, with a connection.
  Record& complete_dial(std::size_t which = 0, const DialReport& report = {}) {
    EXPECT_TRUE(dials_begin(which + 1));
    const auto dial = dialer_.take(which);
    auto record = std::make_shared<Record>();
    record->number = static_cast<int>(records_.size()) + 1;
    records_.push_back(record);
    pool_->dial_done(*dial.slot, std::unique_ptr<Pooled>(std::make_unique<FakeConnection>(record)), report);
    return *record;
  }
  void refuse_dial(const Error& error, std::size_t which = 0) {
    EXPECT_TRUE(dials_begin(which + 1));
    pool_->dial_done(*dialer_.take(which).slot, error, {});
  }
  /// Waits until that many dials are under way.
  [[nodiscard]] ::testing::AssertionResult dials_begin(std::size_t count) const {
    return eventually(std::to_string(count) + " dials are under way", [&] { return dialer_.under_way() >= count; });
  }
  [[nodiscard]] static Error refusal(bool final = false, int os_error = ECONNREFUSED) {
    Error error = Error::make(ErrorCode::connect_failed, Phase::connect, "refused", os_error);
    error.final = final;
    return error;
  }

  /// Starts a caller. Returns once it waits, with its dials begun, or has its result.
  [[nodiscard]] Caller<Result<Lease>> start_acquire(Endpoint& endpoint, const AcquireOptions& options = {}) {
    return start<Result<Lease>>("acquire()", options,
                                [this, &endpoint](const AcquireOptions& o) { return pool_->acquire(endpoint, o); });
  }
  [[nodiscard]] Caller<Result<LeaseRef>> start_lease(Endpoint& endpoint, const AcquireOptions& options = {}) {
    return start<Result<LeaseRef>>("lease()", options,
                                   [this, &endpoint](const AcquireOptions& o) { return pool_->lease(endpoint, o); });
  }
  [[nodiscard]] Caller<Result<void>> start_connect(const LeaseRef& ref, const AcquireOptions& options = {}) {
    return start<Result<void>>("connect()", options,
                               [this, ref](const AcquireOptions& o) { return pool_->connect(ref, o); });
  }
  [[nodiscard]] Caller<Result<std::uint32_t>> start_warm(Endpoint& endpoint, std::uint32_t count,
                                                         const AcquireOptions& options = {}) {
    return start<Result<std::uint32_t>>("warm()", options, [this, &endpoint, count](const AcquireOptions& o) {
      return pool_->warm(endpoint, count, o);
    });
  }
  /// Returns a lease on a new connection, which it dials.
  [[nodiscard]] Lease dialed(Endpoint& endpoint) {
    auto caller = start_acquire(endpoint);
    (void)complete_dial(dialer_.under_way() - 1);
    auto acquired = caller.get();
    EXPECT_TRUE(acquired.ok());
    return std::move(acquired).value();
  }
  /// Returns a lease on an idle connection. The test fails if the caller would have to wait.
  [[nodiscard]] Lease idle(Endpoint& endpoint) {
    auto acquired = pool_->acquire(endpoint, patience(seconds(0)));
    EXPECT_TRUE(acquired.ok());
    return acquired ? std::move(acquired).value() : Lease();
  }
  /// Dials that many connections and parks them.
  void park(Endpoint& endpoint, int count) {
    std::vector<Lease> leases;
    for (int i = 0; i < count; ++i)
      leases.push_back(dialed(endpoint));
    for (Lease& lease : leases)
      lease.release(Reuse::yes());
  }
  [[nodiscard]] static AcquireOptions patience(OptionalDuration pool, OptionalDuration connect = std::nullopt) {
    AcquireOptions options;
    options.pool_timeout = pool;
    options.connect_timeout = connect;
    return options;
  }
  [[nodiscard]] static Record& record(const Lease& lease) { return static_cast<FakeConnection&>(*lease).record(); }
  [[nodiscard]] static Record& record(const LeaseRef& ref) {
    return static_cast<FakeConnection&>(*ref.slot->pooled).record();
  }
  [[nodiscard]] static int number(const Lease& lease) { return record(lease).number; }

  [[nodiscard]] static PoolSettings limits(std::uint32_t per_endpoint, std::uint32_t total = PoolSettings::unlimited) {
    PoolSettings settings;
    settings.max_connections_per_endpoint = per_endpoint;
    settings.max_connections = total;
    return settings;
  }

  template <typename T, typename Call>
  [[nodiscard]] Caller<T> start(const std::string& what, AcquireOptions options, Call call) {
    auto own = std::make_shared<Looks>();
    auto* looks = own.get();
    if (options.interrupt.active()) {
      looks = static_cast<Looks*>(options.interrupt.context);
    } else {
      options.interrupt = own->interrupt();
    }
    Caller<T> caller(*pool_, what, [own, options, call] { return call(options); });
    EXPECT_TRUE(eventually(what + " waits or returns", [&] { return looks->count > 0 || !caller.waits(); }));
    return caller;
  }

  FakeClock clock_;
  ScriptedDialer dialer_;
  std::vector<std::shared_ptr<Record>> records_;
  std::unique_ptr<Pool> pool_;
  std::vector<EndpointHold> holds_;  // of endpoint()
  Endpoint* a_ = nullptr;

 private:
  /// Ends calls of the test's own threads that have no limit: closing the pool ends them all.
  std::optional<support::Watchdog> watchdog_{std::in_place, "the calls of the test have returned",
                                             [this] {
                                               if (pool_ != nullptr) pool_->close();
                                             },
                                             test_limit};
};

/// An endpoint whose dials fail.
class FailingEndpointTest : public PoolTest {
 protected:
  /// Starts one caller and fails its dial.
  void fail_once(Endpoint& endpoint, const Error& error = refusal()) {
    auto caller = start_acquire(endpoint);
    refuse_dial(error);
    EXPECT_FALSE(caller.get().ok());
  }
  /// Fails as many dials as may begin at once: later dials are paced.
  void use_up_the_burst(Endpoint& endpoint) {
    for (int i = 0; i <= dead_burst; ++i)
      fail_once(endpoint);
  }
};

}  // namespace fastpool::pool::test
