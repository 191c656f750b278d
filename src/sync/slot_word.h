#pragma once

#include <cstdint>
#include <optional>

#include "sync/atomics.h"
#include "sync/slot_view.h"

namespace fastpool::sync {

/// The state of one slot of the pool, in one 64-bit word.
///
///              reserve_lease  (a lease that connects on first use: begin_connect, end_connect)
///        +-----------------------------------+
///        |                                   v        begin_stream / end_stream: streams 0..limit
///      Free --reserve_dial--> Dialing --lease_dialed--> Leased <--+-----------+
///        ^                     |   ^                    | | |  |  | unlink    | unlink
///        |        park_dialed  |   +----abandon_dial----+ | |  |  | take      |
///        |                     v                          | |  +--park----> Idle
///        |                    Idle            begin_close | +-park_vacant-> Vacant
///        |                                                v       try_reap  |
///        +------fail_dial (unlinked)                   Closing  <-----------+
///        |                                               |      <-- try_reap of a spare Dialing
///        +------free_closed------------------------------+      <-- fail_dial (linked)
///
/// Leased carries two more bits: `seated` (it has a connection) and `connecting` (a dial for this very lease is under
/// way); never both. Idle is always seated, Vacant never: a place that an endpoint keeps for its next bare lease.
///
/// Dialing carries one more bit, `spare`: no caller waits for this dial (spare_dial / keep_dial). Only a spare one may be
/// reaped; the closing slot is then `connecting` until the dialer has reported the dial's end (finish_dial).
///
/// Every state but Free carries `linked`: the cell is in a list of the endpoint, or in the hand of exactly one thread that
/// pushes, pops or sweeps it. Idle and Vacant are always linked. A slot that is taken where it lies (take) stays linked while it
/// is leased, and its next park() pushes nothing. Only unlink(), by the thread that has the cell in its hand, clears the bit. A
/// linked slot never becomes Vacant, since that is another list. A linked Closing slot is a tombstone.
///
/// Bits: generation 32 | stream limit 11 | streams 11 | flags 7 | state 3. The generation grows whenever a lease ends and
/// whenever a slot is freed, so an id (generation << 32 | index) of an ended lease is recognised for ever (until the
/// generation wraps after 2^32 leases of one slot).
///
/// A closing slot is free when up to three parties have finished: the one that closes it (`finish_emptied`, nothing heavy is
/// left), the one that unlinks it, if it is linked, and the dialer (`finish_dial`), if a dial is under way. The last of them
/// sees `finished()` in the word after its step, and frees the slot.
///
/// Thread rules: every method may be called from any thread; each says which state it takes the word from, and fails
/// (returns false or nothing) if the word is elsewhere. Writes are read-modify-writes of acquire-release order or
/// stronger: a transition publishes what its thread wrote to the slot before, to the thread that makes the next one.
template <typename Atomics = StdAtomics>
class BasicSlotWord {
 public:
  using State = SlotState;
  using View = SlotView;

  /// Whether a step was made, and whether the cell is linked already (or still).
  struct Step {
    bool made = false;
    bool linked = false;
    [[nodiscard]] constexpr explicit operator bool() const noexcept { return made; }
  };
  /// The word before and after a step that is always made.
  struct Change {
    View before;
    View after;
  };

  /// Chooses the first generation; before the slot is shared. Never 0: an id of all zeros names no lease.
  void begin_at(std::uint32_t generation) noexcept { word_.store(fresh(generation == 0 ? 1 : generation).word_); }

  [[nodiscard]] View load() const noexcept { return View(word_.load()); }

  // ---- taking and giving back ----------------------------------------------------------------------------------------

