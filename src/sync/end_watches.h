#pragma once

#include <mutex>

#include "sync/atomics.h"
#include "sync/linked_queue.h"
#include "sync/waker.h"

namespace fastpool::sync {

/// The callers that wait elsewhere than in a pool's queues (at a transport's own limit) for what is of no use once the pool
/// refuses, and are woken then.
///
///   a caller                              an ender
///
///   begins its watch         (1)          sets the flag: the pool refuses   (2)
///   does the pool refuse?    (3)          wakes all that watch              (4)
///     | no       | yes: it fails
///   sleeps until it is woken, then (3) again
///
/// (1) comes before (3), and (2) before (4). (1) and (4) are made under the lock. So one side sees the other: either the ender
/// finds the watch, or the caller finds the flag.
///
/// A `Waker` has wake(), which is called under the lock: a caller is never woken after its watch has ended. Any thread may call
/// anything; a Watch belongs to one thread at a time.
template <typename Waker, typename Atomics = StdAtomics>
class BasicEndWatches {
  struct Watcher {
    Waker& waker;
    Watcher* previous = nullptr;
    Watcher* next = nullptr;
  };

 public:
  /// While it lives, from the first look on, its waker is woken when the pool begins to refuse.
  class Watch {
   public:
    Watch(BasicEndWatches& watches, Waker& waker) noexcept : watches_(watches), watcher_{waker} {}
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;
    ~Watch() {
      if (begun_) watches_.remove(watcher_);
    }

    /// Begins the watch, unless it has begun, and then looks. \param refuses whether the pool refuses. \returns its answer.
    template <typename Refuses>
    [[nodiscard]] bool look(Refuses&& refuses) {
      begin();
      return refuses();
    }

   protected:  // for the mutants of its model check
    void begin() {
      if (begun_) return;
      watches_.add(watcher_);
      begun_ = true;
    }

   private:
    BasicEndWatches& watches_;
    Watcher watcher_;  // its links are guarded by watches_.mutex_
    bool begun_ = false;
  };

  /// Wakes all that watch. Call it after the pool refuses; \see BasicRefusal.
  void wake() noexcept {
    const std::lock_guard lock(mutex_);
    for (const Watcher* each = watchers_.front(); each != nullptr; each = each->next)
      each->waker.wake();
  }

 private:
  void add(Watcher& watcher) noexcept {
    const std::lock_guard lock(mutex_);
    watchers_.push_back(watcher);
  }
  void remove(Watcher& watcher) noexcept {
    const std::lock_guard lock(mutex_);
    watchers_.remove(watcher);
  }

  typename Atomics::Mutex mutex_;  // a leaf
  LinkedQueue<Watcher> watchers_;
};
using EndWatches = BasicEndWatches<Waker>;

}  // namespace fastpool::sync
