#pragma once

#include <cstdint>
#include <optional>

#include "sync/atomics.h"

namespace fastpool::sync {

/// The state of one slot of the pool, in one 64-bit word.
///
///            reserve_lease                      (a lease that connects on first use)
///        +---------------------------------+
///        |                                 v    begin_stream / end_stream: streams 0..limit
///      Free --reserve_dial--> Dialing --lease_dialed--> Leased <--+
///        ^                     |   ^                    | |  |    | try_lease
///        |        park_dialed  |   +----abandon_dial----+ |  +--park--> Idle
///        |                     v                          |              |
///        |                    Idle            begin_close |    try_reap  |
///        |                                                v              v
///        +------free_dialing (a dial failed)           Closing  <--------+
///        +------free_closed / finish_* ----------------- |
///
/// Bits: generation 32 | stream limit 12 | streams 12 | flags 5 | state 3. The generation grows whenever a lease ends and
/// whenever a slot is freed, so an id (generation << 32 | index) of an ended lease is recognised for ever (until the
/// generation wraps after 2^32 leases of one slot).
///
/// A reaped slot stays linked in its endpoint's list as a tombstone. Two parties must have finished before the cell is
/// free: the reaper (`finish_emptied`, nothing heavy is left) and whoever unlinks it (`finish_unlinked`). Whichever comes
/// second is told so and frees it.
///
/// Thread rules: every method may be called from any thread; each says which state it takes the word from, and fails
/// (returns false or nothing) if the word is elsewhere. Writes are read-modify-writes of acquire-release order or
/// stronger: a transition publishes what its thread wrote to the slot before, to whoever makes the next one.
template <typename Atomics = StdAtomics>
class BasicSlotWord {
 public:
  enum class State : std::uint8_t { free, dialing, idle, leased, closing };

  /// The word taken apart.
  struct View {
    std::uint32_t generation = 0;
    std::uint16_t stream_limit = 1;
    std::uint16_t streams = 0;
    bool peer_closed = false;  ///< hung up: must not be reused
    bool draining = false;     ///< must not be reused, for another reason (pool closed, removed, lifetime)
    bool ended = false;        ///< the lease was given back while a stream was open; the stream's end releases it
    bool emptied = false;      ///< Closing only: the reaper is done
    bool unlinked = false;     ///< Closing only: no list holds the cell
    State state = State::free;

    [[nodiscard]] bool reusable() const noexcept { return !peer_closed && !draining; }
  };

  /// Chooses the first generation; before the slot is shared. Never 0: an id of all zeros names no lease.
  void begin_at(std::uint32_t generation) noexcept {
    word_.store(pack(View{.generation = generation == 0 ? 1 : generation}));
  }

  [[nodiscard]] View load() const noexcept { return unpack(word_.load()); }

