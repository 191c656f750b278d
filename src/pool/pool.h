#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <fastpool/error.h>
#include <fastpool/result.h>
#include <fastpool/settings.h>
#include <fastpool/stats.h>

#include "http/interrupt.h"
#include "pool/acquisition.h"
#include "pool/endpoint.h"
#include "pool/endpoint_hold.h"
#include "pool/interfaces.h"
#include "pool/keep_alive_limit.h"
#include "pool/lease.h"
#include "pool/longest_idle.h"
#include "pool/slab.h"
#include "pool/waiter.h"
#include "sync/atomics.h"
#include "sync/end_watches.h"
#include "sync/refusal.h"

namespace fastpool::pool {

/// A lease that is held suspiciously long.
struct Leak {
  std::string endpoint;
  ConnectionId id;
  Duration age;
};

/// The pool: endpoints, their connections, and who may use them.
///
/// Any thread may call any method. While no caller waits, taking an idle connection and giving it back takes no lock,
/// allocates nothing and makes no system call (but for the peek, if asked for). Never runs foreign code with a lock held.
/// Must outlive its leases, and be outlived by its clock and dialer; the dialer must be silent before the pool ends.
// NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): what is read on every way has a cache line of its own
class Pool {
 public:
  Pool(const PoolSettings& settings, const PoolClock& clock, Dialer& dialer);
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  ~Pool();

  // ---- endpoints (endpoints.cpp) ----

  /// Holds the living endpoint of that key; an empty hold if there is none.
  [[nodiscard]] EndpointHold find_endpoint(std::string_view key, AfterUse after_use);
  /// Holds the endpoint of that key, which is made if there is none. An empty key always makes one, which no other call
  /// finds: it serves its first holder alone, and its idle connections are closed with the hold.
  [[nodiscard]] EndpointHold add_endpoint(std::string name, std::shared_ptr<const void> target, std::string key,
                                          AfterUse after_use);
  /// Whether anything counts against the limit of an endpoint that the caller holds.
  [[nodiscard]] static bool has_connections(const Endpoint& endpoint) noexcept { return endpoint.room.places() != 0; }

  // ---- leases (pool.cpp); what waits without blocking is an Acquisition ----

  /// A live connection: idle, handed over, or dialed. Waits in the endpoint's queue, first come first served.
  /// Errors: pool_timeout, pool_closed, interrupted, connect_timeout, and whatever the dial met.
  [[nodiscard]] Result<Lease> acquire(Endpoint& endpoint, const AcquireOptions& options);
  /// A live connection that is idle, at once; an empty lease if there is none or others wait.
  [[nodiscard]] Lease try_acquire(Endpoint& endpoint, bool check) noexcept;
  /// A bare lease at once: an idle connection, unseen, or a reserved slot without one. Nothing at the limits.
  [[nodiscard]] std::optional<LeaseRef> try_lease(Endpoint& endpoint);
  /// The same, waiting in the queue. Errors: pool_timeout, pool_closed, interrupted.
  [[nodiscard]] Result<LeaseRef> lease(Endpoint& endpoint, const AcquireOptions& options);
  /// Gives a lease its connection if it has none yet (or lost it). Errors as of acquire(), and stale_lease.
  [[nodiscard]] Result<void> connect(LeaseRef ref, const AcquireOptions& options);
  /// Takes a broken connection from a lease and closes it; the lease goes on without one. \returns whether it had one.
  bool disconnect(LeaseRef ref) noexcept;
  /// The same of a connection that a look before its next use found unusable.
  void discard(LeaseRef ref) noexcept;
  /// Ends a lease: parks or closes its connection, or hands it to the first waiter. With a stream open, the stream's end
  /// does it. False: no such lease any more, nothing changed.
  /// \param keep what the lease's holder may leave idle; null: as much as the pool may, and if a stream is open.
  bool release(LeaseRef ref, Reuse reuse, KeepAliveLimit* keep = nullptr) noexcept;

  /// Whether callers, more than `but`, wait in the endpoint's queue for a connection that its users give back: none is being dialed for
  /// them.
  [[nodiscard]] bool awaits_return(const Endpoint& endpoint, std::uint32_t but) const noexcept;
  /// Whether the total limit holds up callers of another endpoint, so that a connection of this one is to be given back.
  [[nodiscard]] bool starves_others(const Endpoint& endpoint) noexcept {
    if (!total_limit_.has_starving()) [[likely]]
      return false;
    const Endpoint* const first = total_limit_.first_starving();
    return first != nullptr && first != &endpoint;
  }
  /// Whether the connection of that lease has reached its maximum lifetime.
  [[nodiscard]] bool past_lifetime(LeaseRef ref) const noexcept {
    return clock_.coarse_now() >= ref.slot->retire_at.get();
  }
  /// The lease is in use, for one more purpose: it is no leak.
  void note_used(LeaseRef ref) const noexcept { note_leased(*ref.slot); }

