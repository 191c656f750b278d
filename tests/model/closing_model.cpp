// A pool drains or is closed while connections are given back and taken, and while a caller waits: nothing stays idle in it, a
// lease that outlives the close is marked, and a queued caller is served by a pool that drains and fails in one that is closed.
//
// The refusal, the lists, the slot word, the queue, and the orders in which a slot is parked and ends are the shipped templates.
// A waiting caller does not sleep here: its result is read at the end. Its threads do what a user may choose: take, give back,
// queue, end the pool.

#include "model/relacy_atomics.h"

#include <mutex>
#include <ostream>

#include "model/search.h"
#include "sync/idle_list.h"
#include "sync/parking.h"
#include "sync/refusal.h"
#include "sync/slot_end.h"
#include "sync/slot_word.h"
#include "sync/tagged_list.h"
#include "sync/tombstones.h"
#include "sync/waiter_queue.h"

namespace fastpool::model {
namespace {

/// What a mutant replaces.
struct AsShipped {
  using Atomics = RelacyAtomics;
  using Refusal = sync::BasicRefusal<Atomics>;
};

enum class Gives : std::uint8_t {
  connection,  ///< a lease with its connection
  place,       ///< a bare lease, which never connected
  dialed       ///< a dial that ends
};
enum class Takes : std::uint8_t { from_the_list, by_hint };
enum class Ends : std::uint8_t { drains, closes };
enum class Joins : std::uint8_t { before, meanwhile };
enum class Patience : std::uint8_t { lasts, ends };
/// What became of a caller that queued.
enum class Outcome : std::uint8_t { waits, lease, taken, dial, failed, gave_up };
std::ostream& operator<<(std::ostream& out, Outcome outcome) {
  return out << static_cast<unsigned>(outcome);
}

/// A pool of one slot and one endpoint. The thread that gives begins with the slot.
template <typename Rules, Gives gives>
class ModelPool {
 public:
  using Atomics = typename Rules::Atomics;
  using Word = sync::BasicSlotWord<Atomics>;
  using List = sync::BasicIdleList<Atomics>;
  using For = typename List::For;
  static constexpr std::uint32_t none = 0;  ///< of generations

  /// Like pool::Waiter. The lock guards all members.
  struct Waiter {
    Plain<bool> done{false};
    Plain<Outcome> outcome{Outcome::waits};
    Plain<std::uint32_t> lease{none};
    std::uint64_t turn = 0;
    Waiter* previous = nullptr;
    Waiter* next = nullptr;
    void wake() {}  // it does not sleep
  };

  void begin() {
    if (gives == Gives::place) {
      given_ = *word_.reserve_lease();
    } else {
      RL_ASSERT(word_.reserve_dial());
      connection_.set(1);
      if (gives == Gives::connection) given_ = *word_.lease_dialed();
    }
  }
  void join(Waiter& waiter) { queue_.join(waiter); }

  // ---- the threads -----------------------------------------------------------------------------------------------------

