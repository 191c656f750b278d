#pragma once

/// \file
/// A pool of connections that do no I/O: what is measured with it is the pool alone.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "pool/acquisition.h"
#include "pool/pool.h"
#include "sync/waker.h"

namespace fastpool::bench {

class ScriptedConnection final : public pool::Pooled {
 public:
  [[nodiscard]] bool check_alive() noexcept override { return true; }
  void interrupt() noexcept override {}
  void on_seated(std::uint64_t) noexcept override {}
  void end(CloseReason, std::string_view) noexcept override {}
};

/// Notes a dial; complete() ends it, and well.
class ObedientDialer final : public pool::Dialer {
 public:
  void dial(pool::Endpoint&, pool::Slot& slot, pool::DialTimes) override { slot_ = &slot; }
  void complete(pool::Pool& pool) {
    pool::Slot* slot = std::exchange(slot_, nullptr);
    if (slot != nullptr)
      pool.dial_done(*slot, std::unique_ptr<pool::Pooled>(std::make_unique<ScriptedConnection>()), {});
  }

 private:
  pool::Slot* slot_ = nullptr;
};

/// For somebody who looks anyway.
class NoWaker final : public sync::Waker {
 public:
  void wake() noexcept override {}
};

/// A pool with that many endpoints and that many idle connections to each. The real clock, the default lifetimes, limits
/// that do not bind.
class IdlePool {
 public:
  IdlePool(std::size_t endpoints, std::size_t idle_each) : pool_(settings(), clock_, dialer_) {
    for (std::size_t i = 0; i < endpoints; ++i) {
      const std::string name = "https://endpoint-" + std::to_string(i);
      holds_.push_back(pool_.add_endpoint(name, nullptr, name, pool::AfterUse::keep));
      endpoints_.push_back(&*holds_.back());
    }
    std::vector<pool::LeaseRef> leases;
    leases.reserve(endpoints * idle_each);
    for (pool::Endpoint* endpoint : endpoints_) {
      for (std::size_t i = 0; i < idle_each; ++i) {
        leases.push_back(dialed(*endpoint));
      }
    }
    for (const pool::LeaseRef lease : leases)
      pool_.release(lease, pool::Reuse::yes());
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
  [[nodiscard]] pool::LeaseRef dialed(pool::Endpoint& endpoint) {
    NoWaker waker;
    pool::Acquisition acquisition(pool_, endpoint, {}, waker);
    auto lease = acquisition.poll();
    if (lease) give_up("an idle connection where none should be");
    dialer_.complete(pool_);
    lease = acquisition.poll();
    if (!lease || !*lease) give_up("no connection");
    return lease->value().detach();
  }
  [[nodiscard]] static PoolSettings settings() {
    PoolSettings settings;
    settings.max_connections_per_endpoint = PoolSettings::unlimited;
    settings.max_connections = PoolSettings::unlimited;
    return settings;
  }

  pool::SystemClock clock_;
  ObedientDialer dialer_;
  pool::Pool pool_;
  std::vector<pool::EndpointHold> holds_;
  std::vector<pool::Endpoint*> endpoints_;
};

}  // namespace fastpool::bench
