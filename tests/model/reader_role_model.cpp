// The reader role among threads that wait for streams of one HTTP/2 connection: one reads at a time; nobody sleeps over an answer that has
// come or over output that waits for room, also as others give up; a stream is told its end once.
//
// The role, its list and the parker are the shipped templates. The model supplies the connection: a lock, a socket that poll() waits at
// together with the bell, a server, and threads that open, look, pause, pump and leave, as MultiplexedWait does.

#include "model/relacy_atomics.h"

#include <mutex>
#include <utility>

#include "model/search.h"
#include "model/waiting.h"
#include "sync/parker.h"
#include "sync/reader_role.h"

namespace fastpool::model {
namespace {

struct Sleep {
  sync::BasicParker<RelacyAtomics, RelacyFutex> parker;
  void wake() { parker.unpark(); }
  [[nodiscard]] bool park_until(TimePoint until) { return parker.park_until(until); }
};

/// The kernel's side: a socket, an eventfd, and poll() at both. Each change wakes whoever polls.
class Kernel {
 public:
  static constexpr unsigned most_streams = 3;

  void arrive(unsigned stream) {
    const std::lock_guard lock(mutex_);
    arrived_[stream] = true;
    changed_.notify_all();
  }
  void make_room() {
    const std::lock_guard lock(mutex_);
    writable_ = true;
    changed_.notify_all();
  }
  void set_full() { writable_ = false; }
  void ring() {
    const std::lock_guard lock(mutex_);
    rung_ = true;
    changed_.notify_all();
  }
  bool drain() {
    const std::lock_guard lock(mutex_);
    return std::exchange(rung_, false);
  }
  [[nodiscard]] bool take(unsigned stream) {
    const std::lock_guard lock(mutex_);
    return std::exchange(arrived_[stream], false);
  }
  /// All output, which the server answers on stream 0. \returns false: there is no room.
  [[nodiscard]] bool send() {
    const std::lock_guard lock(mutex_);
    if (!writable_) return false;
    arrived_[0] = true;
    changed_.notify_all();
    return true;
  }
  /// \returns whether the socket is ready. A wait with a limit may end at once.
  [[nodiscard]] bool poll(bool for_room, TimePoint until) {
    if (until != TimePoint::max() && rl::rand(2) == 0) return false;
    mutex_.lock();
    while (!rung_ && !readable() && !(for_room && writable_))
      changed_.wait(mutex_);
    const bool ready = readable() || (for_room && writable_);
    mutex_.unlock();
    return ready;
  }

 private:
  [[nodiscard]] bool readable() const {
    bool any = false;
    for (const bool each : arrived_)
      any = any || each;
    return any;
  }

  FirmMutex mutex_;
  Condition changed_;
  bool arrived_[most_streams] = {};
  bool writable_ = true;
  bool rung_ = false;
};

struct Bell {
  Kernel* kernel = nullptr;
  void signal() const { kernel->ring(); }
  bool drain() const { return kernel->drain(); }
};

using ShippedRole = sync::BasicReaderRole<Sleep, Bell>;

/// The connection, as Multiplexer is one: of each thread one stream.
template <typename Role>
class Shared {
 public:
  enum class Awaits : std::uint8_t { room, answer };
  struct Stream {
    Plain<bool> ended{false};
    Plain<bool> awaited{false};
    Plain<bool> awaits_room{false};
    ShippedRole::Wait* wait = nullptr;  // guarded as `awaited`
    int told = 0;                       ///< the model's own
    bool pauses_for_ever = false;  ///< the model's own: it has looked in vain, and nothing but a wake ends its pause
  };

  void begin() { access::bell(role_).kernel = &kernel; }

  /// One thread's wait, as MultiplexedWait.
  class Waiting {
   public:
    Waiting(Shared& shared, unsigned stream, Awaits awaits)
        : shared_(shared), stream_(shared.streams[stream]), awaits_(awaits) {
      shared_.locked([&] { shared_.role_.join(wait_); });
    }
    Waiting(const Waiting&) = delete;
    Waiting& operator=(const Waiting&) = delete;
    ~Waiting() {
      shared_.locked([&] {
        stream_.awaited.set(false);
        stream_.wait = nullptr;
        stream_.pauses_for_ever = false;
        shared_.role_.leave(wait_);
      });
    }
    [[nodiscard]] bool look() {
      bool reached = false;
      shared_.locked([&] {
        reached = shared_.role_.look(wait_, [&] {
          const bool come = shared_.reached(stream_, awaits_);
          stream_.awaits_room.set(awaits_ == Awaits::room);
          stream_.awaited.set(!come);
          stream_.wait = come ? nullptr : &wait_;
          return come;
        });
        stream_.pauses_for_ever = !reached;
      });
      return reached;
    }
    void pause(TimePoint until) { shared_.role_.pause(wait_, until, Source{shared_}); }

