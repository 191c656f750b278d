#pragma once

#include <cstdint>

#include "sync/slot_view.h"

namespace fastpool::sync {

/// The end of a lease, while a stream on it, or its own dial, may end on another thread.
///
///   release(): what does the word say?
///     not this lease any more ---------> nothing: it has ended
///     a stream is open ----------------> leaves a note: the stream's end gives it back        (1)
///     no stream, a connection ---------> parks or closes it                                    (2)
///     no stream, its dial is under way > leaves the dial to the owner of the slot              (2)
///     neither -------------------------> keeps its place, or closes it                         (2)
///   end_stream(): one stream less       (1)
///     the last one, and a note --------> gives the lease back, as above
///
/// All steps are read-modify-writes of the slot's word. A step fails if the word says something else by then, and the thread
/// looks again: of (1) and (1), the later one sees the earlier one, so exactly one of the two threads gives the lease back; and
/// (2) acts on no connection that came or went meanwhile.
///
/// What happens with a connection, a dial or a place is the user's. A `Host` has, each false if the word has changed meanwhile,
///
///   `end_connection(seen)`  parks or closes the connection         `end_bare()`  keeps the place, or closes it
///   `abandon_dial()`        leaves the dial to the slot's owner
///
/// and `drains()`: whether the connection must not be used again. Any thread may call anything.
struct LeaseEnd {
  /// \returns false if there is no such lease any more.
  template <typename Word, typename Host>
  static bool release(Word& word, std::uint32_t generation, Host&& host) noexcept {
    for (;;) {
      const auto seen = word.load();
      if (!is(seen, generation) || seen.ended()) return false;
      if (seen.streams() == 0) [[likely]] {
        if (give_back(seen, host)) return true;
      } else if (word.end_later(generation, seen.seated() && host.drains())) {
        return true;
      }
    }
  }
  /// Ends a stream, and the lease if that was given back meanwhile.
  template <typename Word, typename Host>
  static void end_stream(Word& word, std::uint32_t generation, Host&& host) noexcept {
    const auto after = word.end_stream(generation);
    if (!after || !after->ended() || after->streams() != 0) return;
    // `ended` bars all others from it: only this thread gives it back.
    for (auto seen = *after; !give_back(seen, host); seen = word.load()) {
      if (!is(seen, generation)) return;
    }
  }

 private:
  [[nodiscard]] static bool is(SlotView seen, std::uint32_t generation) noexcept {
    return seen.state() == SlotState::leased && seen.generation() == generation;
  }
  template <typename Host>
  [[nodiscard]] static bool give_back(SlotView seen, Host& host) noexcept {
    if (seen.seated()) [[likely]]
      return host.end_connection(seen);
    return seen.connecting() ? host.abandon_dial() : host.end_bare();
  }
};

}  // namespace fastpool::sync