  /// Free -> Dialing.
  [[nodiscard]] bool reserve_dial() noexcept {
    return change([](View& v) { return from(v, State::free, State::dialing); }).has_value();
  }
  /// Free -> Leased, without a connection. \returns the lease's generation.
  [[nodiscard]] std::optional<std::uint32_t> reserve_lease() noexcept {
    return generation_of(change([](View& v) { return from(v, State::free, State::leased); }));
  }
  /// Dialing -> Leased. \returns the lease's generation.
  [[nodiscard]] std::optional<std::uint32_t> lease_dialed() noexcept {
    return generation_of(change([](View& v) { return from(v, State::dialing, State::leased); }));
  }
  /// Dialing -> Idle. The caller links the cell afterwards.
  [[nodiscard]] bool park_dialed() noexcept {
    return change([](View& v) { return from(v, State::dialing, State::idle); }).has_value();
  }
  /// Leased -> Dialing: the lease was given back while its own dial is under way; the dial belongs to the endpoint now, and
  /// what was marked of the lease says nothing of it. Fails if the id is stale or a stream is open (it waits for that dial).
  [[nodiscard]] bool abandon_dial(std::uint32_t generation) noexcept {
    return change([=](View& v) {
             if (v.generation != generation || v.streams != 0 || !from(v, State::leased, State::dialing)) return false;
             ++v.generation;
             v.peer_closed = v.draining = v.ended = false;
             return true;
           })
        .has_value();
  }
  /// Idle -> Leased, by whoever has just unlinked the cell. Nothing: it was reaped meanwhile (then finish_unlinked()).
  [[nodiscard]] std::optional<View> try_lease() noexcept {
    return change([](View& v) { return from(v, State::idle, State::leased); });
  }
  /// Leased -> Idle, ending the lease of that generation. Fails if the id is stale, a stream is open, or the connection
  /// must not be reused (then begin_close()).
  [[nodiscard]] bool park(std::uint32_t generation) noexcept {
    return change([=](View& v) {
             if (v.generation != generation || v.streams != 0 || !v.reusable() || !from(v, State::leased, State::idle))
               return false;
             ++v.generation;
             v.ended = false;
             return true;
           })
        .has_value();
  }
  /// Leased -> Closing, ending the lease of that generation. The cell is in no list, so it counts as unlinked.
  [[nodiscard]] bool begin_close(std::uint32_t generation) noexcept {
    return change([=](View& v) {
             if (v.generation != generation || v.streams != 0 || !from(v, State::leased, State::closing)) return false;
             ++v.generation;
             v.unlinked = true;
             return true;
           })
        .has_value();
  }
  /// Idle -> Closing, if the word is still exactly what `seen` saw (so that what was read beside it belongs to it).
  [[nodiscard]] bool try_reap(const View& seen) noexcept {
    View closing = seen;
    if (!from(closing, State::idle, State::closing)) return false;
    ++closing.generation;
    std::uint64_t expected = pack(seen);
    return word_.compare_exchange_strong(expected, pack(closing));
  }

  /// Leased: one more stream on it, if the limit allows. A lease that was given back opens no more.
  [[nodiscard]] bool begin_stream(std::uint32_t generation) noexcept {
    return change([=](View& v) {
             if (v.generation != generation || v.state != State::leased || v.ended || v.streams >= v.stream_limit)
               return false;
             ++v.streams;
             return true;
           })
        .has_value();
  }
  /// Leased: one stream less. \returns the word after it; `ended` with no stream left means: release it now.
  [[nodiscard]] std::optional<View> end_stream(std::uint32_t generation) noexcept {
    return change([=](View& v) {
      if (v.generation != generation || v.state != State::leased || v.streams == 0) return false;
      --v.streams;
      return true;
    });
  }
  /// Leased with streams open: notes that the lease was given back; the last end_stream() releases. False: no stream is
  /// open (release it yourself) or the id is stale.
  [[nodiscard]] bool end_later(std::uint32_t generation, bool drain) noexcept {
    return change([=](View& v) {
             if (v.generation != generation || v.state != State::leased || v.streams == 0 || v.ended) return false;
             v.ended = true;
             v.draining = v.draining || drain;
             return true;
           })
        .has_value();
  }
  /// Whether that lease is alive.
  [[nodiscard]] bool leased_as(std::uint32_t generation) const noexcept {
    const View v = load();
    return v.generation == generation && v.state == State::leased && !v.ended;
  }

  /// Dialing, Idle, Leased: the connection must not be reused. \returns the word after; nothing if the slot is elsewhere or
  /// `still_meant` (asked after the word was read) says that another connection is there by now.
  template <typename Predicate>
  [[nodiscard]] std::optional<View> mark_peer_closed(Predicate still_meant) noexcept {
    return change([&](View& v) {
      if (v.state != State::dialing && v.state != State::idle && v.state != State::leased) return false;
      if (!still_meant()) return false;
      v.peer_closed = true;
      return true;
    });
  }
  /// Leased: its connection was taken away; what was marked of that one says nothing of the next.
  void clear_peer_closed(std::uint32_t generation) noexcept {
    (void)change([=](View& v) {
      if (v.generation != generation || v.state != State::leased) return false;
      v.peer_closed = false;
      return true;
    });
  }
  /// Leased: must not be reused (the pool closes).
  [[nodiscard]] bool mark_draining() noexcept {
    return change([](View& v) {
             if (v.state != State::leased) return false;
             v.draining = true;
             return true;
           })
        .has_value();
  }

