#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include <sys/epoll.h>

#include <fastpool/timeouts.h>

#include "net/descriptor.h"

namespace fastpool::net {

/// One epoll set. Any thread may add, modify and remove while one thread waits. Each registration carries a 64-bit token
/// of the caller's, which comes back in `epoll_event::data.u64`.
/// In the child of a fork it does nothing: epoll_ctl there would change the parent's set. Functions that return `int`
/// return 0 or an errno value; EOWNERDEAD means "inherited by a fork".
class Epoll {
 public:
  /// \returns an invalid one on failure, with errno set.
  [[nodiscard]] static Epoll open() noexcept;
  Epoll() noexcept = default;

  [[nodiscard]] bool valid() const noexcept { return descriptor_.valid(); }
  /// For nesting it in another poller: readable while an event is waiting.
  [[nodiscard]] int descriptor() const noexcept { return descriptor_.get(); }

  /// `events` are EPOLLIN, EPOLLET, ... as epoll_ctl takes them.
  [[nodiscard]] int add(int descriptor, std::uint32_t events, std::uint64_t token) noexcept;
  [[nodiscard]] int modify(int descriptor, std::uint32_t events, std::uint64_t token) noexcept;
  /// Do it before the descriptor is closed: a fork's child may keep the open file, and with it the registration, alive.
  int remove(int descriptor) noexcept;

  /// Waits at most `timeout` (absent: for ever; rounded up to whole milliseconds) and fills the front of `events`.
  /// \returns that front part; empty after the timeout or a signal.
  [[nodiscard]] std::span<epoll_event> wait(std::span<epoll_event> events, OptionalDuration timeout) noexcept;
  /// The same to the nanosecond. Rounded up on Linux before 5.11.
  [[nodiscard]] std::span<epoll_event> wait_precisely(std::span<epoll_event> events, OptionalDuration timeout) noexcept;

 private:
  [[nodiscard]] int control(int operation, int descriptor, std::uint32_t events, std::uint64_t token) noexcept;

  Descriptor descriptor_;
};

/// Another descriptor of the same open file, close-on-exec, so that a set has it once more; invalid on failure, with errno set.
[[nodiscard]] Descriptor duplicate(int descriptor) noexcept;

/// A counter in the kernel that one thread raises to wake another which waits for its descriptor to be readable.
/// Non-blocking, close-on-exec. Any thread may signal; the waiting thread drains.
class EventFd {
 public:
  /// \returns an invalid one on failure, with errno set.
  [[nodiscard]] static EventFd open() noexcept;
  EventFd() noexcept = default;

  [[nodiscard]] bool valid() const noexcept { return descriptor_.valid(); }
  [[nodiscard]] int descriptor() const noexcept { return descriptor_.get(); }
  /// Makes it readable. Signals add up and are drained together.
  void signal() noexcept;
  /// Takes all signals. \returns whether there was one.
  bool drain() noexcept;

 private:
  Descriptor descriptor_;
};

/// An alarm clock in the kernel, readable once it has gone off. Non-blocking, close-on-exec. One thread.
class TimerFd {
 public:
  /// \returns an invalid one on failure, with errno set.
  [[nodiscard]] static TimerFd open() noexcept;
  TimerFd() noexcept = default;

  [[nodiscard]] bool valid() const noexcept { return descriptor_.valid(); }
  [[nodiscard]] int descriptor() const noexcept { return descriptor_.get(); }
  /// Goes off then, and not when it was set to before; TimePoint::max(): never.
  void set(TimePoint when) noexcept;
  /// After it went off: makes it unreadable.
  void drain() noexcept;

 private:
  Descriptor descriptor_;
};

}  // namespace fastpool::net
