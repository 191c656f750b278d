// The state word of a slot: every transition from every state, stale generations, flags, and who frees a tombstone.

#include "sync/slot_word.h"

#include <atomic>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace fastpool::sync {
namespace {

using State = SlotWord::State;

constexpr State all_states[] = {State::free, State::dialing, State::idle, State::leased, State::closing};

/// Takes a new word to that state.
std::uint32_t bring_to(SlotWord& word, State state) {
  switch (state) {
    case State::free:
      break;
    case State::dialing:
      EXPECT_TRUE(word.reserve_dial());
      break;
    case State::idle:
      EXPECT_TRUE(word.reserve_dial() && word.park_dialed());
      break;
    case State::leased:
      EXPECT_TRUE(word.reserve_lease());
      break;
    case State::closing:
      EXPECT_TRUE(word.reserve_lease() && word.begin_close(word.load().generation));
      break;
  }
  EXPECT_EQ(word.load().state, state);
  return word.load().generation;
}

struct Transition {
  const char* name;
  State from;
  State to;
  std::function<bool(SlotWord&, std::uint32_t generation)> make;
};

const std::vector<Transition>& transitions() {
  static const std::vector<Transition> table = {
      {"reserve_dial", State::free, State::dialing, [](SlotWord& w, std::uint32_t) { return w.reserve_dial(); }},
      {"reserve_lease", State::free, State::leased,
       [](SlotWord& w, std::uint32_t) { return w.reserve_lease().has_value(); }},
      {"lease_dialed", State::dialing, State::leased,
       [](SlotWord& w, std::uint32_t) { return w.lease_dialed().has_value(); }},
      {"park_dialed", State::dialing, State::idle, [](SlotWord& w, std::uint32_t) { return w.park_dialed(); }},
      {"abandon_dial", State::leased, State::dialing, [](SlotWord& w, std::uint32_t g) { return w.abandon_dial(g); }},
      {"try_lease", State::idle, State::leased, [](SlotWord& w, std::uint32_t) { return w.try_lease().has_value(); }},
      {"park", State::leased, State::idle, [](SlotWord& w, std::uint32_t g) { return w.park(g); }},
      {"begin_close", State::leased, State::closing, [](SlotWord& w, std::uint32_t g) { return w.begin_close(g); }},
      {"try_reap", State::idle, State::closing, [](SlotWord& w, std::uint32_t) { return w.try_reap(w.load()); }},
      {"begin_stream", State::leased, State::leased, [](SlotWord& w, std::uint32_t g) { return w.begin_stream(g); }},
      {"mark_draining", State::leased, State::leased, [](SlotWord& w, std::uint32_t) { return w.mark_draining(); }},
  };
  return table;
}

TEST(SlotWord, each_transition_succeeds_from_its_state_and_from_no_other) {
  for (const Transition& transition : transitions()) {
    for (const State state : all_states) {
      SlotWord word;
      const std::uint32_t generation = bring_to(word, state);
      const bool done = transition.make(word, generation);
      EXPECT_EQ(done, state == transition.from) << transition.name << " from state " << static_cast<int>(state);
      EXPECT_EQ(word.load().state, done ? transition.to : state) << transition.name;
    }
  }
}

TEST(SlotWord, what_ends_a_lease_takes_its_own_generation_alone) {
  for (const Transition& transition : transitions()) {
    if (transition.from != State::leased || std::string(transition.name) == "mark_draining") continue;
    SlotWord word;
    const std::uint32_t generation = bring_to(word, State::leased);
    EXPECT_FALSE(transition.make(word, generation + 1)) << transition.name;
    EXPECT_FALSE(transition.make(word, generation - 1)) << transition.name;
    EXPECT_EQ(word.load().state, State::leased) << transition.name;
    EXPECT_TRUE(transition.make(word, generation)) << transition.name;
  }
}

TEST(SlotWord, every_end_of_a_lease_makes_its_id_stale) {
  const std::function<bool(SlotWord&, std::uint32_t)> ends[] = {
      [](SlotWord& w, std::uint32_t g) { return w.park(g); },
      [](SlotWord& w, std::uint32_t g) { return w.begin_close(g); },
      [](SlotWord& w, std::uint32_t g) { return w.abandon_dial(g); },
  };
  for (const auto& end : ends) {
    SlotWord word;
    const std::uint32_t generation = *word.reserve_lease();
    EXPECT_TRUE(word.leased_as(generation));
    EXPECT_TRUE(end(word, generation));
    EXPECT_FALSE(word.leased_as(generation));
    EXPECT_NE(word.load().generation, generation);
  }
}

TEST(SlotWord, a_freed_slot_has_a_new_generation_and_no_flags) {
  SlotWord word;
  const std::uint32_t generation = *word.reserve_lease();
  EXPECT_TRUE(word.mark_draining());
  EXPECT_TRUE(word.mark_peer_closed([] { return true; }));
  EXPECT_TRUE(word.begin_close(generation));
  EXPECT_TRUE(word.finish_emptied());
  word.free_closed();
  const auto view = word.load();
  EXPECT_EQ(view.state, State::free);
  EXPECT_GT(view.generation, generation);
  EXPECT_TRUE(view.reusable());
  EXPECT_FALSE(view.emptied || view.unlinked || view.ended);
}

TEST(SlotWord, freeing_takes_only_the_state_it_names) {
  for (const State state : all_states) {
    SlotWord word;
    (void)bring_to(word, state);
    word.free_dialing();
    EXPECT_EQ(word.load().state, state == State::dialing ? State::free : state);
  }
  for (const State state : all_states) {
    SlotWord word;
    (void)bring_to(word, state);
    word.free_closed();
    EXPECT_EQ(word.load().state, state == State::closing ? State::free : state);
  }
}

TEST(SlotWord, the_generation_wraps_without_touching_its_neighbours) {
  SlotWord word;
  std::uint32_t generation = *word.reserve_lease();
  for (int i = 0; i < 5000; ++i) {  // beyond what the other fields hold
    ASSERT_TRUE(word.park(generation));
    generation = word.try_lease()->generation;
  }
  EXPECT_EQ(word.load().stream_limit, 1);
  EXPECT_EQ(word.load().streams, 0);
}

class SlotWordStreams : public ::testing::Test {
 protected:
  SlotWord word_;
  const std::uint32_t lease_ = *word_.reserve_lease();
};

TEST_F(SlotWordStreams, one_may_be_open_at_a_time) {
  EXPECT_TRUE(word_.begin_stream(lease_));
  EXPECT_FALSE(word_.begin_stream(lease_));
  EXPECT_TRUE(word_.end_stream(lease_));
  EXPECT_FALSE(word_.end_stream(lease_));
  EXPECT_TRUE(word_.begin_stream(lease_));
}

TEST_F(SlotWordStreams, while_one_is_open_the_lease_does_not_end) {
  ASSERT_TRUE(word_.begin_stream(lease_));
  EXPECT_FALSE(word_.park(lease_));
  EXPECT_FALSE(word_.begin_close(lease_));
  EXPECT_FALSE(word_.abandon_dial(lease_));
  EXPECT_EQ(word_.load().state, State::leased);
}

TEST_F(SlotWordStreams, a_lease_given_back_while_one_is_open_waits_for_its_end) {
  EXPECT_FALSE(word_.end_later(lease_, false)) << "no stream is open";
  ASSERT_TRUE(word_.begin_stream(lease_));
  EXPECT_FALSE(word_.end_later(lease_ + 1, false));
  EXPECT_TRUE(word_.end_later(lease_, false));
  EXPECT_FALSE(word_.end_later(lease_, false)) << "only once";
  EXPECT_FALSE(word_.leased_as(lease_));
  EXPECT_FALSE(word_.begin_stream(lease_));
  const auto after = word_.end_stream(lease_);
  ASSERT_TRUE(after);
  EXPECT_TRUE(after->ended);
  EXPECT_EQ(after->streams, 0);
  EXPECT_FALSE(word_.begin_stream(lease_));
  EXPECT_TRUE(word_.park(lease_));
  EXPECT_FALSE(word_.load().ended);
}

TEST_F(SlotWordStreams, a_lease_given_back_for_good_drains) {
  ASSERT_TRUE(word_.begin_stream(lease_));
  ASSERT_TRUE(word_.end_later(lease_, true));
  EXPECT_TRUE(word_.end_stream(lease_)->draining);
  EXPECT_FALSE(word_.park(lease_));
  EXPECT_TRUE(word_.begin_close(lease_));
}

TEST_F(SlotWordStreams, the_dial_of_a_lease_given_back_carries_none_of_its_marks) {
  ASSERT_TRUE(word_.begin_stream(lease_));
  ASSERT_TRUE(word_.end_later(lease_, true));
  ASSERT_TRUE(word_.end_stream(lease_));
  ASSERT_TRUE(word_.abandon_dial(lease_));
  const auto next = word_.lease_dialed();
  ASSERT_TRUE(next);
  EXPECT_TRUE(word_.leased_as(*next));
  EXPECT_TRUE(word_.park(*next));
}

TEST(SlotWordFlags, a_hang_up_is_noted_wherever_a_connection_is_or_comes) {
  for (const State state : all_states) {
    SlotWord word;
    (void)bring_to(word, state);
    const bool marked = word.mark_peer_closed([] { return true; }).has_value();
    EXPECT_EQ(marked, state == State::dialing || state == State::idle || state == State::leased);
    EXPECT_EQ(word.load().peer_closed, marked);
  }
}

TEST(SlotWordFlags, a_hang_up_of_another_connection_is_not_noted) {
  SlotWord word;
  (void)bring_to(word, State::idle);
  EXPECT_FALSE(word.mark_peer_closed([] { return false; }));
  EXPECT_FALSE(word.load().peer_closed);
}

TEST(SlotWordFlags, what_must_not_be_reused_is_not_parked) {
  SlotWord hung_up;
  const std::uint32_t first = bring_to(hung_up, State::leased);
  ASSERT_TRUE(hung_up.mark_peer_closed([] { return true; }));
  EXPECT_FALSE(hung_up.park(first));
  hung_up.clear_peer_closed(first + 1);
  EXPECT_FALSE(hung_up.park(first));
  hung_up.clear_peer_closed(first);
  EXPECT_TRUE(hung_up.park(first));

  SlotWord draining;
  const std::uint32_t second = bring_to(draining, State::leased);
  ASSERT_TRUE(draining.mark_draining());
  EXPECT_FALSE(draining.park(second));
}

TEST(SlotWordFlags, a_hang_up_noted_while_dialing_outlives_the_parking) {
  SlotWord word;
  ASSERT_TRUE(word.reserve_dial());
  ASSERT_TRUE(word.mark_peer_closed([] { return true; }));
  ASSERT_TRUE(word.park_dialed());
  EXPECT_TRUE(word.load().peer_closed);
}

TEST(SlotWordReaping, a_look_that_is_out_of_date_reaps_nothing) {
  SlotWord word;
  (void)bring_to(word, State::idle);
  const auto seen = word.load();
  const std::uint32_t lease = word.try_lease()->generation;
  ASSERT_TRUE(word.park(lease));
  EXPECT_FALSE(word.try_reap(seen)) << "idle again, but not as it was seen";
  EXPECT_TRUE(word.try_reap(word.load()));
}

TEST(SlotWordReaping, of_the_reaper_and_the_unlinker_the_second_frees) {
  for (const bool reaper_first : {true, false}) {
    SlotWord word;
    (void)bring_to(word, State::idle);
    ASSERT_TRUE(word.try_reap(word.load()));
    EXPECT_FALSE(word.try_lease());
    EXPECT_FALSE(reaper_first ? word.finish_emptied() : word.finish_unlinked());
    EXPECT_TRUE(reaper_first ? word.finish_unlinked() : word.finish_emptied());
    word.free_closed();
    EXPECT_TRUE(word.reserve_dial());
  }
}

TEST(SlotWordReaping, what_was_leased_is_in_no_list_and_is_freed_by_its_closer) {
  SlotWord word;
  ASSERT_TRUE(word.begin_close(*word.reserve_lease()));
  EXPECT_TRUE(word.finish_emptied());
}

TEST(SlotWordReaping, two_threads_never_both_free_nor_both_leave_it) {
  for (int round = 0; round < 2000; ++round) {
    SlotWord word;
    (void)bring_to(word, State::idle);
    ASSERT_TRUE(word.try_reap(word.load()));
    std::atomic<int> freed{0};
    std::thread reaper([&] { freed += word.finish_emptied() ? 1 : 0; });
    freed += word.finish_unlinked() ? 1 : 0;
    reaper.join();
    ASSERT_EQ(freed, 1);
  }
}

TEST(SlotWordReaping, of_a_lessee_and_a_reaper_one_wins) {
  for (int round = 0; round < 2000; ++round) {
    SlotWord word;
    (void)bring_to(word, State::idle);
    const auto seen = word.load();
    std::atomic<int> won{0};
    std::thread reaper([&] { won += word.try_reap(seen) ? 1 : 0; });
    won += word.try_lease() ? 1 : 0;
    reaper.join();
    ASSERT_EQ(won, 1);
  }
}

}  // namespace
}  // namespace fastpool::sync
