#pragma once

#include <atomic>
#include <memory>
#include <utility>

namespace fastpool::sync {

/// One object per epoch, made at its first use and never destroyed: for statics. Constant-initialised, so it may be used
/// before and after every other static object lives. get() takes no lock; an object that another thread made at the same time
/// is thrown away.
template <typename T>
class PerEpoch {
 public:
  constexpr PerEpoch() noexcept = default;
  PerEpoch(const PerEpoch&) = delete;
  PerEpoch& operator=(const PerEpoch&) = delete;

  template <typename Make>
  [[nodiscard]] T& get(unsigned epoch, Make make) {
    // acquire: pairs with the release below; the object is seen.
    Held* held = held_.load(std::memory_order_acquire);
    if (held != nullptr && held->epoch == epoch) return *held->object;
    auto fresh = std::make_unique<Held>(Held{epoch, make()});
    // release: pairs with the acquire in get() and find().
    if (held_.compare_exchange_strong(held, fresh.get(), std::memory_order_acq_rel)) return *fresh.release()->object;
    return *held->object;
  }
  /// The object of that epoch, if there is one.
  [[nodiscard]] T* find(unsigned epoch) const noexcept {
    // acquire: pairs with the release in get().
    const Held* const held = held_.load(std::memory_order_acquire);
    return held != nullptr && held->epoch == epoch ? held->object.get() : nullptr;
  }

 private:
  struct Held {
    unsigned epoch;
    std::unique_ptr<T> object;
  };
  std::atomic<Held*> held_{nullptr};
};

}  // namespace fastpool::sync