  /// From now on the connection of that lease is closed when the lease ends, and serves no other.
  static void close_after_lease(LeaseRef ref) noexcept { ref.slot->retire_at.set(TimePoint::min()); }

  /// Beside the slot of a lease. \see end_lease()
  [[nodiscard]] LeasePlace& place_of(LeaseRef ref) const noexcept { return slab_.place_of(ref.slot->index); }
  /// The lease of that id; nothing if it ended.
  [[nodiscard]] std::optional<LeaseRef> find(ConnectionId id) const noexcept;
  /// Takes the lease for one exchange; false if it ended or is in use by another thread.
  [[nodiscard]] bool begin_stream(LeaseRef ref) noexcept { return ref.slot->word.begin_stream(ref.generation); }
  /// Ends it; if the lease was given back meanwhile, that is done now.
  void end_stream(LeaseRef ref, Reuse reuse) noexcept;

  // ---- upkeep (upkeep.cpp) ----

  /// From now on the endpoint keeps `count` connections idle, as far as there is room, until another call says otherwise (0:
  /// none); maintain() dials what is missing. Waits until as many are idle at once. \returns how many are. On an error with
  /// none, nothing is kept warm that was not before.
  [[nodiscard]] Result<std::uint32_t> warm(Endpoint& endpoint, std::uint32_t count, const AcquireOptions& options);
  /// Closes idle connections that expired or were hung up. \returns how many.
  std::size_t cleanup();
  /// What is to be done about once a second: cleanup(), and dials for endpoints that are kept warm.
  void maintain();
  /// Leases that two calls in a row found held longer than `leak_after`, and that were not reported before.
  [[nodiscard]] std::vector<Leak> find_leaks();

  // ---- the end (ending.cpp) ----

  /// Ends gracefully: gives no new leases, closes what is idle and what is given back, lets those who hold a lease or are
  /// queued finish for at most `timeout`; then close(). \returns whether all had finished. Errors: interrupted (then the
  /// pool is closed too).
  [[nodiscard]] Result<bool> drain(OptionalDuration timeout, const Interrupt& interrupt);
  /// Ends waits with pool_closed, closes idle connections, interrupts the users of leased ones, which are closed when they
  /// are given back. Idempotent.
  void close();
  [[nodiscard]] bool closed() const noexcept { return refusal_.closed(); }
  /// The error of callers that are refused.
  [[nodiscard]] static Error closed_error();
  /// Whether new leases are refused: it is closed or being drained.
  [[nodiscard]] bool refusing() const noexcept { return refusal_.refusing(); }
  /// Who waits elsewhere and is woken when that begins.
  [[nodiscard]] sync::EndWatches& end_watches() noexcept { return end_watches_; }

  [[nodiscard]] PoolStats stats() const;
  [[nodiscard]] const PoolSettings& settings() const noexcept { return settings_; }

  // ---- events ----

  /// When the dial of that slot must have ended: later than dial() said if callers joined it, in the past if it is not
  /// wanted any more. For the dialer, between dial() and dial_done(), when it begins, when that time has come, and after
  /// Dialer::hurry().
  [[nodiscard]] TimePoint dial_deadline(const Slot& slot) const;
  /// A dial ended. Called by the dialer, exactly once per dial().
  void dial_done(Slot& slot, Result<std::unique_ptr<Pooled>> result, DialReport report);
  /// A TLS handshake that was left to the first user of a connection is done; for statistics.
  void note_handshake(Endpoint& endpoint, Duration took);
  /// The peer hung up on the connection that was seated under `token`; a stale token changes nothing.
  void on_hang_up(std::uint64_t token) noexcept;

 private:
  friend class Acquisition;
  friend class EndpointHold;

