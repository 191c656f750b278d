#pragma once

#include <cstdint>

namespace fastpool::sync {

enum class SlotState : std::uint8_t { free, vacant, dialing, idle, leased, closing };

/// What a slot word says; its bits and states: \see BasicSlotWord. A plain value.
class SlotView {
 public:
  constexpr SlotView() noexcept = default;

  [[nodiscard]] constexpr SlotState state() const noexcept { return static_cast<SlotState>(word_ & state_mask); }
  [[nodiscard]] constexpr std::uint32_t generation() const noexcept {
    return static_cast<std::uint32_t>(word_ >> generation_shift);
  }
  [[nodiscard]] constexpr std::uint32_t streams() const noexcept {
    return static_cast<std::uint32_t>(word_ >> streams_shift) & streams_mask;
  }
  [[nodiscard]] constexpr std::uint32_t stream_limit() const noexcept {
    return static_cast<std::uint32_t>(word_ >> limit_shift) & streams_mask;
  }
  /// It has a connection.
  [[nodiscard]] constexpr bool seated() const noexcept { return has(seated_bit); }
  /// Leased: a dial for this lease is under way. Closing: the dial that was dropped has not ended.
  [[nodiscard]] constexpr bool connecting() const noexcept { return has(connecting_bit); }
  /// Hung up: must not be reused.
  [[nodiscard]] constexpr bool peer_closed() const noexcept { return has(peer_closed_bit); }
  /// Must not be reused, for another reason (pool closed, removed).
  [[nodiscard]] constexpr bool must_close() const noexcept { return has(must_close_bit); }
  /// The lease was given back while a stream was open; the stream's end releases it.
  [[nodiscard]] constexpr bool ended() const noexcept { return has(ended_bit); }
  /// Dialing, and no caller waits for the dial.
  [[nodiscard]] constexpr bool spare() const noexcept { return state() == SlotState::dialing && has(spare_bit); }
  /// Closing: the reaper is done.
  [[nodiscard]] constexpr bool emptied() const noexcept { return has(emptied_bit); }
  /// The cell is in a list, or in the hand of one thread.
  [[nodiscard]] constexpr bool linked() const noexcept { return has(linked_bit); }
  /// Closing: every party is done. Whose step came to this word frees the slot (free_closed()).
  [[nodiscard]] constexpr bool finished() const noexcept {
    return state() == SlotState::closing && emptied() && !has(linked_bit | connecting_bit);
  }
  [[nodiscard]] constexpr bool reusable() const noexcept { return !has(peer_closed_bit | must_close_bit); }

  friend constexpr bool operator==(const SlotView&, const SlotView&) noexcept = default;

 private:
  template <typename Atomics>
  friend class BasicSlotWord;

  static constexpr std::uint64_t state_mask = 7;
  static constexpr std::uint64_t peer_closed_bit = 1U << 3;
  static constexpr std::uint64_t must_close_bit = 1U << 4;
  static constexpr std::uint64_t ended_bit = 1U << 5;    // leased
  static constexpr std::uint64_t spare_bit = ended_bit;  // dialing: the same bit, since the word is full
  static constexpr std::uint64_t emptied_bit = 1U << 6;
  static constexpr std::uint64_t linked_bit = 1U << 7;
  static constexpr std::uint64_t seated_bit = 1U << 8;
  static constexpr std::uint64_t connecting_bit = 1U << 9;
  static constexpr unsigned streams_shift = 10;
  static constexpr unsigned limit_shift = 21;
  static constexpr std::uint32_t streams_mask = 0x7ff;
  static constexpr unsigned generation_shift = 32;

  constexpr explicit SlotView(std::uint64_t word) noexcept : word_(word) {}
  [[nodiscard]] constexpr bool has(std::uint64_t bits) const noexcept { return (word_ & bits) != 0; }
  [[nodiscard]] constexpr SlotView to(SlotState state) const noexcept {
    return SlotView((word_ & ~state_mask) | static_cast<std::uint64_t>(state));
  }
  [[nodiscard]] constexpr SlotView with(std::uint64_t bits) const noexcept { return SlotView(word_ | bits); }
  [[nodiscard]] constexpr SlotView without(std::uint64_t bits) const noexcept { return SlotView(word_ & ~bits); }
  [[nodiscard]] constexpr SlotView aged() const noexcept {
    return SlotView(word_ + (std::uint64_t{1} << generation_shift));
  }
  [[nodiscard]] constexpr SlotView plus_stream() const noexcept {
    return SlotView(word_ + (std::uint64_t{1} << streams_shift));
  }
  [[nodiscard]] constexpr SlotView minus_stream() const noexcept {
    return SlotView(word_ - (std::uint64_t{1} << streams_shift));
  }
  [[nodiscard]] constexpr bool leased_as(std::uint32_t wanted) const noexcept {
    return state() == SlotState::leased && generation() == wanted;
  }

  std::uint64_t word_ = std::uint64_t{1} << limit_shift;
};

}  // namespace fastpool::sync
