#pragma once

#include <memory>
#include <new>
#include <utility>

namespace fastpool::driver {

/// As std::optional, for what must not be destroyed in the child of a fork: it is destroyed by reset() only.
template <typename T>
class Leakable {
 public:
  Leakable() noexcept = default;
  Leakable(const Leakable&) = delete;
  Leakable& operator=(const Leakable&) = delete;

  template <typename... Arguments>
  void emplace(Arguments&&... arguments) {
    value_ = std::construct_at(reinterpret_cast<T*>(room_), std::forward<Arguments>(arguments)...);
  }
  void reset() noexcept {
    if (T* const value = std::exchange(value_, nullptr)) std::destroy_at(value);
  }
  void leak() noexcept { value_ = nullptr; }

  [[nodiscard]] explicit operator bool() const noexcept { return value_ != nullptr; }
  [[nodiscard]] T* operator->() const noexcept { return value_; }

 private:
  alignas(T) unsigned char room_[sizeof(T)];  // NOLINT: no array of T, whose destructor would run
  T* value_ = nullptr;
};

}  // namespace fastpool::driver
