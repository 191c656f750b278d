#pragma once

#include <atomic>
#include <memory>
#include <utility>

namespace fastpool::sync {

/// Owns one object per epoch: when the epoch has changed (the process was forked) the first use makes a new object, and the
/// old one is abandoned, neither locked nor destroyed. get() takes no lock.
template <typename T>
class EpochPointer {
 public:
  EpochPointer(unsigned epoch, std::unique_ptr<T> object) : held_(new Held{epoch, std::move(object)}) {}
  EpochPointer(const EpochPointer&) = delete;
  EpochPointer& operator=(const EpochPointer&) = delete;
  ~EpochPointer() { delete held_.load(); }

  /// \param make makes the object of a new epoch; called with the one of the last, which may be locked by threads that are gone
  ///        (null: it was abandoned).
  template <typename Make>
  [[nodiscard]] T& get(unsigned epoch, Make make) {
    Held* held = held_.load();
    if (held->epoch == epoch) [[likely]]
      return *held->object;
    auto fresh = std::make_unique<Held>(Held{epoch, make(held->object.get())});
    if (held_.compare_exchange_strong(held, fresh.get())) return *fresh.release()->object;
    return *held->object;  // another thread was first
  }  // NOLINT(clang-analyzer-cplusplus.NewDeleteLeaks): another epoch's object is left as it is, see above
  /// Abandons what is held, so that the destructor destroys nothing.
  void abandon() noexcept {
    if (Held* held = held_.load()) (void)held->object.release();
  }
  [[nodiscard]] unsigned epoch() const noexcept { return held_.load()->epoch; }

 private:
  struct Held {
    unsigned epoch;
    std::unique_ptr<T> object;
  };
  std::atomic<Held*> held_;
};

}  // namespace fastpool::sync