  /// Closing: nothing heavy is left. True: the cell is in no list any more, the caller frees it (free_closed()).
  [[nodiscard]] bool finish_emptied() noexcept {
    const auto now = change([](View& v) {
      if (v.state != State::closing) return false;
      v.emptied = true;
      return true;
    });
    return now && now->unlinked;
  }
  /// Closing: the cell was taken out of its list. True: nothing heavy is left either, the caller frees it.
  [[nodiscard]] bool finish_unlinked() noexcept {
    const auto now = change([](View& v) {
      if (v.state != State::closing) return false;
      v.unlinked = true;
      return true;
    });
    return now && now->emptied;
  }
  /// Closing -> Free, by whoever was told to.
  void free_closed() noexcept { free_from(State::closing); }
  /// Dialing -> Free: the dial failed.
  void free_dialing() noexcept { free_from(State::dialing); }

 private:
  static constexpr unsigned flags_shift = 3;
  static constexpr unsigned streams_shift = 8;
  static constexpr unsigned limit_shift = 20;
  static constexpr unsigned generation_shift = 32;

  static constexpr std::uint64_t pack(const View& v) noexcept {
    return static_cast<std::uint64_t>(v.generation) << generation_shift |
           static_cast<std::uint64_t>(v.stream_limit & 0xfffU) << limit_shift |
           static_cast<std::uint64_t>(v.streams & 0xfffU) << streams_shift |
           static_cast<std::uint64_t>((v.peer_closed ? 1U : 0U) | (v.draining ? 2U : 0U) | (v.ended ? 4U : 0U) |
                                      (v.emptied ? 8U : 0U) | (v.unlinked ? 16U : 0U))
               << flags_shift |
           static_cast<std::uint64_t>(v.state);
  }
  static constexpr View unpack(std::uint64_t word) noexcept {
    View v;
    v.generation = static_cast<std::uint32_t>(word >> generation_shift);
    v.stream_limit = static_cast<std::uint16_t>((word >> limit_shift) & 0xfffU);
    v.streams = static_cast<std::uint16_t>((word >> streams_shift) & 0xfffU);
    v.peer_closed = (word >> flags_shift & 1U) != 0;
    v.draining = (word >> flags_shift & 2U) != 0;
    v.ended = (word >> flags_shift & 4U) != 0;
    v.emptied = (word >> flags_shift & 8U) != 0;
    v.unlinked = (word >> flags_shift & 16U) != 0;
    v.state = static_cast<State>(word & 7U);
    return v;
  }
  static constexpr bool from(View& v, State before, State after) noexcept {
    if (v.state != before) return false;
    v.state = after;
    return true;
  }
  static constexpr std::optional<std::uint32_t> generation_of(const std::optional<View>& v) noexcept {
    if (!v) return std::nullopt;
    return v->generation;
  }

  /// Applies `edit` until it sticks. \returns the word after; nothing if `edit` refused it.
  template <typename Edit>
  std::optional<View> change(Edit edit) noexcept {
    std::uint64_t before = word_.load();
    for (;;) {
      View v = unpack(before);
      if (!edit(v)) return std::nullopt;
      if (word_.compare_exchange_weak(before, pack(v))) return v;
    }
  }
  void free_from(State state) noexcept {
    (void)change([=](View& v) {
      if (v.state != state) return false;
      const std::uint32_t generation = v.generation + 1;
      v = View{};
      v.generation = generation;
      return true;
    });
  }

  typename Atomics::template Atomic<std::uint64_t> word_{pack(View{.generation = 1})};
};

using SlotWord = BasicSlotWord<>;

}  // namespace fastpool::sync
