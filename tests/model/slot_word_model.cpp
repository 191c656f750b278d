// One slot, which threads lease, return, reap, hang up and unlink: it has one owner at a time, and one thread frees it.
//
// The word, and the orders in which a slot, a lease and a spare dial end, are the shipped templates. The models' threads do what
// a user may choose: lease, use, return, reap.

#include "model/relacy_atomics.h"

#include <mutex>
#include <type_traits>

#include "model/search.h"
#include "support/unlinking.h"
#include "sync/atomics.h"
#include "sync/dial_claim.h"
#include "sync/lease_end.h"
#include "sync/slot_end.h"
#include "sync/slot_word.h"

namespace fastpool::model {
namespace {

using RelaxedAtomics = OrderedAtomics<Orders::relaxed>;

template <typename Word>
void make_idle(Word& word) {
  RL_ASSERT(word.reserve_dial());
  RL_ASSERT(word.park_dialed());
}

// ---- leases ----------------------------------------------------------------------------------------------------------

/// All threads lease the slot, and write to it during their lease.
template <typename Atomics, rl::thread_id_t threads>
struct AllLeaseIt : rl::test_suite<AllLeaseIt<Atomics, threads>, threads> {
  using Word = sync::BasicSlotWord<Atomics>;
  Word word;
  Plain<int> connection;
  int leases = 0;

  void before() { make_idle(word); }
  void thread(unsigned) {
    const auto view = support::lease_popped(word);
    if (!view) return;
    connection.set(connection.get() + 1);
    ++leases;
    RL_ASSERT(word.park(view->generation()));
  }
  void after() {
    RL_ASSERT(leases >= 1);
    RL_ASSERT(connection.get() == leases);
    RL_ASSERT(word.load().state() == Word::State::idle);
  }
};

/// Mutant: a thread ends the lease that is current, not the lease that it was given.
template <typename Atomics>
struct CarelessWord : sync::BasicSlotWord<Atomics> {
  using Base = sync::BasicSlotWord<Atomics>;
  [[nodiscard]] typename Base::Step park(std::uint32_t) { return Base::park(Base::load().generation()); }
  [[nodiscard]] typename Base::Step begin_close(std::uint32_t) { return Base::begin_close(Base::load().generation()); }
};

/// One thread returns its lease twice, while the other may have leased the slot again.
template <typename Word, bool closes>
struct OneGivesBackTwice : rl::test_suite<OneGivesBackTwice<Word, closes>, 2> {
  Word word;

  void before() { make_idle(word); }
  void thread(unsigned index) {
    const auto view = support::lease_popped(word);
    if (!view) return;
    RL_ASSERT(word.park(view->generation()));
    if (index == 0) (void)(closes ? word.begin_close(view->generation()).made : word.park(view->generation()).made);
  }
  void after() { RL_ASSERT(word.load().state() == Word::State::idle); }
};

TEST(model, a_slot_has_one_owner_at_a_time) {
  expect_holds<AllLeaseIt<RelacyAtomics, 2>>(every_schedule());
  expect_holds<AllLeaseIt<RelacyAtomics, 3>>(up_to_preemptions(4));
}

TEST(model, a_stale_id_ends_no_lease) {
  expect_holds<OneGivesBackTwice<sync::BasicSlotWord<RelacyAtomics>, false>>(every_schedule());
  expect_holds<OneGivesBackTwice<sync::BasicSlotWord<RelacyAtomics>, true>>(every_schedule());
}

TEST(model, mutant_a_slot_word_without_memory_order) {
  expect_caught<AllLeaseIt<RelaxedAtomics, 2>>(every_schedule(), rl::test_result_data_race);
}

TEST(model, mutant_a_lease_ended_without_its_generation) {
  expect_caught<OneGivesBackTwice<CarelessWord<RelacyAtomics>, false>>(every_schedule(),
                                                                       rl::test_result_user_assert_failed);
  expect_caught<OneGivesBackTwice<CarelessWord<RelacyAtomics>, true>>(every_schedule(),
                                                                      rl::test_result_user_assert_failed);
}

// ---- ends ------------------------------------------------------------------------------------------------------------

/// Mutant: the thread that has emptied a slot frees it, linked or not.
struct SlotEndOfOneParty : sync::SlotEnd {
  template <typename Word, typename Give>
  static void finish(Word& word, Give give) {
    (void)word.finish_emptied();
    give();
    word.free_closed();
  }
};

/// An acquirer has just unlinked the cell and takes it; an expiry may reap it; its peer hangs up. In the end the slot is free,
/// its connection is closed, and exactly one thread freed it.
template <typename Atomics, typename SlotEnd>
struct ItsPeerHangsUp : rl::test_suite<ItsPeerHangsUp<Atomics, SlotEnd>, 3> {
  using Word = sync::BasicSlotWord<Atomics>;
  Word word;
  sync::BasicCount<Atomics> dropped_dials;
  struct {
    static void drop() {}
  } tombstones;  ///< uncounted here
  Plain<int> connection;
  int freed = 0;
  bool linked = false;

