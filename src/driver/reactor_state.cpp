// A reactor on its thread: commands, timers, events, dials.

#include "driver/reactor_state.h"

#include "pool/decisions.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <vector>

namespace fastpool::driver {

namespace {

/// One epoll set serves a reactor. The top bit of its tokens tells the reactor's own from those of watch(); below it stands the
/// number of an interest, never a pointer, so that an event for something already gone finds nothing.
constexpr std::uint64_t kOwnToken = std::uint64_t{1} << 63;

/// How long until the next try to open the epoll set while the process is out of descriptors.
constexpr Duration kDescriptorRetry = std::chrono::milliseconds{50};

}  // namespace

Error Reactor::State::closed_error(const connection::Target& target) {
  return Error::make(ErrorCode::pool_closed, Phase::connect,
                     "the pool was closed while " + target.origin.to_string() + " was being dialed");
}

Reactor::State::State(Listener& hears, Duration interval, std::shared_ptr<net::Resolver> names)
    : listener(hears),
      tick_interval(interval),
      resolver(names != nullptr ? std::move(names) : std::make_shared<net::Resolver>()) {
  tick_after(Clock::now());
}

// What a dial asks for -------------------------------------------------------------------------------------------------

void Reactor::State::Entry::resolve(const std::string& host, Duration max_age) {
  // The answer may come on a resolver's thread, long after this dial or even the reactor is gone.
  state.resolver->resolve(
      host, Clock::now(), max_age,
      [weak = state.weak_from_this(), number = id](Result<net::AddressList> found, net::CacheEntry from) {
        if (const std::shared_ptr<State> alive = weak.lock()) {
          alive->enqueue([number, found = std::move(found), from](State& self) mutable {
            self.drive(number, [&](Entry& entry) { entry.dial.on_resolved(std::move(found), from, Clock::now()); });
          });
        }
      });
}

int Reactor::State::Entry::set_interest(int descriptor, std::uint32_t events) {
  if (!state.has_epoll) {
    return EMFILE;
  }
  if (const auto known = interests.find(descriptor); known != interests.end()) {
    return state.epoll.modify(descriptor, events, kOwnToken | known->second);
  }
  const std::uint64_t number = ++state.last_id;
  if (const int error = state.epoll.add(descriptor, events, kOwnToken | number); error != 0) {
    return error;
  }
  interests.emplace(descriptor, number);
  state.interests.emplace(number, Interest{id, descriptor});
  return 0;
}

void Reactor::State::Entry::drop_interest(int descriptor) {
  const auto known = interests.find(descriptor);
  if (known == interests.end()) {
    return;
  }
  state.epoll.remove(descriptor);
  state.interests.erase(known->second);
  interests.erase(known);
}

// The thread -----------------------------------------------------------------------------------------------------------

/// Lets a dial take one step if it still exists, then looks at its result.
template <typename Step>
void Reactor::State::drive(std::uint64_t id, Step step) {
  const auto found = dials.find(id);
  if (found == dials.end()) {
    return;
  }
  step(*found->second);
  settle(id);
}

void Reactor::State::settle(std::uint64_t id) {
  const auto found = dials.find(id);
  Entry& entry = *found->second;
  const bool finished = entry.dial.finished();
  const std::optional<TimePoint> wanted = finished ? std::nullopt : std::optional(entry.next_timer());
  if (wanted != entry.timer) {
    if (entry.timer) {
      timers.erase({*entry.timer, id});
    }
    if (wanted) {
      timers.emplace(*wanted, id);
    }
    entry.timer = wanted;
  }
  if (!finished) {
    return;
  }
  // Out of every table before the callback, which may dial, stop or even destroy the reactor.
  if (entry.key != nullptr) keys.erase(entry.key);
  connection::DialDone done = std::move(entry.done);
  Result<connection::Dialed> result = entry.dial.take_result();
  dials.erase(found);
  done(std::move(result));
}

void Reactor::State::begin(Order order) {
  if (stop_seen) {
    order.done(closed_error(*order.target));
    return;
  }
  const std::uint64_t id = ++last_id;
  if (order.key != nullptr) keys[order.key] = id;
  dials.emplace(id, std::make_unique<Entry>(*this, id, std::move(order)));
  drive(id, [](Entry& entry) {
    const TimePoint now = Clock::now();
    if (now >= entry.start) {
      entry.on_timer(now);
    } else if (entry.key != nullptr) {
      entry.ask_deadline(now);
    }
  });
}

void Reactor::State::hurry(const void* key) {
  if (const auto known = keys.find(key); known != keys.end()) {
    drive(known->second, [](Entry& entry) { entry.ask_deadline(Clock::now()); });
  }
}

/// Runs what is there now; what these commands add comes after the next look at the sockets. One at a time is taken out,
/// since a command may stop the reactor, which runs the rest from within.
void Reactor::State::run_commands() {
  std::size_t left = 0;
  bool first = true;
  for (;;) {
    Command command;
    {
      const std::lock_guard lock(mutex);
      stop_seen = stopping;
      has_epoll = epoll.valid();
      left = first ? commands.size() : left;
      first = false;
      if (left == 0 || commands.empty()) {
        return;
      }
      --left;
      command = std::move(commands.front());
      commands.pop_front();
    }
    command(*this);
  }
}

void Reactor::State::run_timers() {
  const TimePoint now = Clock::now();
  while (!timers.empty() && timers.begin()->first <= now) {
    const std::uint64_t id = timers.begin()->second;
    // Out first, so that a dial which wants the same moment again cannot hold the loop.
    timers.erase(timers.begin());
    Entry& entry = *dials.at(id);
    entry.timer.reset();
    drive(id, [now](Entry& due) { due.on_timer(now); });
  }
}

void Reactor::State::handle(const epoll_event& event) {
  const std::uint64_t token = event.data.u64;
  if ((token & kOwnToken) == 0) {
    listener.on_hang_up(token);
  } else if (const auto found = interests.find(token & ~kOwnToken); found != interests.end()) {
    const Interest interest = found->second;
    drive(interest.dial, [&interest](Entry& entry) { entry.dial.on_ready(interest.descriptor, Clock::now()); });
  }
}

void Reactor::State::handle_events() {
  if (!has_epoll) {
    return;
  }
  std::array<epoll_event, 64> buffer;
  for (const epoll_event& event : epoll.wait(buffer, Duration::zero())) {
    if (detached) {
      return;
    }
    handle(event);
  }
}

void Reactor::State::tick_after(TimePoint now) noexcept {
  next_tick = tick_interval > Duration::zero() ? pool::later(now, tick_interval) : TimePoint::max();
}

TimePoint Reactor::State::round() {
  {
    const std::lock_guard lock(mutex);
    has_epoll = open_epoll_locked();
  }
  handle_events();
  run_commands();
  if (!stop_seen) {
    run_timers();
  }
  if (const TimePoint now = Clock::now(); !detached && !stop_seen && now >= next_tick) {
    tick_after(now);  // first: the listener may ask for a sooner one
    listener.on_tick(now);
  }
  if (detached || stop_seen) {
    end();
    return TimePoint::max();
  }
  const TimePoint wanted = timers.empty() ? next_tick : std::min(next_tick, timers.begin()->first);
  return has_epoll ? wanted : std::min(wanted, pool::later(Clock::now(), kDescriptorRetry));
}

void Reactor::State::end() {
  end_dials_and_close();
  const std::lock_guard lock(mutex);
  running = false;
  over = true;
}

void Reactor::State::lose() {
  stop_seen = true;
  end();
  if (!detached) {
    listener.on_loss();
  }
}

/// Until there is neither a dial nor a command left, since a callback may dial again.
void Reactor::State::end_dials_and_close() {
  for (;;) {
    run_commands();
    while (!dials.empty()) {
      const std::uint64_t id = dials.begin()->first;
      drive(id, [](Entry& entry) { entry.dial.abort(closed_error(entry.dial.target())); });
    }
    const std::lock_guard lock(mutex);
    if (commands.empty()) {
      closed = true;
      return;
    }
  }
}

// Any thread -----------------------------------------------------------------------------------------------------------

bool Reactor::State::open_epoll_locked() noexcept {
  if (!epoll.valid()) {
    epoll = net::Epoll::open();
  }
  return epoll.valid();
}

bool Reactor::State::start_locked() {
  if (running || stopping) {
    return running && !closed;
  }
  static_cast<void>(
      open_epoll_locked());  // if it fails a round tries again, and dials fail with what their sockets say
  running = ReactorThread::add(shared_from_this());
  return running;
}

bool Reactor::State::enqueue(Command command) {
  const std::lock_guard lock(mutex);
  if (closed || !start_locked()) {
    return false;
  }
  commands.push_back(std::move(command));
  ReactorThread::notify(*this);
  return true;
}

void Reactor::State::stop() {
  {
    const std::lock_guard lock(mutex);
    stopping = true;
    if (!running) {
      closed = true;
      return;
    }
  }
  if (ReactorThread::is_current()) {
    end_dials_and_close();
    detached = true;
    ReactorThread::notify(*this);
    return;
  }
  ReactorThread::notify(*this);
  ReactorThread::wait_for_end(*this);
}

}  // namespace fastpool::driver