  /// Free -> Dialing.
  [[nodiscard]] bool reserve_dial() noexcept {
    return move([](View v) -> Next {
             if (v.state() != State::free) return refused;
             return v.to(State::dialing);
           }) != refused;
  }
  /// Free -> Leased, without a connection. \returns the lease's generation.
  [[nodiscard]] std::optional<std::uint32_t> reserve_lease() noexcept {
    return generation_of(move([](View v) -> Next {
      if (v.state() != State::free) return refused;
      return v.to(State::leased);
    }));
  }
  /// Dialing -> Leased, with its connection. \returns the lease's generation.
  [[nodiscard]] std::optional<std::uint32_t> lease_dialed() noexcept {
    return generation_of(move([](View v) -> Next {
      if (v.state() != State::dialing) return refused;
      return v.to(State::leased).without(spare_bit).with(seated_bit);
    }));
  }
  /// Dialing -> Idle. The caller pushes the cell, unless it is linked already.
  [[nodiscard]] Step park_dialed() noexcept {
    return linking(transit([](View v) -> Next {
      if (v.state() != State::dialing) return refused;
      return v.to(State::idle).without(spare_bit).with(seated_bit | linked_bit);
    }));
  }
  /// Clears `linked`, by the thread that has the cell in its hand. Idle or Vacant -> Leased: it is that thread's. Leased or
  /// Dialing: its owner pushes it again. Closing: one party less; frees the slot if the word after says so.
  [[nodiscard]] Change unlink() noexcept {
    return transit([](View v) -> Next {
      return (v.state() == State::idle || v.state() == State::vacant ? v.to(State::leased) : v).without(linked_bit);
    });
  }
  /// As unlink(), but leaves Idle and Vacant as they are: these the thread puts back.
  [[nodiscard]] Change unlink_unless_ready() noexcept {
    return transit([](View v) -> Next {
      return v.state() == State::idle || v.state() == State::vacant ? v : v.without(linked_bit);
    });
  }
  /// Idle -> Leased where it lies: it stays linked. Only if the word is still exactly what `seen` saw, so that what was read
  /// beside it (its endpoint, its deadline) belongs to it. Not for a connection that must not be reused, or has many streams.
  [[nodiscard]] bool take(const View& seen) noexcept {
    if (seen.state() != State::idle || !seen.reusable() || seen.stream_limit() != 1) return false;
    std::uint64_t expected = seen.word_;
    return word_.compare_exchange_strong(expected, seen.to(State::leased).word_);
  }
  /// Leased -> Idle, ending the lease of that generation. Fails if the id is stale, a stream is open, it has no connection,
  /// or that must not be reused (then begin_close()).
  /// The caller pushes the cell, unless it is linked already.
  [[nodiscard]] Step park(std::uint32_t generation) noexcept {
    return linking(transit([=](View v) -> Next {
      if (!v.leased_as(generation) || v.streams() != 0 || !v.seated() || !v.reusable()) return refused;
      return v.to(State::idle).without(ended_bit).with(linked_bit).aged();
    }));
  }
  /// Leased -> Vacant, ending the lease of that generation, which never connected (or lost its connection). Fails if the id
  /// is stale, a stream is open, it has a connection or one is being dialed for it, it must be closed, or it is linked. The caller pushes
  /// the cell.
  [[nodiscard]] bool park_vacant(std::uint32_t generation) noexcept {
    return move([=](View v) -> Next {
             if (!v.leased_as(generation) || v.streams() != 0 ||
                 v.has(seated_bit | connecting_bit | must_close_bit | linked_bit))
               return refused;
             return v.to(State::vacant).without(ended_bit | peer_closed_bit).with(linked_bit).aged();
           }) != refused;
  }
  /// Leased -> Closing, ending the lease of that generation. A linked cell is a tombstone from here on. Fails if the id is
  /// stale, a stream is open or a dial is under way for it.
  [[nodiscard]] Step begin_close(std::uint32_t generation) noexcept {
    return linking(transit([=](View v) -> Next {
      if (!v.leased_as(generation) || v.streams() != 0 || v.connecting()) return refused;
      return v.to(State::closing).aged();
    }));
  }
  /// Idle, Vacant or a spare Dialing -> Closing, if the word is still exactly what `seen` saw (so that what was read beside it
  /// belongs to it).
  [[nodiscard]] bool try_reap(const View& seen) noexcept {
    if (seen.state() != State::idle && seen.state() != State::vacant && !seen.spare()) return false;
    std::uint64_t expected = seen.word_;
    const View after = seen.spare() ? seen.without(spare_bit).with(connecting_bit) : seen;
    return word_.compare_exchange_strong(expected, after.to(State::closing).aged().word_);
  }

  // ---- dials that no caller waits for --------------------------------------------------------------------------------

