// The state word of a slot: every transition from every state, stale generations, flags, and which thread frees a tombstone.

#include "sync/slot_word.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "support/unlinking.h"

namespace fastpool::sync {
namespace {

using State = SlotWord::State;
using support::lease_popped;

/// The situation of a word: its state, and for a lease whether it is connected, connects, or has no connection.
enum class At : std::uint8_t { free, vacant, dialing, idle, leased, connecting, bare, closing };
constexpr At everywhere[] = {At::free,   At::vacant,     At::dialing, At::idle,
                             At::leased, At::connecting, At::bare,    At::closing};

At place_of(const SlotWord& word) {
  const auto view = word.load();
  switch (view.state()) {
    case State::free:
      return At::free;
    case State::vacant:
      return At::vacant;
    case State::dialing:
      return At::dialing;
    case State::idle:
      return At::idle;
    case State::closing:
      return At::closing;
    case State::leased:
      break;
  }
  EXPECT_FALSE(view.seated() && view.connecting());
  return view.seated() ? At::leased : view.connecting() ? At::connecting : At::bare;
}

/// Brings a new word into that situation. \returns its generation.
std::uint32_t bring_to(SlotWord& word, At place) {
  switch (place) {
    case At::free:
      break;
    case At::vacant:
      EXPECT_TRUE(word.park_vacant(*word.reserve_lease()));
      break;
    case At::dialing:
      EXPECT_TRUE(word.reserve_dial());
      break;
    case At::idle:
      EXPECT_TRUE(word.reserve_dial() && word.park_dialed());
      break;
    case At::leased:
      EXPECT_TRUE(word.reserve_dial() && word.lease_dialed());
      break;
    case At::connecting:
      EXPECT_TRUE(word.begin_connect(*word.reserve_lease()));
      break;
    case At::bare:
      EXPECT_TRUE(word.reserve_lease());
      break;
    case At::closing:
      EXPECT_TRUE(word.begin_close(*word.reserve_lease()));
      break;
  }
  EXPECT_EQ(place_of(word), place);
  return word.load().generation();
}

struct Transition {
  const char* name;
  std::vector<At> from;
  At to;
  bool of_one_lease;  ///< requires the generation of the lease
  std::function<bool(SlotWord&, std::uint32_t generation)> make;
};

const std::vector<Transition>& transitions() {
  using W = SlotWord;
  using G = std::uint32_t;
  static const std::vector<Transition> table = {
      {"reserve_dial", {At::free}, At::dialing, false, [](W& w, G) { return w.reserve_dial(); }},
      {"reserve_lease", {At::free}, At::bare, false, [](W& w, G) { return w.reserve_lease().has_value(); }},
      {"lease_dialed", {At::dialing}, At::leased, false, [](W& w, G) { return w.lease_dialed().has_value(); }},
      {"park_dialed", {At::dialing}, At::idle, false, [](W& w, G) { return bool(w.park_dialed()); }},
      {"park", {At::leased}, At::idle, true, [](W& w, G g) { return bool(w.park(g)); }},
      {"park_vacant", {At::bare}, At::vacant, true, [](W& w, G g) { return w.park_vacant(g); }},
      {"begin_close", {At::leased, At::bare}, At::closing, true, [](W& w, G g) { return bool(w.begin_close(g)); }},
      {"try_reap", {At::idle, At::vacant}, At::closing, false, [](W& w, G) { return w.try_reap(w.load()); }},
      {"begin_connect", {At::bare}, At::connecting, true, [](W& w, G g) { return w.begin_connect(g); }},
      {"end_connect", {At::connecting}, At::leased, false, [](W& w, G) { return w.end_connect(true).has_value(); }},
      {"end_connect", {At::connecting}, At::bare, false, [](W& w, G) { return w.end_connect(false).has_value(); }},
      {"unseat", {At::leased}, At::bare, true, [](W& w, G g) { return w.unseat(g); }},
      {"abandon_dial", {At::connecting}, At::dialing, true, [](W& w, G g) { return w.abandon_dial(g); }},
      {"spare_dial", {At::dialing}, At::dialing, false, [](W& w, G) { return w.spare_dial(); }},
      {"keep_dial", {At::dialing}, At::dialing, false, [](W& w, G) { return w.keep_dial(); }},
  };
  return table;
}

TEST(SlotWord, each_transition_succeeds_from_its_states_and_from_no_other) {
  for (const Transition& transition : transitions()) {
    for (const At place : everywhere) {
      SlotWord word;
      const std::uint32_t generation = bring_to(word, place);
      const bool done = transition.make(word, generation);
      const bool is_from = std::find(transition.from.begin(), transition.from.end(), place) != transition.from.end();
      EXPECT_EQ(done, is_from) << transition.name << " from " << static_cast<int>(place);
      EXPECT_EQ(place_of(word), done ? transition.to : place) << transition.name;
    }
  }
}

TEST(SlotWord, an_unlinked_cell_is_leased_with_its_connection_or_without) {
  SlotWord idle;
  (void)bring_to(idle, At::idle);
  EXPECT_TRUE(lease_popped(idle));
  EXPECT_EQ(place_of(idle), At::leased);
  SlotWord vacant;
  (void)bring_to(vacant, At::vacant);
  EXPECT_TRUE(lease_popped(vacant));
  EXPECT_EQ(place_of(vacant), At::bare);
  for (const At place : {At::free, At::dialing, At::leased, At::connecting, At::bare, At::closing}) {
    SlotWord word;
    (void)bring_to(word, place);
    EXPECT_FALSE(lease_popped(word));
  }
}

TEST(SlotWord, transitions_of_a_lease_require_its_generation) {
  for (const Transition& transition : transitions()) {
    if (!transition.of_one_lease) continue;
    SlotWord word;
    const std::uint32_t generation = bring_to(word, transition.from.front());
    EXPECT_FALSE(transition.make(word, generation + 1)) << transition.name;
    EXPECT_FALSE(transition.make(word, generation - 1)) << transition.name;
    EXPECT_EQ(place_of(word), transition.from.front()) << transition.name;
    EXPECT_TRUE(transition.make(word, generation)) << transition.name;
  }
}

TEST(SlotWord, every_end_of_a_lease_makes_its_id_stale) {
  for (const Transition& transition : transitions()) {
    if (!transition.of_one_lease) continue;
    const bool ends = transition.to != At::leased && transition.to != At::bare && transition.to != At::connecting;
    SlotWord word;
    const std::uint32_t generation = bring_to(word, transition.from.front());
    EXPECT_TRUE(word.leased_as(generation));
    EXPECT_TRUE(transition.make(word, generation));
    EXPECT_EQ(word.leased_as(generation), !ends) << transition.name;
    EXPECT_EQ(word.load().generation() != generation, ends) << transition.name;
  }
}

TEST(SlotWord, a_freed_slot_has_a_new_generation_and_no_flags) {
  SlotWord word;
  const std::uint32_t generation = *word.reserve_lease();
  EXPECT_TRUE(word.mark_must_close());
  EXPECT_TRUE(word.mark_peer_closed([] { return true; }));
  EXPECT_TRUE(word.begin_close(generation));
  EXPECT_TRUE(word.finish_emptied());
  word.free_closed();
  const auto view = word.load();
  EXPECT_EQ(view.state(), State::free);
  EXPECT_GT(view.generation(), generation);
  EXPECT_TRUE(view.reusable());
  EXPECT_FALSE(view.emptied() || view.linked() || view.ended() || view.seated());
}

TEST(SlotWord, freeing_requires_the_expected_state) {
  for (const At place : everywhere) {
    SlotWord word;
    (void)bring_to(word, place);
    EXPECT_EQ(word.fail_dial().made, place == At::dialing);
    EXPECT_EQ(place_of(word), place == At::dialing ? At::free : place);
  }
  for (const At place : everywhere) {
    SlotWord word;
    (void)bring_to(word, place);
    word.free_closed();
    EXPECT_EQ(place_of(word), place == At::closing ? At::free : place);
  }
}

TEST(SlotWord, the_generation_wraps_without_changing_other_fields) {
  SlotWord word;
  std::uint32_t generation = bring_to(word, At::leased);
  for (int i = 0; i < 5000; ++i) {  // beyond what the other fields hold
    ASSERT_TRUE(word.park(generation));
    generation = lease_popped(word)->generation();
  }
  EXPECT_EQ(word.load().stream_limit(), 1U);
  EXPECT_EQ(word.load().streams(), 0U);
}

class SlotWordStreams : public ::testing::Test {
 protected:
  SlotWord word_;
  const std::uint32_t lease_ = bring_to(word_, At::leased);
};

TEST_F(SlotWordStreams, one_stream_may_be_open_at_a_time) {
  EXPECT_TRUE(word_.begin_stream(lease_));
  EXPECT_FALSE(word_.begin_stream(lease_));
  EXPECT_TRUE(word_.end_stream(lease_));
  EXPECT_FALSE(word_.end_stream(lease_));
  EXPECT_TRUE(word_.begin_stream(lease_));
}

TEST_F(SlotWordStreams, a_lease_does_not_end_while_its_stream_is_open) {
  ASSERT_TRUE(word_.begin_stream(lease_));
  EXPECT_FALSE(word_.park(lease_));
  EXPECT_FALSE(word_.begin_close(lease_));
  EXPECT_EQ(place_of(word_), At::leased);
  ASSERT_TRUE(word_.unseat(lease_));
  EXPECT_FALSE(word_.park_vacant(lease_));
  ASSERT_TRUE(word_.begin_connect(lease_));
  EXPECT_FALSE(word_.abandon_dial(lease_));
  EXPECT_EQ(place_of(word_), At::connecting);
}

TEST_F(SlotWordStreams, a_lease_returned_during_a_stream_waits_for_its_end) {
  EXPECT_FALSE(word_.end_later(lease_, false)) << "no stream is open";
  ASSERT_TRUE(word_.begin_stream(lease_));
  EXPECT_FALSE(word_.end_later(lease_ + 1, false));
  EXPECT_TRUE(word_.end_later(lease_, false));
  EXPECT_FALSE(word_.end_later(lease_, false)) << "the lease has ended already";
  EXPECT_FALSE(word_.leased_as(lease_));
  EXPECT_FALSE(word_.begin_stream(lease_));
  const auto after = word_.end_stream(lease_);
  ASSERT_TRUE(after);
  EXPECT_TRUE(after->ended());
  EXPECT_EQ(after->streams(), 0U);
  EXPECT_FALSE(word_.begin_stream(lease_));
  EXPECT_TRUE(word_.park(lease_));
  EXPECT_FALSE(word_.load().ended());
}

TEST_F(SlotWordStreams, a_lease_removed_during_a_stream_must_close) {
  ASSERT_TRUE(word_.begin_stream(lease_));
  ASSERT_TRUE(word_.end_later(lease_, true));
  EXPECT_TRUE(word_.end_stream(lease_)->must_close());
  EXPECT_FALSE(word_.park(lease_));
  EXPECT_TRUE(word_.begin_close(lease_));
}

TEST_F(SlotWordStreams, the_dial_of_a_returned_lease_carries_none_of_its_flags) {
  ASSERT_TRUE(word_.unseat(lease_));
  ASSERT_TRUE(word_.begin_connect(lease_));
  ASSERT_TRUE(word_.begin_stream(lease_));
  ASSERT_TRUE(word_.end_later(lease_, true));
  ASSERT_TRUE(word_.end_stream(lease_));
  ASSERT_TRUE(word_.abandon_dial(lease_));
  const auto next = word_.lease_dialed();
  ASSERT_TRUE(next);
  EXPECT_TRUE(word_.leased_as(*next));
  EXPECT_TRUE(word_.park(*next));
}

TEST(SlotWordFlags, a_hang_up_is_noted_in_every_state_with_a_connection_or_dial) {
  for (const At place : everywhere) {
    SlotWord word;
    (void)bring_to(word, place);
    const bool marked = word.mark_peer_closed([] { return true; }).has_value();
    EXPECT_EQ(marked, place != At::free && place != At::vacant && place != At::closing);
    EXPECT_EQ(word.load().peer_closed(), marked);
  }
}

TEST(SlotWordFlags, a_hang_up_of_another_connection_is_ignored) {
  SlotWord word;
  (void)bring_to(word, At::idle);
  EXPECT_FALSE(word.mark_peer_closed([] { return false; }));
  EXPECT_FALSE(word.load().peer_closed());
}

TEST(SlotWordFlags, a_connection_that_must_not_be_reused_is_not_parked) {
  SlotWord hung_up;
  const std::uint32_t first = bring_to(hung_up, At::leased);
  ASSERT_TRUE(hung_up.mark_peer_closed([] { return true; }));
  EXPECT_FALSE(hung_up.park(first));

  SlotWord marked;
  const std::uint32_t second = bring_to(marked, At::leased);
  ASSERT_TRUE(marked.mark_must_close());
  EXPECT_FALSE(marked.park(second));
  ASSERT_TRUE(marked.unseat(second));
  EXPECT_FALSE(marked.park_vacant(second));
}

TEST(SlotWordFlags, the_next_connection_of_a_lease_starts_without_flags) {
  SlotWord word;
  const std::uint32_t lease = bring_to(word, At::leased);
  ASSERT_TRUE(word.mark_peer_closed([] { return true; }));
  ASSERT_TRUE(word.unseat(lease));
  ASSERT_TRUE(word.mark_peer_closed([] { return true; })) << "a late report";
  ASSERT_TRUE(word.begin_connect(lease));
  ASSERT_TRUE(word.end_connect(true));
  EXPECT_TRUE(word.park(lease));
}

TEST(SlotWordFlags, a_hang_up_noted_while_a_lease_connects_survives_the_seating) {
  SlotWord word;
  const std::uint32_t lease = bring_to(word, At::connecting);
  ASSERT_TRUE(word.mark_peer_closed([] { return true; }));
  ASSERT_TRUE(word.end_connect(true));
  EXPECT_FALSE(word.park(lease));
}

TEST(SlotWordFlags, a_hang_up_noted_during_a_dial_survives_the_parking) {
  SlotWord word;
  ASSERT_TRUE(word.reserve_dial());
  ASSERT_TRUE(word.mark_peer_closed([] { return true; }));
  ASSERT_TRUE(word.park_dialed());
  EXPECT_TRUE(word.load().peer_closed());
}

TEST(SlotWordReaping, an_outdated_word_reaps_nothing) {
  SlotWord word;
  (void)bring_to(word, At::idle);
  const auto seen = word.load();
  const std::uint32_t lease = lease_popped(word)->generation();
  ASSERT_TRUE(word.park(lease));
  EXPECT_FALSE(word.try_reap(seen)) << "idle again since the load, but changed";
  EXPECT_TRUE(word.try_reap(word.load()));
}

TEST(SlotWordReaping, the_second_of_reaper_and_unlinker_frees_the_slot) {
  for (const bool reaper_first : {true, false}) {
    SlotWord word;
    (void)bring_to(word, At::idle);
    ASSERT_TRUE(word.try_reap(word.load()));
    EXPECT_FALSE(reaper_first ? word.finish_emptied() : word.unlink().after.finished());
    EXPECT_TRUE(reaper_first ? word.unlink().after.finished() : word.finish_emptied());
    word.free_closed();
    EXPECT_TRUE(word.reserve_dial());
  }
}

TEST(SlotWordTaking, a_slot_taken_in_place_stays_linked_and_is_parked_without_a_push) {
  SlotWord word;
  (void)bring_to(word, At::idle);
  ASSERT_TRUE(word.take(word.load()));
  EXPECT_EQ(place_of(word), At::leased);
  EXPECT_TRUE(word.load().linked());
  EXPECT_TRUE(word.park(word.load().generation()).linked);
  ASSERT_TRUE(lease_popped(word));
  EXPECT_FALSE(word.load().linked());
  EXPECT_FALSE(word.park(word.load().generation()).linked) << "the caller pushes it";
  EXPECT_TRUE(word.load().linked());
}

TEST(SlotWordTaking, takes_only_an_unchanged_word) {
  SlotWord word;
  (void)bring_to(word, At::idle);
  const auto seen = word.load();
  ASSERT_TRUE(word.park(lease_popped(word)->generation()));
  EXPECT_FALSE(word.take(seen)) << "idle again since the load, perhaps for another endpoint";
  EXPECT_TRUE(word.take(word.load()));
}

TEST(SlotWordTaking, takes_only_idle_connections_that_may_be_reused) {
  for (const At place : everywhere) {
    SlotWord word;
    (void)bring_to(word, place);
    EXPECT_EQ(word.take(word.load()), place == At::idle);
  }
  SlotWord hung_up;
  (void)bring_to(hung_up, At::idle);
  ASSERT_TRUE(hung_up.mark_peer_closed([] { return true; }));
  EXPECT_FALSE(hung_up.take(hung_up.load()));
}

TEST(SlotWordTaking, a_linked_slot_never_becomes_vacant) {
  SlotWord word;
  (void)bring_to(word, At::idle);
  ASSERT_TRUE(word.take(word.load()));
  const std::uint32_t lease = word.load().generation();
  ASSERT_TRUE(word.unseat(lease));
  EXPECT_FALSE(word.park_vacant(lease));
  (void)word.unlink();
  EXPECT_TRUE(word.park_vacant(lease));
}

TEST(SlotWordTaking, a_linked_slot_that_ends_is_a_tombstone_until_it_is_unlinked) {
  SlotWord closed;
  (void)bring_to(closed, At::idle);
  ASSERT_TRUE(closed.take(closed.load()));
  EXPECT_TRUE(closed.begin_close(closed.load().generation()).linked);
  EXPECT_FALSE(closed.finish_emptied());
  EXPECT_TRUE(closed.unlink().after.finished());

  SlotWord failed;
  (void)bring_to(failed, At::idle);
  ASSERT_TRUE(failed.take(failed.load()));
  const std::uint32_t lease = failed.load().generation();
  ASSERT_TRUE(failed.unseat(lease) && failed.begin_connect(lease) && failed.abandon_dial(lease));
  EXPECT_EQ(place_of(failed), At::dialing);
  const auto step = failed.fail_dial();
  EXPECT_TRUE(step.made && step.linked);
  EXPECT_EQ(place_of(failed), At::closing);
  EXPECT_TRUE(failed.unlink().after.finished());
}

TEST(SlotWordTaking, a_reaped_spare_dial_that_is_linked_is_finished_by_the_last_of_three_parties) {
  for (int last = 0; last < 3; ++last) {
    SlotWord word;
    (void)bring_to(word, At::idle);
    ASSERT_TRUE(word.take(word.load()));
    const std::uint32_t lease = word.load().generation();
    ASSERT_TRUE(word.unseat(lease) && word.begin_connect(lease) && word.abandon_dial(lease) && word.spare_dial());
    ASSERT_TRUE(word.try_reap(word.load()));
    int finished = 0;
    for (int each = 1; each <= 3; ++each) {
      const int party = (last + each) % 3;
      finished = party == 0 ? word.finish_emptied() : party == 1 ? word.finish_dial() : word.unlink().after.finished();
      EXPECT_EQ(finished == 1, each == 3);
    }
  }
}

TEST(SlotWordTaking, a_sweep_keeps_ready_slots_and_unlinks_the_others) {
  SlotWord idle;
  (void)bring_to(idle, At::idle);
  EXPECT_TRUE(idle.unlink_unless_ready().after.linked());
  EXPECT_EQ(place_of(idle), At::idle);
  ASSERT_TRUE(idle.take(idle.load()));
  EXPECT_FALSE(idle.unlink_unless_ready().after.linked());
  EXPECT_EQ(place_of(idle), At::leased);
}

TEST(SlotWordReaping, a_slot_leased_before_it_was_linked_is_freed_by_its_closer) {
  SlotWord word;
  ASSERT_TRUE(word.begin_close(*word.reserve_lease()));
  EXPECT_TRUE(word.finish_emptied());
}

TEST(SlotWordReaping, exactly_one_of_two_threads_frees_the_slot) {
  for (int round = 0; round < 2000; ++round) {
    SlotWord word;
    (void)bring_to(word, At::idle);
    ASSERT_TRUE(word.try_reap(word.load()));
    std::atomic<int> freed{0};
    std::thread reaper([&] { freed += word.finish_emptied() ? 1 : 0; });
    freed += word.unlink().after.finished() ? 1 : 0;
    reaper.join();
    ASSERT_EQ(freed, 1);
  }
}

TEST(SlotWordReaping, exactly_one_of_lessee_and_reaper_wins) {
  for (int round = 0; round < 2000; ++round) {
    SlotWord word;
    (void)bring_to(word, At::idle);
    const auto seen = word.load();
    std::atomic<int> won{0};
    std::thread reaper([&] { won += word.try_reap(seen) ? 1 : 0; });
    won += lease_popped(word) ? 1 : 0;
    reaper.join();
    ASSERT_EQ(won, 1);
  }
}

TEST(SlotWord, a_spare_dial_may_be_reaped_and_is_freed_when_its_end_is_reported) {
  SlotWord word;
  ASSERT_TRUE(word.reserve_dial());
  EXPECT_FALSE(word.try_reap(word.load())) << "a caller waits for it";
  ASSERT_TRUE(word.spare_dial());
  const auto seen = word.load();
  EXPECT_TRUE(seen.spare());
  ASSERT_TRUE(word.try_reap(seen));
  EXPECT_FALSE(word.keep_dial());
  EXPECT_FALSE(word.park_dialed());
  EXPECT_FALSE(word.finish_emptied()) << "the dialer still uses the slot";
  EXPECT_TRUE(word.finish_dial());
  word.free_closed();
  EXPECT_EQ(word.load().state(), SlotWord::State::free);
}

TEST(SlotWord, a_spare_dial_that_a_caller_waits_for_again_is_not_reaped) {
  SlotWord word;
  ASSERT_TRUE(word.reserve_dial());
  ASSERT_TRUE(word.spare_dial());
  const auto seen = word.load();
  ASSERT_TRUE(word.keep_dial());
  EXPECT_FALSE(word.try_reap(seen));
  EXPECT_FALSE(word.load().spare());
}

TEST(SlotWord, a_spare_dial_leaves_no_flag_on_its_connection) {
  SlotWord parked;
  ASSERT_TRUE(parked.reserve_dial() && parked.spare_dial() && parked.park_dialed());
  EXPECT_FALSE(parked.load().spare() || parked.load().ended());
  SlotWord leased;
  ASSERT_TRUE(leased.reserve_dial() && leased.spare_dial() && leased.lease_dialed());
  EXPECT_FALSE(leased.load().spare() || leased.load().ended());
}

}  // namespace
}  // namespace fastpool::sync
