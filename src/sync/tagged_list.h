#pragma once

#include <cstdint>

#include "sync/atomics.h"

namespace fastpool::sync {

/// A lock-free LIFO of cells named by index (Treiber's stack; the head carries a tag that changes with every push and
/// pop, so a head seen before and after other pushes and pops is never taken for the same: ABA).
///
/// Cells are never freed while the list lives; reading the link of a cell that another thread has just popped is therefore
/// harmless, and the head's tag then refuses the exchange. `Links` maps an index to its cell's link:
/// `Atomic<std::uint32_t>& operator()(std::uint32_t index)`.
///
/// Any thread may call anything. A cell is pushed only by the thread that owns its link (it is in no list).
template <typename Atomics = StdAtomics>
class BasicTaggedList {
 public:
  static constexpr std::uint32_t none = 0xffffffffU;

  template <typename Links>
  void push(std::uint32_t index, Links&& links) noexcept {
    std::uint64_t head = head_.load();
    do {
      // relaxed: published by the exchange below, read by a pop that has seen this head.
      links(index).store(index_of(head), std::memory_order_relaxed);
    } while (!head_.compare_exchange_weak(head, make(tag_of(head) + 1, index)));
  }

  /// \returns `none` if the list is empty.
  template <typename Links>
  [[nodiscard]] std::uint32_t pop(Links&& links) noexcept {
    std::uint64_t head = head_.load();
    for (;;) {
      const std::uint32_t index = index_of(head);
      if (index == none) return none;
      // relaxed: pairs with the exchange in push(), seen through the load of this head; a stale link is refused by the tag.
      const std::uint32_t next = links(index).load(std::memory_order_relaxed);
      if (head_.compare_exchange_weak(head, make(tag_of(head) + 1, next))) return index;
    }
  }

  /// Takes the whole chain; the caller follows the links. \returns its first cell or `none`.
  [[nodiscard]] std::uint32_t take_all() noexcept {
    std::uint64_t head = head_.load();
    while (index_of(head) != none) {
      if (head_.compare_exchange_weak(head, make(tag_of(head) + 1, none))) return index_of(head);
    }
    return none;
  }

  [[nodiscard]] bool empty() const noexcept { return index_of(head_.load()) == none; }

 private:
  static constexpr std::uint64_t make(std::uint32_t tag, std::uint32_t index) noexcept {
    return static_cast<std::uint64_t>(tag) << 32 | index;
  }
  static constexpr std::uint32_t tag_of(std::uint64_t head) noexcept { return static_cast<std::uint32_t>(head >> 32); }
  static constexpr std::uint32_t index_of(std::uint64_t head) noexcept { return static_cast<std::uint32_t>(head); }

  typename Atomics::template Atomic<std::uint64_t> head_{make(0, none)};
};

using TaggedList = BasicTaggedList<>;
using Link = std::atomic<std::uint32_t>;

}  // namespace fastpool::sync