  void give() {
    if (gives == Gives::dialed) {
      end_dial();
    } else {
      release(given_);
    }
  }
  /// \returns the lease's generation, or `none`.
  std::uint32_t take(Takes takes) {
    const bool late = refused_;
    const std::uint32_t lease = refusal_.take([&] { return pop(For::newcomer, takes); }, release());
    RL_ASSERT(lease == none || !late);
    return lease;
  }
  /// \returns the same for a caller that queues if it finds nothing. It calls poll() then.
  std::uint32_t acquire(Waiter& waiter) {
    if (refusal_.refusing()) return none;
    if (const std::uint32_t lease = take(Takes::from_the_list); lease != none) return lease;
    const std::lock_guard lock(mutex_);
    join(waiter);
    refusal_.queued([&] { hand(waiter, Outcome::failed); });
    dispatch_locked();
    return none;
  }
  /// The next step of a queued caller: takes what it was handed, and else waits on or gives up.
  std::uint32_t poll(Waiter& waiter, Patience patience) {
    Outcome outcome{};
    {
      const std::lock_guard lock(mutex_);
      if (patience == Patience::ends) queue_.give_up(waiter, [&] { waiter.outcome.set(Outcome::gave_up); });
      outcome = waiter.outcome.get();
    }
    if (outcome != Outcome::lease) return none;
    waiter.outcome.set(Outcome::taken);
    const bool late = closed_;
    const std::uint32_t lease = refusal_.take_queued([&] { return waiter.lease.get(); }, release());
    RL_ASSERT(lease == none || !late);
    return lease;
  }
  void release(std::uint32_t lease) {
    const auto parks = [&] {
      return gives == Gives::place ? sync::Parking::park(ReturnedPlace(*this, lease))
                                   : sync::Parking::park(ReturnedConnection(*this, lease));
    };
    const auto awaited = [this] { return gives != Gives::place && idle_.waiting() != 0; };
    if (refusal_.park(awaited, parks, close_idle())) return;
    RL_ASSERT(tombstones_.close(word_, [&] { return word_.begin_close(lease); }));
    close_it();
  }
  void end(Ends ends) {
    const auto announce = [this] { refused_ = true; };
    if (ends == Ends::drains) {
      refusal_.drain(announce, close_idle());
    } else {
      refusal_.close(announce, [this] { end_users(); }, close_idle());
      closed_ = true;
    }
    ended_ = true;
  }

  // ---- what they left --------------------------------------------------------------------------------------------------

  /// Whether drain() or close() has returned.
  [[nodiscard]] bool ended() const { return ended_; }
  /// \param lease which one a caller still has, if one does.
  void expect_nothing_idle(std::uint32_t lease, Ends ends) {
    RL_ASSERT(queue_.empty());
    RL_ASSERT(ended_connections_ == (lease == none ? 1 : 0));
    const auto word = word_.load();
    if (lease != none) {
      RL_ASSERT(word_.leased_as(lease));
      RL_ASSERT(word.must_close() == (ends == Ends::closes));
    } else if (word.state() == Word::State::closing) {
      RL_ASSERT(word_.unlink().after.finished());  // its cell is linked yet
    }
  }

 private:
  auto link() {
    return [this](std::uint32_t) -> auto& { return link_; };
  }
  auto release() {
    return [this](std::uint32_t lease) { release(lease); };
  }
  auto close_idle() {
    return [this] {
      const auto seen = word_.load();
      const auto step = [&] { return tombstones_.reap(word_, seen); };
      if (sync::SlotEnd::reap(seen, dropped_dials_, step, [] {})) close_it();
    };
  }

  std::uint32_t pop(For who, Takes takes) {
    if (gives == Gives::place) return pop_vacant();
    if (takes == Takes::by_hint) {
      if (const auto taken = idle_.take(0, word_, [] { return true; })) return taken.word.generation();
    }
    const auto popped = idle_.pop(
        who, link(), [this](std::uint32_t) -> Word& { return word_; },
        [this](std::uint32_t, bool finished) { unlinked(finished); });
    return popped ? popped.word.generation() : none;
  }
  std::uint32_t pop_vacant() {
    if (vacant_.pop(link()) == sync::BasicTaggedList<Atomics>::none) return none;
    const auto change = word_.unlink();
    if (change.before.state() == Word::State::vacant) return change.after.generation();
    unlinked(change.after.finished());
    return none;
  }
  void unlinked(bool finished) {
    sync::SlotEnd::unlinked(tombstones_, word_, finished, [] {});
  }

  /// A lease whose connection becomes idle.
  struct ReturnedConnection : sync::ParkingHost {
    ModelPool& pool;
    std::uint32_t lease;

    ReturnedConnection(ModelPool& its_pool, std::uint32_t its_lease) : pool(its_pool), lease(its_lease) {}
    auto make_ready() { return pool.word_.park(lease); }
    bool list(typename Word::Step parked) { return pool.idle_.put(0, parked, pool.link()); }
    void serve() {
      const std::lock_guard lock(pool.mutex_);
      pool.dispatch_locked();
    }
  };
  /// A bare lease whose place becomes vacant. No caller waits for one.
  struct ReturnedPlace : sync::ParkingHost {
    ModelPool& pool;
    std::uint32_t lease;

