#pragma once

#include <cstdint>
#include <memory>

#include <fastpool/timeouts.h>

#include "net/epoll.h"

namespace fastpool::driver {

/// The background thread of the process, which all reactors share. It is started for the first member and ends with the last.
///
/// Each member has an epoll set of its own, nested in the thread's. The thread calls a member's round() when its set has an
/// event, when the time has come that its last round asked for, and after notify(). All signals are blocked in it.
///
/// Any thread may call any function. In the child of a fork there is a new thread, without the parent's members.
class ReactorThread {
 public:
  /// What takes rounds. Kept alive by the thread while it is listed there.
  class Member {
   public:
    Member() = default;
    Member(const Member&) = delete;
    Member& operator=(const Member&) = delete;
    virtual ~Member() = default;

   private:
    friend class ReactorThread;
    struct Place {  // guarded by the thread's mutex
      std::uint64_t number = 0;
      TimePoint due = TimePoint::max();
      bool listed = false;
      bool nested = false;  ///< its set is in the thread's
    };

    /// One round, on the reactor's thread with no lock held. \returns when the next one is wanted without any event.
    [[nodiscard]] virtual TimePoint round() = 0;
    /// After a round: whether that was the last.
    [[nodiscard]] virtual bool ended() const noexcept = 0;
    /// Whether no caller waits for that end.
    [[nodiscard]] virtual bool abandoned() const noexcept = 0;
    /// Its epoll set, which may still be invalid.
    [[nodiscard]] virtual const net::Epoll& events() const noexcept = 0;
    /// The last call, in place of a round: the process's descriptors were closed, the library's among them.
    virtual void lose() = 0;

    Place place_;
  };

  /// Lists a member; its first round follows at once. False if no thread could be started.
  [[nodiscard]] static bool add(std::shared_ptr<Member> member);
  /// The member is to have a round soon. Nothing if it is not listed.
  static void notify(Member& member) noexcept;
  /// Blocks until the member has had its last round, and if it was the last of all until the thread has ended too. Not on the
  /// reactor's thread.
  static void wait_for_end(const Member& member);
  /// Whether the caller is the reactor's thread.
  [[nodiscard]] static bool is_current() noexcept;

  struct State;  ///< of one process; internal
};

}  // namespace fastpool::driver
