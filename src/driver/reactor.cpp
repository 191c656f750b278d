// The face of a reactor, for any thread.

#include "driver/reactor.h"

#include <cerrno>
#include <mutex>
#include <utility>

#include "driver/reactor_state.h"
#include "net/descriptor.h"

namespace fastpool::driver {

Reactor::Reactor(Listener& listener, Duration tick_interval, std::shared_ptr<net::Resolver> resolver) {
  net::install_fork_handler();  // before the epoch is read, so that every later fork is seen
  state_ = std::make_shared<State>(listener, tick_interval, std::move(resolver));
}

Reactor::~Reactor() {
  if (state_->inherited()) {
    // The thread that owned it does not exist here and its lock may be held for ever: the memory stays as it is.
    state_->immortal = state_;
    return;
  }
  state_->stop();
}

// NOLINTNEXTLINE(performance-unnecessary-value-param): copies go into the command, see below
void Reactor::dial(std::shared_ptr<const connection::Target> target, TimePoint deadline, connection::DialDone done,
                   TimePoint start, const void* key) {
  if (state_->inherited()) {
    done(State::closed_error(*target));
    return;
  }
  // Copies go into the command, since a refused one must leave something to answer with.
  if (state_->enqueue([order = State::Order{target, {start, deadline}, done, key}](State& state) mutable {
        state.begin(std::move(order));
      })) {
    return;
  }
  Error error = State::closed_error(*target);
  {
    const std::lock_guard lock(state_->mutex);
    if (!state_->stopping) {
      error = Error::make(ErrorCode::connect_failed, Phase::connect,
                          "cannot connect to " + target->origin.to_string() + ": no thread could be started", EAGAIN);
    }
  }
  done(std::move(error));
}

void Reactor::hurry(const void* key) noexcept {
  if (state_->inherited()) {
    return;
  }
  try {
    static_cast<void>(state_->enqueue([key](State& state) { state.hurry(key); }));
  } catch (const std::bad_alloc&) {  // NOLINT(bugprone-empty-catch): it ends with its deadline
  }
}

void Reactor::watch(int descriptor, std::uint64_t token) {
  if (state_->inherited()) {
    return;
  }
  {
    const std::lock_guard lock(state_->mutex);
    if (!state_->start_locked() || !state_->open_epoll_locked()) {
      return;  // the peek at checkout still finds the hang-up
    }
  }
  constexpr std::uint32_t events = EPOLLRDHUP | EPOLLET;
  if (state_->epoll.add(descriptor, events, token) == EEXIST) {
    static_cast<void>(state_->epoll.modify(descriptor, events, token));
  }
}

void Reactor::unwatch(int descriptor) noexcept {
  if (state_->inherited()) {
    return;
  }
  {
    const std::lock_guard lock(state_->mutex);
    if (!state_->epoll.valid()) {
      return;
    }
  }
  state_->epoll.remove(descriptor);
}

void Reactor::post(std::function<void()> task) {
  if (!state_->inherited()) {
    static_cast<void>(state_->enqueue([task = std::move(task)](State&) { task(); }));
  }
}

void Reactor::tick_at(TimePoint when) {
  if (state_->inherited()) return;
  {
    const std::lock_guard lock(state_->mutex);
    if (!state_->running) return;
  }
  static_cast<void>(state_->enqueue([when](State& state) { state.next_tick = std::min(state.next_tick, when); }));
}

void Reactor::stop() {
  if (!state_->inherited()) {
    state_->stop();
  }
}

net::Resolver& Reactor::resolver() noexcept {
  return *state_->resolver;
}

}  // namespace fastpool::driver
