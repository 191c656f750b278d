#pragma once

#include <memory>
#include <mutex>
#include <utility>

namespace fastpool::sync {

/// Work that threads leave at a lock for which they must not wait, such as a finalizer's. A thread that holds the lock does it.
///
///   a thread that leaves work                            a holder of the lock
///
///   leave(): lists the work                     (1)      take(), as it begins: does what is listed
///   tries for the lock                          (2)      ...
///     got it: is a holder                                gives the lock back                             (1)
///     not: the work is the holder's                      look_again(): is work listed?                   (2)
///                                                          yes: tries for the lock; got it: take(), and so on
///
/// (1) comes before (2) on both sides: either the thread gets the lock, or its holder finds the work. No work is left behind, and
/// no work is done twice: take() empties the list at once.
///
/// Any thread may leave work, at any moment. `Mutex` guards the list, and is held for moments only. A `Work` is kept alive by its
/// place in the list, which is its own `next_left`.
template <typename Work, typename Mutex, typename Pointer = std::shared_ptr<Work>>
class BasicLeftWork {
 public:
  /// Lists the work; then the thread tries for the lock.
  void leave(Pointer work) noexcept {
    const std::lock_guard lock(mutex_);
    work->next_left = std::move(last_);
    last_ = std::move(work);
  }
  /// Under the lock: does what is listed.
  template <typename Do>
  void take(Do&& work_on) noexcept {
    Pointer each = take_all();
    while (each != nullptr) {
      work_on(*each);
      each = std::exchange(each->next_left, nullptr);
    }
  }
  /// After the holder gave the lock back. \param host the holder: try_enter() tries for the lock, serve() calls take(), leave() gives
  /// the lock back.
  template <typename Host>
  void look_again(Host&& host) noexcept {
    while (any()) {
      if (!host.try_enter()) return;  // its holder will look
      host.serve();
      host.leave();
    }
  }

 protected:  // for the mutants of its model check
  [[nodiscard]] bool any() noexcept {
    const std::lock_guard lock(mutex_);
    return last_ != nullptr;
  }

  [[nodiscard]] Pointer take_all() noexcept {
    const std::lock_guard lock(mutex_);
    return std::exchange(last_, nullptr);
  }

  Mutex mutex_{};
  Pointer last_{};  // a list; guarded by mutex_
};

}  // namespace fastpool::sync