  void before() {
    make_idle(word);
    connection.set(1);
  }
  auto give_cell() {
    return [this] {
      RL_ASSERT(connection.get() == 0);
      ++freed;
    };
  }
  void close_it() {
    RL_ASSERT(connection.get() == 1);
    connection.set(0);
    SlotEnd::finish(word, give_cell());
  }
  void unlinked(const typename Word::Change& change) {
    if (change.before.state() == Word::State::closing)
      SlotEnd::unlinked(tombstones, word, change.after.finished(), give_cell());
  }
  auto reap() {
    return [this](const auto& seen) {
      return SlotEnd::reap(seen, dropped_dials, [&] { return word.try_reap(seen); }, [] {});
    };
  }
  void acquire() {
    const auto change = word.unlink();
    unlinked(change);
    if (change.before.state() != Word::State::idle) return;
    RL_ASSERT(connection.get() == 1);
    if (change.after.reusable() && word.park(change.after.generation())) {
      linked = true;
    } else {
      RL_ASSERT(word.begin_close(change.after.generation()));
      close_it();
    }
  }
  void expire() {
    const auto seen = word.load();
    if (seen.state() == Word::State::idle && reap()(seen)) close_it();
  }
  void hang_up() {
    if (SlotEnd::hang_up(word, [] { return true; }, reap())) close_it();
  }
  void thread(unsigned index) {
    if (index == 0) {
      acquire();
    } else if (index == 1) {
      hang_up();
    } else {
      expire();
    }
  }
  void after() {
    if (linked) unlinked(word.unlink());  // the next thread that pops it
    RL_ASSERT(freed == 1);
    RL_ASSERT(connection.get() == 0);
    RL_ASSERT(word.load().state() == Word::State::free);
    RL_ASSERT(word.load().reusable());
  }
};

TEST(model, a_hung_up_connection_is_closed_once_and_its_slot_freed_once) {
  expect_holds<ItsPeerHangsUp<RelacyAtomics, sync::SlotEnd>>(up_to_preemptions(5));
}

TEST(model, mutant_a_reaper_that_frees_a_linked_slot) {
  expect_caught<ItsPeerHangsUp<RelacyAtomics, SlotEndOfOneParty>>(up_to_preemptions(5),
                                                                  rl::test_result_user_assert_failed);
}

TEST(model, mutant_a_close_without_memory_order) {
  expect_caught<ItsPeerHangsUp<RelaxedAtomics, sync::SlotEnd>>(up_to_preemptions(5), rl::test_result_data_race);
}

/// Mutant: the word is loaded again before it is reaped.
struct ReloadedWord : sync::BasicSlotWord<RelacyAtomics> {
  using Base = sync::BasicSlotWord<RelacyAtomics>;
  bool try_reap(const View&) { return Base::try_reap(load()); }
};

/// A reaper finds the connection expired, while another thread leases it and returns it with a new deadline.
template <typename Word>
struct ItIsUsedMeanwhile : rl::test_suite<ItIsUsedMeanwhile<Word>, 2> {
  Word word;
  RelacyAtomics::Atomic<int> deadline{0};  // an Observable

