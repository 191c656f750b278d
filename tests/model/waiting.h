#pragma once

#include "model/relacy_atomics.h"

namespace fastpool::model {

/// A mutex whose try_lock() fails only while another thread has it, as POSIX demands, and a condition that wakes nobody without a reason:
/// for a model's own waiting, which is not what it checks.
class FirmMutex : rl::generic_mutex<FirmMutex> {
 public:
  explicit FirmMutex(Place where = Place::current()) { init(false, false, false, false, info_of(where)); }
  FirmMutex(const FirmMutex&) = delete;
  FirmMutex& operator=(const FirmMutex&) = delete;
  ~FirmMutex() { deinit(info_of(Place::current())); }
  void lock(Place where = Place::current()) { lock_exclusive(info_of(where)); }
  [[nodiscard]] bool try_lock(Place where = Place::current()) { return try_lock_exclusive(info_of(where)); }
  void unlock(Place where = Place::current()) { unlock_exclusive(info_of(where)); }
  // What rl::condvar calls.
  void lock(const rl::debug_info& info) { lock_exclusive(info); }
  void unlock(const rl::debug_info& info) { unlock_exclusive(info); }
};
class Condition : rl::condvar<Condition> {
 public:
  explicit Condition(Place where = Place::current()) { init(false, info_of(where)); }
  Condition(const Condition&) = delete;
  Condition& operator=(const Condition&) = delete;
  ~Condition() { deinit(info_of(Place::current())); }
  void wait(FirmMutex& mutex, Place where = Place::current()) {
    (void)rl::condvar<Condition>::wait(mutex, false, info_of(where));
  }
  void notify_all(Place where = Place::current()) { rl::condvar<Condition>::notify_all(info_of(where)); }
};

}  // namespace fastpool::model
