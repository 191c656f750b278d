// Work that is left at a lock (BasicLeftWork): a stream that a finalizer gives up is ended by whoever holds the multiplexer's mutex. No
// work is left behind, none is done twice, and a stream that the peer ends meanwhile is told its end once.
//
// The list and the order of the looks are the shipped template. The model supplies the lock, and its holders as Multiplexer::Section.

#include "model/relacy_atomics.h"

#include <mutex>

#include "model/search.h"
#include "model/waiting.h"
#include "sync/left_work.h"

namespace fastpool::model {
namespace {

struct Given {
  Given* next_left = nullptr;
  Plain<bool> open{true};  // guarded by the lock
  int ended = 0;           ///< the model's own
};
using ShippedLeft = sync::BasicLeftWork<Given, Mutex, Given*>;

/// What a mutant replaces.
struct AsShipped {
  using Left = ShippedLeft;
  static constexpr bool tries_for_the_lock = true;
  static constexpr bool looks_again = true;
  static constexpr bool looks_while_it_holds = false;
};

template <typename Rules>
class Connection {
 public:
  /// Holds the lock, as Multiplexer::Section does.
  class Section {
   public:
    explicit Section(Connection& connection) : connection_(connection) {
      connection_.mutex_.lock();
      serve();
    }
    struct Entered {};
    Section(Connection& connection, Entered) : connection_(connection) { serve(); }
    Section(const Section&) = delete;
    Section& operator=(const Section&) = delete;
    ~Section() {
      if (Rules::looks_while_it_holds) serve();
      leave();
      if (Rules::looks_again) connection_.left_.look_again(*this);
    }
    [[nodiscard]] bool try_enter() { return connection_.mutex_.try_lock(); }
    void serve() {
      connection_.left_.take([](Given& stream) { end(stream); });
    }
    void leave() { connection_.mutex_.unlock(); }

   private:
    Connection& connection_;
  };

  void give_up(Given& stream) {
    left_.leave(&stream);
    if (!Rules::tries_for_the_lock || !mutex_.try_lock()) return;
    const Section section(*this, typename Section::Entered{});
  }
  /// The peer's end of a stream.
  void hear_end_of(Given& stream) {
    const Section section(*this);
    end(stream);
  }
  void pass_by() { const Section section(*this); }

 private:
  static void end(Given& stream) {
    if (!stream.open.get()) return;
    stream.open.set(false);
    RL_ASSERT(++stream.ended == 1);
  }

  FirmMutex mutex_;
  typename Rules::Left left_;
};

/// The first threads each give a stream up; the last hears the end of the first of them, and comes by once more.
template <typename Rules, unsigned threads>
struct AllGiveUp : rl::test_suite<AllGiveUp<Rules, threads>, rl::thread_id_t{threads}> {
  Connection<Rules> connection;
  Given streams[threads - 1];

  void thread(unsigned index) {
    if (index + 1 < threads) {
      connection.give_up(streams[index]);
      return;
    }
    connection.hear_end_of(streams[0]);
    connection.pass_by();
  }
  void after() {
    for (const Given& each : streams)
      RL_ASSERT(each.ended == 1);  // and nobody was at the lock since
  }
};

TEST(model, a_stream_that_is_given_up_is_ended_once_by_whoever_holds_the_lock) {
  expect_holds<AllGiveUp<AsShipped, 2>>(every_schedule());
  expect_holds<AllGiveUp<AsShipped, 3>>(up_to_preemptions(3));
  expect_holds<AllGiveUp<AsShipped, 4>>(random_schedules(100'000));
}

struct NoSecondLook : AsShipped {
  static constexpr bool looks_again = false;
};
TEST(model, mutant_a_holder_that_does_not_look_for_work_after_it) {
  expect_caught<AllGiveUp<NoSecondLook, 3>>(up_to_preemptions(3), rl::test_result_user_assert_failed);
}

/// Mutant: the look comes before the lock is free, when a thread that leaves work cannot have it yet.
struct LooksTooEarly : NoSecondLook {
  static constexpr bool looks_while_it_holds = true;
};
TEST(model, mutant_a_holder_that_looks_for_work_before_it_gives_the_lock_back) {
  expect_caught<AllGiveUp<LooksTooEarly, 3>>(up_to_preemptions(3), rl::test_result_user_assert_failed);
}

struct NeverTries : AsShipped {
  static constexpr bool tries_for_the_lock = false;
};
TEST(model, mutant_a_thread_that_leaves_work_and_does_not_try_for_the_lock) {
  expect_caught<AllGiveUp<NeverTries, 3>>(up_to_preemptions(3), rl::test_result_user_assert_failed);
}

/// Mutant: what is listed stays listed while it is done.
struct LeftListed : ShippedLeft {
  template <typename Do>
  void take(Do&& work_on) {
    Given* each = nullptr;
    {
      const std::lock_guard lock(mutex_);
      each = last_;
    }
    for (; each != nullptr; each = each->next_left)
      work_on(*each);
    const std::lock_guard lock(mutex_);
    last_ = nullptr;  // what has come meanwhile is lost
  }
};
struct TakesInTwoSteps : AsShipped {
  using Left = LeftListed;
};
TEST(model, mutant_a_list_that_is_emptied_after_its_work_was_done) {
  expect_caught<AllGiveUp<TakesInTwoSteps, 3>>(up_to_preemptions(3), rl::test_result_user_assert_failed);
}

}  // namespace
}  // namespace fastpool::model
