#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "pool/slot.h"
#include "pool/waiter.h"
#include "sync/atomics.h"
#include "sync/tagged_list.h"

namespace fastpool::pool {

/// One thing that connections can be made to, in one pool: its limit, its idle connections, its waiters. Lives as long as
/// the pool. Only the pool's code touches the members.
class Endpoint {
 public:
  Endpoint(std::string name, std::shared_ptr<const void> target) : name_(std::move(name)), target_(std::move(target)) {}

  /// For people: the origin.
  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  /// Whatever the dialer needs; the pool never looks.
  [[nodiscard]] const void* target() const noexcept { return target_.get(); }

 private:
  friend class Pool;

  const std::string name_;
  const std::shared_ptr<const void> target_;

  // Lock-free. `waiting` and `idle` are the two sides of "first come, first served": whoever queues adds to `waiting` and
  // then looks at `idle`; whoever parks pushes to `idle` and then looks at `waiting`; both seq_cst.
  sync::TaggedList idle;
  sync::Count waiting;
  sync::Count connections;  ///< reserved, dialing, idle, leased, closing
  sync::Count tombstones;   ///< reaped cells still linked in `idle`
  sync::Flag sweeping;      ///< the list is out for sweeping: it looks empty and is not

  // Guarded by mutex.
  mutable std::mutex mutex;
  WaiterQueue queue;
  std::uint32_t connection_waiters = 0;  ///< those in `queue` that want a connection
  std::uint32_t dialing = 0;
  bool starved = false;  ///< listed in Pool::starved_
};

}  // namespace fastpool::pool
