#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include <fastpool/result.h>
#include <fastpool/timeouts.h>

#include "connection/multiplexer.h"
#include "connection/stream_queue.h"
#include "pool/acquisition.h"
#include "pool/keep_alive_limit.h"
#include "pool/lease.h"
#include "pool/lease_limit.h"
#include "sync/atomics.h"
#include "sync/waker.h"

namespace fastpool::connection {

class Connection;
class Homes;

/// The HTTP/2 connections to one endpoint that one event loop, or all threads, use at the moment, and the callers that wait for a
/// stream there.
///
/// A home leases connections of the pool and gives their streams to its callers, first come, first served. A connection without
/// streams goes back to the pool, which parks it; its next user may be another home. (A connection whose peer allows no streams for
/// now stays until it does.) So the pool knows of connections alone, whose limits, lifetimes and end are its own.
///
///   a caller                                       the home
///
///   try_enter() --- a connection has room -------> a Place: one stream
///     | none
///   Entry::poll() - queues
///     | no other caller connects: it does          Connecting: the role of the one that acquires a connection for all
///     |    acquires one of the pool
///     |      it speaks HTTP/2: adopt() ----------> a Place; those that are queued get one each, as far as there is room
///     |      it speaks HTTP/1.1: its own           those that are queued each acquire one of the pool
///     |      error: its own                        those that are queued get it too, if it is that of a dial
///     | another does: waits for a place, or for its turn to connect
///
///   Place::leave() ------------------------------> the first in the queue; without a stream the connection goes back to the pool
///
/// At the pool's limit a caller also gets a stream of another home's connection. Callers of other endpoints come first: while the total
/// limit holds any up, a connection takes no further stream, and so goes back some time. So it does for callers of another home, where TLS
/// runs code of the application: that is used by one loop at a time.
///
/// Any thread may call anything. The mutex is never held for I/O; under it the pool is only asked what to do next.
class Home final : public RoomListener, public std::enable_shared_from_this<Home> {
  struct Member;

 public:
  /// The right to one stream on a connection of a home; gives itself back. Must not outlive the endpoint. Not thread-safe.
  class Place {
   public:
    Place() = default;
    Place(Place&& other) noexcept
        : home_(std::exchange(other.home_, nullptr)), member_(other.member_), fresh_(other.fresh_) {}
    Place& operator=(Place&& other) noexcept {
      std::swap(home_, other.home_);
      std::swap(member_, other.member_);
      std::swap(fresh_, other.fresh_);
      return *this;
    }
    ~Place() { leave(); }

    [[nodiscard]] explicit operator bool() const noexcept { return home_ != nullptr; }
    [[nodiscard]] Connection& connection() const noexcept;
    /// Whether the connection was dialed for this place.
    [[nodiscard]] bool fresh() const noexcept { return fresh_; }
    /// Gives it back. Idempotent. \param keep what its holder may leave idle. \see pool::Pool::release
    void leave(pool::KeepAliveLimit* keep = nullptr) noexcept;
    /// Forgets it (its process is the parent's).
    void detach() noexcept { home_ = nullptr; }

   private:
    friend class Home;
    Place(Home& home, Member& member, bool fresh) noexcept : home_(&home), member_(&member), fresh_(fresh) {}

    Home* home_ = nullptr;
    Member* member_ = nullptr;
    bool fresh_ = false;
  };

  /// The role of the caller that acquires a connection for all that are queued; gives itself up. Not thread-safe.
  class Connecting {
   public:
    Connecting() = default;
    Connecting(Connecting&& other) noexcept : home_(std::exchange(other.home_, nullptr)) {}
    Connecting& operator=(Connecting&& other) noexcept {
      std::swap(home_, other.home_);
      return *this;
    }
    ~Connecting() { end(); }
    [[nodiscard]] explicit operator bool() const noexcept { return home_ != nullptr; }
    void end() noexcept {
      if (Home* const home = std::exchange(home_, nullptr)) home->end_connecting(nullptr);
    }
    /// The connection speaks HTTP/1.1: callers that are queued each acquire one of the pool.
    void found_http1() noexcept {
      if (Home* const home = std::exchange(home_, nullptr)) home->note_http1();
    }
    void detach() noexcept { home_ = nullptr; }

   private:
    friend class Home;
    explicit Connecting(Home& home) noexcept : home_(&home) {}
    Home* home_ = nullptr;
  };

  /// What a caller got: a place, or a connection that does not (or not yet) speak HTTP/2.
  struct Admission {
    Place place{};
    pool::Lease lease{};
    Connecting connecting{};  ///< with a lease: ends once its protocol is known; \see adopt()
  };

  /// How a caller asks.
  struct Options {
    pool::AcquireOptions acquire{};
    pool::LeaseLimit* limit =
        nullptr;  ///< of the caller's transport: this home acquires no more connections for it; null: none
  };

  class Entry;

  /// \param loop its event loop, known by its address; null: the threads. \param homes all of the endpoint; they outlive this one.
  Home(pool::Pool& pool, const void* loop, Homes& homes) noexcept : pool_(pool), loop_(loop), homes_(homes) {}