    ReturnedPlace(ModelPool& its_pool, std::uint32_t its_lease) : pool(its_pool), lease(its_lease) {}
    bool make_ready() { return pool.word_.park_vacant(lease); }
    bool list(bool) {
      pool.vacant_.push(0, pool.link());
      return false;
    }
  };
  /// The connection of a dial.
  struct DialedConnection : sync::ParkingHost {
    ModelPool& pool;

    explicit DialedConnection(ModelPool& its_pool) : pool(its_pool) {}
    bool awaited() { return !pool.queue_.empty(); }
    void hand_to_first() {
      Waiter& first = *pool.queue_.front();
      first.lease.set(*pool.word_.lease_dialed());
      pool.hand(first, Outcome::lease);
    }
    void close() {}  // there is no limit on what is idle
    auto make_ready() { return pool.word_.park_dialed(); }
    bool list(typename Word::Step parked) { return pool.idle_.put(0, parked, pool.link()); }
  };
  void end_dial() {
    {
      const std::lock_guard lock(mutex_);
      if (!sync::Parking::park_dialed_locked(DialedConnection(*this))) return;
    }
    refusal_.parked(close_idle());
  }

  void hand(Waiter& waiter, Outcome outcome) {
    queue_.end(waiter, [&] { waiter.outcome.set(outcome); });
  }
  void dispatch_locked() {
    const auto begin_dial = [this] {
      if (!room_.get()) return;
      RL_ASSERT(!closed_);
      hand(*queue_.front(), Outcome::dial);  // one that always serves
    };
    queue_.dispatch([this] { return pop(For::waiter, Takes::from_the_list); },
                    [this](Waiter& first, std::uint32_t lease) {
                      first.lease.set(lease);
                      hand(first, Outcome::lease);
                    },
                    [] { return false; }, begin_dial);  // no sweep
  }
  // In any order: a caller that queues, or takes, looks at the flag.
  void end_users() {
    {
      const std::lock_guard lock(mutex_);
      queue_.fail_all([this](Waiter& waiter) { hand(waiter, Outcome::failed); });
    }
    (void)word_.mark_must_close();
  }
  /// Empties the slot that this thread has brought to Closing, and has the caller that waits dialed for.
  void close_it() {
    RL_ASSERT(connection_.get() == (gives == Gives::place ? 0 : 1));
    connection_.set(0);
    ++ended_connections_;
    sync::SlotEnd::finish(word_, [] {});
    const std::lock_guard lock(mutex_);
    room_.set(true);
    dispatch_locked();
  }

  typename Rules::Refusal refusal_;
  Word word_;
  typename Atomics::template Atomic<std::uint32_t> link_;
  List idle_;
  sync::BasicTaggedList<Atomics> vacant_;
  sync::BasicTombstones<Atomics> tombstones_;
  sync::BasicCount<Atomics> dropped_dials_;
  Plain<int> connection_;
  std::uint32_t given_ = none;

  Mutex mutex_;
  sync::BasicWaiterQueue<Waiter, Atomics> queue_{idle_};  // guarded by mutex_
  Plain<bool> room_{false};                               // the same: the connection has ended, another may be dialed

  // The model's own.
  bool refused_ = false;
  bool closed_ = false;
  bool ended_ = false;
  int ended_connections_ = 0;
};

// ---- a giver, a taker and an ender -----------------------------------------------------------------------------------

/// One thread gives back what it has, one takes what is idle and gives it back, and one ends the pool.
template <typename Rules, Gives gives, Ends ends, Takes takes = Takes::from_the_list>
struct ThePoolEnds : rl::test_suite<ThePoolEnds<Rules, gives, ends, takes>, 3> {
  using Pool = ModelPool<Rules, gives>;
  Pool pool;

