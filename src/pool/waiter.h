#pragma once

#include <cstdint>
#include <optional>
#include <utility>

#include <fastpool/error.h>
#include <fastpool/timeouts.h>

#include "pool/dial_under_way.h"
#include "pool/slot.h"
#include "sync/atomics.h"
#include "sync/waiter_queue.h"
#include "sync/waker.h"

namespace fastpool::pool {

/// A caller queued for a lease. Belongs to its Acquisition; linked into its endpoint's queue, or known there as the one
/// who waits for a slot's own dial, under that endpoint's mutex, which also guards every member.
struct Waiter {
  enum class Wants : std::uint8_t {
    connection,  ///< a live connection: dials are started for it
    lease,       ///< a lease: an idle connection, or a slot that connects on first use
    lease_dial   ///< the connection of a lease that it holds: not queued
  };

  Wants wants = Wants::connection;
  OptionalDuration connect_timeout;
  sync::Waker* waker = nullptr;
  TimePoint since;         ///< when it began to wait
  std::uint64_t turn = 0;  ///< its number at its endpoint, from 1 on; 0: it has not queued yet

  sync::Plain<bool> done;  ///< slot or error is set; no longer queued
  Slot* slot =
      nullptr;  ///< the slot that was leased for it, under `generation`; for `lease_dial`, that of its lease from the beginning
  std::uint32_t generation = 0;
  bool fresh = false;  ///< just dialed, never used
  std::optional<Error> error;
  DialUnderWay* dial = nullptr;                   ///< the one that is under way for it
  bool held_up = false;                           ///< its last dial met that no descriptor is left
  bool connect_clock_runs = false;                ///< it was bound to a dial
  TimePoint connect_deadline = TimePoint::max();  ///< while it runs

  Waiter* previous = nullptr;
  Waiter* next = nullptr;

  void wake() noexcept { waker->wake(); }
};

using WaiterQueue = sync::BasicWaiterQueue<Waiter>;

}  // namespace fastpool::pool