  struct Ended {
    Slot* slot;
    CloseReason reason;
  };
  struct Dialing {
    EndpointHold endpoint;
    Slot* slot;
    DialTimes times;
  };
  /// What was decided under a lock and is done after it.
  struct Actions {
    std::vector<Ended> closing;  // Closing, owned by us: finish them
    std::vector<Dialing> dials;
    std::vector<Slot*> hurried;  // their dials end now
    bool spared = false;         // a dial has lost its last waiter
  };
  /// A cell taken from the idle list: a lease, or a connection past its time, Closing.
  struct Popped {
    Slot* slot = nullptr;
    std::uint32_t generation = 0;
    bool live = false;
    CloseReason reason = CloseReason::not_reusable;  // of one that is not live
    [[nodiscard]] explicit operator bool() const noexcept { return slot != nullptr; }
  };
  /// Keeps an endpoint for a step that touches it after its last connection ended. Begin it while there is a connection, end
  /// it with no lock held.
  [[nodiscard]] EndpointHold hold(Endpoint& endpoint) noexcept {
    endpoint.users.add();
    return {*this, endpoint};
  }
  using Taken = TotalLimit::Taken;
  struct Links {
    const Slab& slab;
    sync::Link& operator()(std::uint32_t index) const noexcept { return slab[index].next; }
  };
  struct Words {
    const Slab& slab;
    SlotWord& operator()(std::uint32_t index) const noexcept { return slab[index].word; }
  };

  // The way of a lease (pool.cpp).
  [[nodiscard]] LeaseRef take_idle(Endpoint& endpoint) noexcept;
  [[nodiscard]] LeaseRef take_checked(Endpoint& endpoint, bool check) noexcept;
  [[nodiscard]] Result<Lease> queue(Endpoint& endpoint, const AcquireOptions& options);
  [[nodiscard]] LeaseRef take_hinted(Endpoint& endpoint) noexcept;
  [[nodiscard]] LeaseRef pop_live(Endpoint& endpoint) noexcept;
  [[nodiscard]] Popped pop_idle(Endpoint& endpoint, sync::IdleList::For who) noexcept;
  [[nodiscard]] LeaseRef pop_vacant(Endpoint& endpoint) noexcept;
  [[nodiscard]] LeaseRef lease_bare(Endpoint& endpoint);
  [[nodiscard]] LeaseRef lease_reserved(Endpoint& endpoint);
  [[nodiscard]] Slot* take_slot(Endpoint& endpoint);
  [[nodiscard]] CloseReason why_not_parked(const Slot& slot, SlotWord::View word, Reuse reuse) const noexcept;
  [[nodiscard]] bool park(LeaseRef ref, Reuse reuse, KeepAliveLimit* keep) noexcept;
  /// A bare lease begins. Only the search for leaks needs the time.
  void note_leased(Slot& slot) const noexcept {
    if (settings_.leak_after) slot.since.set(clock_.coarse_now());
  }
  /// A connection is idle no more: called by the thread that has just taken it.
  void end_idle(const Slot& slot) noexcept {
    if (counts_idle_) idle_total_.subtract();
    if (any_kept_.get() && slab_.kept_under(slot.index).peek() != nullptr) [[unlikely]]
      leave_keep(slot);
  }
  /// A connection that was idle serves a lease from `now` on: called by the thread that has just taken it.
  void begin_use(Slot& slot, TimePoint now) noexcept {
    end_idle(slot);
    slot.since.set(now);
    slot.lease_count.add(1);
  }
  struct EndedLease;
  struct ReturnedConnection;
  struct ReturnedPlace;
  void join_keep(const Slot& slot, KeepAliveLimit& keep) noexcept;
  void leave_keep(const Slot& slot) noexcept;
  [[nodiscard]] bool vacate(LeaseRef ref) noexcept;
  [[nodiscard]] bool abandon_dial(LeaseRef ref) noexcept;
  [[nodiscard]] bool begin_close(LeaseRef ref) noexcept;
  [[nodiscard]] bool close_lease(LeaseRef ref, CloseReason reason) noexcept;
  [[nodiscard]] Result<Lease> wait(Acquisition& acquisition, sync::ThreadWaker& waker, const Endpoint& endpoint,
                                   const Interrupt& interrupt);

  // Waiters (queue.cpp).
  void enqueue_locked(Endpoint& endpoint, Waiter& waiter);
  void forget_wait_locked(Endpoint& endpoint, Waiter& waiter) noexcept;
  void hand_locked(Endpoint& endpoint, Waiter& waiter, LeaseRef ref, bool fresh) noexcept;
  void fail_locked(Endpoint& endpoint, Waiter& waiter, const Error& error);
  void dispatch_locked(Endpoint& endpoint, Actions& actions);
  void serve_by_dials_locked(Endpoint& endpoint, Actions& actions);
  void serve_leases_locked(Endpoint& endpoint, Actions& actions);
  void drop_vacant_locked(Endpoint& endpoint, Actions& actions);
  void dispatch(Endpoint& endpoint);
  void dispatch_if_awaited(Endpoint& endpoint) {
    if (endpoint.idle.waiting() != 0) dispatch(endpoint);
  }
  void perform(Actions& actions);

