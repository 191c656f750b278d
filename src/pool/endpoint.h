#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

#include <fastpool/error.h>
#include <fastpool/stats.h>

#include "pool/slot.h"
#include "pool/waiter.h"
#include "sync/atomics.h"
#include "sync/idle_list.h"
#include "sync/tagged_list.h"

namespace fastpool::pool {

/// One thing that connections can be made to, in one pool: its limit, its idle connections, its waiters. Only the pool's
/// code touches the members.
///
/// It stands for one target as long as the pool lives; but past PoolSettings::max_endpoints it is a passing one: its
/// connections are not kept, and with the last of its users and connections it ends (\see EndpointHold). The object is then
/// kept for the next such target, since a stale lease may still lead to it.
class Endpoint {
 public:
  Endpoint(std::string name, std::shared_ptr<const void> target, bool kept = true)
      : name_(std::move(name)), target_(std::move(target)), kept_(kept) {}

  /// For people: the origin.
  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  /// Whatever the dialer needs; the pool never looks.
  [[nodiscard]] const void* target() const noexcept { return target_.get(); }
  /// Whether it lives as long as the pool.
  [[nodiscard]] bool kept() const noexcept { return kept_; }

 private:
  friend class Acquisition;
  friend class Pool;

  /// Of a passing one that ended: for the next target.
  void stand_for(std::string name, std::shared_ptr<const void> target) {
    std::lock_guard lock(mutex);
    name_ = std::move(name);
    target_ = std::move(target);
    failures = 0;
    dial_not_before = TimePoint::min();
    last_failure.reset();
    wait_time = create_time = handshake_time = {};
  }

  std::string name_;  // these two are constant while anybody uses it
  std::shared_ptr<const void> target_;
  const bool kept_;

  // Lock-free.
  sync::Count users;        ///< of a passing one: holds, and steps that touch it after its last connection ended
  sync::IdleList idle;      ///< live connections, and how many wait for one
  sync::TaggedList vacant;  ///< places without a connection, kept for the next bare lease
  sync::Count connections;  ///< what counts against the limit: vacant, dialing, idle, leased, closing
  sync::Count tombstones;   ///< reaped cells still linked in `idle` or `vacant`
  sync::Flag sweeping;      ///< the list is out for sweeping: it looks empty and is not

  // Guarded by mutex.
  mutable std::mutex mutex;
  WaiterQueue queue;
  std::uint64_t last_turn = 0;  ///< how many have queued
  Duration longest_connect{};   ///< the longest connect timeout among those in `queue`, or of one that left it lately
  std::uint32_t connection_waiters = 0;                   ///< those in `queue` that want a connection
  std::uint32_t dialing = 0;                              ///< dials of the endpoint's own, those put off included
  bool starved = false;                                   ///< listed in Pool::starved_
  std::uint32_t warm_ups = 0;                             ///< calls of warm() under way, which dial for themselves
  std::uint32_t min_idle = 0;                             ///< kept warm
  std::unordered_map<const Slot*, Waiter*> seat_waiters;  ///< who waits for the dial of the lease it holds
  std::uint32_t failures = 0;                             ///< dials that failed since the last that did not
  TimePoint dial_not_before = TimePoint::min();           ///< back-off
  std::optional<Error> last_failure;                      ///< while `failures` > 0
  Histogram wait_time;
  Histogram create_time;
  Histogram handshake_time;
};

}  // namespace fastpool::pool