   private:
    Shared& shared_;
    Stream& stream_;
    const Awaits awaits_;
    ShippedRole::Wait wait_;
  };

  /// Output for which the socket has no room now.
  void write() {
    locked([&] {
      unsent_.set(true);
      send_locked();
    });
  }
  void pump() {
    locked([&] {
      for (unsigned each = 0; each < Kernel::most_streams; ++each) {
        if (!kernel.take(each)) continue;
        Stream& stream = streams[each];
        stream.ended.set(true);
        RL_ASSERT(++stream.told == 1);
        wake_if_reached(stream);
      }
      send_locked();
    });
  }

  Kernel kernel;
  Stream streams[Kernel::most_streams];

 private:
  struct access : Role {
    static Bell& bell(Role& role) { return static_cast<access&>(role).bell_; }
  };
  /// What BasicReaderRole::pause() asks for.
  struct Source {
    Shared& shared;
    template <typename Function>
    void locked(Function&& function) const {
      shared.locked(function);
    }
    [[nodiscard]] static bool has_news() { return false; }
    [[nodiscard]] bool approach(Bell&) const { return shared.unsent_.get(); }
    [[nodiscard]] bool poll(bool for_room, TimePoint until) const {
      RL_ASSERT(++shared.at_socket_ == 1);  // one reader at a time
      const bool ready = shared.kernel.poll(for_room, until);
      --shared.at_socket_;
      return ready;
    }
    void pump() const { shared.pump(); }
  };

  template <typename Function>
  void locked(Function&& function) {
    const std::lock_guard lock(mutex_);
    function();
    // A free role means that no thread pauses without having been woken.
    for (const Stream& each : streams)
      RL_ASSERT(role_.taken() || !each.pauses_for_ever || each.wait == nullptr || each.wait->woken);
  }
  [[nodiscard]] bool reached(const Stream& stream, Awaits awaits) const {
    return stream.ended.get() || (awaits == Awaits::room && !unsent_.get());
  }
  void wake_if_reached(Stream& stream) {
    if (stream.awaited.get() && reached(stream, stream.awaits_room.get() ? Awaits::room : Awaits::answer))
      role_.wake(*stream.wait);
  }
  void send_locked() {
    if (!unsent_.get()) return;
    if (!kernel.send()) return role_.wake_reader();
    unsent_.set(false);
    for (Stream& each : streams)
      wake_if_reached(each);
  }

  Mutex mutex_;
  Role role_;
  Plain<bool> unsent_{false};
  int at_socket_ = 0;  // the model's own
};

/// Each thread but the last waits for the answer on its stream, the last is the server. The first `impatient` threads have a limit, which
/// may pass at any moment: they look, pause and leave.
template <typename Role, unsigned threads, unsigned impatient>
struct AllGetAnswers : rl::test_suite<AllGetAnswers<Role, threads, impatient>, rl::thread_id_t{threads}> {
  using Connection = Shared<Role>;
  Connection shared;

  void before() { shared.begin(); }
  void thread(unsigned index) {
    if (index + 1 == threads) {
      for (unsigned each = 0; each + 1 < threads; ++each)
        shared.kernel.arrive(each);
      return;
    }
    typename Connection::Waiting waiting(shared, index, Connection::Awaits::answer);
    if (index < impatient) {
      if (!waiting.look()) waiting.pause(TimePoint{});
      return;
    }
    while (!waiting.look())
      waiting.pause(TimePoint::max());
    RL_ASSERT(shared.streams[index].ended.get());
  }
};

/// One thread waits for an answer, which the server gives once it has all of what another sends. That one has more than the socket has
/// room for. Then it waits for room, or leaves what is unsent to the first. The server makes room at any moment.
template <typename Role, bool sender_waits>
struct OutputWaitsForRoom : rl::test_suite<OutputWaitsForRoom<Role, sender_waits>, 3> {
  using Connection = Shared<Role>;
  using Awaits = typename Connection::Awaits;
  Connection shared;

  void before() {
    shared.begin();
    shared.kernel.set_full();
  }
  void thread(unsigned index) {
    if (index == 0) wait_for(0, Awaits::answer);
    if (index == 1) shared.write();
    if (index == 1 && sender_waits) wait_for(1, Awaits::room);
    if (index == 2) shared.kernel.make_room();
  }

 private:
  void wait_for(unsigned stream, Awaits what) {
    typename Connection::Waiting waiting(shared, stream, what);
    while (!waiting.look())
      waiting.pause(TimePoint::max());
  }
};

/// One thread waits for an answer, which another pumps by the way, as the standby does, at any moment.
template <typename Role>
struct AnotherPumps : rl::test_suite<AnotherPumps<Role>, 2> {
  using Connection = Shared<Role>;
  Connection shared;

