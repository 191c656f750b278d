#pragma once

#include <atomic>
#include <memory>

#include <fastpool/settings.h>

#include "client/core.h"
#include "net/descriptor.h"

namespace fastpool::client {

/// Holds the core of this process. In the child of a fork the first use makes a new one; the parent's is abandoned there,
/// neither locked nor destroyed, since its locks may have been held at the fork. get() takes no lock.
class CoreHolder {
 public:
  explicit CoreHolder(const PoolSettings& settings) : settings_(settings), held_(new Held{settings}) {}
  CoreHolder(const CoreHolder&) = delete;
  CoreHolder& operator=(const CoreHolder&) = delete;
  ~CoreHolder() {
    Held* held = held_.load();
    if (held->epoch == net::fork_epoch()) delete held;
  }

  [[nodiscard]] Core& get() const {
    Held* held = held_.load();
    if (held->epoch == net::fork_epoch()) [[likely]]
      return held->core;
    auto fresh = std::make_unique<Held>(settings_);
    if (held_.compare_exchange_strong(held, fresh.get())) return fresh.release()->core;
    return held->core;  // another thread of the child was first
  }
  [[nodiscard]] const PoolSettings& settings() const noexcept { return settings_; }
  /// Gives up ownership: at the exit of a process whose other threads may still be inside.
  void leak() noexcept { held_.store(new Held{settings_}); }

 private:
  struct Held {
    explicit Held(const PoolSettings& settings) : epoch(net::fork_epoch()), core(settings) {}
    const unsigned epoch;
    Core core;
  };

  const PoolSettings settings_;
  mutable std::atomic<Held*> held_;
};

}  // namespace fastpool::client
