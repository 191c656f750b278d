#pragma once

#include "model/relacy.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include <fastpool/timeouts.h>

namespace fastpool::model {

/// The place of a call. std::source_location does the same, but Clang 14 and 15 lack it over libstdc++.
struct Place {
  [[nodiscard]] static constexpr Place current(const char* file = __builtin_FILE(), unsigned line = __builtin_LINE()) {
    return {file, line};
  }
  const char* file;
  unsigned line;
};

[[nodiscard]] inline rl::debug_info info_of(const Place& where) {
  return {"", where.file, where.line};
}

/// The memory order that replaces the order in the shipped code. `as_written` replaces nothing; the others are mutants.
enum class Orders : std::uint8_t {
  as_written,
  no_total_order,  ///< seq_cst is acquire and release only
  relaxed          ///< nothing orders anything
};

template <Orders orders>
[[nodiscard]] constexpr rl::memory_order rmw_order(std::memory_order order) {
  if (orders == Orders::relaxed) return rl::mo_relaxed;
  switch (order) {
    case std::memory_order_relaxed:
      return rl::mo_relaxed;
    case std::memory_order_consume:
    case std::memory_order_acquire:
      return rl::mo_acquire;
    case std::memory_order_release:
      return rl::mo_release;
    case std::memory_order_acq_rel:
      return rl::mo_acq_rel;
    case std::memory_order_seq_cst:
      break;
  }
  return orders == Orders::no_total_order ? rl::mo_acq_rel : rl::mo_seq_cst;
}
template <Orders orders>
[[nodiscard]] constexpr rl::memory_order load_order(std::memory_order order) {
  const rl::memory_order found = rmw_order<orders>(order);
  return found == rl::mo_acq_rel ? rl::mo_acquire : found;
}
template <Orders orders>
[[nodiscard]] constexpr rl::memory_order store_order(std::memory_order order) {
  const rl::memory_order found = rmw_order<orders>(order);
  return found == rl::mo_acq_rel ? rl::mo_release : found;
}

/// The interface of std::atomic over Relacy's atomic. The history that is printed when a model fails contains the place in the
/// shipped code. The order of a failed exchange is the one given, or follows from the only one given, as in std::atomic.
template <typename T, Orders orders>
class RelacyAtomic {
 public:
  using Where = Place;
  using Order = std::memory_order;

  RelacyAtomic() : RelacyAtomic(T{}) {}
  RelacyAtomic(T value) : cell_(value) {}  // NOLINT(google-explicit-constructor): as std::atomic's
  RelacyAtomic(const RelacyAtomic&) = delete;
  RelacyAtomic& operator=(const RelacyAtomic&) = delete;
  ~RelacyAtomic() {
    cell_.~atomic();
    // Relacy recognises a use after destruction by a mark of the destructor, which the optimiser may remove.
    std::memset(static_cast<void*>(&cell_), 0, sizeof(cell_));
    asm volatile("" : : "r"(&cell_) : "memory");
  }

