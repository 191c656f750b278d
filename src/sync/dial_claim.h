#pragma once

#include <cstdint>

#include "sync/slot_view.h"

namespace fastpool::sync {

/// Who may use a dial that may be spare: no caller waits for it then, and any thread may reap it for its place.
///
///   a caller that wants it       by_caller(): clears `spare`         (1)
///   the thread that reports it   by_report(): clears `spare`         (1)
///   a thread that needs room     SlotEnd::reap(): Dialing -> Closing (1)
///
/// All are steps of the slot's word. Once `spare` is cleared no thread reaps the dial; once the dial is reaped no thread clears `spare`. So a caller
/// never waits for a dial that was dropped, and a result never reaches a slot that was.
///
/// by_caller() and by_report() are called under the lock of the dial's owner, which orders these two.
struct DialClaim {
  enum class Claimed : std::uint8_t {
    no,         ///< it was dropped
    was_bound,  ///< another caller waits for it
    was_spare   ///< it is spare no more
  };

  /// For a caller that is to wait for a dial which is no lease's own.
  template <typename Word>
  [[nodiscard]] static Claimed by_caller(Word& word) noexcept {
    const auto seen = word.load();
    if (seen.state() == SlotState::dialing && !seen.spare()) return Claimed::was_bound;
    return word.keep_dial() ? Claimed::was_spare : Claimed::no;
  }
  /// For the thread that reports the end of a dial. False: it was dropped; SlotEnd::dial_ended() comes next, without the lock. A
  /// lease's own dial is never dropped.
  template <typename Word>
  [[nodiscard]] static bool by_report(Word& word) noexcept {
    return word.load().state() == SlotState::leased || word.keep_dial();
  }
};

}  // namespace fastpool::sync
