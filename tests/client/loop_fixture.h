#pragma once

/// \file
/// Turning a loop, and a coroutine that uses one.

#include <coroutine>
#include <exception>
#include <utility>

#include <fastpool/coroutine.h>
#include <fastpool/loop.h>

#include "client/client_fixture.h"

namespace fastpool::client::test {

/// Turns the loop until nothing is under way.
inline void run(Loop& loop) {
  const auto limit = std::chrono::steady_clock::now() + support::wait_limit;
  while (loop.busy()) {
    ASSERT_LT(std::chrono::steady_clock::now(), limit) << support::waited_in_vain("the loop has nothing to do");
    loop.wait(seconds(1));
  }
}

/// A coroutine that runs until it waits; destroying it destroys the coroutine.
class Routine {
 public:
  struct promise_type {
    Routine get_return_object() { return Routine(std::coroutine_handle<promise_type>::from_promise(*this)); }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_always final_suspend() noexcept { return {}; }
    void return_void() noexcept {}
    void unhandled_exception() { std::terminate(); }
  };
  explicit Routine(std::coroutine_handle<promise_type> handle) : handle_(handle) {}
  Routine(Routine&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Routine& operator=(Routine&&) = delete;
  ~Routine() {
    if (handle_) handle_.destroy();
  }
  [[nodiscard]] bool done() const { return handle_.done(); }

 private:
  std::coroutine_handle<promise_type> handle_;
};

}  // namespace fastpool::client::test