  // The total limit (total_limit.cpp).
  struct RoomForWaiter;
  struct RoomForNewcomer;
  struct Relief;
  /// A place for a caller that waits. If the total limit bars it, the endpoint starves, and something idle is closed.
  [[nodiscard]] Taken reserve_or_starve_locked(Endpoint& endpoint, Actions& actions);
  /// A place for a caller that does not wait. No lock is held.
  [[nodiscard]] Taken reserve_or_evict(Endpoint& endpoint);
  /// After anything that may help a starving endpoint: a place or a descriptor was freed, something became idle or spare.
  void relieve_if_starving() {
    if (total_limit_.has_starving()) [[unlikely]]
      relieve_starving();
  }
  void relieve_starving();
  /// After a place of that endpoint was given back. No lock is held.
  void place_freed(Endpoint& endpoint);
  [[nodiscard]] bool yields_to_starving(Endpoint& endpoint);

  // Dials (dials.cpp).
  void start_dials_locked(Endpoint& endpoint, Actions& actions);
  [[nodiscard]] static DialUnderWay* shared_dial_locked(const Endpoint& endpoint, TimePoint now) noexcept;
  [[nodiscard]] DialUnderWay* start_callers_dial_locked(Endpoint& endpoint, const Waiter& waiter, TimePoint now,
                                                        Actions& actions);
  [[nodiscard]] DialUnderWay* start_dial_locked(Endpoint& endpoint, TimePoint start, TimePoint deadline,
                                                Actions& actions);
  [[nodiscard]] bool start_warming_dial_locked(Endpoint& endpoint, Actions& actions);
  void start_lease_dials_locked(Endpoint& endpoint, Actions& actions);
  void start_lease_dial_locked(Endpoint& endpoint, Waiter& waiter, Actions& actions);
  void join_lease_dial_locked(Endpoint& endpoint, Waiter& waiter, Actions& actions);
  [[nodiscard]] static Error stale_lease_error();
  DialUnderWay& note_begun_locked(Endpoint& endpoint, DialUnderWay dial, Actions& actions);
  [[nodiscard]] static TimePoint callers_start_locked(Endpoint& endpoint, TimePoint now) noexcept;
  [[nodiscard]] Duration patience_of(const Waiter& waiter) const noexcept;
  [[nodiscard]] bool bind_locked(Endpoint& endpoint, Waiter& waiter, DialUnderWay& dial, TimePoint now);
  [[nodiscard]] bool bind_to_spare_locked(Endpoint& endpoint, Waiter& waiter, TimePoint now);
  void unbind_locked(Endpoint& endpoint, Waiter& waiter) noexcept;
  struct SparedDial;
  void spare_locked(Endpoint& endpoint, DialUnderWay& dial) noexcept;
  [[nodiscard]] bool drop_spare_dial_locked(Endpoint& endpoint, Actions& actions) noexcept;
  [[nodiscard]] bool drop_spare_dial(Endpoint& endpoint);
  void end_dropped(Slot& slot, Result<std::unique_ptr<Pooled>> result, std::string_view endpoint) noexcept;
  [[nodiscard]] static DialUnderWay take_dial_locked(Endpoint& endpoint, const Slot& slot) noexcept;
  [[nodiscard]] bool hold_up_locked(Endpoint& endpoint, const DialUnderWay& dial, Actions& actions);
  [[nodiscard]] bool others_hold_descriptors() const;
  static void rest_locked(Waiter& waiter) noexcept;
  void end_failed_locked(Endpoint& endpoint, Slot& slot, const DialUnderWay& dial) noexcept;
  void connect_lease_locked(Endpoint& endpoint, Slot& slot, std::unique_ptr<Pooled> pooled);
  void fail_lease_dial_locked(Endpoint& endpoint, Waiter& waiter, const Error& error);
  struct DialedConnection;
  [[nodiscard]] bool park_dialed_locked(Endpoint& endpoint, Slot& slot, const DialUnderWay& dial,
                                        std::unique_ptr<Pooled> pooled, Actions& actions);
  void note_success_locked(Endpoint& endpoint, const DialReport& report);
  void note_failure_locked(Endpoint& endpoint, const Error& error);
  [[nodiscard]] bool share_failure_locked(Endpoint& endpoint, const DialUnderWay& dial, const Error& error,
                                          Actions& actions);