  void before() { pool.begin(); }
  void thread(unsigned index) {
    if (index == 0) {
      pool.give();
    } else if (index == 1) {
      if (const std::uint32_t lease = pool.take(takes); lease != Pool::none) pool.release(lease);
    } else {
      pool.end(ends);
    }
  }
  void after() { pool.expect_nothing_idle(Pool::none, ends); }
};

TEST(model, nothing_stays_idle_in_a_pool_that_ends) {
  expect_holds<ThePoolEnds<AsShipped, Gives::connection, Ends::closes>>(up_to_preemptions(3));
  expect_holds<ThePoolEnds<AsShipped, Gives::connection, Ends::drains>>(up_to_preemptions(3));
  expect_holds<ThePoolEnds<AsShipped, Gives::connection, Ends::drains, Takes::by_hint>>(up_to_preemptions(3));
}

TEST(model, neither_a_vacant_place_nor_a_dialed_connection_stays_in_a_pool_that_ends) {
  expect_holds<ThePoolEnds<AsShipped, Gives::place, Ends::closes>>(up_to_preemptions(3));
  expect_holds<ThePoolEnds<AsShipped, Gives::place, Ends::drains>>(up_to_preemptions(3));
  expect_holds<ThePoolEnds<AsShipped, Gives::dialed, Ends::closes>>(up_to_preemptions(2));
  expect_holds<ThePoolEnds<AsShipped, Gives::dialed, Ends::drains>>(up_to_preemptions(2));
}

/// One thread takes a connection and keeps it, while one ends the pool.
template <typename Rules, Gives gives, Ends ends>
struct ALeaseOutlivesThePool : rl::test_suite<ALeaseOutlivesThePool<Rules, gives, ends>, 2> {
  using Pool = ModelPool<Rules, gives>;
  Pool pool;
  std::uint32_t lease = Pool::none;

  void before() {
    pool.begin();
    pool.give();
  }
  void thread(unsigned index) {
    if (index == 0) {
      lease = pool.take(Takes::from_the_list);
    } else {
      pool.end(ends);
    }
  }
  void after() { pool.expect_nothing_idle(lease, ends); }
};

TEST(model, a_lease_that_outlives_its_pool_is_marked) {
  expect_holds<ALeaseOutlivesThePool<AsShipped, Gives::connection, Ends::closes>>(up_to_preemptions(3));
  expect_holds<ALeaseOutlivesThePool<AsShipped, Gives::connection, Ends::drains>>(up_to_preemptions(3));
  expect_holds<ALeaseOutlivesThePool<AsShipped, Gives::place, Ends::closes>>(up_to_preemptions(3));
}

// ---- a caller that waits ---------------------------------------------------------------------------------------------

/// One thread gives back what it has, one ends the pool, and a caller waits for what is given back, and keeps what it gets.
template <typename Rules, Gives gives, Ends ends, Joins joins, Patience patience>
struct ACallerWaits : rl::test_suite<ACallerWaits<Rules, gives, ends, joins, patience>, 3> {
  using Pool = ModelPool<Rules, gives>;
  Pool pool;
  typename Pool::Waiter waiter;
  std::uint32_t lease = Pool::none;
  bool given_late = false;

