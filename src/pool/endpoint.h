#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include <fastpool/stats.h>

#include "pool/decisions.h"
#include "pool/dial_under_way.h"
#include "pool/slot.h"
#include "pool/waiter.h"
#include "sync/atomics.h"
#include "sync/idle_list.h"
#include "sync/tagged_list.h"
#include "sync/tombstones.h"
#include "sync/total_limit.h"

namespace fastpool::pool {

class Endpoint;
using TotalLimit = sync::BasicTotalLimit<Endpoint>;

/// What happens to the idle connections of an endpoint when its last hold is released.
enum class AfterUse : std::uint8_t {
  close,  ///< they are closed half a second later, unless the endpoint is held again by then
  keep    ///< they stay for the pool's idle timeout
};

/// One thing that connections can be made to, in one pool: its limit, its idle connections, its waiters. Only the pool's
/// code touches the members.
///
/// An endpoint lives while it has a hold (\see EndpointHold), a connection, a waiter, a tombstone, or connections to keep
/// warm. Then it is retired: its name and target are dropped, and the object serves the next new target. The object itself
/// is never freed while the pool lives, since a stale lease may still lead to it.
// NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): in the order of who guards what; there is one per origin
class Endpoint {
 public:
  Endpoint() = default;
  Endpoint(const Endpoint&) = delete;
  Endpoint& operator=(const Endpoint&) = delete;

  /// For people: the origin. Constant while the caller has a hold, a lease, or a dial that was not dropped.
  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  /// What the dialer needs; the pool never looks into it. As constant as the name.
  [[nodiscard]] const std::shared_ptr<const void>& target() const noexcept { return target_; }

 private:
  friend class Acquisition;
  friend class EndpointHold;
  friend class Pool;

  /// Begins a life, or (with nothing) ends one. \returns the target before.
  std::shared_ptr<const void> stand_for(std::string name, std::shared_ptr<const void> target) {
    std::lock_guard lock(mutex);
    name_ = std::move(name);
    target_.swap(target);
    failures = 0;
    dead = false;
    paced_full_at = dial_not_before = TimePoint::min();
    dial_patience = least_dial_patience;
    wait_time = create_time = handshake_time = {};
    return target;
  }

  // Written only between two lives.
  std::string name_;
  std::shared_ptr<const void> target_;

  // Guarded by the pool's endpoints_mutex_.
  bool living = false;
  std::string key;                            ///< how others find it; empty: it serves only its first hold
  AfterUse after_use = AfterUse::close;       ///< `keep` if one of its holds said so
  TimePoint unused_since = TimePoint::max();  ///< when the last hold was released, if what is idle is to be closed then

  // Lock-free.
  sync::Count users;               ///< holds, and steps that touch it after its last connection ended
  sync::IdleList idle;             ///< live connections, and how many wait for one
  sync::TaggedList vacant;         ///< places without a connection, kept for the next bare lease
  TotalLimit::Member room{*this};  ///< its places: vacant, dialing, idle, leased, closing; and whether it starves
  sync::Tombstones tombstones;     ///< of `idle` and `vacant`, and the sweep that unlinks them

  // Guarded by mutex.
  mutable std::mutex mutex;
  WaiterQueue queue{idle};
  std::uint32_t connection_waiters = 0;                 ///< those in `queue` that want a connection
  std::uint32_t bound = 0;                              ///< those of them that are bound to a dial
  std::unordered_map<const Slot*, DialUnderWay> dials;  ///< those under way, by slot
  std::uint32_t own_dials = 0;                          ///< those of them that are no lease's own
  std::uint32_t spare_dials = 0;                        ///< those of these that no caller waits for
  DialUnderWay* latest = nullptr;                       ///< the last that began for a caller, if it is under way
  bool spared = false;                                  ///< a dial has lost its last waiter since the last dispatch
  bool short_of_descriptors = false;                    ///< no dial begins until something of the pool is closed
  std::uint32_t warm_ups = 0;                           ///< calls of warm() under way, which dial for themselves
  std::uint32_t min_idle = 0;                           ///< kept warm
  std::unordered_map<const Slot*, Waiter*> lease_dial_waiters;  ///< who waits for the dial of the lease it holds
  std::uint32_t bound_lease_dials = 0;                          ///< those of them that are bound to a dial
  std::uint32_t failures = 0;                                   ///< dials that failed since the last that did not
  bool dead = false;                             ///< the last of them was refused or broke: dials are paced
  TimePoint paced_full_at = TimePoint::min();    ///< \see paced_start()
  TimePoint dial_not_before = TimePoint::min();  ///< back-off of dials that no caller waits for
  Duration dial_patience = least_dial_patience;  ///< \see stands_for_own_dial()
  Histogram wait_time;
  Histogram create_time;
  Histogram handshake_time;
};

}  // namespace fastpool::pool
