#pragma once

/// \file
/// Waits with a limit. The limit turns a hang into a failure that says what the test waited for; no test measures time by it.

#include <chrono>
#include <condition_variable>
#include <functional>
#include <future>
#include <mutex>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include <poll.h>

#include <gtest/gtest.h>

namespace fastpool::support {

/// How long a test waits for another thread, process or peer. Longer than the dials of the tests, which end after 20 s.
inline constexpr std::chrono::seconds wait_limit{25};

/// Returns the message of a wait that reached its limit. \param what was waited for, as a clause: "the server has answered".
[[nodiscard]] inline std::string waited_in_vain(const std::string& what, std::chrono::seconds limit = wait_limit) {
  return "waited " + std::to_string(limit.count()) + " s until " + what;
}

/// Polls the condition until it holds, for at most wait_limit.
[[nodiscard]] inline ::testing::AssertionResult eventually(const std::string& what,
                                                           const std::function<bool()>& condition) {
  constexpr int hurried_looks = 100;
  const auto limit = std::chrono::steady_clock::now() + wait_limit;
  for (int looks = 0; !condition(); ++looks) {
    if (std::chrono::steady_clock::now() > limit) return ::testing::AssertionFailure() << waited_in_vain(what);
    // Looks without a pause would take the processor, and the locks that a look takes, from those that are waited for.
    if (looks < hurried_looks) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  }
  return ::testing::AssertionSuccess();
}

/// For a test of a short time limit, which a slow machine may use up before the test comes to what it is about: tries with that
/// limit, and then with longer ones.
/// \param what it is about, as a clause. \param comes_to_it is called with the limit, and says whether it came to that.
[[nodiscard]] inline ::testing::AssertionResult within_some_limit(
    const std::string& what, std::chrono::milliseconds shortest,
    const std::function<bool(std::chrono::milliseconds)>& comes_to_it) {
  constexpr std::chrono::milliseconds longest = std::chrono::seconds(10);
  for (auto limit = shortest; limit <= longest; limit *= 4) {
    if (comes_to_it(limit)) return ::testing::AssertionSuccess();
    if (::testing::Test::HasFailure()) break;
  }
  return ::testing::AssertionFailure() << "no time limit was long enough so that " << what;
}

/// Waits on the condition variable until the condition holds, for at most wait_limit.
template <typename Condition>
[[nodiscard]] ::testing::AssertionResult eventually(const std::string& what, std::condition_variable& changed,
                                                    std::unique_lock<std::mutex>& lock, Condition condition) {
  if (changed.wait_for(lock, wait_limit, condition)) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << waited_in_vain(what);
}
/// Waits until one of the descriptors has an event that it asks for, and fills in `revents`.
[[nodiscard]] inline ::testing::AssertionResult becomes_ready(const std::string& what, std::span<pollfd> descriptors,
                                                              std::chrono::seconds limit) {
  if (::poll(descriptors.data(), descriptors.size(), static_cast<int>(std::chrono::milliseconds(limit).count())) > 0)
    return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << waited_in_vain(what, limit);
}
/// The same for one descriptor. \param events as of poll(2).
[[nodiscard]] inline ::testing::AssertionResult becomes_ready(const std::string& what, int descriptor, int events,
                                                              std::chrono::seconds limit) {
  pollfd waiting{descriptor, static_cast<short>(events), 0};
  return becomes_ready(what, std::span(&waiting, 1), limit);
}

/// Waits until the future is ready, for at most wait_limit. \returns whether it is; if not, the test has failed.
template <typename Future>
bool wait_for(const std::string& what, const Future& future) {
  if (future.wait_for(wait_limit) == std::future_status::ready) return true;
  ADD_FAILURE() << waited_in_vain(what);
  return false;
}
/// The same for a promise without a future yet.
template <typename T>
bool wait_for(const std::string& what, std::promise<T>& promise) {
  return wait_for(what, promise.get_future());
}

/// Returns the value of the future. Throws, which fails the test, if it is not ready within wait_limit.
template <typename T>
[[nodiscard]] T value_of(const std::string& what, std::future<T>& future) {
  if (future.wait_for(wait_limit) != std::future_status::ready) throw std::runtime_error(waited_in_vain(what));
  return future.get();
}
template <typename T>
[[nodiscard]] T value_of(const std::string& what, std::promise<T>& promise) {
  std::future<T> future = promise.get_future();
  return value_of(what, future);
}

/// A future whose get() has the limit.
template <typename T>
class LimitedFuture {
 public:
  LimitedFuture(std::string what, std::future<T> future) : what_(std::move(what)), future_(std::move(future)) {}

  [[nodiscard]] T get() { return value_of(what_, future_); }
  [[nodiscard]] bool ready() const { return future_.wait_for(std::chrono::seconds(0)) == std::future_status::ready; }

 private:
  std::string what_;
  std::future<T> future_;
};

/// Fails the test and calls `end`, from a thread of its own, unless it is destroyed within the limit. For waits that are
/// themselves under test and have no limit: `end` lets them return.
class Watchdog {
 public:
  Watchdog(std::string what, std::function<void()> end, std::chrono::seconds limit = wait_limit)
      : thread_([this, what = std::move(what), end = std::move(end), limit] {
          std::unique_lock lock(mutex_);
          if (changed_.wait_for(lock, limit, [this] { return over_; })) return;
          lock.unlock();
          ADD_FAILURE() << waited_in_vain(what, limit);
          end();
        }) {}
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;
  ~Watchdog() {
    {
      const std::lock_guard lock(mutex_);
      over_ = true;
    }
    changed_.notify_one();
    thread_.join();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool over_ = false;
  std::thread thread_;  // last: it uses the other members
};

}  // namespace fastpool::support
