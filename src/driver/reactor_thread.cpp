#include "driver/reactor_thread.h"

#include <algorithm>
#include <array>
#include <condition_variable>
#include <mutex>
#include <set>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include <sys/epoll.h>

#include "net/background_thread.h"
#include "net/descriptor.h"
#include "sync/per_epoch.h"

namespace fastpool::driver {

namespace {

constexpr std::uint64_t wake_token = ~std::uint64_t{0};

/// How long the thread sleeps between tries to open its descriptors while the process has none left.
constexpr Duration descriptor_retry = std::chrono::milliseconds(50);
/// How long it sleeps at most, so that it notices when its descriptors were closed.
constexpr Duration longest_sleep = std::chrono::seconds(1);
}  // namespace

/// The state of one process; never destroyed.
struct ReactorThread::State {
  using Number = std::uint64_t;

  const unsigned epoch = net::fork_epoch();

  // Guarded by `mutex`.
  std::mutex mutex;
  std::condition_variable wake_without_descriptor;
  std::condition_variable ended;
  std::unordered_map<Number, std::shared_ptr<Member>> members;
  std::vector<Number> ready;
  std::set<std::pair<TimePoint, Number>> timers;
  Number last_number = 0;
  bool running = false;
  bool detaches = false;  ///< no caller waits for the end of the member that ended last
  std::thread thread;

  // Opened once under `mutex`, never replaced after that.
  net::Epoll epoll;
  net::EventFd wake;

  [[nodiscard]] static State& of_process();

  // Any thread.
  bool open_descriptors_locked() noexcept;
  bool start_locked(std::thread& before);
  void notify_locked(Number number) noexcept;

