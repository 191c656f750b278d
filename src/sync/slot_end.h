#pragma once

#include "sync/atomics.h"
#include "sync/slot_view.h"

namespace fastpool::sync {

/// The end of a slot: the step to Closing, and the parties that then finish. The last of them frees the cell.
///
///   Idle, Vacant, spare dial --reap()-----------------------+     by any thread that found the slot as `seen`
///   Leased, failed dial ------ BasicTombstones::close() ----+     by the slot's owner
///                                                           v
///                                                        Closing
///   the thread that made the step   empties the slot, then finish()      (1)  always
///   the thread that pops or sweeps  unlinks the cell, then unlinked()    (1)  if it is linked: a tombstone
///   the dialer                      dial_ended()                         (1)  if a dial was under way
///
/// Each (1) clears or sets one bit of the word, and reads the word after it. So exactly one party sees that all are done
/// (SlotView::finished()); it frees the cell, and it sees what the others wrote before.
///
/// A dropped dial is counted before the step to Closing, since its end may be reported, and counted down, right after it. What
/// counts an idle slot is updated after the step: by then the slot is the calling thread's.
///
/// What a slot holds, and where a free cell goes, is the user's. Any thread may call anything.
struct SlotEnd {
  /// Ends a slot that is exactly as `seen`. \param step makes the step: BasicTombstones::reap(). \param end_idle is called if the
  /// slot was idle. \returns whether the step was made: the calling thread empties the slot then, and calls finish().
  template <typename View, typename Count, typename Step, typename EndIdle>
  [[nodiscard]] static bool reap(const View& seen, Count& dropped_dials, Step&& step, EndIdle&& end_idle) noexcept {
    if (seen.spare()) dropped_dials.add();
    if (step()) {
      if (seen.state() == SlotState::idle) end_idle();
      return true;
    }
    if (seen.spare()) (void)dropped_dials.subtract();
    return false;
  }
  /// The peer of a connection hung up: it is used no more, and ended if it is idle. \param still_meant \see
  /// BasicSlotWord::mark_peer_closed. \param reap ends the slot as it was marked: reap(). \returns what that returned.
  template <typename Word, typename StillMeant, typename Reap>
  [[nodiscard]] static bool hang_up(Word& word, StillMeant&& still_meant, Reap&& reap) noexcept {
    const auto marked = word.mark_peer_closed(still_meant);
    return marked && marked->state() == SlotState::idle && reap(*marked);
  }
  /// Closing, and empty: nothing heavy is left in it. \param give takes the cell, if it is free by that.
  template <typename Word, typename Give>
  static void finish(Word& word, Give&& give) noexcept {
    if (word.finish_emptied()) free(word, give);
  }
  /// Closing: its cell was just unlinked. \param finished whether the word says so after that step.
  template <typename Tombstones, typename Word, typename Give>
  static void unlinked(Tombstones& tombstones, Word& word, bool finished, Give&& give) noexcept {
    tombstones.drop();
    if (finished) free(word, give);
  }
  /// Closing: the dial that was dropped has ended, and its connection is closed.
  template <typename Word, typename Count, typename Give>
  static void dial_ended(Word& word, Count& dropped_dials, Give&& give) noexcept {
    if (word.finish_dial()) free(word, give);
    (void)dropped_dials.subtract();
  }

 private:
  template <typename Word, typename Give>
  static void free(Word& word, Give& give) noexcept {
    word.free_closed();
    give();
  }
};

}  // namespace fastpool::sync
