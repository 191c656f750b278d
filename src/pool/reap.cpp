// Ends of connections: closing, reaping below the head of a list, eviction, sweeping.

#include <algorithm>
#include <vector>

#include "pool/decisions.h"
#include "pool/pool.h"
#include "sync/slot_end.h"

namespace fastpool::pool {

std::unique_ptr<Pooled> Pool::unseat_locked(Slot& slot) noexcept {
  if (!slot.pooled) return nullptr;
  const std::uint32_t count = slot.lease_count.get();
  tallies_.leases.add(count);
  if (count > 1) tallies_.reused.add(count - 1);
  tallies_.closed.add();
  slot.lease_count.set(0);
  slot.idle_deadline.set(TimePoint::max());
  slot.seat_serial.set(next_seat_serial(slot));  // no hang-up that comes late may be taken for the next one's
  return std::move(slot.pooled);
}

// Closing, owned by the caller: nothing else takes `pooled`. A cell still linked somewhere stays as a tombstone.
void Pool::finish_closing(Slot& slot, CloseReason reason) noexcept {
  Endpoint& endpoint = *slot.endpoint.get();
  const EndpointHold kept = hold(endpoint);
  std::unique_ptr<Pooled> pooled;
  bool dialing = false;
  {
    std::lock_guard lock(endpoint.mutex);
    pooled = unseat_locked(slot);
    dialing = endpoint.dials.contains(&slot);
    if (dialing) (void)take_dial_locked(endpoint, slot);
  }
  if (dialing) dialer_.hurry(slot);  // before the next dial begins: descriptors and the peer's places are counted too
  if (pooled) pooled->end(reason, endpoint.name());
  pooled.reset();
  sync::SlotEnd::finish(slot.word, [&] { slab_.give(slot); });
  total_limit_.give(endpoint.room);
  capacity_freed(endpoint);
}

// A closing cell that was just unlinked. \param finished whether the other parties are done with it.
void Pool::drop_tombstone(Endpoint& endpoint, std::uint32_t index, bool finished) noexcept {
  Slot& slot = slab_[index];
  sync::SlotEnd::unlinked(endpoint.tombstones, slot.word, finished, [&] { slab_.give(slot); });
}

void Pool::capacity_freed(Endpoint& endpoint) noexcept {
  place_freed(endpoint);
  if (worth_sweeping(endpoint.tombstones.count(), endpoint.room.places())) sweep(endpoint);
}

bool Pool::try_reap(Slot& slot, const SlotWord::View& seen) noexcept {
  sync::Tombstones& tombstones = slot.endpoint.get()->tombstones;
  return sync::SlotEnd::reap(
      seen, dropped_dials_, [&] { return tombstones.reap(slot.word, seen); }, [&] { end_idle(slot); });
}

// Closes what is idle under a limit beyond what that allows; never `parked`, which has just become idle.
void Pool::close_surplus(KeepAliveLimit& limit, const Slot& parked) noexcept {
  const auto reap = [&](Slot& slot, const SlotWord::View& word) { return try_reap(slot, word); };
  const auto close = [&](Slot& surplus) {
    tallies_.evicted.add();
    finish_closing(surplus, CloseReason::limit);
  };
  limit.share_.close_surplus(slab_, parked, reap, close);
}

Slot* Pool::evict_longest_idle(const Endpoint* spare) noexcept {
  bool connected = false;
  Slot* const evicted =
      longest_idle_.take(slab_, {.endpoint = spare}, none_idle_, [&](Slot& slot, const SlotWord::View& word) {
        connected = word.seated();
        return try_reap(slot, word);
      });
  if (evicted != nullptr && connected) tallies_.evicted.add();
  return evicted;
}

void Pool::sweep(Endpoint& endpoint) noexcept {
  endpoint.tombstones.sweep(
      links(), words(), [&](std::uint32_t index, bool finished) { drop_tombstone(endpoint, index, finished); },
      [&] { dispatch_if_awaited(endpoint); }, endpoint.vacant, endpoint.idle);
}

// Sweeps tombstones that no sweep has met: a parked cell may be reaped after its word is idle and before it is pushed, and a
// cell that a sweep puts back may be reaped in its hand. The list lacks such a cell when capacity_freed() sweeps it.
void Pool::sweep_left_behind() {
  std::vector<EndpointHold> holds;  // each retires its endpoint if nothing else needs it
  {
    const std::lock_guard lock(endpoints_mutex_);
    for_each_endpoint_locked([&](Endpoint& endpoint) {
      if (worth_sweeping(endpoint.tombstones.count(), endpoint.room.places())) holds.push_back(hold(endpoint));
    });
  }
  for (const EndpointHold& each : holds)
    sweep(*each);
}

void Pool::on_hang_up(std::uint64_t token) noexcept {
  const auto index = static_cast<std::uint32_t>(token);
  const auto seat_serial = static_cast<std::uint32_t>(token >> 32);
  Slot* slot = slab_.find(index);
  if (slot == nullptr) return;
  const auto still_meant = [&] { return slot->seat_serial.get() == seat_serial; };
  const auto reap = [&](const SlotWord::View& seen) { return try_reap(*slot, seen); };
  if (!sync::SlotEnd::hang_up(slot->word, still_meant, reap)) return;
  tallies_.peer_closed.add();
  finish_closing(*slot, CloseReason::peer_closed);
}

}  // namespace fastpool::pool
