#pragma once

#include <mutex>

#include "connection/connection.h"
#include "sync/atomics.h"
#include "sync/waker.h"

namespace fastpool::driver {

/// Ends one request from any thread: the flag that its steps look at, and what they may be waiting for at the moment.
///
///   cancel(), any thread                    the request's own thread
///
///   the flag is set                         attach(): remembers the connection, and interrupts it if the flag is set
///   the attached connection is shut down    ... reads and writes ...
///   the attached waker is woken             detach(): after it no cancel() touches the connection any more
///
/// Both sides hold the mutex while they touch the connection, so a connection is never shut down after it went to another
/// request. Outlives the request.
class Cancellation {
 public:
  Cancellation() = default;
  Cancellation(const Cancellation&) = delete;
  Cancellation& operator=(const Cancellation&) = delete;
  ~Cancellation() = default;

  /// Any thread. Idempotent; never waits for I/O.
  void cancel() noexcept {
    const std::lock_guard lock(mutex_);
    requested_.set();
    if (connection_ != nullptr) connection_->interrupt();
    if (waker_ != nullptr) waker_->wake();
  }
  [[nodiscard]] bool requested() const noexcept { return requested_.get(); }

  // ---- the request's thread ----

  void attach(connection::Connection& connection) noexcept {
    const std::lock_guard lock(mutex_);
    connection_ = &connection;
    if (requested_.get()) connection.interrupt();
  }
  /// \returns whether the connection may have been shut down: it must not be used again.
  [[nodiscard]] bool detach() noexcept {
    const std::lock_guard lock(mutex_);
    connection_ = nullptr;
    return requested_.get();
  }
  /// Wakes `waker` at cancel() from now on; null: none. A waker that an event loop drives.
  void wake(sync::Waker* waker) noexcept {
    const std::lock_guard lock(mutex_);
    waker_ = waker;
    if (waker != nullptr && requested_.get()) waker->wake();
  }

 private:
  sync::Flag requested_;
  std::mutex mutex_;
  // Guarded by mutex_.
  connection::Connection* connection_ = nullptr;
  sync::Waker* waker_ = nullptr;
};

}  // namespace fastpool::driver