  /// A place at once: on a connection of this home, or one that is idle in the pool. Empty if there is none, or others wait.
  [[nodiscard]] Place try_enter(pool::Endpoint& endpoint);
  /// A leased connection that speaks HTTP/2 serves this home from now on. \param connecting the role, if the caller has it.
  [[nodiscard]] Place adopt(pool::Lease&& lease, Connecting&& connecting);

  /// A place for a caller of another home, that the pool's limit holds up: any thread may use a multiplexer. Empty if there is no room.
  [[nodiscard]] Place lend() noexcept;

  void on_room_changed() noexcept override;
  /// Whether it has a connection, or a caller waits.
  [[nodiscard]] bool busy() noexcept;

 private:
  struct Member {
    pool::Lease lease;
    Multiplexer* multiplexer = nullptr;  ///< the connection's
    std::uint32_t places = 0;
  };

  struct EmptyMember;
  [[nodiscard]] Member* find_room_locked() noexcept;
  void take_place_locked(Member& member) noexcept;
  [[nodiscard]] auto take_locked() noexcept;
  [[nodiscard]] bool has_room(const Member& member) const noexcept;
  [[nodiscard]] bool yields_locked(const Member& member) const noexcept;
  void end_connecting(const Error* error) noexcept;
  void note_http1() noexcept;
  void leave(Member& member, pool::KeepAliveLimit* keep) noexcept;
  [[nodiscard]] std::unique_ptr<Member> take_empty_locked() noexcept;
  static void give_back(std::unique_ptr<Member> member, pool::KeepAliveLimit* keep) noexcept;

  pool::Pool& pool_;
  const void* const loop_;
  Homes& homes_;

  // Guarded by mutex_.
  std::mutex mutex_;
  std::vector<std::unique_ptr<Member>> members_;
  StreamQueue queue_;
};

/// One caller's way to a stream, in steps that never block, as pool::Acquisition is to a lease: call poll(); as long as it gives nothing,
/// call it again after a wake or at deadline(). Destruction gives up. One caller at a time; the waker outlives it.
class Home::Entry final : private StreamQueue::Caller {
 public:
  Entry(Home& home, pool::Endpoint& endpoint, const Options& options, sync::Waker& waker) noexcept;
  Entry(const Entry&) = delete;
  Entry& operator=(const Entry&) = delete;
  ~Entry();

  /// Errors: as pool::Acquisition::poll().
  [[nodiscard]] std::optional<Result<Admission>> poll();
  [[nodiscard]] TimePoint deadline() const noexcept { return deadline_; }

 private:
  friend class Home;
  using State = StreamQueue::State;
  using Next = StreamQueue::Next;

  /// How soon a caller looks again for what wakes no waker: other callers that come first give up; another home has room.
  static constexpr Duration look_again = std::chrono::milliseconds(20);

  // Under the home's mutex.
  void wake() noexcept override { waker_.wake(); }
  [[nodiscard]] bool may_connect() const noexcept override;

  [[nodiscard]] std::optional<Error> why_refused();
  [[nodiscard]] Next decide();
  [[nodiscard]] std::optional<Result<Admission>> acquire();
  [[nodiscard]] std::optional<Error> give_up_if_late();
  [[nodiscard]] bool waits();
  [[nodiscard]] Place take_place() noexcept;
  void leave();

  Home& home_;
  pool::Endpoint& endpoint_;
  Options options_;
  sync::Waker& waker_;
  TimePoint began_;
  TimePoint deadline_ = TimePoint::max();
  std::optional<pool::Acquisition> acquisition_;
  Connecting connecting_;
  bool begun_ = false;                        ///< it has queued
  TimePoint dials_since_ = TimePoint::max();  ///< since when it knows of a dial
  sync::EndWatches::Watch pool_ends_;
  std::optional<sync::EndWatches::Watch> limit_ends_;

  // Guarded by the home's mutex.
  Member* member_ = nullptr;    ///< once served
  std::optional<Error> error_;  ///< once failed
};

/// The homes of one endpoint, and what its origin has spoken last. Any thread may call anything.
class Homes {
 public:
  explicit Homes(pool::Pool& pool);

  /// A place in another home than that. Empty if there is no room.
  [[nodiscard]] Home::Place lend(const Home& to) noexcept;

  /// Whether the connection that was made last speaks HTTP/1.1: a hint that each caller needs one of its own.
  [[nodiscard]] bool speaks_http1() const noexcept { return speaks_http1_.get(); }
  /// That of the threads.
  [[nodiscard]] Home& of_threads() noexcept { return *threads_; }
  /// That of an event loop. \param loop known by its address; its home is forgotten after its end.
  [[nodiscard]] Home& of_loop(const std::shared_ptr<const void>& loop);

 private:
  friend class Home;
  struct OfLoop {
    std::weak_ptr<const void> loop;
    const void* address = nullptr;
    std::shared_ptr<Home> home;
  };

  pool::Pool& pool_;
  sync::Observable<bool> speaks_http1_{false};
  const std::shared_ptr<Home> threads_;

  // Guarded by mutex_.
  std::mutex mutex_;
  std::vector<OfLoop> loops_;
};

}  // namespace fastpool::connection
