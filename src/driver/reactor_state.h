#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>

#include <sys/epoll.h>

#include "driver/reactor.h"
#include "driver/reactor_thread.h"
#include "net/descriptor.h"
#include "net/epoll.h"
#include "pool/interfaces.h"

namespace fastpool::driver {

/// Shared by the Reactor, the thread, and (weakly) the look-ups under way.
struct Reactor::State final : ReactorThread::Member, std::enable_shared_from_this<State> {
  using Command = std::function<void(State&)>;

  /// What dial() was asked for.
  struct Order {
    std::shared_ptr<const connection::Target> target;
    pool::DialTimes times;
    connection::DialDone done;
    const void* key = nullptr;
  };

  /// A dial under way, and the face that the reactor shows to it.
  struct Entry final : connection::DialHost {
    Entry(State& owner, std::uint64_t number, Order order)
        : state(owner),
          id(number),
          key(order.key),
          start(order.times.start),
          done(std::move(order.done)),
          dial(*this, std::move(order.target), order.times.deadline) {}

    void resolve(const std::string& host, Duration max_age) override;
    void forget(const std::string& host, net::CacheEntry entry) override { state.resolver->forget(host, entry); }
    [[nodiscard]] int set_interest(int descriptor, std::uint32_t events) override;
    void drop_interest(int descriptor) override;

    /// When it wants to be driven next, without an event.
    [[nodiscard]] TimePoint next_timer() const noexcept { return begun ? dial.next_timer() : start; }
    void on_timer(TimePoint now) {
      if (key != nullptr && (!begun || now >= dial.deadline())) ask_deadline(now);
      if (dial.finished()) return;
      if (std::exchange(begun, true)) {
        dial.on_timer(now);
      } else {
        dial.start(now);
      }
    }
    void ask_deadline(TimePoint now) {
      dial.set_deadline(state.listener.dial_deadline(key, dial.deadline()));
      if (now >= dial.deadline()) dial.on_timer(now);
    }

    State& state;
    const std::uint64_t id;
    const void* const key;
    const TimePoint start;
    bool begun = false;
    connection::DialDone done;
    std::unordered_map<int, std::uint64_t> interests;  ///< descriptor -> number of the interest
    std::optional<TimePoint> timer;                    ///< its place in `timers`
    connection::Dial dial;                             ///< last: its destructor calls drop_interest
  };
  struct Interest {
    std::uint64_t dial = 0;
    int descriptor = -1;
  };

  State(Listener& hears, Duration interval, std::shared_ptr<net::Resolver> names);

  // Immutable.
  Listener& listener;
  const Duration tick_interval;
  const std::shared_ptr<net::Resolver> resolver;
  const unsigned epoch = net::fork_epoch();

  // Guarded by `mutex`.
  std::mutex mutex;
  std::deque<Command> commands;
  bool running = false;   ///< listed at the thread, and has not had its last round
  bool stopping = false;  ///< stop() was called
  bool closed = false;    ///< nothing is taken into `commands` any more

  std::shared_ptr<State> immortal;  ///< itself, in the child of a fork only: nothing may destroy what the parent left

  // Opened once under `mutex`, never replaced after that.
  net::Epoll epoll;

  // The reactor's thread only.
  std::unordered_map<std::uint64_t, std::unique_ptr<Entry>> dials;
  std::unordered_map<const void*, std::uint64_t> keys;  ///< key -> number of the dial
  std::unordered_map<std::uint64_t, Interest> interests;
  std::set<std::pair<TimePoint, std::uint64_t>> timers;
  std::uint64_t last_id = 0;
  TimePoint next_tick = TimePoint::max();
  bool stop_seen = false;
  bool has_epoll = false;  ///< `epoll` is open, learnt under `mutex`
  bool detached = false;   ///< stopped on the reactor's thread: the listener may be gone
  bool over = false;       ///< it had its last round

  /// What a dial comes to that the reactor's end met.
  [[nodiscard]] static Error closed_error(const connection::Target& target);
  [[nodiscard]] bool inherited() const noexcept { return epoch != net::fork_epoch(); }

  // Any thread.
  bool open_epoll_locked() noexcept;
  bool start_locked();
  bool enqueue(Command command);
  void stop();

  // The reactor's thread only.
  [[nodiscard]] TimePoint round() override;
  [[nodiscard]] bool ended() const noexcept override { return over; }
  [[nodiscard]] bool abandoned() const noexcept override { return detached; }
  [[nodiscard]] const net::Epoll& events() const noexcept override { return epoll; }
  void lose() override;
  void tick_after(TimePoint now) noexcept;
  void run_commands();
  void run_timers();
  void handle_events();
  void handle(const epoll_event& event);
  void end();
  void begin(Order order);
  void hurry(const void* key);
  void settle(std::uint64_t id);
  void end_dials_and_close();
  template <typename Step>
  void drive(std::uint64_t id, Step step);
};

}  // namespace fastpool::driver
