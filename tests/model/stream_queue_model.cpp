// Callers that wait at a home for a stream: each is woken when a stream ends, when a connection comes, and when a dial fails or the one that
// connects for all gives up; no caller is overtaken by a later one.
//
// The queue with its role (StreamQueue) and the parker are shipped. The model supplies the home's connections, a pool with a limit, a thread
// that dials, and callers that look, sleep, leave and give back, as Home::Entry and Home::Place do.

#include "model/relacy_atomics.h"

#include <mutex>
#include <utility>

#include "connection/stream_queue.h"
#include "model/search.h"
#include "model/waiting.h"
#include "sync/parker.h"

namespace fastpool::model {
namespace {

using connection::StreamQueue;

struct Sleeper {
  sync::BasicParker<RelacyAtomics, RelacyFutex> parker;
};

/// The pool: connections up to a limit. One caller at a time acquires, as the role sees to.
class ModelPool {
 public:
  enum class Got : std::uint8_t { nothing, lease, error };
  struct Acquisition {
    Sleeper* sleeper = nullptr;
    bool begun = false;
    Got got = Got::nothing;
  };

  /// \param failures how many dials may fail. \param leased connections that are in use already.
  void begin(unsigned most, unsigned failures, unsigned leased) {
    most_ = most;
    failures_ = failures;
    total_ = leased;
  }
  Got poll(Acquisition& one) {
    const std::lock_guard lock(mutex_);
    if (!std::exchange(one.begun, true)) {
      RL_ASSERT(first_ == nullptr);  // one connects for all
      first_ = &one;
      go_on();
    }
    return one.got;
  }
  /// Ends an acquisition; what it got serves the next.
  void withdraw(Acquisition& one) {
    const std::lock_guard lock(mutex_);
    if (first_ == &one) first_ = nullptr;
    if (std::exchange(one.got, Got::nothing) != Got::lease) return;
    ++idle_;
    go_on();
  }
  void give_back() {
    const std::lock_guard lock(mutex_);
    ++idle_;
    go_on();
  }
  /// Ends dials, until all callers are done.
  void run_dialer() {
    mutex_.lock();
    for (;;) {
      while (dials_ == 0 && callers_ > 0)
        changed_.wait(mutex_);
      if (dials_ == 0) break;
      --dials_;
      if (failures_ > 0 && rl::rand(2) == 0) {
        --failures_;
        --total_;
        if (first_ != nullptr) tell(Got::error);
      } else {
        ++idle_;
      }
      go_on();
    }
    mutex_.unlock();
  }
  void caller_comes() { ++callers_; }
  void caller_is_done() {
    const std::lock_guard lock(mutex_);
    --callers_;
    changed_.notify_all();
  }

 private:
  void tell(Got what) {
    Acquisition& one = *std::exchange(first_, nullptr);
    one.got = what;
    one.sleeper->parker.unpark();
  }
  void go_on() {
    if (first_ == nullptr) return;
    if (idle_ > 0) {
      --idle_;
      tell(Got::lease);
    } else if (total_ < most_ && dials_ == 0) {
      ++total_;
      ++dials_;
      changed_.notify_all();
    }
  }

  FirmMutex mutex_;
  Condition changed_;
  Acquisition* first_ = nullptr;
  unsigned most_ = 0;
  unsigned total_ = 0;
  unsigned idle_ = 0;
  unsigned dials_ = 0;
  unsigned failures_ = 0;
  unsigned callers_ = 0;
};

/// The home, whose connections have some streams each.
template <typename Queue, unsigned streams>
class ModelHome {
 public:
  static constexpr unsigned most_members = 2;
  static constexpr unsigned most_threads = 3;
  enum class End : std::uint8_t { served, failed, gave_up };

  /// \param patient whether it waits without a limit, which passes at any moment. \returns how its wait ended. A place that it got it gives back.
  /// \param use is called while it has the place.
  template <typename Use>
  End use_stream(bool patient, Use&& use) {
    int ahead[most_threads];
    {
      const std::lock_guard lock(mutex_);
      for (unsigned each = 0; each < most_threads; ++each)
        ahead[each] = tickets_[each];
    }
    int member = -1;
    const End end = enter(patient, member);
    if (end == End::served) {
      for (unsigned each = 0; each < most_threads; ++each)
        RL_ASSERT(ahead[each] == 0 || ahead[each] != tickets_[each]);  // that caller came first
      RL_ASSERT(++users_[member] <= static_cast<int>(streams));
      use();
      --users_[member];
      leave(member);
    }
    pool.caller_is_done();
    return end;
  }
  /// A connection with a stream that never ends.
  void hold_one() {
    members_[0] = true;
    places_[0] = 1;
    users_[0] = 1;
  }
  void expect_empty() {
    RL_ASSERT(queue_.empty());
    RL_ASSERT(!queue_.connecting());
  }

  ModelPool pool;

 private:
  /// As Home::Entry.
  struct Entry final : StreamQueue::Caller {
    Sleeper sleeper;
    ModelPool::Acquisition acquisition{.sleeper = &sleeper};
    int member = -1;
    bool connects = false;
    ModelHome& home;
    const unsigned thread = rl::thread_index();

