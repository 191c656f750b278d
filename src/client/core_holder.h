#pragma once

#include <memory>
#include <utility>

#include <fastpool/hooks.h>
#include <fastpool/settings.h>

#include "client/core.h"
#include "net/descriptor.h"
#include "sync/epoch_pointer.h"

namespace fastpool::client {

/// Holds the core of this process. In the child of a fork the first use makes a new one; the parent's is abandoned there,
/// neither locked nor destroyed, since its locks may have been held at the fork. Origins that had a limit there begin with 0
/// places. get() takes no lock.
class CoreHolder {
 public:
  explicit CoreHolder(const PoolSettings& settings, std::shared_ptr<const Hooks> hooks = nullptr)
      : settings_(settings),
        hooks_(std::move(hooks)),
        core_(net::fork_epoch(), std::make_unique<Core>(settings_, hooks_)) {}
  CoreHolder(const CoreHolder&) = delete;
  CoreHolder& operator=(const CoreHolder&) = delete;
  ~CoreHolder() {
    if (core_.epoch() != net::fork_epoch()) core_.abandon();
  }

  [[nodiscard]] Core& get() {
    return core_.get(net::fork_epoch(), [this](const Core* parents) {
      auto core = std::make_unique<Core>(settings_, hooks_);
      if (parents != nullptr) core->origin_limits().begin_child_of(parents->origin_limits());
      return core;
    });
  }
  [[nodiscard]] const PoolSettings& settings() const noexcept { return settings_; }
  /// At the exit of a process whose other threads may still be inside: the destructor is to destroy nothing.
  void abandon() noexcept { core_.abandon(); }

 private:
  const PoolSettings settings_;
  const std::shared_ptr<const Hooks> hooks_;
  sync::EpochPointer<Core> core_;
};

}  // namespace fastpool::client