  /// Dialing: no caller waits for it; from now on it may be reaped. False: the slot is elsewhere.
  [[nodiscard]] bool spare_dial() noexcept {
    return move([](View v) -> Next {
             if (v.state() != State::dialing) return refused;
             return v.with(spare_bit);
           }) != refused;
  }
  /// Dialing: a caller waits for it, or it has ended and its result is looked at; from now on it is not reaped. False: it was
  /// (then finish_dial(), by the thread that reports the dial's end).
  [[nodiscard]] bool keep_dial() noexcept {
    return move([](View v) -> Next {
             if (v.state() != State::dialing) return refused;
             return v.without(spare_bit);
           }) != refused;
  }

  // ---- the connection of a lease -------------------------------------------------------------------------------------

  /// Leased, without a connection: a dial for this lease begins. What was marked of an earlier connection is forgotten.
  /// Fails if the id is stale, it has a connection, or a dial is under way.
  [[nodiscard]] bool begin_connect(std::uint32_t generation) noexcept {
    return move([=](View v) -> Next {
             if (!v.leased_as(generation) || v.has(seated_bit | connecting_bit)) return refused;
             return v.without(peer_closed_bit).with(connecting_bit);
           }) != refused;
  }
  /// Leased, connecting: the connection is there, or (false) the dial failed. \returns the word after.
  [[nodiscard]] std::optional<View> end_connect(bool connected) noexcept {
    return told(move([=](View v) -> Next {
      if (v.state() != State::leased || !v.connecting()) return refused;
      return v.without(connecting_bit).with(connected ? seated_bit : 0);
    }));
  }
  /// Leased: its connection is taken away; what was marked of that one says nothing of the next. Fails if the id is stale
  /// or there is none.
  [[nodiscard]] bool unseat(std::uint32_t generation) noexcept {
    return move([=](View v) -> Next {
             if (!v.leased_as(generation) || !v.seated()) return refused;
             return v.without(seated_bit | peer_closed_bit);
           }) != refused;
  }
  /// Leased -> Dialing: the lease was given back while its own dial is under way; the dial belongs to the endpoint now, and
  /// what was marked of the lease says nothing of it. Fails if the id is stale or a stream is open (it waits for that dial).
  [[nodiscard]] bool abandon_dial(std::uint32_t generation) noexcept {
    return move([=](View v) -> Next {
             if (!v.leased_as(generation) || v.streams() != 0 || !v.connecting()) return refused;
             return v.to(State::dialing).without(connecting_bit | must_close_bit | ended_bit).aged();
           }) != refused;
  }

  // ---- streams -------------------------------------------------------------------------------------------------------

  /// Leased: one more stream on it, if the limit allows. A lease that was given back opens no more.
  [[nodiscard]] bool begin_stream(std::uint32_t generation) noexcept {
    return move([=](View v) -> Next {
             if (!v.leased_as(generation) || v.ended() || v.streams() >= v.stream_limit()) return refused;
             return v.plus_stream();
           }) != refused;
  }
  /// Leased: one stream less. \returns the word after it; `ended` with no stream left means: release it now.
  [[nodiscard]] std::optional<View> end_stream(std::uint32_t generation) noexcept {
    return told(move([=](View v) -> Next {
      if (!v.leased_as(generation) || v.streams() == 0) return refused;
      return v.minus_stream();
    }));
  }
  /// Leased with streams open: notes that the lease was given back; the last end_stream() releases. False: no stream is
  /// open (release it yourself) or the id is stale.
  [[nodiscard]] bool end_later(std::uint32_t generation, bool drain) noexcept {
    return move([=](View v) -> Next {
             if (!v.leased_as(generation) || v.streams() == 0 || v.ended()) return refused;
             return v.with(ended_bit | (drain ? must_close_bit : 0));
           }) != refused;
  }
  /// Whether that lease is alive.
  [[nodiscard]] bool leased_as(std::uint32_t generation) const noexcept {
    const View v = load();
    return v.leased_as(generation) && !v.ended();
  }

  // ---- marks ---------------------------------------------------------------------------------------------------------

