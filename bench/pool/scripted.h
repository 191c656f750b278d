#pragma once

/// \file
/// A pool of connections that do no I/O: what is measured with it is the pool alone.

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "pool/pool.h"

namespace fastpool::bench {

class ScriptedConnection final : public pool::Pooled {
 public:
  [[nodiscard]] bool check_alive() noexcept override { return true; }
  void interrupt() noexcept override {}
  void on_seated(std::uint64_t) noexcept override {}
  void say_goodbye() noexcept override {}
};

/// Ends every dial at once and well, on a thread of its own as the contract asks.
class InstantDialer final : public pool::Dialer {
 public:
  InstantDialer() = default;
  InstantDialer(const InstantDialer&) = delete;
  InstantDialer& operator=(const InstantDialer&) = delete;
  ~InstantDialer() override { stop(); }

  void start(pool::Pool& pool) {
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
  void dial(pool::Endpoint&, pool::Slot& slot, TimePoint) override {
    const std::lock_guard lock(mutex_);
    dials_.push_back(&slot);
    some_.notify_one();
  }

 private:
  void run(pool::Pool& pool) {
    std::unique_lock lock(mutex_);
    for (;;) {
      some_.wait(lock, [this] { return stopping_ || !dials_.empty(); });
      if (dials_.empty()) return;
      pool::Slot* slot = dials_.front();
      dials_.pop_front();
      lock.unlock();
      pool.dial_done(*slot, std::unique_ptr<pool::Pooled>(std::make_unique<ScriptedConnection>()), {});
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable some_;
  std::deque<pool::Slot*> dials_;
  bool stopping_ = false;
  std::thread thread_;
};

/// A pool with that many endpoints and that many idle connections to each. The real clock, the default lifetimes, limits
/// that do not bind.
class IdlePool {
 public:
  IdlePool(std::size_t endpoints, std::size_t idle_each) : pool_(settings(), clock_, dialer_) {
    dialer_.start(pool_);
    for (std::size_t i = 0; i < endpoints; ++i) {
      auto added = pool_.add_endpoint("https://endpoint-" + std::to_string(i), nullptr);
      if (!added) give_up("no endpoint");
      endpoints_.push_back(*added);
    }
    std::vector<pool::LeaseRef> leases;
    leases.reserve(endpoints * idle_each);
    for (pool::Endpoint* endpoint : endpoints_) {
      for (std::size_t i = 0; i < idle_each; ++i) {
        const auto lease = pool_.try_lease(*endpoint);
        if (!lease || !pool_.connect(*lease, {})) give_up("no connection");
        leases.push_back(*lease);
      }
    }
    for (const pool::LeaseRef lease : leases)
      pool_.release(lease, pool::Reuse::yes());
    dialer_.stop();
    if (pool_.stats().all.idle_connections != endpoints * idle_each) give_up("connections are missing");
  }

  [[nodiscard]] pool::Pool& pool() noexcept { return pool_; }
  [[nodiscard]] const std::vector<pool::Endpoint*>& endpoints() const noexcept { return endpoints_; }

  /// The measurement must not have been of dials or of errors.
  void expect_all_idle(std::size_t count) const {
    if (pool_.stats().all.idle_connections != count || pool_.stats().dials != count)
      give_up("connections were dialed or lost while it was measured");
  }

 private:
  [[noreturn]] static void give_up(const char* what) {
    std::fprintf(stderr, "fastpool_bench_pool: %s\n", what);
    std::_Exit(1);
  }
  [[nodiscard]] static PoolSettings settings() {
    PoolSettings settings;
    settings.max_connections_per_endpoint = PoolSettings::unlimited;
    settings.max_connections = PoolSettings::unlimited;
    return settings;
  }

  pool::SystemClock clock_;
  InstantDialer dialer_;
  pool::Pool pool_;
  std::vector<pool::Endpoint*> endpoints_;
};

}  // namespace fastpool::bench