  void before() { make_idle(word); }
  void thread(unsigned index) {
    if (index == 0) {
      const auto view = support::lease_popped(word);
      if (!view) return;
      deadline.store(1, std::memory_order_relaxed);
      RL_ASSERT(word.park(view->generation()));
    } else {
      const auto seen = word.load();
      if (seen.state() != Word::State::idle || deadline.load(std::memory_order_relaxed) != 0) return;
      if (word.try_reap(seen)) {
        RL_ASSERT(deadline.load(std::memory_order_relaxed) == 0);
      }
    }
  }
};

TEST(model, a_reaper_ends_only_the_connection_that_it_found_expired) {
  expect_holds<ItIsUsedMeanwhile<sync::BasicSlotWord<RelacyAtomics>>>(every_schedule());
}

TEST(model, mutant_a_reaper_that_loads_the_word_again_before_it_reaps) {
  expect_caught<ItIsUsedMeanwhile<ReloadedWord>>(every_schedule(), rl::test_result_user_assert_failed);
}

// ---- streams ---------------------------------------------------------------------------------------------------------

/// Mutant: the lease that is returned leaves no note to the stream.
struct HeedlessWord : sync::BasicSlotWord<RelacyAtomics> {
  static bool end_later(std::uint32_t, bool) { return true; }
};

/// One thread returns the lease while its stream ends on another: exactly one of the two parks it.
template <typename Word>
struct AStreamEndsMeanwhile : rl::test_suite<AStreamEndsMeanwhile<Word>, 2> {
  Word word;
  std::uint32_t lease = 0;
  int parked = 0;

  void before() {
    make_idle(word);
    lease = support::lease_popped(word)->generation();
    RL_ASSERT(word.begin_stream(lease));
  }
  /// The lease has its connection all the time.
  struct Host {
    AStreamEndsMeanwhile& model;
    static bool drains() { return false; }
    bool end_connection(const auto&) {
      if (!model.word.park(model.lease)) return false;
      ++model.parked;
      return true;
    }
    static bool abandon_dial() { return end_bare(); }
    static bool end_bare() {
      RL_ASSERT(false);
      return true;
    }
  };
  void thread(unsigned index) {
    if (index == 0) {
      (void)sync::LeaseEnd::release(word, lease, Host{*this});
    } else {
      sync::LeaseEnd::end_stream(word, lease, Host{*this});
    }
  }
  void after() {
    RL_ASSERT(parked == 1);
    RL_ASSERT(word.load().state() == Word::State::idle);
    RL_ASSERT(!word.load().ended());
  }
};

TEST(model, a_lease_returned_while_its_stream_ends_is_parked_once) {
  expect_holds<AStreamEndsMeanwhile<sync::BasicSlotWord<RelacyAtomics>>>(every_schedule());
}

TEST(model, mutant_a_lease_returned_without_a_note_to_the_stream) {
  expect_caught<AStreamEndsMeanwhile<HeedlessWord>>(every_schedule(), rl::test_result_user_assert_failed);
}

// ---- the dial of a lease ---------------------------------------------------------------------------------------------

enum class Abandon : std::uint8_t { with_its_own_step, as_any_lease };

/// Mutant: a lease whose dial is under way is closed like any other lease.
struct HastyWord : sync::BasicSlotWord<RelacyAtomics> {
  using Base = sync::BasicSlotWord<RelacyAtomics>;
  [[nodiscard]] typename Base::Step begin_close(std::uint32_t generation) {
    (void)Base::end_connect(false);
    return Base::begin_close(generation);
  }
};

/// A lease connects on first use, and is returned while its dial ends on another thread: one of the two threads parks the
/// connection, and it is never seated in a slot that another thread owns.
template <Abandon abandon>
struct ItsDialEndsMeanwhile : rl::test_suite<ItsDialEndsMeanwhile<abandon>, 2> {
  using Word = std::conditional_t<abandon == Abandon::with_its_own_step, sync::BasicSlotWord<RelacyAtomics>, HastyWord>;
  using State = typename sync::BasicSlotWord<RelacyAtomics>::State;
  Word word;
  rl::mutex mutex;  // the endpoint's
  std::uint32_t lease = 0;
  Plain<int> connection;
  int parked = 0;
  int closed = 0;