    explicit Entry(ModelHome& its_home) : home(its_home) {}
    void wake() noexcept override {
      sleeper.parker.unpark();
      if (state() != StreamQueue::State::queued) home.tickets_[thread] = 0;
    }
    [[nodiscard]] bool may_connect() const noexcept override { return true; }
  };

  End enter(bool patient, int& member) {
    {
      const std::lock_guard lock(mutex_);
      if (queue_.empty() && (member = find_room()) >= 0) {
        take(member);
        return End::served;
      }
    }
    Entry entry(*this);
    for (bool late = false;; late = !entry.sleeper.parker.park_until(patient ? TimePoint::max() : TimePoint{})) {
      switch (decide(entry)) {
        case StreamQueue::Next::served:
          drop(entry);
          member = entry.member;
          return End::served;
        case StreamQueue::Next::failed:
          return End::failed;
        case StreamQueue::Next::connect:
          entry.connects = true;
          [[fallthrough]];
        case StreamQueue::Next::acquire: {
          const auto got = pool.poll(entry.acquisition);
          if (got == ModelPool::Got::nothing) break;
          return settle(entry, got, member);
        }
        case StreamQueue::Next::wait:
          break;
      }
      if (!late) continue;
      if (drop(entry)) leave(entry.member);  // served in this very moment
      return End::gave_up;
    }
  }
  StreamQueue::Next decide(Entry& entry) {
    const std::lock_guard lock(mutex_);
    if (entry.state() == StreamQueue::State::fresh) tickets_[entry.thread] = ++last_ticket_;
    return queue_.decide(entry, entry.connects, taking());
  }
  // The end of its acquisition.
  End settle(Entry& entry, ModelPool::Got got, int& member) {
    bool served = false;
    {
      const std::lock_guard lock(mutex_);
      served = queue_.settle(entry);
      if (!served) tickets_[entry.thread] = 0;
    }
    if (served) {
      drop(entry);
      member = entry.member;
      return End::served;
    }
    const std::lock_guard lock(mutex_);
    if (got == ModelPool::Got::error) {
      queue_.fail_all([](StreamQueue::Caller&) {});
      return End::failed;
    }
    for (member = 0; members_[member]; ++member)
      RL_ASSERT(member + 1 < static_cast<int>(most_members));
    members_[member] = true;
    places_[member] = 1;
    queue_.connected(taking());
    return End::served;
  }
  // \returns whether it was served.
  bool drop(Entry& entry) {
    if (entry.acquisition.begun) pool.withdraw(entry.acquisition);
    const std::lock_guard lock(mutex_);
    tickets_[entry.thread] = 0;
    return queue_.leave(entry, std::exchange(entry.connects, false));
  }
  void leave(int member) {
    bool empty = false;
    {
      const std::lock_guard lock(mutex_);
      --places_[member];
      queue_.room_came(taking(), [&] {
        empty = places_[member] == 0;
        if (empty) members_[member] = false;
      });
    }
    if (empty) pool.give_back();
  }

  auto taking() {
    return [this](StreamQueue::Caller& caller) {
      const int member = find_room();
      if (member < 0) return false;
      take(member);
      static_cast<Entry&>(caller).member = member;
      return true;
    };
  }
  [[nodiscard]] int find_room() const {
    for (unsigned each = 0; each < most_members; ++each)
      if (members_[each] && places_[each] < streams) return static_cast<int>(each);
    return -1;
  }
  void take(int member) { ++places_[member]; }

  Mutex mutex_;
  // Guarded by it.
  Queue queue_;
  bool members_[most_members] = {};
  unsigned places_[most_members] = {};

  // The model's own.
  int users_[most_members] = {};
  int tickets_[most_threads] = {};  // of the threads in the queue
  int last_ticket_ = 0;
};

/// What happens to the callers, and of which size the pool is.
struct Case {
  unsigned callers = 2;
  unsigned impatient = 0;    ///< callers, the first, that may give up at any moment
  unsigned connections = 1;  ///< that the pool allows
  unsigned streams = 1;      ///< of each connection
  unsigned failures = 0;     ///< of dials
  bool held = false;         ///< one stream of a connection is in use, and never ends
  bool together = false;     ///< no caller gives its stream back before all have one
};

/// Callers that each use a stream once, and a thread that dials.
template <typename Queue, Case what>
struct AllUseStreams : rl::test_suite<AllUseStreams<Queue, what>, rl::thread_id_t{what.callers + 1}> {
  using Home = ModelHome<Queue, what.streams>;
  Home home;
  FirmMutex mutex;
  Condition all_have_one;
  unsigned have_one = 0;

  void before() {
    home.pool.begin(what.connections, what.failures, what.held ? 1 : 0);
    if (what.held) home.hold_one();
    for (unsigned each = 0; each < what.callers; ++each)
      home.pool.caller_comes();
  }
  void thread(unsigned index) {
    if (index == what.callers) return home.pool.run_dialer();
    const bool patient = index >= what.impatient;
    const auto end = home.use_stream(patient, [this] { use(); });
    RL_ASSERT(end != Home::End::gave_up || !patient);
    RL_ASSERT(end != Home::End::failed || what.failures > 0);
  }
  void after() { home.expect_empty(); }

