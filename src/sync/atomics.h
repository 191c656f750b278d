#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>

namespace fastpool::sync {

/// Memory without atomicity, whose accesses a lock or a hand-over orders. A model checker reports two that nothing orders.
template <typename T>
class Plain {
 public:
  explicit Plain(T value = T{}) noexcept : value_(value) {}
  [[nodiscard]] T get() const noexcept { return value_; }
  void set(T value) noexcept { value_ = value; }

 private:
  T value_;
};

/// The atomics and locks that the templates of this folder use; a model checker passes its own in place of these.
struct StdAtomics {
  template <typename T>
  using Atomic = std::atomic<T>;
  template <typename T>
  using Plain = sync::Plain<T>;
  using Mutex = std::mutex;
  /// The calling thread's own T.
  template <typename T>
  [[nodiscard]] static T& of_thread() noexcept {
    constinit thread_local T own{};
    return own;
  }
};

/// A value that one thread at a time writes and any thread may read for observation (statistics, a hint). Never used to
/// publish other memory.
template <typename T>
class Observable {
 public:
  Observable() = default;
  explicit Observable(T value) : value_(value) {}

  // relaxed: a lone value, pairs with nothing; readers that need order get it from the slot's word.
  [[nodiscard]] T get() const noexcept { return value_.load(std::memory_order_relaxed); }
  void set(T value) noexcept { value_.store(value, std::memory_order_relaxed); }
  /// For a single writer: no read-modify-write.
  void add(T amount) noexcept { set(static_cast<T>(get() + amount)); }

 private:
  std::atomic<T> value_{};
};

/// A pointer that one thread leaves beside something it hands on, and that is taken once, by the thread that receives it. The
/// hand-over orders the two, not this.
template <typename T, typename Atomics = StdAtomics>
class BasicLeftPointer {
 public:
  // relaxed: pairs with nothing, see above; the exchange only lets one take it.
  void leave(T* pointer) noexcept { value_.store(pointer, std::memory_order_relaxed); }
  [[nodiscard]] T* peek() const noexcept { return value_.load(std::memory_order_relaxed); }
  [[nodiscard]] T* take() noexcept { return value_.exchange(nullptr, std::memory_order_relaxed); }

 private:
  typename Atomics::template Atomic<T*> value_{nullptr};
};
template <typename T>
using LeftPointer = BasicLeftPointer<T>;

/// A count that many threads change and that decides nothing: statistics.
class Tally {
 public:
  // relaxed: pairs with nothing.
  void add(std::uint64_t amount = 1) noexcept { value_.fetch_add(amount, std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t get() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

/// Gives out numbers, from 1; each once.
class Serial {
 public:
  // relaxed: pairs with nothing, see Tally.
  [[nodiscard]] std::uint64_t next() noexcept { return last_.fetch_add(1, std::memory_order_relaxed) + 1; }

 private:
  std::atomic<std::uint64_t> last_{0};
};

/// A count that takes part in a decision between threads ("I have queued; now I look at the list" against "I have
/// pushed; now I look at the count"): every operation is a seq_cst read-modify-write or a seq_cst load.
template <typename Atomics = StdAtomics>
class BasicCount {
 public:
  void add(std::uint32_t amount = 1) noexcept { value_.fetch_add(amount); }
  /// \returns what is left.
  std::uint32_t subtract(std::uint32_t amount = 1) noexcept { return value_.fetch_sub(amount) - amount; }
  [[nodiscard]] std::uint32_t get() const noexcept { return value_.load(); }
  /// One more, unless that would pass `limit`.
  [[nodiscard]] bool add_below(std::uint32_t limit) noexcept {
    std::uint32_t current = value_.load();
    do {
      if (current >= limit) return false;
    } while (!value_.compare_exchange_weak(current, current + 1));
    return true;
  }
  /// One more, unless there is none.
  [[nodiscard]] bool add_unless_zero() noexcept {
    std::uint32_t current = value_.load();
    do {
      if (current == 0) return false;
    } while (!value_.compare_exchange_weak(current, current + 1));
    return true;
  }
  /// A cheap look where a stale answer only delays. relaxed: pairs with the seq_cst add of a thread that queues, which then
  /// looks at the list itself.
  [[nodiscard]] std::uint32_t peek() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  typename Atomics::template Atomic<std::uint32_t> value_{0};
};
using Count = BasicCount<>;

/// A pointer to something that was complete when the pointer was set, or null.
template <typename T>
class Published {
 public:
  // acquire: pairs with the release in set().
  [[nodiscard]] T* get() const noexcept { return pointer_.load(std::memory_order_acquire); }
  // release: pairs with the acquire in get().
  void set(T* pointer) noexcept { pointer_.store(pointer, std::memory_order_release); }

 private:
  std::atomic<T*> pointer_{nullptr};
};

/// A flag of the same kind.
template <typename Atomics = StdAtomics>
class BasicFlag {
 public:
  [[nodiscard]] bool get() const noexcept { return value_.load(); }
  /// Sets it; true if this call did so.
  [[nodiscard]] bool try_set() noexcept { return !value_.exchange(true); }
  void set() noexcept { value_.store(true); }
  void clear() noexcept { value_.exchange(false); }

 private:
  typename Atomics::template Atomic<bool> value_{false};
};
using Flag = BasicFlag<>;

}  // namespace fastpool::sync