  void before() {
    lease = *word.reserve_lease();
    RL_ASSERT(word.begin_connect(lease));
  }
  struct Host {
    ItsDialEndsMeanwhile& model;
    static bool drains() { return false; }
    bool end_connection(const auto&) {
      RL_ASSERT(model.connection.get() == 1);
      if (!model.word.park(model.lease)) return false;
      ++model.parked;
      return true;
    }
    bool abandon_dial() {
      if (abandon == Abandon::as_any_lease) return end_bare();
      Lock lock(model.mutex);
      return model.word.abandon_dial(model.lease);
    }
    bool end_bare() {
      if (!model.word.begin_close(model.lease)) return false;
      sync::SlotEnd::finish(model.word, [this] { ++model.closed; });
      return true;
    }
  };
  void give_back() { (void)sync::LeaseEnd::release(word, lease, Host{*this}); }
  void dial_done() {
    Lock lock(mutex);
    RL_ASSERT(sync::DialClaim::by_report(word));
    connection.set(1);
    if (word.end_connect(true)) return;
    RL_ASSERT(word.park_dialed());
    ++parked;
  }
  void thread(unsigned index) {
    if (index == 0) {
      give_back();
    } else {
      dial_done();
    }
  }
  void after() {
    RL_ASSERT(parked == 1 && closed == 0);
    const auto now = word.load();
    RL_ASSERT(now.state() == State::idle && now.seated() && !now.connecting());
    RL_ASSERT(now.generation() != lease);
  }
};

TEST(model, a_lease_returned_during_its_dial_leaves_the_connection_to_the_endpoint) {
  expect_holds<ItsDialEndsMeanwhile<Abandon::with_its_own_step>>(every_schedule());
}

TEST(model, mutant_a_lease_closed_during_its_dial) {
  expect_caught<ItsDialEndsMeanwhile<Abandon::as_any_lease>>(every_schedule(), rl::test_result_user_assert_failed);
}

/// A place without a connection is returned, leased again and reaped: it has one owner, which sees that it has no connection.
template <typename Atomics>
struct APlaceIsKept : rl::test_suite<APlaceIsKept<Atomics>, 3> {
  using Word = sync::BasicSlotWord<Atomics>;
  using State = typename Word::State;
  Word word;
  std::uint32_t lease = 0;
  Plain<int> touched;
  bool reaped = false;

