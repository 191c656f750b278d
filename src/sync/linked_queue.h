#pragma once

#include <cstdint>

namespace fastpool::sync {

/// Elements in the order in which they came, linked through their own members `previous` and `next`: any leaves in constant
/// time, and nothing is allocated. An element outlives its place here. The caller locks.
template <typename T>
class LinkedQueue {
 public:
  [[nodiscard]] bool empty() const noexcept { return first_ == nullptr; }
  [[nodiscard]] std::uint32_t size() const noexcept { return size_; }
  [[nodiscard]] T* front() const noexcept { return first_; }
  [[nodiscard]] T* back() const noexcept { return last_; }

  void push_back(T& element) noexcept { insert_before(nullptr, element); }
  /// \param next null: at the end.
  void insert_before(T* next, T& element) noexcept {
    T* const previous = next != nullptr ? next->previous : last_;
    element.previous = previous;
    element.next = next;
    (previous != nullptr ? previous->next : first_) = &element;
    (next != nullptr ? next->previous : last_) = &element;
    ++size_;
  }
  void remove(T& element) noexcept {
    (element.previous != nullptr ? element.previous->next : first_) = element.next;
    (element.next != nullptr ? element.next->previous : last_) = element.previous;
    element.previous = element.next = nullptr;
    --size_;
  }

 private:
  T* first_ = nullptr;
  T* last_ = nullptr;
  std::uint32_t size_ = 0;
};

}  // namespace fastpool::sync
