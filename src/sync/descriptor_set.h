#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace fastpool::sync {

/// A set of descriptor numbers that a fork's child can empty with nothing but loads and stores: a bitmap in zeroed memory,
/// of which no page is touched before a number in it is used.
/// Any thread may insert and erase; take_all() is for the child of a fork, which has one thread. Never allocates, never
/// locks, so every method is async-signal-safe.
/// Have one of it, with static storage: it is `capacity / 8` bytes large. Numbers from `capacity` on are not kept.
class DescriptorSet {
 public:
  static constexpr int capacity = 1 << 20;  ///< Linux's default fs.nr_open

  constexpr DescriptorSet() noexcept = default;
  DescriptorSet(const DescriptorSet&) = delete;
  DescriptorSet& operator=(const DescriptorSet&) = delete;

  void insert(int number) noexcept {
    if (!holds(number)) return;
    raise_top(word_of(number) + 1);  // first: a fork in between must not miss the bit
    words_[word_of(number)].fetch_or(bit_of(number));
  }

  /// \returns whether it was in.
  bool erase(int number) noexcept {
    if (!holds(number)) return false;
    return (words_[word_of(number)].fetch_and(~bit_of(number)) & bit_of(number)) != 0;
  }

  [[nodiscard]] bool contains(int number) const noexcept {
    return holds(number) && (words_[word_of(number)].load() & bit_of(number)) != 0;
  }

  /// Empties the set and calls `each(number)` for what was in, in ascending order.
  template <typename Each>
  void take_all(Each each) noexcept {
    const std::size_t top = top_.load();
    for (std::size_t word = 0; word < top; ++word) {
      std::uint64_t bits = words_[word].exchange(0);
      while (bits != 0) {
        const int bit = std::countr_zero(bits);
        bits &= bits - 1;
        each(static_cast<int>(word) * 64 + bit);
      }
    }
  }

 private:
  static constexpr bool holds(int number) noexcept { return number >= 0 && number < capacity; }
  static constexpr std::size_t word_of(int number) noexcept { return static_cast<std::size_t>(number) / 64; }
  static constexpr std::uint64_t bit_of(int number) noexcept {
    return std::uint64_t{1} << (static_cast<unsigned>(number) % 64U);
  }

  void raise_top(std::size_t to) noexcept {
    std::size_t seen = top_.load();
    while (seen < to && !top_.compare_exchange_weak(seen, to)) {
    }
  }

  static_assert(std::atomic<std::uint64_t>::is_always_lock_free);
  std::array<std::atomic<std::uint64_t>, static_cast<std::size_t>(capacity) / 64> words_{};
  std::atomic<std::size_t> top_{0};  ///< words that were ever used; only rises
};

/// Counts the forks that led to this process, and the losses of its descriptors. Any thread may call anything.
class ForkCounter {
 public:
  [[nodiscard]] unsigned current() const noexcept {
    // relaxed: pairs with nothing. After a fork the process has a single thread; after a loss a late reader is one that came
    // just before it.
    return count_.load(std::memory_order_relaxed);
  }
  void advance() noexcept { count_.fetch_add(1); }
  /// \returns whether this call ended that epoch.
  bool advance_from(unsigned epoch) noexcept { return count_.compare_exchange_strong(epoch, epoch + 1); }

 private:
  std::atomic<unsigned> count_{0};
};

}  // namespace fastpool::sync