  void before() { lease = *word.reserve_lease(); }
  void touch() { touched.set(touched.get() + 1); }
  void thread(unsigned index) {
    if (index == 0) {
      touch();
      RL_ASSERT(!word.park(lease));
      RL_ASSERT(word.park_vacant(lease));
    } else if (index == 1) {
      const auto view = support::lease_popped(word);
      if (!view) return;
      touch();
      RL_ASSERT(!view->seated());
      RL_ASSERT(word.begin_connect(view->generation()));
    } else {
      const auto seen = word.load();
      if (seen.state() != State::vacant || !word.try_reap(seen)) return;
      touch();
      reaped = true;
    }
  }
  void after() {
    const auto now = word.load();
    RL_ASSERT(now.generation() != lease);
    RL_ASSERT(now.state() == (reaped ? State::closing : now.connecting() ? State::leased : State::vacant));
  }
};

// ---- a spare dial: no caller waits for it ----------------------------------------------------------------------------

/// Mutant: a caller looks whether the dial is spare, and does not claim it.
struct ClaimOfNoCaller : sync::DialClaim {
  template <typename Word>
  static Claimed by_caller(Word& word) {
    return word.load().spare() ? Claimed::was_spare : Claimed::no;
  }
};
/// Mutant: the thread that reports the dial's end does not ask whether it was dropped.
struct ClaimOfNoReport : sync::DialClaim {
  template <typename Word>
  static bool by_report(Word&) {
    return true;
  }
};

/// No caller waits for a dial. A newcomer may bind to it, a caller of another endpoint may drop it for its place, and it ends.
/// It has one owner at a time, and in the end the slot holds its connection or was freed once.
template <typename DialClaim>
struct ASpareDial : rl::test_suite<ASpareDial<DialClaim>, 3> {
  using Atomics = RelacyAtomics;
  using Word = sync::BasicSlotWord<Atomics>;
  using State = typename Word::State;
  Word word;
  rl::mutex mutex;  // the endpoint's
  sync::BasicCount<Atomics> dropped_dials;
  Plain<bool> listed{true};
  Plain<int> connection;
  Plain<bool> reported{false};
  bool bound = false;
  bool parked = false;
  int freed = 0;

  void before() {
    RL_ASSERT(word.reserve_dial());
    RL_ASSERT(word.spare_dial());
  }
  auto give_cell() {
    return [this] {
      RL_ASSERT(connection.get() == 0);
      RL_ASSERT(reported.get());  // else the report would be taken for that of the cell's next dial
      ++freed;
    };
  }
  void bind() {
    Lock lock(mutex);
    if (listed.get()) bound = DialClaim::by_caller(word) != DialClaim::Claimed::no;
  }
  void drop() {
    const auto seen = word.load();
    const auto step = [&] { return word.try_reap(seen); };
    if (!seen.spare() || !sync::SlotEnd::reap(seen, dropped_dials, step, [] {})) return;
    {
      Lock lock(mutex);
      RL_ASSERT(!bound);
      listed.set(false);
    }
    sync::SlotEnd::finish(word, give_cell());
  }
  void dial_done() {
    reported.set(true);
    {
      Lock lock(mutex);
      if (DialClaim::by_report(word)) {
        listed.set(false);
        connection.set(1);
        parked = word.park_dialed().made;
        RL_ASSERT(parked);
        return;
      }
    }
    sync::SlotEnd::dial_ended(word, dropped_dials, give_cell());
  }
  void thread(unsigned index) {
    if (index == 0) {
      bind();
    } else if (index == 1) {
      drop();
    } else {
      dial_done();
    }
  }
  void after() {
    RL_ASSERT(parked == (freed == 0));
    RL_ASSERT(!bound || parked);
    RL_ASSERT(dropped_dials.get() == 0);
    const auto now = word.load();
    RL_ASSERT(now.state() == (parked ? State::idle : State::free));
    RL_ASSERT(!now.spare() && !now.ended());
  }
};

TEST(model, a_spare_dial_is_bound_dropped_or_ended_by_one_thread) {
  expect_holds<ASpareDial<sync::DialClaim>>(up_to_preemptions(4));
}

TEST(model, mutant_a_newcomer_that_does_not_claim_the_dial) {
  expect_caught<ASpareDial<ClaimOfNoCaller>>(up_to_preemptions(4), rl::test_result_user_assert_failed);
}

TEST(model, mutant_a_dial_that_ends_without_checking_whether_it_was_dropped) {
  expect_caught<ASpareDial<ClaimOfNoReport>>(up_to_preemptions(4), rl::test_result_user_assert_failed);
}

TEST(model, a_vacant_place_is_leased_or_reaped_by_one_thread) {
  expect_holds<APlaceIsKept<RelacyAtomics>>(every_schedule());
}

TEST(model, mutant_a_vacant_place_without_memory_order) {
  expect_caught<APlaceIsKept<RelaxedAtomics>>(every_schedule(), rl::test_result_data_race);
}

}  // namespace
}  // namespace fastpool::model
