#pragma once

#include <cstdint>
#include <memory>

#include <fastpool/timeouts.h>

#include "pool/interfaces.h"
#include "sync/atomics.h"
#include "sync/slot_word.h"
#include "sync/tagged_list.h"

namespace fastpool::pool {

using SlotWord = sync::SlotWord;
using SlotState = SlotWord::State;

/// A fixed-address cell of the slab: one cache line. Never freed while the pool lives.
struct alignas(64) Slot {
  SlotWord word;
  sync::Link next{sync::TaggedList::none};  ///< in the free list, or one of the endpoint's
  std::uint32_t index = 0;
  sync::Observable<Endpoint*> endpoint;  ///< set by the thread that reserves the slot; constant until it is free again

  // Written by the slot's owner (the lease, the dial, the reaper) before the transition that hands it on. Set and cleared
  // only under the endpoint's mutex, so that Pool::close() can interrupt() its user.
  std::unique_ptr<Pooled> pooled;

  // Observable: written by the owner, read by scans for expired or long-idle connections.
  sync::Observable<std::uint32_t> seat_serial;  ///< grows with each connection seated or unseated: tells hang-ups apart
  sync::Observable<std::uint32_t> lease_count;  ///< of the connection seated here
  sync::Observable<TimePoint> since;            ///< idle: since when; leased: since when, if leaks are looked for
  sync::Observable<TimePoint> idle_deadline;
  sync::Observable<TimePoint> retire_at;

  /// Whether it has a connection.
  [[nodiscard]] bool connected() const noexcept { return word.load().seated(); }
};
static_assert(sizeof(Slot) == 64);

/// generation << 32 | slot index. An id of an ended lease is always recognised.
struct ConnectionId {
  std::uint64_t value = 0;

  [[nodiscard]] static constexpr ConnectionId make(std::uint32_t generation, std::uint32_t index) noexcept {
    return {static_cast<std::uint64_t>(generation) << 32 | index};
  }
  [[nodiscard]] constexpr std::uint32_t generation() const noexcept { return static_cast<std::uint32_t>(value >> 32); }
  [[nodiscard]] constexpr std::uint32_t index() const noexcept { return static_cast<std::uint32_t>(value); }
};

}  // namespace fastpool::pool
