#pragma once

#include "sync/atomics.h"

namespace fastpool::sync {

/// Whether a pool refuses its callers, and the steps by which nothing stays idle in a pool that does.
///
/// A pool refuses in two stages, and never takes one back. It *drains*: newcomers are refused, and callers that queued before
/// are served. It is *closed*: no caller is served.
///
///   a caller that takes: take()       an ender: drain(), close()       a giver: park(), parked()
///
///   takes what is idle or free (1)    sets the flag (2)                is it refused already?  -- yes: it parks nothing
///     |                                 |                                | no
///   does the pool refuse?      (4)    close() ends the users:          parks the connection  (1)
///     | no      | yes                 waiters fail, leases               |
///     |         gives it back         are marked (3)                   does the pool refuse? (4)
///   it is the caller's                  |                                | no    | yes: closes what is idle
///                                     closes what is idle (3)          it stays idle
///
/// (1) is a step of the slot's word, and comes before (4). (2) comes before (3), which reads the words. All are seq_cst. So
/// one side sees the other: either the ender finds the connection idle, or the lease to mark, or the other side sees the flag.
/// The giver's look before it parks only spares it a connection that would be closed at once; the look after is the one that
/// counts.
///
/// A caller that was queued takes by another thread's hand, and looks when it wakes: take_queued(). One that queues does so
/// under the lock under which close() fails the callers of that queue, and looks then: queued().
///
/// Any thread may call anything. The steps are the user's; each is called at most once, on the calling thread.
template <typename Atomics = StdAtomics>
class BasicRefusal {
 public:
  /// Whether newcomers are refused: the pool drains, or is closed.
  [[nodiscard]] bool refusing() const noexcept { return refusing_.get(); }
  /// Whether all callers are refused.
  [[nodiscard]] bool closed() const noexcept { return closed_.get(); }

  // ---- enders ----------------------------------------------------------------------------------------------------------

  /// Refuses newcomers from now on. \param announce is called if this call is the first to refuse them.
  template <typename Announce, typename CloseIdle>
  void drain(Announce&& announce, CloseIdle&& close_idle) {
    refuse(announce);
    close_idle();
  }
  /// Refuses all callers from now on; does nothing if the pool is closed. \param end_users fails the callers that wait, and
  /// marks the leases that exist.
  template <typename Announce, typename EndUsers, typename CloseIdle>
  void close(Announce&& announce, EndUsers&& end_users, CloseIdle&& close_idle) {
    refuse(announce);
    if (!closed_.try_set()) return;
    end_users();
    close_idle();
  }

  // ---- takers ----------------------------------------------------------------------------------------------------------

  /// Takes something for a newcomer. \param step returns it, or something false. \param give_back gives it back. \returns
  /// what `step` returned; nothing, if the pool refuses by then.
  template <typename Step, typename GiveBack>
  [[nodiscard]] auto take(Step&& step, GiveBack&& give_back) {
    return take_unless(refusing_, step, give_back);
  }
  /// The same for a caller that was queued: `step` returns what it was handed.
  template <typename Step, typename GiveBack>
  [[nodiscard]] auto take_queued(Step&& step, GiveBack&& give_back) {
    return take_unless(closed_, step, give_back);
  }
  /// A caller has queued, and the queue's lock is held. \param fail takes it out again: the pool was closed.
  template <typename Fail>
  void queued(Fail&& fail) {
    if (closed()) [[unlikely]]
      fail();
  }

  // ---- givers ----------------------------------------------------------------------------------------------------------

  /// Parks something, unless the pool refuses. Parks it in a pool that drains, if callers wait for it. \param awaited whether
  /// they do. \param step parks it; false if it cannot. \returns whether it was parked.
  template <typename Awaited, typename Step, typename CloseIdle>
  [[nodiscard]] bool park(Awaited&& awaited, Step&& step, CloseIdle&& close_idle) {
    if (refusing() && (closed() || !awaited())) [[unlikely]]
      return false;
    if (!step()) return false;
    parked(close_idle);
    return true;
  }
  /// Something was parked without a look before.
  template <typename CloseIdle>
  void parked(CloseIdle&& close_idle) {
    if (refusing()) [[unlikely]]
      close_idle();
  }

 private:
  template <typename Announce>
  void refuse(Announce& announce) {
    if (refusing_.try_set()) announce();
  }
  template <typename Step, typename GiveBack>
  [[nodiscard]] static auto take_unless(const BasicFlag<Atomics>& refused, Step& step, GiveBack& give_back) {
    auto taken = step();
    if (taken && refused.get()) [[unlikely]] {
      give_back(taken);
      taken = {};
    }
    return taken;
  }

  BasicFlag<Atomics> refusing_;
  BasicFlag<Atomics> closed_;
};

using Refusal = BasicRefusal<>;

}  // namespace fastpool::sync
