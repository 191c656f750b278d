// What is done from time to time: expiry, warm connections, leaks.

#include <algorithm>
#include <deque>

#include "pool/decisions.h"
#include "pool/pool.h"

namespace fastpool::pool {

namespace {

// Warm connections that expire within this time are replaced now; sooner where none is idle for long.
constexpr Duration warm_ahead = std::chrono::seconds(2);

}  // namespace

// ---- expiry ----------------------------------------------------------------------------------------------------------

std::size_t Pool::cleanup() {
  const auto seen_before = [this](std::uint32_t index, std::uint32_t generation) {
    const std::lock_guard lock(vacant_mutex_);
    const auto [seen, first_time] = seen_vacant_.try_emplace(index, generation);
    return !first_time && std::exchange(seen->second, generation) == generation;
  };
  const TimePoint now = clock_.now();
  const bool all = refusal_.refusing();
  std::size_t closed = 0;
  slab_.for_each([&](Slot& slot) {
    const auto word = slot.word.load();
    const bool idle = word.state() == SlotState::idle;
    const bool vacant = word.state() == SlotState::vacant;
    if (!idle && !vacant && !(all && word.spare())) return;
    // Giving back a place reads no clock: one that two looks find as it was is not needed.
    if (vacant && !all && !seen_before(slot.index, word.generation())) return;
    if (idle && !all && now < slot.idle_deadline.get() && !word.peer_closed()) return;
    if (!try_reap(slot, word)) return;
    if (!all && idle) (word.peer_closed() ? tallies_.peer_closed : tallies_.expired).add();
    const CloseReason expired = word.peer_closed() ? CloseReason::peer_closed : why_expired(now, slot.retire_at.get());
    finish_closing(slot, all ? CloseReason::pool_closed : expired);
    if (idle) ++closed;
  });
  return closed;
}

void Pool::maintain() {
  cleanup();
  close_unused();
  sweep_left_behind();
  retire_deserted();
  if (!refusal_.refusing()) warm_up();
  // Descriptors that others of the process gave back are seen by another try only.
  relieve_if_starving();
}

// ---- warm connections ------------------------------------------------------------------------------------------------

// Dials what endpoints lack that are kept warm.
void Pool::warm_up() {
  std::vector<Endpoint*> warm;
  {
    std::lock_guard lock(endpoints_mutex_);
    for_each_endpoint_locked([&](Endpoint& endpoint) {
      std::lock_guard endpoint_lock(endpoint.mutex);
      if (endpoint.min_idle > 0 && endpoint.warm_ups == 0) warm.push_back(&endpoint);
    });
  }
  if (warm.empty()) return;
  const Duration ahead = settings_.idle_timeout ? std::min(warm_ahead, *settings_.idle_timeout / 4) : warm_ahead;
  const TimePoint soon = clock_.now() + ahead;
  std::unordered_map<const Endpoint*, std::uint32_t> lasting;
  slab_.for_each([&](Slot& slot) {
    const auto word = slot.word.load();
    if (word.state() == SlotState::idle && word.reusable() && slot.idle_deadline.get() > soon)
      ++lasting[slot.endpoint.get()];
  });
  for (Endpoint* endpoint : warm) {
    Actions actions;
    {
      std::lock_guard lock(endpoint->mutex);
      std::uint32_t wanted =
          warming_dials(endpoint->min_idle, lasting[endpoint], endpoint->own_dials, endpoint->spare_dials,
                        warming_cap(settings_.max_dials_per_endpoint, endpoint->failures));
      // No caller waits for these: where there is no room, nothing is evicted.
      while (wanted-- > 0 && total_limit_.take(endpoint->room) == Taken::yes &&
             start_warming_dial_locked(*endpoint, actions)) {
      }
    }
    perform(actions);
  }
}

Result<std::uint32_t> Pool::warm(Endpoint& endpoint, std::uint32_t count, const AcquireOptions& options) {
  count = std::min(
      {count, settings_.max_connections_per_endpoint, settings_.max_connections, settings_.max_idle_connections});
  if (refusal_.refusing()) return closed_error();
  // As many waiters as connections wanted: the queue's own rules then count the idle ones, dial the rest at once, and
  // tell errors. All are given back together.
  sync::ThreadWaker waker;
  AcquireOptions each = options;
  each.check = false;
  std::deque<Acquisition> acquisitions;
  std::vector<Lease> leases;
  std::optional<Error> error;
  std::uint32_t before = 0;
  {
    std::lock_guard lock(endpoint.mutex);
    before = std::exchange(endpoint.min_idle, count);
    ++endpoint.warm_ups;
  }
  for (std::uint32_t i = 0; i < count; ++i)
    acquisitions.emplace_back(*this, endpoint, each, waker);
  const auto take = [&](Result<Lease> result) {
    if (result) {
      leases.push_back(std::move(result).value());
    } else if (!error) {
      error = std::move(result).error();
    }
  };
  // All queue before any of them waits.
  std::vector<Acquisition*> waiting;
  for (Acquisition& acquisition : acquisitions) {
    if (auto result = acquisition.poll()) {
      take(*std::move(result));
    } else {
      waiting.push_back(&acquisition);
    }
  }
  while (!waiting.empty()) {
    Acquisition& acquisition = *waiting.front();
    // The timeout is that of all of them. And no warm-up waits for room while it holds leases: two of them, each holding
    // what the other needs, would wait for ever.
    const bool out_of_patience =
        error && (error->code == ErrorCode::interrupted || error->code == ErrorCode::pool_timeout);
    if (out_of_patience || (!leases.empty() && !acquisition.covered())) {
      acquisition.stop(Error::make(ErrorCode::pool_timeout, Phase::acquire, "no room for more connections"));
      auto result = acquisition.poll();
      if (result && result->ok()) take(*std::move(result));
    } else {
      take(wait(acquisition, waker, endpoint, options.interrupt));
    }
    waiting.erase(waiting.begin());
  }
  const auto warmed = static_cast<std::uint32_t>(leases.size());
  for (Lease& lease : leases)
    lease.release(Reuse::unused());
  const bool in_vain = error && warmed == 0;
  {
    std::lock_guard lock(endpoint.mutex);
    --endpoint.warm_ups;
    if (in_vain) endpoint.min_idle = before;
  }
  if (in_vain) return *std::move(error);
  return warmed;
}

// ---- leaks -----------------------------------------------------------------------------------------------------------

std::vector<Leak> Pool::find_leaks() {
  std::vector<Leak> leaks;
  if (!settings_.leak_after) return leaks;
  const TimePoint now = clock_.now();
  const std::lock_guard endpoints_stay(endpoints_mutex_);
  const std::lock_guard lock(leaks_mutex_);
  slab_.for_each([&](Slot& slot) {
    const auto word = slot.word.load();
    if (word.state() != SlotState::leased || word.ended()) return;
    const Duration age = now - slot.since.get();
    if (age < *settings_.leak_after) return;
    const Endpoint* endpoint = slot.endpoint.get();
    // Read beside the word: they belong together only if it still says the same.
    if (const auto again = slot.word.load();
        again.generation() != word.generation() || again.state() != SlotState::leased)
      return;
    // Two looks must agree: of a lease that was taken just now `since` may not be written yet.
    auto& known = leak_suspects_[slot.index];
    if (known.generation != word.generation()) {
      known = {word.generation(), false};
      return;
    }
    if (std::exchange(known.told, true)) return;
    leaks.push_back({endpoint->name(), ConnectionId::make(word.generation(), slot.index), age});
  });
  tallies_.leaks.add(leaks.size());
  return leaks;
}

double Pool::jitter() noexcept {
  // splitmix64 over a counter: spread is all that is asked for.
  tallies_.jitter_seed.add();
  std::uint64_t z = tallies_.jitter_seed.get() * 0x9e3779b97f4a7c15ULL + reinterpret_cast<std::uintptr_t>(this);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return static_cast<double>((z ^ (z >> 31)) >> 11) * 0x1.0p-53;
}

}  // namespace fastpool::pool