  void before() { shared.begin(); }
  void thread(unsigned index) {
    if (index == 1) {
      shared.kernel.arrive(0);
      shared.pump();
      return;
    }
    typename Connection::Waiting waiting(shared, 0, Connection::Awaits::answer);
    while (!waiting.look())
      waiting.pause(TimePoint::max());
  }
};

TEST(model, a_wake_that_comes_before_a_pause_ends_that_pause) {
  expect_holds<AnotherPumps<ShippedRole>>(up_to_preemptions(4));
}

TEST(model, one_thread_reads_and_no_answer_finds_its_waiter_asleep) {
  expect_holds<AllGetAnswers<ShippedRole, 3, 0>>(up_to_preemptions(2));
  expect_holds<AllGetAnswers<ShippedRole, 3, 0>>(random_schedules(100'000));
  expect_holds<AllGetAnswers<ShippedRole, 4, 0>>(random_schedules(100'000));
}

TEST(model, an_heir_that_gives_up_bequeaths_the_reader_role) {
  expect_holds<AllGetAnswers<ShippedRole, 3, 1>>(random_schedules(100'000));
  expect_holds<AllGetAnswers<ShippedRole, 4, 1>>(random_schedules(100'000));
  expect_holds<AllGetAnswers<ShippedRole, 4, 2>>(random_schedules(100'000));
}

TEST(model, unsent_output_always_has_a_thread_that_polls_for_room) {
  expect_holds<OutputWaitsForRoom<ShippedRole, false>>(up_to_preemptions(2));
  expect_holds<OutputWaitsForRoom<ShippedRole, true>>(up_to_preemptions(1));
  expect_holds<OutputWaitsForRoom<ShippedRole, true>>(random_schedules(100'000));
}

struct RoleOfEach : ShippedRole {
  template <typename Reached>
  bool look(Wait& wait, Reached&& reached) {
    const bool come = ShippedRole::look(wait, reached);
    wait.reads = true;
    return come;
  }
};
TEST(model, mutant_a_wait_that_reads_without_the_role) {
  expect_caught<AllGetAnswers<RoleOfEach, 3, 0>>(up_to_preemptions(2), rl::test_result_user_assert_failed);
}

/// Mutant: the role becomes free though others wait, which have looked in vain.
struct RoleDropped : ShippedRole {
  void leave(Wait& wait) {
    waits_.remove(wait);
    if (reader_ == &wait) reader_ = nullptr;
  }
};
TEST(model, mutant_a_role_given_up_while_others_wait) {
  expect_caught<AllGetAnswers<RoleDropped, 3, 0>>(up_to_preemptions(2), rl::test_result_user_assert_failed);
}

struct RoleConferredInSilence : ShippedRole {
  void leave(Wait& wait) {
    waits_.remove(wait);
    if (reader_ == &wait) reader_ = waits_.front();
  }
};
TEST(model, mutant_an_heir_that_is_not_woken) {
  expect_caught<AllGetAnswers<RoleConferredInSilence, 3, 0>>(up_to_preemptions(2), rl::test_result_deadlock);
}

/// Mutant: a wait that has not seen yet that it is the heir takes the role with it.
struct RoleTakenAlong : ShippedRole {
  void leave(Wait& wait) {
    const bool knows = wait.reads;
    if (knows) return ShippedRole::leave(wait);
    waits_.remove(wait);
  }
};
TEST(model, mutant_a_cancelled_heir_that_keeps_the_role) {
  expect_caught<AllGetAnswers<RoleTakenAlong, 4, 2>>(random_schedules(100'000), rl::test_result_deadlock);
}

/// Mutant: what comes between a look and the pause is forgotten.
struct RoleOfDeafReaders : ShippedRole {
  template <typename Host>
  void pause(Wait& wait, TimePoint until, Host&& host) {
    host.locked([&] { wait.woken = false; });
    ShippedRole::pause(wait, until, host);
  }
};
TEST(model, mutant_a_reader_that_forgets_a_wake_before_its_pause) {
  expect_caught<AnotherPumps<RoleOfDeafReaders>>(up_to_preemptions(4), rl::test_result_deadlock);
}

struct RoleWithoutBell : ShippedRole {
  void wake(Wait& wait) {
    if (std::exchange(wait.woken, true)) return;
    wait.sleep.wake();
  }
  void wake_reader() {
    if (reader_ != nullptr) wake(*reader_);
  }
};
TEST(model, mutant_a_wake_that_does_not_ring_for_a_thread_at_the_socket) {
  expect_caught<OutputWaitsForRoom<RoleWithoutBell, false>>(up_to_preemptions(2), rl::test_result_deadlock);
}

struct RoleThatIsNotTold : ShippedRole {
  static void wake_reader() {}
};
TEST(model, mutant_a_reader_that_is_not_told_of_output_that_waits_for_room) {
  expect_caught<OutputWaitsForRoom<RoleThatIsNotTold, false>>(up_to_preemptions(2), rl::test_result_deadlock);
}

}  // namespace
}  // namespace fastpool::model
