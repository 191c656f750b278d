// Ends of connections: expiry, hang-ups, tombstones, close of the pool.

#include "pool/pool_fixture.h"

namespace fastpool::pool::test {
namespace {

class Expiry : public PoolTest {
 protected:
  static PoolSettings lifetimes(OptionalDuration idle, OptionalDuration life) {
    PoolSettings settings;
    settings.idle_timeout = idle;
    settings.max_lifetime = life;
    return settings;
  }
};

TEST_F(Expiry, an_idle_connection_is_closed_after_its_idle_timeout) {
  make(lifetimes(seconds(120), std::nullopt));
  park(*a_, 2);
  clock_.advance(seconds(119));
  EXPECT_EQ(pool_->cleanup(), 0U);
  idle(*a_).release(Reuse::yes());  // the idle time of the most recently used connection starts anew
  clock_.advance(seconds(2));
  EXPECT_EQ(pool_->cleanup(), 1U);
  EXPECT_TRUE(records_[0]->closed);
  EXPECT_EQ(records_[0]->reason, CloseReason::idle_timeout);
  EXPECT_EQ(describe(), "1 idle");
  clock_.advance(seconds(120));
  EXPECT_EQ(pool_->cleanup(), 1U);
  EXPECT_EQ(pool_->stats().expired, 2U);
}

TEST_F(Expiry, an_expired_connection_is_never_leased_even_before_a_cleanup) {
  make(lifetimes(seconds(120), std::nullopt));
  park(*a_, 1);
  clock_.advance(seconds(121));
  auto caller = start_acquire(*a_);
  EXPECT_EQ(describe(), "1 dialing, 1 waiting");
  EXPECT_TRUE(records_[0]->closed);
  complete_dial();
  EXPECT_TRUE(caller.get().ok());
}

TEST_F(Expiry, a_servers_keep_alive_promise_is_kept_with_a_margin) {
  make(lifetimes(seconds(120), std::nullopt));
  Lease lease = dialed(*a_);
  lease.release(Reuse::yes(seconds(10)));
  clock_.advance(milliseconds(8900));
  EXPECT_EQ(pool_->cleanup(), 0U);
  clock_.advance(milliseconds(200));
  EXPECT_EQ(pool_->cleanup(), 1U);
}

TEST_F(Expiry, a_connection_past_its_lifetime_is_closed_when_returned) {
  make(lifetimes(seconds(120), seconds(1000)));
  Lease lease = dialed(*a_);
  clock_.advance(seconds(1101));
  EXPECT_FALSE(records_[0]->closed);
  lease.release(Reuse::yes());
  EXPECT_TRUE(records_[0]->closed);
  EXPECT_EQ(describe(), "empty");
}

TEST_F(Expiry, lifetimes_are_spread_so_that_a_fleet_does_not_reconnect_at_once) {
  make(lifetimes(std::nullopt, seconds(1000)));
  park(*a_, 100);
  clock_.advance(seconds(899));
  EXPECT_EQ(pool_->cleanup(), 0U);
  clock_.advance(seconds(101));
  const std::size_t half = pool_->cleanup();
  EXPECT_GT(half, 20U);
  EXPECT_LT(half, 80U);
  clock_.advance(seconds(101));
  EXPECT_EQ(pool_->cleanup(), 100U - half);
}

TEST_F(Expiry, without_timeouts_an_idle_connection_stays) {
  make(lifetimes(std::nullopt, std::nullopt));
  park(*a_, 1);
  clock_.advance(hours(1000));
  EXPECT_EQ(pool_->cleanup(), 0U);
}

class HangUps : public PoolTest {};

TEST_F(HangUps, close_an_idle_connection_at_once) {
  make();
  park(*a_, 2);
  pool_->on_hang_up(records_[0]->token);
  EXPECT_TRUE(records_[0]->closed);
  EXPECT_EQ(records_[0]->reason, CloseReason::peer_closed);
  EXPECT_EQ(describe(), "1 idle");
  EXPECT_EQ(pool_->stats().peer_closed, 1U);
}

TEST_F(HangUps, keep_a_leased_connection_from_being_reused) {
  make();
  Lease lease = dialed(*a_);
  pool_->on_hang_up(records_[0]->token);
  EXPECT_FALSE(records_[0]->closed) << "its user may still read the bytes that arrived";
  lease.release(Reuse::yes());
  EXPECT_TRUE(records_[0]->closed);
  EXPECT_EQ(describe(), "empty");
}

TEST_F(HangUps, with_the_token_of_a_closed_connection_change_nothing) {
  make();
  park(*a_, 1);
  const std::uint64_t gone = records_[0]->token;
  idle(*a_).release(Reuse::no());
  park(*a_, 1);
  ASSERT_EQ(static_cast<std::uint32_t>(records_[1]->token), static_cast<std::uint32_t>(gone))
      << "both connections used the same slot";
  pool_->on_hang_up(gone);
  EXPECT_FALSE(records_[1]->closed);
  EXPECT_EQ(describe(), "1 idle");
}

TEST_F(HangUps, with_the_token_of_a_closed_connection_do_not_affect_a_dial_in_its_slot) {
  make();
  park(*a_, 1);
  const std::uint64_t gone = records_[0]->token;
  idle(*a_).release(Reuse::no());
  auto quitter = start_acquire(*a_, patience(std::nullopt, seconds(1)));
  clock_.advance(seconds(2));
  EXPECT_FALSE(quitter.get().ok());
  pool_->on_hang_up(gone);
  complete_dial();
  EXPECT_EQ(describe(), "1 idle");
}

TEST_F(HangUps, with_the_token_of_a_disconnected_connection_do_not_affect_the_next_connection) {
  make();
  park(*a_, 1);
  const LeaseRef lease = *pool_->try_lease(*a_);
  pool_->disconnect(lease);
  pool_->on_hang_up(records_[0]->token);
  auto connecting = start_connect(lease);
  pool_->on_hang_up(records_[0]->token);
  complete_dial();
  EXPECT_TRUE(connecting.get().ok());
  EXPECT_TRUE(pool_->release(lease, Reuse::yes()));
  EXPECT_EQ(describe(), "1 idle");
}

TEST_F(HangUps, with_unknown_tokens_change_nothing) {
  make();
  pool_->on_hang_up(0);
  pool_->on_hang_up((1ULL << 63) - 1);
  park(*a_, 1);
  pool_->on_hang_up(records_[0]->token + (1ULL << 32));
  EXPECT_EQ(describe(), "1 idle");
}

TEST_F(HangUps, during_the_last_step_of_a_dial_are_noticed) {
  make();
  auto quitter = start_acquire(*a_, patience(std::nullopt, seconds(1)));
  clock_.advance(seconds(2));
  EXPECT_FALSE(quitter.get().ok());
  // A connection whose peer hangs up as soon as the pool watches it.
  class Hasty final : public Pooled {
   public:
    Hasty(Pool& pool, std::shared_ptr<Record> record) : pool_(pool), record_(std::move(record)) {}
    ~Hasty() override { record_->closed = true; }
    bool check_alive() noexcept override { return false; }
    void interrupt() noexcept override {}
    void on_seated(std::uint64_t token) noexcept override { pool_.on_hang_up(token); }
    void end(CloseReason, std::string_view) noexcept override {}

   private:
    Pool& pool_;
    std::shared_ptr<Record> record_;
  };
  auto record = std::make_shared<Record>();
  pool_->dial_done(*dialer_.take().slot, std::unique_ptr<Pooled>(std::make_unique<Hasty>(*pool_, record)), {});
  EXPECT_TRUE(record->closed);
  EXPECT_EQ(describe(), "empty");
}

TEST_F(HangUps, give_the_place_of_the_connection_to_a_starving_endpoint) {
  make(limits(5, 2));
  Endpoint* b = endpoint("b");
  Lease held = dialed(*a_);
  Lease other = dialed(*a_);
  auto caller = start_acquire(*b);
  pool_->on_hang_up(record(held).token);
  held.release(Reuse::yes());
  complete_dial();
  EXPECT_TRUE(caller.get().ok());
}

class Tombstones : public PoolTest {};

TEST_F(Tombstones, below_the_head_of_the_list_do_not_change_the_order_of_live_connections) {
  make(limits(300));
  park(*a_, 200);
  // Nine of ten connections hang up, from the bottom of the list on. Sweeps happen meanwhile.
  for (int i = 0; i < 200; ++i)
    if (i % 10 != 9) pool_->on_hang_up(records_[static_cast<std::size_t>(i)]->token);
  EXPECT_EQ(describe(), "20 idle");
  std::vector<Lease> leases;
  for (int i = 199; i >= 9; i -= 10) {
    leases.push_back(idle(*a_));
    ASSERT_TRUE(leases.back());
    EXPECT_EQ(number(leases.back()), i + 1);
  }
  EXPECT_EQ(describe(), "20 leased");
  const auto unconnected = pool_->try_lease(*a_);
  ASSERT_TRUE(unconnected);
  EXPECT_FALSE(unconnected->slot->connected());
  EXPECT_TRUE(pool_->release(*unconnected, Reuse::no()));
}

TEST_F(Tombstones, free_their_slots_for_reuse) {
  make(limits(30));
  std::uint32_t highest = 0;
  Lease top = dialed(*a_);
  for (int round = 0; round < 100; ++round) {
    std::vector<std::uint64_t> tokens;
    std::vector<Lease> leases;
    for (int i = 0; i < 20; ++i) {
      leases.push_back(dialed(*a_));
      tokens.push_back(record(leases.back()).token);
      highest = std::max(highest, leases.back().ref().slot->index);
    }
    for (Lease& lease : leases)
      lease.release(Reuse::yes());
    top.release(Reuse::yes());
    for (const std::uint64_t token : tokens)
      pool_->on_hang_up(token);
    top = idle(*a_);
    ASSERT_EQ(number(top), 1);
  }
  EXPECT_LT(highest, 64U);
}

TEST_F(Tombstones, are_swept_when_the_list_contains_nothing_else) {
  make(limits(100));
  park(*a_, 100);
  for (const auto& record : records_)
    pool_->on_hang_up(record->token);
  EXPECT_EQ(describe(), "empty");
  const auto lease = pool_->try_lease(*a_);
  ASSERT_TRUE(lease);
  EXPECT_FALSE(lease->slot->connected());
  EXPECT_TRUE(pool_->release(*lease, Reuse::no()));
}

class Closing : public PoolTest {};

TEST_F(Closing, fails_waiting_callers_closes_idle_connections_and_interrupts_users) {
  make(limits(2));
  Lease leased = dialed(*a_);
  dialed(*a_).release(Reuse::yes());
  Lease second = idle(*a_);
  auto waiting = start_acquire(*a_);
  auto bare = start_lease(*a_);
  second.release(Reuse::no());
  EXPECT_EQ(describe(), "1 leased, 1 dialing, 2 waiting");
  Endpoint* b = endpoint("b");
  park(*b, 1);
  pool_->close();
  EXPECT_EQ(waiting.get().error().code, ErrorCode::pool_closed);
  EXPECT_EQ(bare.get().error().code, ErrorCode::pool_closed);
  EXPECT_TRUE(records_[2]->closed) << "idle";
  EXPECT_EQ(records_[2]->reason, CloseReason::pool_closed);
  EXPECT_TRUE(records_[0]->interrupted) << "leased";
  EXPECT_FALSE(records_[0]->closed) << "only the holder of the lease closes it";
  EXPECT_EQ(describe(), "1 leased") << "the dial was dropped";
  EXPECT_TRUE(dialer_.hurried(dialer_.peek().slot));
  leased.release(Reuse::yes());
  EXPECT_TRUE(records_[0]->closed);
  complete_dial();
  EXPECT_TRUE(records_[3]->closed);
  EXPECT_EQ(describe(), "empty");
  pool_->close();
}

TEST_F(Closing, refuses_later_callers) {
  make();
  park(*a_, 1);
  pool_->close();
  EXPECT_EQ(pool_->acquire(*a_, {}).error().code, ErrorCode::pool_closed);
  EXPECT_EQ(pool_->lease(*a_, {}).error().code, ErrorCode::pool_closed);
  EXPECT_EQ(pool_->warm(*a_, 1, {}).error().code, ErrorCode::pool_closed);
  EXPECT_FALSE(pool_->try_lease(*a_));
  EXPECT_TRUE(pool_->closed());
  EXPECT_EQ(dialer_.begun(), 1U);
}

TEST_F(Closing, takes_back_a_connection_that_a_caller_takes_meanwhile) {
  make();
  std::thread([this] { park(*a_, 1); }).join();  // this thread has no hint, and pops the connection
  clock_.during_look = [this] { pool_->close(); };
  EXPECT_FALSE(pool_->try_acquire(*a_, false));
  EXPECT_TRUE(pool_->closed());
  EXPECT_TRUE(records_[0]->closed);
}

TEST_F(Closing, takes_back_a_bare_lease_that_begins_meanwhile) {
  PoolSettings settings;
  settings.leak_after = hours(1);  // the pool reads the clock when the lease begins
  make(settings);
  clock_.during_look = [this] { pool_->close(); };
  EXPECT_FALSE(pool_->try_lease(*a_));
  EXPECT_TRUE(pool_->closed());
  EXPECT_EQ(describe(), "empty");
}

TEST_F(Closing, fails_a_connecting_lease) {
  make();
  const LeaseRef lease = *pool_->try_lease(*a_);
  auto connecting = start_connect(lease);
  pool_->close();
  EXPECT_EQ(connecting.get().error().code, ErrorCode::pool_closed);
  complete_dial();
  EXPECT_TRUE(records_[0]->interrupted);
  EXPECT_TRUE(pool_->release(lease, Reuse::yes()));
  EXPECT_EQ(describe(), "empty");
}

TEST_F(Closing, leaves_nothing_behind_of_a_connecting_lease_that_is_returned) {
  make();
  const LeaseRef lease = *pool_->try_lease(*a_);
  auto connecting = start_connect(lease);
  pool_->close();
  EXPECT_FALSE(connecting.get().ok());
  EXPECT_TRUE(pool_->release(lease, Reuse::yes()));
  complete_dial();
  EXPECT_EQ(describe(), "empty");
  EXPECT_TRUE(records_[0]->closed);
}

class Warming : public PoolTest {};

TEST_F(Warming, dials_until_the_requested_number_is_idle) {
  make();
  park(*a_, 1);
  auto warming = start_warm(*a_, 3);
  EXPECT_EQ(dialer_.begun(), 3U) << "one connection was idle already";
  complete_dial();
  complete_dial();
  auto warmed = warming.get();
  ASSERT_TRUE(warmed.ok());
  EXPECT_EQ(*warmed, 3U);
  EXPECT_EQ(describe(), "3 idle");
}

TEST_F(Warming, stays_within_the_limits) {
  PoolSettings settings = limits(4, 3);
  settings.max_idle_connections = 2;
  make(settings);
  auto warming = start_warm(*a_, 10);
  complete_dial();
  complete_dial();
  auto warmed = warming.get();
  ASSERT_TRUE(warmed.ok());
  EXPECT_EQ(*warmed, 2U);
  EXPECT_EQ(describe(), "2 idle");
}

TEST_F(Warming, at_two_endpoints_at_once_does_not_block_itself) {
  make(limits(5, 2));
  Endpoint* b = endpoint("b");
  Lease one = dialed(*a_);
  Lease two = dialed(*a_);
  auto warming_a = start_warm(*a_, 2);
  auto warming_b = start_warm(*b, 2);
  EXPECT_EQ(describe(), "2 leased, 4 waiting");
  one.release(Reuse::no());
  two.release(Reuse::no());
  EXPECT_TRUE(eventually("both warm-ups have returned", [&] {
    if (dialer_.under_way() != 0) complete_dial();
    return !warming_a.waits() && !warming_b.waits();
  }));
  EXPECT_TRUE(warming_a.get().ok());
  EXPECT_TRUE(warming_b.get().ok());
}

TEST_F(Warming, reports_the_dial_error_if_no_dial_succeeded) {
  make();
  auto warming = start_warm(*a_, 2);
  refuse_dial(refusal(true));
  refuse_dial(refusal(true));
  const auto failed = warming.get();
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code, ErrorCode::connect_failed);
}

TEST_F(Warming, reports_how_many_are_idle_if_some_dials_failed) {
  make();
  auto warming = start_warm(*a_, 2);
  refuse_dial(refusal());
  complete_dial();
  auto warmed = warming.get();
  ASSERT_TRUE(warmed.ok());
  EXPECT_EQ(*warmed, 1U);
}

}  // namespace
}  // namespace fastpool::pool::test
