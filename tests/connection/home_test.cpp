// Homes: who gets a stream, on which connection, and when connections go back to the pool.

#include "connection/home.h"

#include <deque>
#include <optional>

#include "connection/connection.h"
#include "connection/multiplexer_fixture.h"
#include "pool/pool_fixture.h"

namespace fastpool::connection::test {
namespace {

using pool::test::minutes;
using pool::test::seconds;

struct Unwatched final : HangUpWatch {
  void watch(int, std::uint64_t) noexcept override {}
  void unwatch(int) noexcept override {}
};

/// One caller's way into a home, by steps of the test.
class Entrant {
 public:
  Entrant(Home& home, pool::Endpoint& endpoint, const Home::Options& options)
      : home_(home), entry_(std::in_place, home, endpoint, options, waker_) {}

  /// \returns whether it has a result.
  bool poll() {
    if (!result_ && entry_) result_ = entry_->poll();
    return result_.has_value();
  }
  /// The same, where its home or the pool has woken it since the last look.
  bool poll_if_woken() { return std::exchange(waker_.wakes, 0) > 0 && poll(); }
  [[nodiscard]] bool failed() const { return result_ && !result_->ok(); }
  [[nodiscard]] Error error() const { return result_->error(); }
  [[nodiscard]] Home::Admission& admission() { return result_->value(); }
  /// Its stream; the connection that it acquired serves the home from now on.
  [[nodiscard]] Home::Place& place() {
    Home::Admission& got = admission();
    if (!got.place) got.place = home_.adopt(std::move(got.lease), std::move(got.connecting));
    return got.place;
  }
  void leave() { place().leave(); }
  /// Goes away, whatever it has.
  void give_up() {
    result_.reset();
    entry_.reset();
  }

 private:
  Home& home_;
  CountingWaker waker_;
  std::optional<Home::Entry> entry_;
  std::optional<Result<Home::Admission>> result_;
};

class HomeTest : public pool::test::PoolTest {
 protected:
  ~HomeTest() override { entrants_.clear(); }

  void begin(const PoolSettings& settings = {}) {
    make(settings);
    homes_.emplace(*pool_);
  }
  [[nodiscard]] Home& threads() { return homes_->of_threads(); }
  [[nodiscard]] Home& loop() { return homes_->of_loop(loop_); }

  Entrant& enter(Home& home, const Home::Options& options = {}) {
    Entrant& entrant = entrants_.emplace_back(home, *a_, options);
    (void)entrant.poll();
    return entrant;
  }
  /// Ends a dial under way, by default the oldest, with a connection of HTTP/2.
  Peer& complete(std::uint32_t most_streams, std::size_t which = 0) {
    auto ends = socket_pair();
    Peer& peer = peers_.emplace_back(
        std::move(ends.second),
        std::vector<nghttp2_settings_entry>{{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, most_streams}});
    peer.send();
    auto made = std::make_unique<Connection>(std::make_unique<net::TcpChannel>(std::move(ends.first)), unwatched_,
                                             DialTimings(), 0, Protocols{.http1 = false, .http2 = true});
    EXPECT_TRUE(made->settle_protocol());
    (void)made->multiplexer()->pump();
    finish(std::move(made), which);
    return peer;
  }
  void complete_with_http1() {
    auto ends = socket_pair();
    Peer& peer = peers_.emplace_back(std::move(ends.second));
    (void)peer;
    finish(std::make_unique<Connection>(std::make_unique<net::TcpChannel>(std::move(ends.first)), unwatched_), 0);
  }
  /// A caller that has a stream on a connection of its own dialing.
  Entrant& settled(Home& home, std::uint32_t most_streams) {
    Entrant& entrant = enter(home);
    (void)complete(most_streams, dialer_.under_way() - 1);
    EXPECT_TRUE(entrant.poll());
    EXPECT_TRUE(entrant.place());
    return entrant;
  }
  /// The server tells the connection of that place something, by a function of nghttp2's.
  template <typename Tell>
  void tell(Home::Place& place, Peer& peer, Tell submit) {
    submit(peer.server.session);
    peer.send();
    (void)place.connection().multiplexer()->pump();
  }
  void allow(Home::Place& place, Peer& peer, std::uint32_t most_streams) {
    tell(place, peer, [&](nghttp2_session* session) {
      const nghttp2_settings_entry entry{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, most_streams};
      nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, &entry, 1);
    });
  }
  void send_goodbye(Home::Place& place, Peer& peer) {
    tell(place, peer, [](nghttp2_session* session) {
      nghttp2_submit_goaway(session, NGHTTP2_FLAG_NONE, 0, NGHTTP2_NO_ERROR, nullptr, 0);
    });
  }
  [[nodiscard]] static Home::Options patience(OptionalDuration pool_timeout, OptionalDuration connect_timeout = {}) {
    Home::Options options;
    options.acquire = PoolTest::patience(pool_timeout, connect_timeout);
    return options;
  }

