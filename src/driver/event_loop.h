#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include <fastpool/result.h>
#include <fastpool/timeouts.h>

#include "connection/connection.h"
#include "driver/deadlines.h"
#include "net/descriptor.h"
#include "net/epoll.h"

namespace fastpool::driver {

class LoopOperation;

/// What waits for readiness on behalf of one event loop (asyncio's, trio's, anybody's): one epoll set, whose descriptor the
/// loop watches as it watches any other; when it is readable, the loop calls turn(). No thread and no task of its own.
///
/// A connection that the loop uses is put into the set once, for both directions, edge-triggered, and stays there until
/// another loop or a thread uses it, or it is closed. What its operations wait for besides (a lease, a deadline) comes
/// through the same set: an eventfd that other threads signal, and one timer.
///
/// Used by one thread at a time (under Python: with the GIL), except for post(), and for the end of a registration, which any
/// thread may bring about. turn() may be entered again from within an operation's step. Owned by its loop's glue, by its
/// operations and by its registrations.
class EventLoop : public std::enable_shared_from_this<EventLoop> {
 public:
  /// Errors: connect_failed with the errno value, such as EMFILE.
  [[nodiscard]] static Result<std::shared_ptr<EventLoop>> create();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;
  ~EventLoop();

  /// Readable while there is something to do.
  [[nodiscard]] int descriptor() const noexcept { return epoll_.descriptor(); }
  /// Does what there is to do, without waiting: steps each operation that may go on.
  void turn();
  /// The same after a wait for something to do, at most that long; absent: for ever. One system call where turn() after a poll
  /// of descriptor() needs two. \returns whether there was something. Neither closed() nor inherited().
  bool wait(OptionalDuration timeout);
  /// The loop is gone: closes the descriptors. Operations that still wait are ended by LoopOperation::orphaned(); none may
  /// begin. Idempotent.
  void close();
  /// At the end of the process: closes the descriptors and ends no operation, so that nothing wakes the loop any more. Any thread.
  void cut_off() noexcept;
  [[nodiscard]] bool closed() const noexcept { return closed_; }
  /// Whether operations wait.
  [[nodiscard]] bool busy() const noexcept { return !waiting_.empty(); }
  /// Whether it is of an earlier epoch (net::fork_epoch()): its descriptors are not ours any more.
  [[nodiscard]] bool inherited() const noexcept { return epoch_ != net::fork_epoch(); }
  /// Whether operations still wait; from now on descriptor() gets readable too when the last of them does no more.
  [[nodiscard]] bool lingers() noexcept {
    lingers_ = true;
    return !waiting_.empty();
  }
  /// Sends what a multiplexer has to send at the end of this turn, or soon: what else is begun until then goes out with it.
  void flush(const std::shared_ptr<connection::Multiplexer>& multiplexer);
  /// Lets descriptor() be readable once more. Any thread.
  void call_again() noexcept;

  /// A connection's place in the set.
  class Registration;

 private:
  class Turn;
  friend class LoopOperation;

  struct Entry {
    std::uint32_t generation = 0;  // guarded by mutex_
    // Both directions' last news; true until a call has met EAGAIN.
    bool readable = true;
    bool writable = true;
    bool hung_up = false;
    LoopOperation* waiting = nullptr;
    std::shared_ptr<connection::Multiplexer> multiplexer{};  ///< of an HTTP/2 connection, which the turn pumps
  };
  /// Operations in the order in which they came; any leaves at once.
  class Queue {
   public:
    void push_back(LoopOperation& operation) noexcept;
    void remove(LoopOperation& operation) noexcept;
    [[nodiscard]] LoopOperation* pop_front() noexcept;
    [[nodiscard]] bool empty() const noexcept { return first_ == nullptr; }

   private:
    LoopOperation* first_ = nullptr;
    LoopOperation* last_ = nullptr;
  };

  EventLoop(net::Epoll epoll, net::EventFd mail, net::TimerFd timer) noexcept;

  /// Null if the kernel refuses, with errno set.
  [[nodiscard]] Registration* registration_of(connection::Connection& connection);
  [[nodiscard]] std::unique_ptr<Registration> make_registration(connection::Connection& connection, int descriptor);
  /// Of a connection that another loop watches, too. Null as registration_of().
  [[nodiscard]] std::unique_ptr<connection::LoopRegistration> registration_beside(connection::Connection& connection);
  void multiplex(Registration& registration, connection::Connection& connection);
  void post(LoopOperation& operation) noexcept;
  void take_events(std::span<const epoll_event> events);
  void pump_ready();
  void step_ready();
  void take_mail();
  void take_due();
  void ring_at(TimePoint when) noexcept;
  void make_ready(LoopOperation& operation) noexcept;
  void enlist(LoopOperation& operation);
  void strike_off(LoopOperation& operation) noexcept;
  void drop_mail(LoopOperation& operation) noexcept;

  static constexpr std::uint64_t mail_token = ~std::uint64_t{0};
  static constexpr std::uint64_t timer_token = ~std::uint64_t{1};

  net::Epoll epoll_;
  net::EventFd mail_bell_;
  net::TimerFd timer_;
  bool closed_ = false;  // written under mutex_ too
  const unsigned epoch_ = net::fork_epoch();
  Queue ready_;
  Deadlines deadlines_;
  TimePoint alarm_ = TimePoint::max();
  std::vector<LoopOperation*> waiting_;  // all who wait, each knowing its place
  bool lingers_ = false;
  struct Pumped {
    std::shared_ptr<connection::Multiplexer> multiplexer;
    bool hung_up = false;  // the peer's end may be behind what is to be read
  };
  std::vector<Pumped> pumped_;                                    // have news
  std::vector<std::shared_ptr<connection::Multiplexer>> unsent_;  // have something to send

  // Guarded by mutex_.
  std::mutex mutex_;
  std::deque<Entry> entries_;
  std::vector<std::uint32_t> free_entries_;
  std::vector<LoopOperation*> mail_;  // woken by other threads
};

}  // namespace fastpool::driver
