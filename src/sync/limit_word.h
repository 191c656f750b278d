#pragma once

#include <algorithm>
#include <cstdint>

#include "sync/atomics.h"

namespace fastpool::sync {

/// The free places of a limit, how many callers wait for one, and whether it was closed, in one 64-bit word: so a place is
/// taken or given back by one read-modify-write, which sees all three as of the same moment.
///
///   a newcomer     try_take(): takes a place unless callers wait, none is free, or the limit was closed
///   a waiter       join(), then serves the queue: a place may have been given back before it was counted
///   a holder       give(): if callers wait, serves the queue, since nothing else takes the place then
///   a new limit    resize(), then serves the queue. While more places are taken than it allows, the free ones are fewer than
///                  none: nobody gets a place until holders have given back the surplus
///
/// Serving is take_for_waiter() for the first of the queue, until that fails. The queue itself is the user's, under the
/// user's lock, which join(), quit() and take_for_waiter() are called under as well.
///
/// When not: for the leases of an endpoint, which come with a connection each (\see IdleList).
template <typename Atomics = StdAtomics>
class BasicLimitWord {
 public:
  /// The most places that a limit may have.
  static constexpr std::uint32_t most_places = (std::uint32_t{1} << 31) - 1;

  explicit BasicLimitWord(std::uint32_t places) noexcept : word_(no_place + std::min(places, most_places)) {}

  /// Takes a place at once. False: the caller has to wait, or the limit was closed.
  [[nodiscard]] bool try_take() noexcept {
    std::uint64_t before = word_.load();
    do {
      if (free_in(before) <= 0 || (before & (waiting_mask | closed_bit)) != 0) return false;
    } while (!word_.compare_exchange_weak(before, before - 1));
    return true;
  }
  /// Gives a place back. \returns whether callers wait: then serve them.
  [[nodiscard]] bool give() noexcept { return (word_.fetch_add(1) & waiting_mask) != 0; }

  /// One more caller waits. Serve the queue then.
  void join() noexcept { word_.fetch_add(one_waiting); }
  /// One that has joined waits no more, without a place.
  void quit() noexcept { word_.fetch_sub(one_waiting); }
  /// A place for the first that waits, which waits no more. False: none is free.
  [[nodiscard]] bool take_for_waiter() noexcept {
    std::uint64_t before = word_.load();
    do {
      if (free_in(before) <= 0) return false;
    } while (!word_.compare_exchange_weak(before, before - 1 - one_waiting));
    return true;
  }

  /// Adds `by` places, or takes away as many, free or not. The limit stays within 0 and most_places. Serve the queue then.
  void resize(std::int64_t by) noexcept { word_.fetch_add(static_cast<std::uint64_t>(by)); }
  /// The free places: below 0 if more are taken than the limit allows.
  [[nodiscard]] std::int64_t free() const noexcept { return free_in(word_.load()); }
  /// How many callers wait.
  [[nodiscard]] std::uint32_t waiting() const noexcept {
    return static_cast<std::uint32_t>((word_.load() & waiting_mask) / one_waiting);
  }

  void close() noexcept { word_.fetch_or(closed_bit); }
  [[nodiscard]] bool closed() const noexcept { return (word_.load() & closed_bit) != 0; }

 private:
  // Bits: closed 1 | waiting 31 | 2^31 + free 32. Places taken and given never carry into the count of waiting callers.
  static constexpr std::uint64_t one_waiting = std::uint64_t{1} << 32;
  static constexpr std::uint64_t closed_bit = std::uint64_t{1} << 63;
  static constexpr std::uint64_t waiting_mask = closed_bit - one_waiting;
  static constexpr std::uint64_t no_place = std::uint64_t{1} << 31;
  [[nodiscard]] static constexpr std::int64_t free_in(std::uint64_t word) noexcept {
    return static_cast<std::int64_t>(static_cast<std::uint32_t>(word)) - static_cast<std::int64_t>(no_place);
  }

  typename Atomics::template Atomic<std::uint64_t> word_;
};
using LimitWord = BasicLimitWord<>;

}  // namespace fastpool::sync
