#pragma once

#include <mutex>

#include "sync/linked_queue.h"
#include "sync/waker.h"

namespace fastpool::pool {

/// Those who wait elsewhere than in a pool's queues (at a transport's own limit) for what is of no use once the pool
/// refuses, and are woken then. Any thread may call anything.
class EndWatches {
  struct Watcher {
    sync::Waker& waker;
    Watcher* previous = nullptr;
    Watcher* next = nullptr;
  };

 public:
  /// While it lives, its waker is woken when the pool begins to refuse. Begin the watch before you check whether the pool
  /// refuses: a refusal that came earlier wakes no watch.
  class Watch {
   public:
    Watch(EndWatches& watches, sync::Waker& waker) noexcept : watches_(watches), watcher_{waker} {
      const std::lock_guard lock(watches_.mutex_);
      watches_.watchers_.push_back(watcher_);
    }
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;
    ~Watch() {
      const std::lock_guard lock(watches_.mutex_);
      watches_.watchers_.remove(watcher_);
    }

   private:
    EndWatches& watches_;
    Watcher watcher_;  // guarded by watches_.mutex_
  };

  void wake() noexcept {
    const std::lock_guard lock(mutex_);
    for (const Watcher* each = watchers_.front(); each != nullptr; each = each->next)
      each->waker.wake();
  }

 private:
  std::mutex mutex_;  // a leaf
  sync::LinkedQueue<Watcher> watchers_;
};

}  // namespace fastpool::pool
