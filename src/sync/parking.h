#pragma once

namespace fastpool::sync {

/// The order in which a slot becomes ready (Idle, Vacant, or a spare dial), and in which the thread that makes it so, the giver, looks for
/// others that need it.
///
///   the giver                                            others, who look for a ready slot
///
///   counts the slot under the limits on what is idle     the next owner, of the slot or of the limit: discounts it  (1)
///   makes the step to ready                (1)
///   lists the cell, unless it is linked    (1)           a waiter joins the queue, and is counted;          then pops (3)
///   does a waiter wait here?               (2)           an eviction notes that nothing is ready;           then scans (3)
///   is it noted that nothing is ready?     (2)           a member at the total limit is listed as starving; then evicts (3)
///   does a member starve?                  (2)           another giver has parked;                 then looks as this one
///   are more idle than a limit allows?     (2)
///
/// (1) comes before (2), and what the others write comes before (3); all of them are seq_cst. So one side sees the other: either
/// the giver finds the waiter, the note, the member or the surplus, or these find the slot ready. Counted first: the next owner
/// may take the slot, and discount it, as soon as it is ready.
///
/// What is counted, listed and served is the user's, a Host; \see ParkingHost. Any thread may call anything.
struct Parking {
  /// Parks what the calling thread owns. No lock is held. \returns false if the host refused to count it or to make the step;
  /// nothing has changed then.
  template <typename Host>
  [[nodiscard]] static bool park(Host&& host) noexcept {
    if (!host.count()) return false;
    const auto made = host.make_ready();
    if (!made) [[unlikely]] {
      host.discount();
      return false;
    }
    if (host.list(made)) [[unlikely]]
      host.serve();
    host.note_ready();
    host.relieve();
    host.close_surplus();
    return true;
  }
  /// The connection of a dial goes to the first waiter; where none waits, it is parked. Called under the lock under which callers
  /// queue: so none can join in between, and there is no waiter to serve. \returns whether it was parked. Then the looks come next,
  /// without the lock: that of the host, and BasicRefusal::parked().
  template <typename Host>
  [[nodiscard]] static bool park_dialed_locked(Host&& host) {
    if (host.awaited()) {
      host.hand_to_first();
      return false;
    }
    if (!host.count()) {
      host.close();
      return false;
    }
    if (const auto made = host.make_ready()) (void)host.list(made);
    return true;
  }
  /// A dial has lost its last caller: from now on it may be dropped for another. Called under the lock under which callers wait
  /// for it; the host's relieve() comes next, without the lock.
  template <typename Host>
  static void spare_locked(Host&& host) {
    (void)host.make_ready();
    host.note_ready();
  }
};

/// What Parking::park() asks of its host. A host defines make_ready() and list(), and hides the rest where it has more to do.
struct ParkingHost {
  // make_ready()  writes what the next owner reads, then makes the step; false if it cannot
  // list(made)    has a pop find the cell; \returns whether callers wait

  /// Counts the slot under the limits on what is idle. False: they allow no more.
  [[nodiscard]] static bool count() noexcept { return true; }
  /// Takes the counts back.
  static void discount() noexcept {}
  /// Serves the callers that wait.
  static void serve() noexcept {}
  /// Clears the note that nothing is ready. \see BasicLongestIdle
  static void note_ready() noexcept {}
  /// Relieves the starving, if the slot is ready still. \see BasicTotalLimit
  static void relieve() noexcept {}
  /// Closes what the limits allow no more.
  static void close_surplus() noexcept {}
};

}  // namespace fastpool::sync
