#include "net/epoll.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <limits>

#include <fcntl.h>
#include <linux/time_types.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "sync/atomics.h"

namespace fastpool::net {

namespace {

constinit sync::Flag lacks_nanoseconds;  // the kernel has no epoll_pwait2

int to_milliseconds(OptionalDuration timeout) noexcept {
  if (!timeout) return -1;
  if (*timeout <= Duration::zero()) return 0;
  const auto whole = std::chrono::ceil<std::chrono::milliseconds>(*timeout).count();
  return static_cast<int>(std::min<std::int64_t>(whole, std::numeric_limits<int>::max()));
}

}  // namespace

Epoll Epoll::open() noexcept {
  Epoll made;
  made.descriptor_ = Descriptor(::epoll_create1(EPOLL_CLOEXEC));
  return made;
}

int Epoll::control(int operation, int descriptor, std::uint32_t events, std::uint64_t token) noexcept {
  if (descriptor_.inherited()) return EOWNERDEAD;
  epoll_event event{};
  event.events = events;
  event.data.u64 = token;
  return ::epoll_ctl(descriptor_.get(), operation, descriptor, &event) == 0 ? 0 : errno;
}

int Epoll::add(int descriptor, std::uint32_t events, std::uint64_t token) noexcept {
  return control(EPOLL_CTL_ADD, descriptor, events, token);
}

int Epoll::modify(int descriptor, std::uint32_t events, std::uint64_t token) noexcept {
  return control(EPOLL_CTL_MOD, descriptor, events, token);
}

int Epoll::remove(int descriptor) noexcept {
  return control(EPOLL_CTL_DEL, descriptor, 0, 0);
}

std::span<epoll_event> Epoll::wait(std::span<epoll_event> events, OptionalDuration timeout) noexcept {
  if (events.empty() || descriptor_.inherited()) return {};
  const auto room = static_cast<int>(std::min<std::size_t>(events.size(), std::numeric_limits<int>::max()));
  const int count = ::epoll_wait(descriptor_.get(), events.data(), room, to_milliseconds(timeout));
  return events.first(count > 0 ? static_cast<std::size_t>(count) : 0);
}

std::span<epoll_event> Epoll::wait_precisely(std::span<epoll_event> events, OptionalDuration timeout) noexcept {
#ifdef SYS_epoll_pwait2
  if (timeout && *timeout > Duration::zero() && !lacks_nanoseconds.get()) {
    if (events.empty() || descriptor_.inherited()) return {};
    const auto room = std::min<std::size_t>(events.size(), std::numeric_limits<int>::max());
    const auto nanoseconds = timeout->count();
    const __kernel_timespec limit{nanoseconds / 1'000'000'000, nanoseconds % 1'000'000'000};
    // The function of glibc came with 2.35.
    const long count = ::syscall(SYS_epoll_pwait2, descriptor_.get(), events.data(), room, &limit, nullptr, 0);
    if (count >= 0) return events.first(static_cast<std::size_t>(count));
    if (errno == EINTR) return {};
    lacks_nanoseconds.set();  // also where a filter of system calls refuses what it does not know
  }
#endif
  return wait(events, timeout);
}

Descriptor duplicate(int descriptor) noexcept {
  return Descriptor(::fcntl(descriptor, F_DUPFD_CLOEXEC, 0));
}

EventFd EventFd::open() noexcept {
  EventFd made;
  made.descriptor_ = Descriptor(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  return made;
}

void EventFd::signal() noexcept {
  if (descriptor_.inherited()) return;
  const std::uint64_t one = 1;
  // EAGAIN means that it is full, and so readable already
  while (::write(descriptor_.get(), &one, sizeof(one)) < 0 && errno == EINTR) {
  }
}

bool EventFd::drain() noexcept {
  if (descriptor_.inherited()) return false;
  std::uint64_t count = 0;
  ssize_t got = 0;
  do {
    got = ::read(descriptor_.get(), &count, sizeof(count));
  } while (got < 0 && errno == EINTR);
  return got > 0;
}

TimerFd TimerFd::open() noexcept {
  TimerFd made;
  made.descriptor_ = Descriptor(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
  return made;
}

void TimerFd::set(TimePoint when) noexcept {
  if (descriptor_.inherited()) return;
  itimerspec value{};
  if (when != TimePoint::max()) {
    // the clock is CLOCK_MONOTONIC; all zero would stop the alarm
    const auto since = std::max<std::int64_t>(when.time_since_epoch().count(), 1);
    value.it_value.tv_sec = static_cast<time_t>(since / 1'000'000'000);
    value.it_value.tv_nsec = static_cast<long>(since % 1'000'000'000);
  }
  (void)::timerfd_settime(descriptor_.get(), TFD_TIMER_ABSTIME, &value, nullptr);
}

void TimerFd::drain() noexcept {
  if (descriptor_.inherited()) return;
  std::uint64_t count = 0;
  while (::read(descriptor_.get(), &count, sizeof(count)) < 0 && errno == EINTR) {
  }
}

}  // namespace fastpool::net