  // The reactor's thread only.
  void run();
  void run_rounds();
  void unlist_locked(Member& member);
  void wait();
  void lose_all();
  [[nodiscard]] bool finish_locked();
};

namespace {

constinit sync::PerEpoch<ReactorThread::State> states;
thread_local bool is_reactor_thread = false;

}  // namespace

ReactorThread::State& ReactorThread::State::of_process() {
  return states.get(net::fork_epoch(), [] { return std::make_unique<State>(); });
}

// ---- any thread ------------------------------------------------------------------------------------------------------

bool ReactorThread::State::open_descriptors_locked() noexcept {
  if (!wake.valid()) wake = net::EventFd::open();
  if (wake.valid() && !epoll.valid()) {
    net::Epoll opened = net::Epoll::open();
    if (opened.valid() && opened.add(wake.descriptor(), EPOLLIN, wake_token) == 0) epoll = std::move(opened);
  }
  return epoll.valid();
}

/// \param before gets a thread that has ended and was not joined: join it without the lock.
bool ReactorThread::State::start_locked(std::thread& before) {
  if (running) return true;
  static_cast<void>(open_descriptors_locked());  // if it fails the thread tries again
  auto started = net::start_background_thread("fastpool-reactor", [this] { run(); });
  if (!started) return false;
  before = std::exchange(thread, std::move(*started));
  running = true;
  return true;
}

void ReactorThread::State::notify_locked(Number number) noexcept {
  ready.push_back(number);
  if (ready.size() > 1) return;  // it was woken for the first
  if (wake.valid() && !net::descriptors_lost()) wake.signal();
  wake_without_descriptor.notify_one();
}

bool ReactorThread::add(std::shared_ptr<Member> member) {
  State& state = State::of_process();
  std::thread before;
  bool started = false;
  {
    const std::lock_guard lock(state.mutex);
    started = state.start_locked(before);
    if (started) {
      const State::Number number = ++state.last_number;
      member->place_ = {.number = number, .listed = true};
      state.members.emplace(number, std::move(member));
      state.notify_locked(number);
    }
  }
  if (before.joinable()) before.join();
  return started;
}

void ReactorThread::notify(Member& member) noexcept {
  State& state = State::of_process();
  const std::lock_guard lock(state.mutex);
  if (member.place_.listed) state.notify_locked(member.place_.number);
}

void ReactorThread::wait_for_end(const Member& member) {
  State& state = State::of_process();
  std::unique_lock lock(state.mutex);
  state.ended.wait(lock, [&] { return !member.place_.listed && (!state.members.empty() || !state.running); });
  if (state.running || !state.thread.joinable()) return;
  std::thread finished = std::move(state.thread);
  lock.unlock();
  finished.join();
}

bool ReactorThread::is_current() noexcept {
  return is_reactor_thread;
}

// ---- the thread ------------------------------------------------------------------------------------------------------

void ReactorThread::State::run() {
  is_reactor_thread = true;
  for (;;) {
    if (epoch != net::fork_epoch() || net::descriptors_lost()) return lose_all();
    run_rounds();
    {
      const std::lock_guard lock(mutex);
      if (finish_locked()) return;
    }
    wait();
  }
}

/// Whether the last member has ended: then the thread ends.
bool ReactorThread::State::finish_locked() {
  if (!members.empty()) return false;
  if (detaches && thread.joinable()) thread.detach();
  running = false;
  ended.notify_all();
  return true;
}

/// A round for each member that is ready or due now.
void ReactorThread::State::run_rounds() {
  std::vector<std::shared_ptr<Member>> due;
  {
    const std::lock_guard lock(mutex);
    const TimePoint now = Clock::now();
    for (auto timer = timers.begin(); timer != timers.end() && timer->first <= now; ++timer)
      ready.push_back(timer->second);
    std::sort(ready.begin(), ready.end());
    ready.erase(std::unique(ready.begin(), ready.end()), ready.end());
    for (const Number number : ready) {
      if (const auto found = members.find(number); found != members.end()) due.push_back(found->second);
    }
    ready.clear();
  }
  for (const std::shared_ptr<Member>& member : due) {
    const TimePoint next = member->round();
    const std::lock_guard lock(mutex);
    Member::Place& place = member->place_;
    timers.erase({place.due, place.number});
    if (member->ended()) {
      unlist_locked(*member);
      continue;
    }
    place.due = next;
    if (next != TimePoint::max()) timers.emplace(next, place.number);
    if (!place.nested && member->events().valid() && open_descriptors_locked())
      place.nested = epoll.add(member->events().descriptor(), EPOLLIN, place.number) == 0;
  }
}

void ReactorThread::State::unlist_locked(Member& member) {
  if (member.place_.nested) epoll.remove(member.events().descriptor());
  member.place_.listed = member.place_.nested = false;
  detaches = member.abandoned();
  members.erase(member.place_.number);
  ended.notify_all();
}

void ReactorThread::State::wait() {
  const TimePoint now = Clock::now();
  TimePoint until = now + longest_sleep;
  {
    std::unique_lock lock(mutex);
    if (!timers.empty()) until = std::min(until, timers.begin()->first);
    const auto woken = [this] { return !ready.empty(); };
    if (!open_descriptors_locked()) {
      wake_without_descriptor.wait_until(lock, std::min(until, now + descriptor_retry), woken);
      return;
    }
    if (woken()) until = now;  // commands from before the eventfd was opened gave no signal
  }
  std::array<epoll_event, 64> buffer;
  const auto events = epoll.wait(buffer, std::max(Duration::zero(), Duration(until - now)));
  // Before the eventfd is read: the number may lead to a socket of the application's by now, where a read could block.
  if (net::descriptors_lost()) return;
  const std::lock_guard lock(mutex);
  for (const epoll_event& event : events) {
    if (event.data.u64 == wake_token) {
      wake.drain();
    } else {
      ready.push_back(event.data.u64);
    }
  }
}

/// The members' descriptors and the thread's own were closed by other code, and their numbers may belong to it now.
void ReactorThread::State::lose_all() {
  std::vector<std::shared_ptr<Member>> lost;
  {
    const std::lock_guard lock(mutex);
    for (const auto& [number, member] : members)
      lost.push_back(member);
  }
  for (const std::shared_ptr<Member>& member : lost)
    member->lose();
  const std::lock_guard lock(mutex);
  for (const auto& [number, member] : members)
    member->place_.listed = member->place_.nested = false;
  members.clear();
  detaches = true;
  static_cast<void>(finish_locked());
}

}  // namespace fastpool::driver