  /// Dialing, Idle, Leased: the connection must not be reused. \returns the word after; nothing if the slot is elsewhere or
  /// `still_meant` (asked after the word was read) says that another connection is there by now.
  template <typename Predicate>
  [[nodiscard]] std::optional<View> mark_peer_closed(Predicate still_meant) noexcept {
    return told(move([&](View v) -> Next {
      if (v.state() != State::dialing && v.state() != State::idle && v.state() != State::leased) return refused;
      if (!still_meant()) return refused;
      return v.with(peer_closed_bit);
    }));
  }
  /// Leased: must not be reused (the pool closes).
  [[nodiscard]] bool mark_must_close() noexcept {
    return move([](View v) -> Next {
             if (v.state() != State::leased) return refused;
             return v.with(must_close_bit);
           }) != refused;
  }

  // ---- the end -------------------------------------------------------------------------------------------------------

  /// Closing: nothing heavy is left. True: it is finished, the caller frees it (free_closed()).
  [[nodiscard]] bool finish_emptied() noexcept {
    return finish([](View v) { return v.with(emptied_bit); });
  }
  /// Closing: the dial that was dropped has ended. True: it is finished, the caller frees it.
  [[nodiscard]] bool finish_dial() noexcept {
    return finish([](View v) { return v.without(connecting_bit); });
  }
  /// Closing -> Free, by the last party.
  void free_closed() noexcept {
    (void)move([=](View v) -> Next {
      if (v.state() != State::closing) return refused;
      return fresh(v.aged().generation());
    });
  }
  /// The dial failed: Dialing -> Free, or a tombstone (Closing, emptied) if the cell is linked.
  [[nodiscard]] Step fail_dial() noexcept {
    return linking(transit([](View v) -> Next {
      if (v.state() != State::dialing) return refused;
      if (!v.linked()) return fresh(v.aged().generation());
      return v.to(State::closing).without(spare_bit).with(emptied_bit).aged();
    }));
  }

 private:
  // A view that a step may also have refused. Not an optional: that goes through memory, where the hot path would wait for it.
  using Next = View;
  static constexpr View refused{~std::uint64_t{0}};  // of no state

  static constexpr auto peer_closed_bit = View::peer_closed_bit;
  static constexpr auto must_close_bit = View::must_close_bit;
  static constexpr auto ended_bit = View::ended_bit;
  static constexpr auto spare_bit = View::spare_bit;
  static constexpr auto emptied_bit = View::emptied_bit;
  static constexpr auto linked_bit = View::linked_bit;
  static constexpr auto seated_bit = View::seated_bit;
  static constexpr auto connecting_bit = View::connecting_bit;
  static constexpr auto limit_shift = View::limit_shift;
  static constexpr auto generation_shift = View::generation_shift;

  static constexpr View fresh(std::uint32_t generation) noexcept {
    return View(static_cast<std::uint64_t>(generation) << generation_shift | std::uint64_t{1} << limit_shift);
  }
  static constexpr std::optional<std::uint32_t> generation_of(Next v) noexcept {
    if (v == refused) return std::nullopt;
    return v.generation();
  }
  static constexpr std::optional<View> told(Next v) noexcept {
    if (v == refused) return std::nullopt;
    return v;
  }

  /// Makes the step that `decide` chooses, until it sticks. \returns the word after, or `refused` if `decide` did.
  template <typename Decide>
  Next move(Decide decide) noexcept {
    return transit(decide).after;
  }
  /// The same. \returns the words before and after, the latter `refused` if `decide` did.
  template <typename Decide>
  Change transit(Decide decide) noexcept {
    std::uint64_t before = word_.load();
    for (;;) {
      const Next after = decide(View(before));
      if (after == refused || word_.compare_exchange_weak(before, after.word_)) return {View(before), after};
    }
  }
  static constexpr Step linking(const Change& change) noexcept {
    return {change.after != refused, change.before.linked()};
  }
  template <typename Alter>
  bool finish(Alter alter) noexcept {
    const Next now = move([=](View v) -> Next {
      if (v.state() != State::closing) return refused;
      return alter(v);
    });
    return now != refused && now.finished();
  }

  typename Atomics::template Atomic<std::uint64_t> word_{fresh(1).word_};
};

using SlotWord = BasicSlotWord<>;

}  // namespace fastpool::sync