  // Ends of connections (reap.cpp).
  void finish_closing(Slot& slot, CloseReason reason) noexcept;
  void drop_tombstone(Endpoint& endpoint, std::uint32_t index, bool finished) noexcept;
  [[nodiscard]] std::unique_ptr<Pooled> unseat_locked(Slot& slot) noexcept;
  [[nodiscard]] bool try_reap(Slot& slot, const SlotWord::View& seen) noexcept;
  [[nodiscard]] Slot* evict_longest_idle(const Endpoint* spare) noexcept;
  void close_surplus(KeepAliveLimit& limit, const Slot& parked) noexcept;
  void capacity_freed(Endpoint& endpoint) noexcept;
  void sweep(Endpoint& endpoint) noexcept;
  void sweep_left_behind();
  [[nodiscard]] static std::uint32_t next_seat_serial(const Slot& slot) noexcept {
    return (slot.seat_serial.get() + 1) & 0x7fffffffU;  // tokens have 63 bits
  }

  // Endpoints (endpoints.cpp).
  [[nodiscard]] EndpointHold hold_locked(Endpoint& endpoint, AfterUse after_use) noexcept;
  void leave_endpoint(Endpoint& endpoint) noexcept;
  [[nodiscard]] static bool deserted_locked(Endpoint& endpoint) noexcept;
  [[nodiscard]] std::shared_ptr<const void> retire_locked(Endpoint& endpoint);
  void retire_deserted();
  void close_unused();
  template <typename Visit>
  void for_each_endpoint_locked(Visit visit) const {
    for (const auto& endpoint : endpoints_) {
      if (endpoint->living) visit(*endpoint);
    }
  }

  // Upkeep (upkeep.cpp).
  void warm_up();
  [[nodiscard]] double jitter() noexcept;

  // The end (ending.cpp).
  void end_users();
  [[nodiscard]] std::uint32_t busy() const;

  [[nodiscard]] Links links() const noexcept { return Links{slab_}; }
  [[nodiscard]] Words words() const noexcept { return Words{slab_}; }

  const PoolSettings settings_;
  const PoolClock& clock_;
  Dialer& dialer_;
  const bool counts_idle_;

  Slab slab_;

  // Read on every way, written rarely.
  alignas(64) sync::Refusal refusal_;  // while it is drained, and once it is closed
  sync::Count dropped_dials_;          // reaped, and not ended yet: they hold descriptors
  sync::Flag any_kept_;                // some holder has parked a connection under its limit, once
  sync::Flag none_idle_;  // the last look for something to evict found nothing, and nothing became idle since

  TotalLimit total_limit_;  // the connections of all endpoints, and which endpoints starve
  sync::Count idle_total_;  // only if counts_idle_

  // Guarded by endpoints_mutex_, under which alone endpoints begin and end.
  mutable std::mutex endpoints_mutex_;
  std::deque<std::unique_ptr<Endpoint>> endpoints_;                   // all, the retired ones too
  std::unordered_map<std::string_view, Endpoint*> endpoints_by_key_;  // the living ones that have a key, which it views
  std::deque<Endpoint*> retired_;                                     // the longest unused first
  EndpointStats retired_times_;                                       // the histograms of ended lives

  LongestIdle longest_idle_;      // has a lock of its own
  sync::EndWatches end_watches_;  // so has this

  // Guarded by vacant_mutex_: vacant places as cleanup() saw them, slot index to generation.
  std::mutex vacant_mutex_;
  std::unordered_map<std::uint32_t, std::uint32_t> seen_vacant_;

  // Guarded by leaks_mutex_: the leases that looked like leaks, by slot index.
  struct Suspect {
    std::uint32_t generation = 0;
    bool told = false;
  };
  std::mutex leaks_mutex_;
  std::unordered_map<std::uint32_t, Suspect> leak_suspects_;

  struct Tallies {
    sync::Tally leases;  // of connections that are gone; the living count for themselves
    sync::Tally reused;
    sync::Tally dials, dial_failures, opened, closed, handshakes, resumed;
    sync::Tally evicted, expired, peer_closed, discarded, pool_timeouts, leaks;
    sync::Tally jitter_seed;
  } tallies_;
};

}  // namespace fastpool::pool
