#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include <fastpool/timeouts.h>

#include "connection/dialer.h"

namespace fastpool::driver {

/// The background thread for cold work: dialing, TLS handshakes, watching sockets for a hang-up, periodic expiry. Never on
/// the path of a request on a live connection. Starts its thread at the first dial or watch; all signals are blocked in it.
/// Every method may be called from any thread.
class Reactor {
 public:
  struct Listener {
    virtual ~Listener() = default;
    /// A watched socket was hung up (RDHUP, HUP or ERR). `token` is what watch() was given; it may be stale.
    virtual void on_hang_up(std::uint64_t token) = 0;
    /// About every `tick_interval`, once the thread runs.
    virtual void on_tick(TimePoint now) = 0;
  };

  /// \param listener outlives the reactor; called on the reactor's thread only.
  Reactor(Listener& listener, Duration tick_interval);
  Reactor(const Reactor&) = delete;
  Reactor& operator=(const Reactor&) = delete;
  /// Stops the thread; dials under way end with pool_closed first.
  ~Reactor();

  /// Starts a dial; `done` is called exactly once, on the reactor's thread. The deadline bounds look-up, every address and
  /// the handshake (connect_timeout). Errors: resolve_failed, connect_failed, connect_timeout, tls_failed, pool_closed.
  void dial(std::shared_ptr<const connection::Target> target, TimePoint deadline, connection::DialDone done);
  /// Registers the socket once, EPOLLRDHUP | EPOLLET (no EPOLLIN: traffic never wakes the reactor).
  void watch(int descriptor, std::uint64_t token);
  /// Takes the socket out again; call it before closing, since a fork's child may keep the open file alive.
  void unwatch(int descriptor) noexcept;
  /// Runs `task` on the reactor's thread soon.
  void post(std::function<void()> task);
  /// Ends all dials with pool_closed and joins the thread; later dials end at once with pool_closed. Idempotent.
  void stop();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fastpool::driver
