// The pool's end: draining and closing.

#include <algorithm>

#include "pool/decisions.h"
#include "pool/pool.h"

namespace fastpool::pool {

namespace {

// How often drain() looks.
constexpr Duration drain_interval = std::chrono::milliseconds(5);

}  // namespace

// Leases that are held, and callers who were queued before.
std::uint32_t Pool::busy() const {
  std::uint32_t count = 0;
  {
    std::lock_guard lock(endpoints_mutex_);
    for_each_endpoint_locked([&](const Endpoint& endpoint) { count += endpoint.idle.waiting(); });
  }
  slab_.for_each([&](const Slot& slot) { count += slot.word.load().state() == SlotState::leased ? 1U : 0U; });
  return count;
}

Result<bool> Pool::drain(OptionalDuration timeout, const Interrupt& interrupt) {
  const TimePoint deadline = timeout ? later(clock_.now(), *timeout) : TimePoint::max();
  refusal_.drain([this] { end_watches_.wake(); }, [this] { cleanup(); });
  sync::ThreadWaker nobody;
  bool interrupted = false;
  while (busy() != 0 && !interrupted && clock_.now() < deadline && !refusal_.closed()) {
    (void)nobody.park_until(std::min(deadline, clock_.now() + drain_interval));
    interrupted = interrupt();
  }
  const bool finished = busy() == 0;
  close();
  if (interrupted) return Error::make(ErrorCode::interrupted, Phase::none, "interrupted while draining the pool");
  return finished;
}

void Pool::close() {
  refusal_.close([this] { end_watches_.wake(); }, [this] { end_users(); }, [this] { cleanup(); });
}

// Fails the callers that wait; marks the leases that exist, and interrupts their users.
void Pool::end_users() {
  const Error error = Error::make(ErrorCode::pool_closed, Phase::acquire, "the pool was closed");
  {
    const std::lock_guard endpoints_stay(endpoints_mutex_);
    for_each_endpoint_locked([&](Endpoint& endpoint) {
      std::lock_guard lock(endpoint.mutex);
      endpoint.queue.fail_all([&](Waiter& waiter) { fail_locked(endpoint, waiter, error); });
      while (!endpoint.lease_dial_waiters.empty())
        fail_lease_dial_locked(endpoint, *endpoint.lease_dial_waiters.begin()->second, error);
    });
    slab_.for_each([&](Slot& slot) {
      if (!slot.word.mark_must_close()) return;
      Endpoint* endpoint = slot.endpoint.get();
      std::lock_guard lock(endpoint->mutex);
      if (slot.endpoint.get() != endpoint) return;
      // A slot that was freed and taken anew is not marked: what it holds is not guarded by this lock.
      const auto now = slot.word.load();
      if (now.state() == SlotState::leased && now.must_close() && slot.pooled) slot.pooled->interrupt();
    });
  }
}

}  // namespace fastpool::pool