 private:
  void use() {
    if (!what.together) return;
    mutex.lock();
    ++have_one;
    all_have_one.notify_all();
    while (have_one < what.callers)
      all_have_one.wait(mutex);
    mutex.unlock();
  }
};

constexpr Case two_at_one_stream{};
constexpr Case three_at_one_stream{.callers = 3};
constexpr Case three_at_two_connections{.callers = 3, .impatient = 1, .connections = 2};
constexpr Case beside_a_long_stream{.streams = 2, .held = true};
constexpr Case at_once_on_one_connection{.streams = 2, .together = true};
constexpr Case a_dial_fails{.failures = 1};
constexpr Case three_and_a_dial_fails{.callers = 3, .connections = 2, .failures = 1};
constexpr Case one_gives_up{.impatient = 1};
constexpr Case two_of_three_give_up{.callers = 3, .impatient = 2};

TEST(model, a_caller_that_waits_for_a_stream_is_woken_when_one_ends) {
  expect_holds<AllUseStreams<StreamQueue, two_at_one_stream>>(random_schedules(100'000));
  expect_holds<AllUseStreams<StreamQueue, beside_a_long_stream>>(random_schedules(100'000));
  expect_holds<AllUseStreams<StreamQueue, three_at_one_stream>>(random_schedules(100'000));
}

TEST(model, callers_that_wait_for_a_stream_are_woken_when_a_connection_comes) {
  expect_holds<AllUseStreams<StreamQueue, at_once_on_one_connection>>(random_schedules(200'000));
}

TEST(model, callers_that_wait_for_a_stream_are_woken_when_a_dial_fails) {
  expect_holds<AllUseStreams<StreamQueue, a_dial_fails>>(random_schedules(100'000));
  expect_holds<AllUseStreams<StreamQueue, three_and_a_dial_fails>>(random_schedules(100'000));
}

TEST(model, the_next_connects_when_the_caller_that_connects_for_all_gives_up) {
  expect_holds<AllUseStreams<StreamQueue, one_gives_up>>(random_schedules(100'000));
  expect_holds<AllUseStreams<StreamQueue, two_of_three_give_up>>(random_schedules(100'000));
}

TEST(model, no_caller_that_waits_for_a_stream_is_overtaken) {
  expect_holds<AllUseStreams<StreamQueue, three_at_two_connections>>(random_schedules(200'000));
}

struct QueueThatServesNobody : StreamQueue {
  template <typename Take, typename Meanwhile>
  void room_came(Take&&, Meanwhile&& meanwhile) {
    meanwhile();
    wake_first();
  }
};
TEST(model, mutant_a_stream_that_ends_and_serves_nobody) {
  expect_caught<AllUseStreams<QueueThatServesNobody, beside_a_long_stream>>(up_to_preemptions(2),
                                                                            rl::test_result_deadlock);
}

struct QueueOfOwnConnections : StreamQueue {
  template <typename Take>
  void connected(Take&&) {
    end_role();
  }
};
TEST(model, mutant_a_connection_that_comes_and_serves_nobody) {
  expect_caught<AllUseStreams<QueueOfOwnConnections, at_once_on_one_connection>>(up_to_preemptions(2),
                                                                                 rl::test_result_deadlock);
}

struct QueueOfSilentFailures : StreamQueue {
  template <typename Tell>
  void fail_all(Tell&&) {
    end_role();
  }
};
TEST(model, mutant_a_dial_that_fails_and_wakes_nobody) {
  expect_caught<AllUseStreams<QueueOfSilentFailures, a_dial_fails>>(up_to_preemptions(2), rl::test_result_deadlock);
}

struct QueueOfSilentLeavers : StreamQueue {
  bool leave(Caller& caller, bool connects) {
    const bool served = caller.state() == State::served;
    quit(caller);
    if (connects) end_role();
    return served;
  }
};
TEST(model, mutant_a_caller_with_the_role_that_gives_up_and_wakes_nobody) {
  expect_caught<AllUseStreams<QueueOfSilentLeavers, one_gives_up>>(up_to_preemptions(2), rl::test_result_deadlock);
}

/// Mutant: the role goes to whoever looks first.
struct QueueOfHurriedNewcomers : StreamQueue {
  template <typename Take>
  Next decide(Caller& caller, bool connects, Take&& take) {
    const Next next = StreamQueue::decide(caller, connects, take);
    if (next != Next::wait || connecting_) return next;
    connecting_ = true;
    return Next::connect;
  }
};
TEST(model, mutant_a_newcomer_that_takes_the_role_before_the_first_in_the_queue) {
  expect_caught<AllUseStreams<QueueOfHurriedNewcomers, three_at_two_connections>>(random_schedules(300'000),
                                                                                  rl::test_result_user_assert_failed);
}

}  // namespace
}  // namespace fastpool::model