  [[nodiscard]] T load(Order order = Order::seq_cst, Where where = Where::current()) const {
    return cell_.load(load_order<orders>(order), info_of(where));
  }
  void store(T value, Order order = Order::seq_cst, Where where = Where::current()) {
    cell_.store(value, store_order<orders>(order), info_of(where));
  }
  T exchange(T value, Order order = Order::seq_cst, Where where = Where::current()) {
    return cell_.exchange(value, rmw_order<orders>(order), info_of(where));
  }
  T fetch_add(T value, Order order = Order::seq_cst, Where where = Where::current()) {
    return cell_.fetch_add(value, rmw_order<orders>(order), info_of(where));
  }
  T fetch_sub(T value, Order order = Order::seq_cst, Where where = Where::current()) {
    return cell_.fetch_sub(value, rmw_order<orders>(order), info_of(where));
  }
  T fetch_and(T value, Order order = Order::seq_cst, Where where = Where::current()) {
    return cell_.fetch_and(value, rmw_order<orders>(order), info_of(where));
  }
  T fetch_or(T value, Order order = Order::seq_cst, Where where = Where::current()) {
    return cell_.fetch_or(value, rmw_order<orders>(order), info_of(where));
  }
  T fetch_xor(T value, Order order = Order::seq_cst, Where where = Where::current()) {
    return cell_.fetch_xor(value, rmw_order<orders>(order), info_of(where));
  }
  bool compare_exchange_weak(T& expected, T desired, Order order = Order::seq_cst, Where where = Where::current()) {
    return cell_.compare_exchange_weak(expected, desired, rmw_order<orders>(order), info_of(where));
  }
  bool compare_exchange_strong(T& expected, T desired, Order order = Order::seq_cst, Where where = Where::current()) {
    return cell_.compare_exchange_strong(expected, desired, rmw_order<orders>(order), info_of(where));
  }
  bool compare_exchange_weak(T& expected, T desired, Order order, Order failed, Where where = Where::current()) {
    return cell_.compare_exchange_weak(expected, desired, rmw_order<orders>(order), info_of(where),
                                       load_order<orders>(failed), info_of(where));
  }
  bool compare_exchange_strong(T& expected, T desired, Order order, Order failed, Where where = Where::current()) {
    return cell_.compare_exchange_strong(expected, desired, rmw_order<orders>(order), info_of(where),
                                         load_order<orders>(failed), info_of(where));
  }

  /// For the model of the futex.
  [[nodiscard]] rl::atomic<T>& cell() { return cell_; }

 private:
  union {
    rl::atomic<T> cell_;
  };
};

/// Takes the place of std::mutex.
class Mutex {
 public:
  void lock(Place where = Place::current()) { mutex_.lock(info_of(where)); }
  void unlock(Place where = Place::current()) { mutex_.unlock(info_of(where)); }

 private:
  rl::mutex mutex_;
};

/// Plain memory. The model checker reports two accesses by different threads without an order between them.
template <typename T>
class Plain {
 public:
  explicit Plain(T value = T{}) : value_(value) {}
  [[nodiscard]] T get(Place where = Place::current()) const { return value_(info_of(where)).load(); }
  void set(T value, Place where = Place::current()) { value_(info_of(where)).store(value); }

 private:
  rl::var<T> value_;
};

/// Takes the place of sync::StdAtomics.
template <Orders orders>
struct OrderedAtomics {
  template <typename T>
  using Atomic = RelacyAtomic<T, orders>;
  template <typename T>
  using Plain = model::Plain<T>;
  using Mutex = model::Mutex;
  /// Threads are fibers here.
  template <typename T>
  [[nodiscard]] static T& of_thread() noexcept {
    constexpr std::size_t most_threads = 8;
    static T own[most_threads];
    return own[rl::thread_index()];
  }
};
using RelacyAtomics = OrderedAtomics<Orders::as_written>;

/// The guarantees of the kernel's futex that sync::BasicParker relies on: compare and sleep are one step, a sleeper may wake
/// for no reason, and a deadline may pass at any moment. It orders memory only if it wakes a sleeper.
struct RelacyFutex {
  template <typename Word>
  [[nodiscard]] static bool wait(Word& word, std::uint32_t expected, TimePoint deadline) {
    const rl::debug_info info = info_of(Place::current());
    rl::context& context = rl::ctx();
    context.sched();
    {
      rl::preemption_disabler whole(context);
      // An exchange with the same value reads the newest value, as the kernel does.
      if (word.cell().fetch_add(0, rl::mo_relaxed, info) != expected) return true;
    }
    return word.cell().wait(context, deadline != TimePoint::max(), true, info) != rl::unpark_reason_timeout;
  }
  template <typename Word>
  static void wake_one(Word& word) {
    rl::context& context = rl::ctx();
    context.sched();
    word.cell().wake(context, 1, info_of(Place::current()));
  }
};

/// The scoped lock of a model.
class Lock {
 public:
  explicit Lock(rl::mutex& mutex, Place where = Place::current()) : mutex_(mutex), info_(info_of(where)) {
    mutex_.lock(info_);
  }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;
  ~Lock() { mutex_.unlock(info_); }

 private:
  rl::mutex& mutex_;
  rl::debug_info info_;
};

}  // namespace fastpool::model
