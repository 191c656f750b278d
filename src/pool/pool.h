#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fastpool/error.h>
#include <fastpool/interrupt.h>
#include <fastpool/settings.h>
#include <fastpool/stats.h>

#include "pool/endpoint.h"
#include "pool/interfaces.h"
#include "pool/lease.h"
#include "pool/slab.h"
#include "pool/waiter.h"
#include "sync/atomics.h"

namespace fastpool::pool {

/// How long a caller is ready to wait, and how it is told to stop.
struct AcquireOptions {
  OptionalDuration pool_timeout;
  OptionalDuration connect_timeout;
  bool check = true;  ///< peek at a reused connection before giving it out
  Interrupt interrupt;
};

/// The pool: endpoints, their connections, and who may use them.
///
/// Any thread may call any method. Taking an idle connection and giving it back with nobody waiting takes no lock,
/// allocates nothing and makes no system call (but for the peek, if asked for). Never runs foreign code with a lock held.
/// Must outlive its leases, and be outlived by its clock and dialer; the dialer must be silent before the pool ends.
class Pool {
 public:
  Pool(const PoolSettings& settings, const PoolClock& clock, Dialer& dialer);
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  ~Pool();

  /// Makes an endpoint; it lives as long as the pool. \returns invalid_argument past max_endpoints.
  [[nodiscard]] Result<Endpoint*> add_endpoint(std::string name, std::shared_ptr<const void> target);

  /// A live connection: idle, handed over, or dialed. Waits in the endpoint's queue, first come first served.
  /// Errors: pool_timeout, pool_closed, interrupted, connect_timeout, and whatever the dial met.
  [[nodiscard]] Result<Lease> acquire(Endpoint& endpoint, const AcquireOptions& options);
  /// A bare lease at once: an idle connection, unseen, or a reserved slot without one. Nothing at the limits.
  [[nodiscard]] std::optional<LeaseRef> try_lease(Endpoint& endpoint);
  /// The same, waiting in the queue. Errors: pool_timeout, pool_closed, interrupted.
  [[nodiscard]] Result<LeaseRef> lease(Endpoint& endpoint, const AcquireOptions& options);
  /// Gives a lease its connection if it has none yet (or lost it). Errors as of acquire().
  [[nodiscard]] Result<void> connect(LeaseRef ref, const AcquireOptions& options);
  /// Takes a broken connection from a lease and closes it; the lease goes on without one.
  void disconnect(LeaseRef ref) noexcept;
  /// Ends a lease: parks or closes its connection, or hands it to the first waiter. With a stream open, the stream's end
  /// does it. False: no such lease any more, nothing changed.
  bool release(LeaseRef ref, Reuse reuse) noexcept;

  /// The lease of that id; nothing if it ended.
  [[nodiscard]] std::optional<LeaseRef> find(ConnectionId id) const noexcept;
  /// Takes the lease for one exchange; false if it ended or is in use by another thread.
  [[nodiscard]] bool begin_stream(LeaseRef ref) noexcept { return ref.slot->word.begin_stream(ref.generation); }
  /// Ends it; if the lease was given back meanwhile, that is done now.
  void end_stream(LeaseRef ref, Reuse reuse) noexcept;

  /// Dials until `count` connections are idle at once, or as many as there is room for; waits for them. \returns how many.
  [[nodiscard]] Result<std::uint32_t> warm(Endpoint& endpoint, std::uint32_t count, const AcquireOptions& options);
  /// Closes idle connections that expired or were hung up. \returns how many.
  std::size_t cleanup();
  /// Ends waits with pool_closed, closes idle connections, interrupts the users of leased ones. Idempotent.
  void close();
  [[nodiscard]] bool closed() const noexcept { return closed_.get(); }

  [[nodiscard]] PoolStats stats() const;
  [[nodiscard]] const PoolSettings& settings() const noexcept { return settings_; }

  /// A dial ended. Called by the dialer, exactly once per dial().
  void dial_done(Slot& slot, Result<std::unique_ptr<Pooled>> result, DialReport report);
  /// The peer hung up on the connection that was seated under `token`; a stale token changes nothing.
  void on_hang_up(std::uint64_t token) noexcept;

 private:
  struct Ended {
    Slot* slot;
    bool goodbye;
  };
  /// What was decided under a lock and is done after it.
  struct Actions {
    std::vector<Ended> closing;                      // Closing, owned by us: finish them
    std::vector<std::pair<Slot*, TimePoint>> dials;  // slots to dial, until when
    [[nodiscard]] bool empty() const noexcept { return closing.empty() && dials.empty(); }
  };
  enum class Reserved : std::uint8_t { yes, endpoint_limit, total_limit };
  struct Links {
    const Slab& slab;
    sync::Link& operator()(std::uint32_t index) const noexcept { return slab.at(index)->next; }
  };

