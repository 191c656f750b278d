// Which caller waits for which dial, and the spare dials, which no caller waits for.

#include <algorithm>

#include "pool/decisions.h"
#include "pool/pool.h"
#include "sync/dial_claim.h"
#include "sync/parking.h"

namespace fastpool::pool {

// False: it was dropped meanwhile.
bool Pool::bind_locked(Endpoint& endpoint, Waiter& waiter, DialUnderWay& dial, TimePoint now) {
  if (!dial.for_lease) {  // else it is never dropped
    const auto claimed = sync::DialClaim::by_caller(dial.slot->word);
    if (claimed == sync::DialClaim::Claimed::no) return false;
    if (claimed == sync::DialClaim::Claimed::was_spare) --endpoint.spare_dials;
  }
  dial.waiters.push_back(&waiter);
  waiter.dial = &dial;
  waiter.held_up = false;
  ++(waiter.wants == Waiter::Wants::lease_dial ? endpoint.bound_lease_dials : endpoint.bound);
  // A caller's `pool` clock runs until a dial is under way for it, then its `connect` clock.
  const TimePoint from = std::max(now, dial.start);
  dial.deadline = std::max(dial.deadline, later(from, patience_of(waiter)));
  waiter.connect_clock_runs = true;
  if (waiter.connect_timeout) waiter.connect_deadline = later(from, *waiter.connect_timeout);
  waiter.waker->wake();  // its deadline is another one now
  return true;
}

bool Pool::bind_to_spare_locked(Endpoint& endpoint, Waiter& waiter, TimePoint now) {
  while (endpoint.spare_dials > 0) {
    DialUnderWay* oldest = nullptr;
    for (auto& [slot, dial] : endpoint.dials) {
      if (!slot->word.load().spare() || !stands_for_own_dial(dial.start, dial.given_up, now, endpoint.dial_patience))
        continue;
      if (oldest == nullptr || dial.start < oldest->start) oldest = &dial;
    }
    if (oldest == nullptr) return false;
    if (bind_locked(endpoint, waiter, *oldest, now)) return true;
  }
  return false;
}

void Pool::unbind_locked(Endpoint& endpoint, Waiter& waiter) noexcept {
  DialUnderWay* const dial = std::exchange(waiter.dial, nullptr);
  if (dial == nullptr) return;
  --(waiter.wants == Waiter::Wants::lease_dial ? endpoint.bound_lease_dials : endpoint.bound);
  std::erase(dial->waiters, &waiter);
  if (dial->waiters.empty() && !dial->for_lease) spare_locked(endpoint, *dial);
}

// A dial that no caller waits for.
struct Pool::SparedDial : sync::ParkingHost {
  Pool& pool;
  Slot& slot;

  SparedDial(Pool& its_pool, Slot& its_slot) noexcept : pool(its_pool), slot(its_slot) {}

  [[nodiscard]] bool make_ready() noexcept { return slot.word.spare_dial(); }
  void note_ready() noexcept { LongestIdle::note_ready(slot, pool.none_idle_); }
};

// No caller waits for it: it makes room for one at a limit. perform() relieves the starving.
void Pool::spare_locked(Endpoint& endpoint, DialUnderWay& dial) noexcept {
  sync::Parking::spare_locked(SparedDial(*this, *dial.slot));
  ++endpoint.spare_dials;
  endpoint.spared = true;
}

// For a caller at a limit of this endpoint's. \returns whether one is on its way out.
bool Pool::drop_spare_dial_locked(Endpoint& endpoint, Actions& actions) noexcept {
  if (endpoint.spare_dials == 0 || !actions.closing.empty()) return false;
  for (;;) {
    DialUnderWay* oldest = nullptr;
    for (auto& [slot, dial] : endpoint.dials) {
      if (slot->word.load().spare() && (oldest == nullptr || dial.start < oldest->start)) oldest = &dial;
    }
    if (oldest == nullptr) return false;
    if (!try_reap(*oldest->slot, oldest->slot->word.load())) continue;
    if (!oldest->given_up) endpoint.dial_patience = patience_after_drop(endpoint.dial_patience);
    actions.closing.push_back({oldest->slot, CloseReason::limit});
    return true;
  }
}

bool Pool::drop_spare_dial(Endpoint& endpoint) {
  Actions actions;
  {
    const std::lock_guard lock(endpoint.mutex);
    if (!drop_spare_dial_locked(endpoint, actions)) return false;
  }
  perform(actions);
  return true;
}

}  // namespace fastpool::pool
