#pragma once

#include <cstdint>

#include "sync/linked_queue.h"

namespace fastpool::connection {

/// The callers that wait for a stream of one home, first come, first served, and the *connecting* role: of these callers one acquires a
/// connection for all.
///
///   a caller    fresh ── decide(): joins ──> queued ──┬── serve(): room came ────────────────> served
///                                                     ├── fail_all(): the dial failed ───────> failed
///                                                     ├── release_all(): it is HTTP/1.1 ─────> left, and connects alone
///                                                     ├── settle(): has its own connection ──> left
///                                                     └── leave(): gives up ─────────────────> left
///
///   the role    free ── decide(): of the first that may connect ──> taken ── connected(), fail_all(), release_all(), leave() ──> free
///
/// No caller is overtaken: callers are served from the front, and the role goes to the first that may have it. No wake is lost: each step
/// that frees the role, brings room, or takes a caller away wakes the first that may connect, if the role is free then.
///
/// A pure state machine: the home's mutex is held for every call, and the callers' wakes are called under it. `Take` is called with a
/// caller, and gives it a place on a connection or returns false.
class StreamQueue {
 public:
  enum class State : std::uint8_t { fresh, queued, served, failed, left };
  enum class Next : std::uint8_t {
    served,
    failed,
    connect,  ///< it has got the role: acquires a connection for all
    acquire,  ///< it goes on to acquire one
    wait
  };

  class Caller {
   public:
    Caller() = default;
    Caller(const Caller&) = delete;
    Caller& operator=(const Caller&) = delete;
    virtual ~Caller() = default;

    [[nodiscard]] State state() const noexcept { return state_; }

   private:
    friend class StreamQueue;
    friend class sync::LinkedQueue<Caller>;
    virtual void wake() noexcept = 0;
    /// Whether its limits allow the home another connection.
    [[nodiscard]] virtual bool may_connect() const noexcept = 0;

    State state_ = State::fresh;
    bool connects_alone_ = false;  // the origin speaks HTTP/1.1
    Caller* previous = nullptr;
    Caller* next = nullptr;
  };

  [[nodiscard]] bool empty() const noexcept { return queue_.empty(); }
  /// Whether the role is taken.
  [[nodiscard]] bool connecting() const noexcept { return connecting_; }
  /// Whether a dial is under way for the caller with the role.
  [[nodiscard]] bool dialing() const noexcept { return dialing_; }

  /// What a caller does next. It joins the queue with the first call. \param connects whether it has the role.
  template <typename Take>
  [[nodiscard]] Next decide(Caller& caller, bool connects, Take&& take) noexcept {
    if (caller.state_ == State::fresh) {
      caller.state_ = State::queued;
      queue_.push_back(caller);
      serve(take);
    }
    if (caller.state_ == State::served) return Next::served;
    if (caller.state_ == State::failed) return Next::failed;
    if (caller.connects_alone_ || connects) return Next::acquire;
    if (connecting_ || first_to_connect() != &caller) return Next::wait;
    connecting_ = true;
    return Next::connect;
  }
  /// The role, for a caller that has not queued, where none has.
  [[nodiscard]] bool take_role() noexcept {
    if (connecting_ || !queue_.empty()) return false;
    return connecting_ = true;
  }
  /// The caller's own acquisition has ended. \returns whether it was served meanwhile; if not, it waits no more.
  [[nodiscard]] bool settle(Caller& caller) noexcept {
    if (caller.state_ == State::served) return true;
    quit(caller);
    return false;
  }
  /// Ends a wait, at any moment. \param connects whether the caller gives the role back. \returns whether it was served: then the place
  /// is the user's to give back.
  [[nodiscard]] bool leave(Caller& caller, bool connects) noexcept {
    const bool served = caller.state_ == State::served;
    quit(caller);
    if (connects) end_role();
    wake_first();
    return served;
  }

  /// Room may have come. \param meanwhile is called when callers have been served, and may take connections away.
  template <typename Take, typename Meanwhile>
  void room_came(Take&& take, Meanwhile&& meanwhile) noexcept {
    serve(take);
    meanwhile();
    wake_first();
  }
  /// The role's holder has a connection, which serves the home from now on.
  template <typename Take>
  void connected(Take&& take) noexcept {
    end_role();
    room_came(take, [] {});
  }
  /// The role's holder gives it back.
  void end_connecting() noexcept {
    end_role();
    wake_first();
  }
  /// The same, and the error of its dial is that of all that are queued. \param tell is called with each.
  template <typename Tell>
  void fail_all(Tell&& tell) noexcept {
    end_role();
    while (!queue_.empty())
      tell(end_first(State::failed));
  }
  /// The same, and all that are queued acquire connections for themselves.
  void release_all() noexcept {
    end_role();
    while (!queue_.empty())
      end_first(State::left).connects_alone_ = true;
  }
  /// Whether a dial is under way for the caller with the role: the connect timeout of those that are queued runs from here on.
  void set_dialing(bool dials) noexcept {
    if (dials && !dialing_) {
      for (Caller* each = queue_.front(); each != nullptr; each = each->next)
        each->wake();
    }
    dialing_ = dials;
  }

 protected:  // for the mutants of its model check
  template <typename Take>
  void serve(Take&& take) noexcept {
    while (!queue_.empty() && take(*queue_.front()))
      (void)end_first(State::served);
  }
  Caller& end_first(State as) noexcept {
    Caller& first = *queue_.front();
    queue_.remove(first);
    first.state_ = as;
    first.wake();
    return first;
  }
  void quit(Caller& caller) noexcept {
    if (caller.state_ == State::queued) queue_.remove(caller);
    caller.state_ = State::left;
  }
  void end_role() noexcept { connecting_ = dialing_ = false; }
  void wake_first() noexcept {
    if (connecting_) return;
    if (Caller* const first = first_to_connect()) first->wake();
  }
  // In front of it there may be callers whose limits allow no further connection.
  [[nodiscard]] Caller* first_to_connect() const noexcept {
    Caller* each = queue_.front();
    while (each != nullptr && !each->may_connect())
      each = each->next;
    return each;
  }

  sync::LinkedQueue<Caller> queue_;
  bool connecting_ = false;
  bool dialing_ = false;
};

}  // namespace fastpool::connection