  // The way of a lease (pool.cpp).
  [[nodiscard]] std::optional<LeaseRef> pop_idle(Endpoint& endpoint, Actions& actions) noexcept;
  [[nodiscard]] Reserved reserve(Endpoint& endpoint) noexcept;
  [[nodiscard]] Slot* take_slot(Endpoint& endpoint);
  [[nodiscard]] bool park(LeaseRef ref, Reuse reuse) noexcept;
  [[nodiscard]] bool release_unconnected(LeaseRef ref) noexcept;
  [[nodiscard]] bool begin_close_quietly(LeaseRef ref) noexcept;
  [[nodiscard]] std::optional<LeaseRef> unless_closed(LeaseRef ref) noexcept;

  // Waiters and dials (queue.cpp).
  void enqueue_locked(Endpoint& endpoint, Waiter& waiter, bool in_front);
  void leave_locked(Endpoint& endpoint, Waiter& waiter) noexcept;
  void hand_locked(Endpoint& endpoint, Waiter& waiter, LeaseRef ref, bool fresh) noexcept;
  void fail_locked(Endpoint& endpoint, Waiter& waiter, const Error& error);
  void dispatch_locked(Endpoint& endpoint, Actions& actions);
  [[nodiscard]] Reserved reserve_or_starve_locked(Endpoint& endpoint, Actions& actions);
  void serve_leases_locked(Endpoint& endpoint, Actions& actions);
  void start_dials_locked(Endpoint& endpoint, Actions& actions);
  void note_connecting_locked(Endpoint& endpoint);
  [[nodiscard]] static bool covered_locked(const Endpoint& endpoint, const Waiter& waiter) noexcept;
  void share_failure_locked(Endpoint& endpoint, const Error& error);
  void starve_locked(Endpoint& endpoint);
  void keep_place_locked(Endpoint& endpoint);
  void dispatch(Endpoint& endpoint);
  void relieve_starvation();
  void perform(Actions& actions);
  [[nodiscard]] Result<Lease> wait(Endpoint& endpoint, Waiter& waiter, TimePoint pool_deadline,
                                   const Interrupt& interrupt, Slot* direct);
  [[nodiscard]] TimePoint dial_deadline_locked(const Endpoint& endpoint) const;
  [[nodiscard]] TimePoint direct_dial_deadline(const Waiter& waiter) const;

  // Ends of connections (reap.cpp).
  void finish_closing(Slot& slot, bool goodbye) noexcept;
  [[nodiscard]] std::unique_ptr<Pooled> unseat_locked(Slot& slot) noexcept;
  [[nodiscard]] bool try_reap(Slot& slot, const SlotWord::View& seen) noexcept;
  [[nodiscard]] Slot* evict_longest_idle(const Endpoint* spare) noexcept;
  void capacity_freed(Endpoint& endpoint) noexcept;
  void sweep(Endpoint& endpoint) noexcept;
  void free_slot(Slot& slot) noexcept { slab_.give(slot); }
  [[nodiscard]] static std::uint32_t next_seating(const Slot& slot) noexcept {
    return (slot.seating.get() + 1) & 0x7fffffffU;  // tokens have 63 bits
  }
  [[nodiscard]] double jitter() noexcept;

  [[nodiscard]] Links links() const noexcept { return Links{slab_}; }

  const PoolSettings settings_;
  const PoolClock& clock_;
  Dialer& dialer_;
  const bool counts_idle_;

  Slab slab_;
  sync::Count total_;       // connections of all endpoints; touched by dial and close only
  sync::Count idle_total_;  // only if counts_idle_
  sync::Count starved_count_;
  sync::Flag closed_;

  // Guarded by endpoints_mutex_.
  mutable std::mutex endpoints_mutex_;
  std::deque<std::unique_ptr<Endpoint>> endpoints_;

  // Guarded by starved_mutex_: endpoints whose waiters are held up by the total limit, first come first served.
  std::mutex starved_mutex_;
  std::deque<Endpoint*> starved_;

  struct Tallies {
    sync::Tally leases;  // of connections that are gone; the living count for themselves
    sync::Tally reused;
    sync::Tally dials, dial_failures, opened, closed, handshakes, resumed;
    sync::Tally evicted, expired, peer_closed, discarded, pool_timeouts;
    sync::Tally jitter_seed;
  } tallies_;
};

}  // namespace fastpool::pool
