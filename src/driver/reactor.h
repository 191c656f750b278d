#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include <fastpool/timeouts.h>

#include "connection/dialer.h"
#include "net/resolver.h"

namespace fastpool::driver {

/// Cold work in the background: dialing, TLS handshakes, watching sockets for a hang-up, periodic expiry. Never on the path of a
/// request on a live connection. Joins the process's one ReactorThread at the first dial, watch or post. Every method may be
/// called from any thread, the reactor's own included.
///
/// In the child of a fork the inherited reactor is dead: its locks may be held and its descriptors are closed. There dial()
/// ends at once with pool_closed, all else does nothing, and the destructor leaves the memory alone.
class Reactor {
 public:
  struct Listener {
    virtual ~Listener() = default;
    /// A watched socket was hung up (RDHUP, HUP or ERR). `token` is what watch() was given; it may be stale.
    virtual void on_hang_up(std::uint64_t token) = 0;
    /// About every `tick_interval`, once the thread runs, and when tick_at() asked for it.
    virtual void on_tick(TimePoint now) = 0;
    /// The descriptors of the process were closed by other code (net::descriptors_lost()). All dials have ended; this is the
    /// last call.
    virtual void on_loss() {}
    /// When a dial that has a key must have ended: asked as it begins, when its deadline has come, and after hurry().
    /// \param known what was said last.
    [[nodiscard]] virtual TimePoint dial_deadline(const void* key, TimePoint known) {
      (void)key;
      return known;
    }
  };

  /// \param listener outlives the reactor; called on the reactor's thread only.
  /// \param tick_interval zero or less: no ticks.
  /// \param resolver shared with others, or null for one of its own.
  Reactor(Listener& listener, Duration tick_interval, std::shared_ptr<net::Resolver> resolver = nullptr);
  Reactor(const Reactor&) = delete;
  Reactor& operator=(const Reactor&) = delete;
  /// As stop(). On the reactor's own thread it does not wait: the thread ends by itself and calls no listener any more.
  ~Reactor();

  /// Starts a dial; `done` is called exactly once, on the reactor's thread, with no lock held, and may do anything, further
  /// dials included. The deadline bounds look-up, every address and the handshake (connect_timeout); TimePoint::max(): none.
  /// Errors: resolve_failed, connect_failed, connect_timeout, tls_failed, pool_closed.
  /// Where there is no thread to call it on (after stop(), in a fork's child, or because none could be started:
  /// connect_failed with EAGAIN), `done` is called before dial() returns.
  /// \param start the dial begins then, if that is not past; it can be ended before like any other.
  /// \param key what the listener is asked for its deadline by, of one dial at a time; null: the deadline stands.
  void dial(std::shared_ptr<const connection::Target> target, TimePoint deadline, connection::DialDone done,
            TimePoint start = {}, const void* key = nullptr);
  /// The dial of that key may have to end earlier than the listener said; nothing if there is none (any more).
  void hurry(const void* key) noexcept;
  /// Registers the socket once, EPOLLRDHUP | EPOLLET (no EPOLLIN: traffic never wakes the reactor). A socket that is hung
  /// up already is reported too. \param token below 2^63.
  void watch(int descriptor, std::uint64_t token);
  /// Takes the socket out again; call it before closing, since a fork's child may keep the open file alive.
  void unwatch(int descriptor) noexcept;
  /// Runs `task` on the reactor's thread soon; one that was posted before stop() is run by it, later ones are dropped.
  void post(std::function<void()> task);
  /// Calls Listener::on_tick at that time, if the next one would come later. Does nothing before the thread runs, or after
  /// stop().
  void tick_at(TimePoint when);
  /// Ends all dials with pool_closed and joins the thread; later dials end at once with pool_closed. Idempotent. Hold no
  /// lock that a DialDone, task or Listener takes. On the reactor's thread it ends the dials without waiting for the thread.
  void stop();

  /// The names and their cache. Not for the child of a fork.
  [[nodiscard]] net::Resolver& resolver() noexcept;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace fastpool::driver