  void before() {
    pool.begin();
    if (joins == Joins::before) pool.join(waiter);
  }
  void thread(unsigned index) {
    if (index == 0) {
      given_late = pool.ended();
      pool.give();
    } else if (index == 1) {
      if (joins == Joins::meanwhile) lease = pool.acquire(waiter);
      if (waiter.turn != 0) lease = pool.poll(waiter, patience);
    } else {
      pool.end(ends);
    }
  }
  void after() {
    if (waiter.turn != 0 && lease == Pool::none) lease = pool.poll(waiter, Patience::lasts);
    RL_ASSERT(waiter.turn == 0 || waiter.outcome.get() != Outcome::waits);
    pool.expect_nothing_idle(lease, ends);
    // Nothing else can have served it.
    if (given_late && ends == Ends::drains && joins == Joins::before && patience == Patience::lasts)
      RL_ASSERT(waiter.outcome.get() == Outcome::taken);
  }
};

TEST(model, a_queued_caller_is_served_by_a_pool_that_drains) {
  expect_holds<ACallerWaits<AsShipped, Gives::connection, Ends::drains, Joins::before, Patience::lasts>>(
      up_to_preemptions(2));
  expect_holds<ACallerWaits<AsShipped, Gives::connection, Ends::drains, Joins::before, Patience::ends>>(
      up_to_preemptions(2));
  expect_holds<ACallerWaits<AsShipped, Gives::connection, Ends::drains, Joins::meanwhile, Patience::lasts>>(
      up_to_preemptions(2));
  expect_holds<ACallerWaits<AsShipped, Gives::dialed, Ends::drains, Joins::before, Patience::ends>>(
      up_to_preemptions(2));
}

TEST(model, a_queued_caller_fails_in_a_pool_that_is_closed) {
  expect_holds<ACallerWaits<AsShipped, Gives::connection, Ends::closes, Joins::before, Patience::lasts>>(
      up_to_preemptions(2));
  expect_holds<ACallerWaits<AsShipped, Gives::connection, Ends::closes, Joins::meanwhile, Patience::lasts>>(
      up_to_preemptions(2));
  expect_holds<ACallerWaits<AsShipped, Gives::dialed, Ends::closes, Joins::meanwhile, Patience::lasts>>(
      up_to_preemptions(2));
}

// ---- mutants ---------------------------------------------------------------------------------------------------------

using Shipped = sync::BasicRefusal<RelacyAtomics>;
constexpr auto nothing = [] {};

/// Mutant: the giver does not look after it has parked.
struct RefusalLooksOnce : Shipped {
  template <typename Awaited, typename Step, typename CloseIdle>
  bool park(Awaited awaited, Step step, CloseIdle) {
    return Shipped::park(awaited, step, nothing);
  }
  template <typename CloseIdle>
  void parked(CloseIdle) {}
};
struct GiverLooksOnce : AsShipped {
  using Refusal = RefusalLooksOnce;
};
TEST(model, mutant_a_giver_that_does_not_check_again_whether_the_pool_ends) {
  // Of a lease, only drain() depends on it: close() has marked the leases, and a marked one is not parked.
  expect_caught<ThePoolEnds<GiverLooksOnce, Gives::connection, Ends::drains>>(up_to_preemptions(2),
                                                                              rl::test_result_user_assert_failed);
  expect_caught<ThePoolEnds<GiverLooksOnce, Gives::place, Ends::drains>>(up_to_preemptions(2),
                                                                         rl::test_result_user_assert_failed);
  expect_caught<ThePoolEnds<GiverLooksOnce, Gives::dialed, Ends::drains>>(up_to_preemptions(2),
                                                                          rl::test_result_user_assert_failed);
  expect_caught<ThePoolEnds<GiverLooksOnce, Gives::dialed, Ends::closes>>(up_to_preemptions(2),
                                                                          rl::test_result_user_assert_failed);
  expect_caught<ACallerWaits<GiverLooksOnce, Gives::connection, Ends::drains, Joins::before, Patience::ends>>(
      up_to_preemptions(2), rl::test_result_user_assert_failed);
}

/// Mutant: the taker does not look after it has taken.
struct RefusalOfNoTaker : Shipped {
  template <typename Step, typename GiveBack>
  auto take(Step step, GiveBack) {
    return step();
  }
};
struct TakerLooksNever : AsShipped {
  using Refusal = RefusalOfNoTaker;
};
TEST(model, mutant_a_taker_that_does_not_check_whether_the_pool_ends) {
  expect_caught<ThePoolEnds<TakerLooksNever, Gives::connection, Ends::drains>>(up_to_preemptions(2),
                                                                               rl::test_result_user_assert_failed);
  expect_caught<ALeaseOutlivesThePool<TakerLooksNever, Gives::connection, Ends::closes>>(
      up_to_preemptions(4), rl::test_result_user_assert_failed);
}

/// Mutant: a caller that was handed a connection does not look.
struct RefusalOfNoQueuedTaker : Shipped {
  template <typename Step, typename GiveBack>
  auto take_queued(Step step, GiveBack) {
    return step();
  }
};
struct WaiterLooksNever : AsShipped {
  using Refusal = RefusalOfNoQueuedTaker;
};
TEST(model, mutant_a_handed_over_connection_taken_from_a_closed_pool) {
  expect_caught<ACallerWaits<WaiterLooksNever, Gives::connection, Ends::closes, Joins::before, Patience::lasts>>(
      up_to_preemptions(2), rl::test_result_user_assert_failed);
}

/// Mutant: a caller that has queued does not look.
struct RefusalOfNoQueue : Shipped {
  template <typename Fail>
  void queued(Fail) {}
};
struct QueuesBlindly : AsShipped {
  using Refusal = RefusalOfNoQueue;
};
TEST(model, mutant_a_caller_that_queues_without_a_check_whether_the_pool_is_closed) {
  expect_caught<ACallerWaits<QueuesBlindly, Gives::connection, Ends::closes, Joins::meanwhile, Patience::lasts>>(
      up_to_preemptions(2), rl::test_result_user_assert_failed);
}

/// Mutant: the ender closes what is idle before it sets the flag.
struct RefusalThatClosesFirst : Shipped {
  template <typename Announce, typename CloseIdle>
  void drain(Announce announce, CloseIdle close_idle) {
    close_idle();
    Shipped::drain(announce, nothing);
  }
  template <typename Announce, typename EndUsers, typename CloseIdle>
  void close(Announce announce, EndUsers end_users, CloseIdle close_idle) {
    close_idle();
    Shipped::close(announce, end_users, nothing);
  }
};
struct EnderClosesFirst : AsShipped {
  using Refusal = RefusalThatClosesFirst;
};
TEST(model, mutant_an_ender_that_closes_what_is_idle_before_it_refuses) {
  expect_caught<ThePoolEnds<EnderClosesFirst, Gives::connection, Ends::drains>>(up_to_preemptions(2),
                                                                                rl::test_result_user_assert_failed);
  expect_caught<ThePoolEnds<EnderClosesFirst, Gives::connection, Ends::closes>>(up_to_preemptions(2),
                                                                                rl::test_result_user_assert_failed);
}

/// Mutant: the ender marks the leases, and fails the waiters, before it sets the flags.
struct RefusalThatMarksFirst : Shipped {
  template <typename Announce, typename EndUsers, typename CloseIdle>
  void close(Announce announce, EndUsers end_users, CloseIdle close_idle) {
    end_users();
    Shipped::close(announce, nothing, close_idle);
  }
};
struct EnderMarksFirst : AsShipped {
  using Refusal = RefusalThatMarksFirst;
};
TEST(model, mutant_an_ender_that_marks_the_leases_before_it_refuses) {
  expect_caught<ALeaseOutlivesThePool<EnderMarksFirst, Gives::connection, Ends::closes>>(
      up_to_preemptions(4), rl::test_result_user_assert_failed);
}

/// Mutant: a pool that drains parks nothing, not even for a caller that waits.
struct RefusalOfWaiters : Shipped {
  template <typename Awaited, typename Step, typename CloseIdle>
  bool park(Awaited, Step step, CloseIdle close_idle) {
    return Shipped::park([] { return false; }, step, close_idle);
  }
};
struct WaitersAreRefused : AsShipped {
  using Refusal = RefusalOfWaiters;
};
TEST(model, mutant_a_draining_pool_that_closes_what_a_caller_waits_for) {
  expect_caught<ACallerWaits<WaitersAreRefused, Gives::connection, Ends::drains, Joins::before, Patience::lasts>>(
      up_to_preemptions(2), rl::test_result_user_assert_failed);
}

struct WeakOrders : AsShipped {
  using Atomics = OrderedAtomics<Orders::no_total_order>;
  using Refusal = sync::BasicRefusal<Atomics>;
};
TEST(model, mutant_a_slot_and_a_refusal_without_a_common_order) {
  expect_caught<ThePoolEnds<WeakOrders, Gives::connection, Ends::drains>>(up_to_preemptions(3),
                                                                          rl::test_result_user_assert_failed);
  expect_caught<ALeaseOutlivesThePool<WeakOrders, Gives::connection, Ends::closes>>(up_to_preemptions(4),
                                                                                    rl::test_result_user_assert_failed);
}

}  // namespace
}  // namespace fastpool::model
