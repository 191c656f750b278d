#pragma once

#include <cstdint>
#include <optional>
#include <utility>

#include <fastpool/error.h>
#include <fastpool/timeouts.h>

#include "pool/slot.h"
#include "sync/waker.h"

namespace fastpool::pool {

/// A caller queued for a lease. Belongs to its Acquisition; linked into its endpoint's queue, or known there as the one
/// who waits for a slot's own dial, under that endpoint's mutex, which also guards every member.
struct Waiter {
  enum class Wants : std::uint8_t {
    connection,  ///< a live connection: dials are started for it
    lease,       ///< a lease: an idle connection, or a slot that connects on first use
    seat         ///< the connection of a lease that it holds: not queued
  };

  Wants wants = Wants::connection;
  OptionalDuration connect_timeout;
  sync::Waker* waker = nullptr;
  TimePoint since;         ///< when it began to wait
  std::uint64_t turn = 0;  ///< its number at its endpoint, from 1 on; 0: it has not queued yet

  bool done = false;     ///< slot or error is set; no longer queued
  Slot* slot = nullptr;  ///< the slot that was leased for it, under `generation`
  std::uint32_t generation = 0;
  bool fresh = false;  ///< just dialed, never used
  std::optional<Error> error;
  bool connecting = false;                        ///< a dial is under way for it: its `connect` clock runs
  TimePoint connect_deadline = TimePoint::max();  ///< while connecting

  Waiter* previous = nullptr;
  Waiter* next = nullptr;

  /// Tells it that its wait is over; it is in no queue any more.
  void fail(Error reason) noexcept {
    error = std::move(reason);
    done = true;
    waker->wake();
  }
};

/// First come, first served; intrusive, so that any waiter leaves in constant time.
class WaiterQueue {
 public:
  [[nodiscard]] bool empty() const noexcept { return first_ == nullptr; }
  [[nodiscard]] std::uint32_t size() const noexcept { return size_; }
  [[nodiscard]] Waiter* front() const noexcept { return first_; }
  [[nodiscard]] Waiter* back() const noexcept { return last_; }

  void push_back(Waiter& waiter) noexcept {
    waiter.previous = last_;
    waiter.next = nullptr;
    (last_ != nullptr ? last_->next : first_) = &waiter;
    last_ = &waiter;
    ++size_;
  }
  /// Before all whose turn is later.
  void insert(Waiter& waiter) noexcept {
    Waiter* after = first_;
    while (after != nullptr && after->turn < waiter.turn)
      after = after->next;
    if (after == nullptr) {
      push_back(waiter);
      return;
    }
    waiter.next = after;
    waiter.previous = after->previous;
    (after->previous != nullptr ? after->previous->next : first_) = &waiter;
    after->previous = &waiter;
    ++size_;
  }
  void remove(Waiter& waiter) noexcept {
    (waiter.previous != nullptr ? waiter.previous->next : first_) = waiter.next;
    (waiter.next != nullptr ? waiter.next->previous : last_) = waiter.previous;
    waiter.previous = waiter.next = nullptr;
    --size_;
  }

 private:
  Waiter* first_ = nullptr;
  Waiter* last_ = nullptr;
  std::uint32_t size_ = 0;
};

}  // namespace fastpool::pool
