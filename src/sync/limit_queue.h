#pragma once

#include <cstdint>

#include "sync/limit_word.h"
#include "sync/linked_queue.h"

namespace fastpool::sync {

/// A limit and the callers that wait for one of its places: first come, first served. Keeps the word's count of them.
///
///   a newcomer    try_take(), without a lock
///   a waiter      join(), which serves: a place may have been given back before it was counted. quit() to give up, unless it
///                 was served
///   a holder      give(); if that says so, serve()
///
/// The user locks join(), quit(), serve() and resize(). A `Waiter` has `previous` and `next`. `wake` is called, under that lock, with each
/// waiter that has a place now and is in the queue no more.
template <typename Waiter, typename Word = LimitWord>
class BasicLimitQueue {
 public:
  explicit BasicLimitQueue(std::uint32_t places) noexcept : word_(places) {}

  [[nodiscard]] bool try_take() noexcept { return word_.try_take(); }
  /// Gives a place back. \returns whether callers wait: then serve them.
  [[nodiscard]] bool give() noexcept { return word_.give(); }

  /// \param before who comes after it; null: at the end.
  template <typename Wake>
  void join(Waiter& waiter, Waiter* before, Wake&& wake) noexcept {
    queue_.insert_before(before, waiter);
    word_.join();
    serve(wake);
  }
  void quit(Waiter& waiter) noexcept {
    word_.quit();
    queue_.remove(waiter);
  }
  template <typename Wake>
  void serve(Wake&& wake) noexcept {
    while (!queue_.empty() && word_.take_for_waiter()) {
      Waiter& first = *queue_.front();
      queue_.remove(first);
      wake(first);
    }
  }
  /// Adds `by` places, or takes away as many (\see BasicLimitWord::resize()), and serves.
  template <typename Wake>
  void resize(std::int64_t by, Wake&& wake) noexcept {
    word_.resize(by);
    serve(wake);
  }
  [[nodiscard]] std::int64_t free() const noexcept { return word_.free(); }
  [[nodiscard]] std::uint32_t waiting() const noexcept { return word_.waiting(); }
  [[nodiscard]] Waiter* front() const noexcept { return queue_.front(); }

  void close() noexcept { word_.close(); }
  [[nodiscard]] bool closed() const noexcept { return word_.closed(); }

 protected:  // for the mutants of its model check
  Word word_;
  LinkedQueue<Waiter> queue_;
};

}  // namespace fastpool::sync