  std::deque<Peer> peers_;
  pool::LeaseLimit one_connection_{1};

 private:
  void finish(std::unique_ptr<Connection> made, std::size_t which) {
    EXPECT_TRUE(dials_begin(which + 1));
    pool_->dial_done(*dialer_.take(which).slot, std::unique_ptr<pool::Pooled>(std::move(made)), {});
  }

  /// Outlives the pool, whose last connections end after this fixture.
  static inline Unwatched unwatched_;
  std::shared_ptr<const int> loop_ = std::make_shared<int>(0);
  std::optional<Homes> homes_;
  std::deque<Entrant> entrants_;
};

// ---- one connects for all --------------------------------------------------------------------------------------------

TEST_F(HomeTest, one_caller_dials_for_all_that_come_meanwhile) {
  begin();
  Entrant& first = enter(threads());
  Entrant& second = enter(threads());
  Entrant& third = enter(threads());
  EXPECT_EQ(dialer_.begun(), 1U);
  complete(10);
  ASSERT_TRUE(first.poll_if_woken());
  EXPECT_FALSE(second.poll());
  EXPECT_TRUE(first.place().fresh());
  ASSERT_TRUE(second.poll_if_woken());
  ASSERT_TRUE(third.poll_if_woken());
  EXPECT_FALSE(second.place().fresh());
  EXPECT_EQ(&second.place().connection(), &first.place().connection());
  EXPECT_EQ(&third.place().connection(), &first.place().connection());
  EXPECT_EQ(dialer_.begun(), 1U);
  EXPECT_EQ(describe(), "1 leased");
}

TEST_F(HomeTest, callers_beyond_the_room_of_a_connection_get_another_one) {
  begin();
  Entrant& first = enter(threads());
  Entrant& second = enter(threads());
  Entrant& third = enter(threads());
  Entrant& fourth = enter(threads());
  complete(2);
  ASSERT_TRUE(first.poll());
  (void)first.place();
  ASSERT_TRUE(second.poll_if_woken());
  ASSERT_FALSE(third.poll_if_woken()) << "it dials";
  EXPECT_FALSE(fourth.poll());
  EXPECT_EQ(dialer_.under_way(), 1U);
  complete(2);
  ASSERT_TRUE(third.poll_if_woken());
  EXPECT_NE(&third.place().connection(), &first.place().connection());
  ASSERT_TRUE(fourth.poll_if_woken());
  EXPECT_EQ(&fourth.place().connection(), &third.place().connection());
}

TEST_F(HomeTest, the_error_of_a_dial_is_that_of_all_who_wait_for_it) {
  begin();
  Entrant& first = enter(threads());
  Entrant& second = enter(threads());
  Entrant& third = enter(threads());
  refuse_dial(refusal());
  ASSERT_TRUE(first.poll_if_woken());
  ASSERT_TRUE(second.poll_if_woken());
  ASSERT_TRUE(third.poll_if_woken());
  for (Entrant* const each : {&first, &second, &third}) {
    ASSERT_TRUE(each->failed());
    EXPECT_EQ(each->error().code, ErrorCode::connect_failed);
  }
  EXPECT_EQ(dialer_.begun(), 1U);
}

TEST_F(HomeTest, the_pool_timeout_of_the_caller_that_connects_is_its_own) {
  begin(limits(1));
  pool::Lease other = dialed(*a_);
  Entrant& impatient = enter(threads(), patience(seconds(1)));
  Entrant& patient = enter(threads());
  clock_.advance(seconds(2));
  ASSERT_TRUE(impatient.poll());
  ASSERT_TRUE(impatient.failed());
  EXPECT_EQ(impatient.error().code, ErrorCode::pool_timeout);
  ASSERT_FALSE(patient.poll_if_woken()) << "it acquires a connection now";
  other.release(pool::Reuse::no());
  complete(10);
  ASSERT_TRUE(patient.poll_if_woken());
  EXPECT_TRUE(patient.place());
}

TEST_F(HomeTest, the_connect_timeout_of_the_caller_that_connects_is_its_own) {
  begin();
  Entrant& impatient = enter(threads(), patience({}, seconds(1)));
  Entrant& patient = enter(threads(), patience({}, minutes(10)));
  clock_.advance(seconds(2));
  ASSERT_TRUE(impatient.poll());
  ASSERT_TRUE(impatient.failed());
  EXPECT_EQ(impatient.error().code, ErrorCode::connect_timeout);
  ASSERT_FALSE(patient.poll()) << patient.error().detail;
  complete(10);
  ASSERT_TRUE(patient.poll_if_woken());
  EXPECT_TRUE(patient.place());
}

TEST_F(HomeTest, the_role_of_a_caller_that_gives_up_while_it_dials_goes_to_the_next) {
  begin();
  Entrant& first = enter(threads());
  Entrant& second = enter(threads());
  first.give_up();
  ASSERT_FALSE(second.poll_if_woken()) << "it acquires now";
  complete(10);  // the dial under way serves it, too
  ASSERT_TRUE(second.poll_if_woken());
  EXPECT_TRUE(second.place());
}

TEST_F(HomeTest, the_role_of_a_caller_that_gives_up_with_a_connection_goes_to_the_next) {
  begin();
  Entrant& first = enter(threads());
  Entrant& second = enter(threads());
  complete(10);
  ASSERT_TRUE(first.poll());
  ASSERT_TRUE(first.admission().connecting);
  first.give_up();  // with the connection, as one whose handshake fails
  ASSERT_FALSE(second.poll_if_woken());
  complete(10);
  ASSERT_TRUE(second.poll_if_woken());
  EXPECT_TRUE(second.place());
}

TEST_F(HomeTest, callers_of_a_server_of_http1_each_get_a_connection) {
  begin();
  Entrant& first = enter(threads());
  Entrant& second = enter(threads());
  Entrant& third = enter(threads());
  complete_with_http1();
  ASSERT_TRUE(first.poll_if_woken());
  ASSERT_TRUE(first.admission().lease);
  first.admission().connecting.found_http1();
  EXPECT_FALSE(second.poll_if_woken());
  EXPECT_FALSE(third.poll_if_woken());
  EXPECT_EQ(dialer_.under_way(), 2U);
  complete_with_http1();
  complete_with_http1();
  ASSERT_TRUE(second.poll_if_woken());
  ASSERT_TRUE(third.poll_if_woken());
  EXPECT_TRUE(second.admission().lease);
  EXPECT_TRUE(third.admission().lease);
  EXPECT_EQ(describe(), "3 leased");
}

// ---- first come, first served ----------------------------------------------------------------------------------------

TEST_F(HomeTest, callers_are_served_in_order_of_arrival) {
  begin(limits(1));
  Entrant& holder = settled(threads(), 1);
  Entrant& first = enter(threads());
  Entrant& second = enter(threads());
  Entrant& third = enter(threads());
  holder.leave();
  EXPECT_FALSE(second.poll());
  EXPECT_FALSE(third.poll());
  ASSERT_TRUE(first.poll_if_woken());
  EXPECT_TRUE(first.place());
  first.leave();
  EXPECT_FALSE(third.poll());
  ASSERT_TRUE(second.poll_if_woken());
  (void)second.place();
  second.leave();
  ASSERT_TRUE(third.poll_if_woken());
  EXPECT_TRUE(third.place());
  EXPECT_EQ(dialer_.begun(), 1U);
}

TEST_F(HomeTest, a_newcomer_never_overtakes_a_caller_that_waits) {
  begin(limits(1));
  Entrant& holder = settled(threads(), 1);
  Entrant& waiting = enter(threads());
  holder.leave();
  EXPECT_FALSE(threads().try_enter(*a_)) << "the place is that of the caller that waits";
  ASSERT_TRUE(waiting.poll_if_woken());
  EXPECT_TRUE(waiting.place());
}

TEST_F(HomeTest, a_newcomer_does_not_take_the_role_of_a_caller_that_gave_up_before_the_next_has_looked) {
  begin(limits(3));
  (void)settled(threads(), 1);
  Entrant& first = enter(threads());
  Entrant& second = enter(threads());
  first.give_up();  // while it dials
  Entrant& newcomer = enter(threads());
  ASSERT_FALSE(second.poll_if_woken()) << "it acquires now";
  complete(1);
  EXPECT_FALSE(newcomer.poll());
  ASSERT_TRUE(second.poll_if_woken());
  EXPECT_TRUE(second.place());
}

TEST_F(HomeTest, a_limit_that_the_server_raises_serves_those_who_wait) {
  begin(limits(1));
  Entrant& holder = settled(threads(), 1);
  Entrant& first = enter(threads());
  Entrant& second = enter(threads());
  Entrant& third = enter(threads());
  allow(holder.place(), peers_.front(), 3);
  ASSERT_TRUE(first.poll_if_woken());
  ASSERT_TRUE(second.poll_if_woken());
  EXPECT_FALSE(third.poll());
}

TEST_F(HomeTest, a_caller_that_is_served_while_its_dial_is_under_way_leaves_the_connection_to_the_pool) {
  begin(limits(2));
  Entrant& holder = settled(threads(), 1);
  Entrant& waiting = enter(threads());
  EXPECT_EQ(describe(), "1 leased, 1 dialing, 1 waiting");
  holder.leave();
  ASSERT_TRUE(waiting.poll_if_woken());
  EXPECT_TRUE(waiting.place());
  complete(1);
  EXPECT_EQ(describe(), "1 leased, 1 idle");
  Home::Place next = threads().try_enter(*a_);
  EXPECT_TRUE(next) << "on the idle one";
}

TEST_F(HomeTest, the_dial_of_a_caller_that_was_served_meanwhile_serves_the_next_at_the_limit) {
  begin(limits(2));
  Entrant& holder = settled(threads(), 1);
  Entrant& served = enter(threads());
  Entrant& next = enter(threads());
  EXPECT_EQ(dialer_.begun(), 2U);
  holder.leave();
  ASSERT_TRUE(served.poll_if_woken());
  EXPECT_FALSE(next.poll_if_woken()) << "it waits for the dial under way";
  complete(1);
  ASSERT_TRUE(next.poll_if_woken());
  EXPECT_TRUE(next.place());
  EXPECT_EQ(dialer_.begun(), 2U);
}

TEST_F(HomeTest, the_connection_with_the_fewest_streams_gets_the_next) {
  begin(limits(2));
  Entrant& first = settled(threads(), 3);
  Home::Place second = threads().try_enter(*a_);
  Home::Place third = threads().try_enter(*a_);
  Entrant& other = settled(threads(), 10);
  allow(first.place(), peers_.front(), 10);
  ASSERT_NE(&first.place().connection(), &other.place().connection());
  Home::Place next = threads().try_enter(*a_);
  ASSERT_TRUE(next);
  EXPECT_EQ(&next.connection(), &other.place().connection());
  Home::Place after = threads().try_enter(*a_);
  ASSERT_TRUE(after);
  EXPECT_EQ(&after.connection(), &other.place().connection());
  third.leave();
  second.leave();
  Home::Place last = threads().try_enter(*a_);
  EXPECT_EQ(&last.connection(), &first.place().connection());
}

TEST_F(HomeTest, a_home_dials_no_more_connections_than_its_caller_allows) {
  begin();
  Home::Options one;
  one.limit = &one_connection_;
  Entrant& holder = settled(threads(), 1);
  Entrant& waiting = enter(threads(), one);
  EXPECT_EQ(dialer_.under_way(), 0U);
  holder.leave();
  ASSERT_TRUE(waiting.poll_if_woken());
  EXPECT_TRUE(waiting.place());
}

TEST_F(HomeTest, a_caller_at_the_limit_of_connections_takes_the_place_of_one_that_ended) {
  begin();
  Home::Options one;
  one.limit = &one_connection_;
  Entrant& holder = settled(threads(), 1);
  Entrant& waiting = enter(threads(), one);
  send_goodbye(holder.place(), peers_.front());
  EXPECT_FALSE(waiting.poll());
  EXPECT_EQ(dialer_.under_way(), 0U) << "the old one still has its stream";
  holder.leave();
  EXPECT_FALSE(waiting.poll_if_woken());
  complete(1);
  ASSERT_TRUE(waiting.poll_if_woken());
  EXPECT_TRUE(waiting.place());
}

// ---- timeouts --------------------------------------------------------------------------------------------------------

TEST_F(HomeTest, a_wait_for_a_stream_ends_at_the_pool_timeout) {
  begin(limits(1));
  Entrant& holder = settled(threads(), 1);
  Entrant& connects = enter(threads());
  Entrant& late = enter(threads(), patience(seconds(0)));
  ASSERT_TRUE(late.failed());
  EXPECT_EQ(late.error().code, ErrorCode::pool_timeout);
  holder.leave();
  ASSERT_TRUE(connects.poll_if_woken());
}

TEST_F(HomeTest, a_wait_for_the_first_connection_ends_at_the_connect_timeout) {
  begin();
  Entrant& connects = enter(threads());
  Entrant& late = enter(threads(), patience(seconds(0), seconds(0)));
  ASSERT_TRUE(late.failed());
  EXPECT_EQ(late.error().code, ErrorCode::connect_timeout);
  complete(1);
  ASSERT_TRUE(connects.poll_if_woken());
  EXPECT_TRUE(connects.place());
}

TEST_F(HomeTest, a_wait_ends_at_the_total_timeout_of_its_request) {
  begin();
  Entrant& connects = enter(threads());
  Home::Options options;
  options.acquire.deadline = Clock::now() - seconds(1);
  Entrant& late = enter(threads(), options);
  ASSERT_TRUE(late.failed());
  EXPECT_EQ(late.error().code, ErrorCode::total_timeout);
  EXPECT_FALSE(connects.poll());
}

// ---- connections go back ---------------------------------------------------------------------------------------------

TEST_F(HomeTest, a_connection_without_streams_goes_back_to_the_pool_and_serves_any_home) {
  begin();
  Entrant& first = settled(threads(), 10);
  Home::Place second = threads().try_enter(*a_);
  EXPECT_TRUE(threads().busy());
  first.leave();
  EXPECT_EQ(describe(), "1 leased");
  second.leave();
  EXPECT_EQ(describe(), "1 idle");
  EXPECT_FALSE(threads().busy());
  Home::Place in_loop = loop().try_enter(*a_);
  ASSERT_TRUE(in_loop);
  EXPECT_FALSE(in_loop.fresh());
  EXPECT_EQ(describe(), "1 leased");
  EXPECT_EQ(dialer_.begun(), 1U);
}

TEST_F(HomeTest, a_place_that_is_given_back_twice_gives_one_stream_back) {
  begin();
  Entrant& first = settled(threads(), 10);
  Home::Place second = threads().try_enter(*a_);
  Home::Place third = threads().try_enter(*a_);
  ASSERT_TRUE(third);
  second.leave();
  second.leave();
  EXPECT_FALSE(second);
  third.leave();
  EXPECT_EQ(describe(), "1 leased") << "the first has its stream still";
  first.leave();
  EXPECT_EQ(describe(), "1 idle");
}

TEST_F(HomeTest, a_connection_that_said_goodbye_takes_no_stream_and_is_closed_after_its_last) {
  begin();
  Entrant& first = settled(threads(), 10);
  send_goodbye(first.place(), peers_.front());
  EXPECT_FALSE(threads().try_enter(*a_));
  Entrant& next = settled(threads(), 10);
  EXPECT_NE(&next.place().connection(), &first.place().connection());
  first.leave();
  EXPECT_EQ(describe(), "1 leased");
  next.leave();
  EXPECT_EQ(describe(), "1 idle");
}

TEST_F(HomeTest, an_idle_connection_whose_server_said_goodbye_is_not_used) {
  begin();
  Entrant& first = settled(threads(), 10);
  first.leave();
  nghttp2_submit_goaway(peers_.front().server.session, NGHTTP2_FLAG_NONE, 0, NGHTTP2_NO_ERROR, nullptr, 0);
  peers_.front().send();
  EXPECT_FALSE(threads().try_enter(*a_));
  EXPECT_EQ(describe(), "empty");
}

TEST_F(HomeTest, a_busy_connection_takes_no_stream_beyond_its_lifetime) {
  PoolSettings settings;
  settings.max_lifetime = minutes(10);
  begin(settings);
  Entrant& first = settled(threads(), 10);
  Home::Place young = threads().try_enter(*a_);
  EXPECT_TRUE(young);
  clock_.advance(minutes(20));
  Home::Place old = threads().try_enter(*a_);
  EXPECT_FALSE(old) << "streams that overlap would keep a connection for ever";
  old.leave();
  young.leave();
  first.leave();
  EXPECT_EQ(describe(), "empty");
}

TEST_F(HomeTest, a_connection_whose_streams_come_and_go_is_no_leak) {
  PoolSettings settings;
  settings.leak_after = minutes(1);
  begin(settings);
  Entrant& first = settled(threads(), 10);
  Home::Place stream = threads().try_enter(*a_);
  first.leave();
  for (int minute = 0; minute < 5; ++minute) {
    clock_.advance(seconds(40));
    Home::Place next = threads().try_enter(*a_);
    ASSERT_TRUE(next);
    stream = std::move(next);  // no stream is older than 40 seconds
    EXPECT_TRUE(pool_->find_leaks().empty());
  }
}

// ---- several homes at the limit --------------------------------------------------------------------------------------

TEST_F(HomeTest, at_the_limit_a_caller_of_another_home_gets_a_stream_of_this_ones_connection) {
  begin(limits(1));
  Entrant& holder = settled(threads(), 10);
  Entrant& in_loop = enter(loop());
  ASSERT_TRUE(in_loop.place());
  EXPECT_EQ(&in_loop.place().connection(), &holder.place().connection());
  EXPECT_EQ(describe(), "1 leased");
  in_loop.leave();
  holder.leave();
  EXPECT_EQ(describe(), "1 idle");
}

TEST_F(HomeTest, homes_share_no_connection_at_a_time) {
  begin();
  Entrant& in_threads = settled(threads(), 10);
  EXPECT_FALSE(loop().try_enter(*a_));
  Entrant& in_loop = settled(loop(), 10);
  EXPECT_NE(&in_loop.place().connection(), &in_threads.place().connection());
}

TEST_F(HomeTest, a_caller_of_another_endpoint_comes_first_at_the_limit_of_the_pool) {
  begin(limits(PoolSettings::unlimited, 1));
  pool::Endpoint* const other = endpoint("b");
  Entrant& holder = settled(threads(), 10);
  auto caller = start_acquire(*other);
  EXPECT_TRUE(caller.waits());
  EXPECT_FALSE(threads().try_enter(*a_)) << "streams that overlap would keep its place for ever";
  holder.leave();
  (void)complete_dial();
  EXPECT_TRUE(caller.get().ok());
}

// ---- ends at any moment ----------------------------------------------------------------------------------------------

TEST_F(HomeTest, a_caller_may_go_at_any_moment_and_leaves_nothing_behind) {
  begin(limits(1));
  {
    CountingWaker waker;
    const Home::Entry never_polled(threads(), *a_, {}, waker);
  }
  Entrant& dialing = enter(threads());
  Entrant& queued = enter(threads());
  Entrant& next = enter(threads());
  queued.give_up();
  dialing.give_up();
  EXPECT_FALSE(next.poll_if_woken());
  complete(1);  // of the abandoned dial, which the pool drops at its limit
  EXPECT_FALSE(next.poll_if_woken());
  complete(1);
  ASSERT_TRUE(next.poll_if_woken());
  (void)next.place();
  Entrant& served = enter(threads());
  Entrant& last = enter(threads());
  next.leave();      // to `served`, which
  served.give_up();  // goes without having looked
  ASSERT_TRUE(last.poll_if_woken());
  (void)last.place();
  last.leave();
  EXPECT_EQ(describe(), "1 idle");
  EXPECT_FALSE(threads().busy());
}

TEST_F(HomeTest, a_caller_that_failed_with_others_may_go_without_having_looked) {
  begin();
  Entrant& first = enter(threads());
  Entrant& second = enter(threads());
  refuse_dial(refusal());
  ASSERT_TRUE(first.poll());
  second.give_up();
  EXPECT_FALSE(threads().busy());
  Entrant& next = settled(threads(), 1);
  next.leave();
}

TEST_F(HomeTest, closing_the_pool_ends_those_who_wait) {
  begin(limits(1));
  Entrant& holder = settled(threads(), 1);
  Entrant& first = enter(threads());
  Entrant& second = enter(threads());
  pool_->close();
  ASSERT_TRUE(first.poll_if_woken());
  ASSERT_TRUE(first.failed());
  EXPECT_EQ(first.error().code, ErrorCode::pool_closed);
  ASSERT_TRUE(second.poll_if_woken());
  ASSERT_TRUE(second.failed());
  EXPECT_EQ(second.error().code, ErrorCode::pool_closed);
  holder.leave();
}

// ---- homes -----------------------------------------------------------------------------------------------------------

TEST_F(HomeTest, each_loop_has_a_home_which_is_forgotten_after_it) {
  begin();
  Homes homes(*pool_);
  auto first = std::make_shared<int>(1);
  auto second = std::make_shared<int>(2);
  Home& of_first = homes.of_loop(first);
  EXPECT_EQ(&homes.of_loop(first), &of_first);
  EXPECT_NE(&homes.of_loop(second), &of_first);
  EXPECT_NE(&homes.of_threads(), &of_first);
}

TEST_F(HomeTest, what_a_server_spoke_last_is_known_to_all_homes) {
  begin();
  Homes homes(*pool_);
  EXPECT_FALSE(homes.speaks_http1());
  Entrant first(homes.of_threads(), *a_, {});
  EXPECT_FALSE(first.poll());
  complete_with_http1();
  ASSERT_TRUE(first.poll());
  first.admission().connecting.found_http1();
  EXPECT_TRUE(homes.speaks_http1());
  first.admission().lease.release(pool::Reuse::no());
  Entrant second(homes.of_threads(), *a_, {});
  EXPECT_FALSE(second.poll());
  complete(10);
  ASSERT_TRUE(second.poll());
  (void)second.place();
  EXPECT_FALSE(homes.speaks_http1());
  second.leave();
}

}  // namespace
}  // namespace fastpool::connection::test
