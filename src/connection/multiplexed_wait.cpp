#include "connection/multiplexed_wait.h"

#include <algorithm>

#include <poll.h>

#include "net/socket.h"

namespace fastpool::connection {

namespace {

constexpr Duration without_bell = std::chrono::milliseconds(20);

}  // namespace

/// The source at which the reader pauses. \see sync::BasicReaderRole::pause()
struct MultiplexedWait::Socket {
  Multiplexer& multiplexer;

  struct Approach {
    int descriptor = -1;
    int bell = -1;
    short events = POLLIN;
  };

  template <typename Function>
  void locked(Function&& function) const noexcept {
    const Multiplexer::Section section(multiplexer);
    function();
  }
  [[nodiscard]] bool has_news() const noexcept { return multiplexer.lost_ || !multiplexer.drained_; }
  [[nodiscard]] Approach approach(net::EventFd& bell) const noexcept {
    if (!bell.valid()) bell = net::EventFd::open();
    Approach made{.descriptor = multiplexer.channel_->descriptor(), .bell = bell.valid() ? bell.descriptor() : -1};
    if (multiplexer.sent_ < multiplexer.unsent_.size()) made.events |= POLLOUT;
    return made;
  }
  [[nodiscard]] bool poll(const Approach& to, TimePoint until) const noexcept {
    if (to.bell < 0) until = std::min(until, Clock::now() + without_bell);  // no descriptor is left
    return net::wait_until_ready(to.descriptor, to.events, to.bell, until);
  }
  void pump() const noexcept {
    (void)multiplexer.pump(Multiplexer::ReadUntil::emptied);
  }  // poll() reports what comes later
};

MultiplexedWait::MultiplexedWait(Multiplexer& multiplexer, MultiplexedStream& stream, Awaited awaited) noexcept
    : multiplexer_(multiplexer), stream_(stream), awaited_(awaited) {
  const Multiplexer::Section section(multiplexer_);
  multiplexer_.reader_role_.join(wait_);
}

MultiplexedWait::~MultiplexedWait() {
  const Multiplexer::Section section(multiplexer_);
  stream_.awaited = Awaited::nothing;
  stream_.waker = nullptr;
  multiplexer_.reader_role_.leave(wait_);
}

bool MultiplexedWait::look() noexcept {
  const Multiplexer::Section section(multiplexer_);
  return multiplexer_.reader_role_.look(wait_, [this] { return multiplexer_.look_locked(stream_, awaited_, *this); });
}

void MultiplexedWait::pause(TimePoint until) noexcept {
  multiplexer_.reader_role_.pause(wait_, until, Socket{multiplexer_});
}

void MultiplexedWait::wake() noexcept {
  multiplexer_.reader_role_.wake(wait_);
}

void MultiplexedWait::Outside::wake() noexcept {
  const Multiplexer::Section section(wait.multiplexer_);
  wait.wake();
}

}  // namespace fastpool::connection
