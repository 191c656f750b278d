// An endpoint lives as long as a hold, a connection or a dial needs it. Then its object serves another target.

#include <set>

#include "pool/pool_fixture.h"

namespace fastpool::pool::test {
namespace {

class EndpointLife : public PoolTest {
 protected:
  [[nodiscard]] EndpointHold hold(const std::string& key, AfterUse after_use = AfterUse::close) {
    return pool_->add_endpoint(key, std::shared_ptr<const void>(target_), key, after_use);
  }
  /// Returns an endpoint that serves this holder only.
  [[nodiscard]] EndpointHold isolated() {
    return pool_->add_endpoint("isolated", std::shared_ptr<const void>(target_), "", AfterUse::close);
  }
  /// Returns whether no endpoint refers to the target any more.
  [[nodiscard]] bool retired() const { return target_.use_count() == 1; }
  [[nodiscard]] std::size_t living() const { return pool_->stats().endpoints.size(); }

  std::shared_ptr<int> target_ = std::make_shared<int>(0);
};

TEST_F(EndpointLife, equal_keys_share_an_endpoint_and_an_empty_key_never_does) {
  make();
  const EndpointHold first = hold("p");
  const EndpointHold second = hold("p");
  EXPECT_EQ(&*first, &*second);
  EXPECT_EQ(&*pool_->find_endpoint("p", AfterUse::close), &*first);
  EXPECT_FALSE(pool_->find_endpoint("q", AfterUse::close));
  const EndpointHold third = isolated();
  const EndpointHold fourth = isolated();
  EXPECT_NE(&*third, &*fourth);
  EXPECT_FALSE(pool_->find_endpoint("", AfterUse::close));
}

TEST_F(EndpointLife, an_endpoint_that_never_had_a_connection_is_retired_with_its_last_hold) {
  make();
  {
    const EndpointHold first = hold("p");
    {
      const EndpointHold second = hold("p");
    }
    EXPECT_FALSE(retired());
  }
  EXPECT_TRUE(retired());
  EXPECT_EQ(living(), 1U) << "the endpoint of the fixture";
  EXPECT_FALSE(pool_->find_endpoint("p", AfterUse::close));
}

TEST_F(EndpointLife, idle_connections_outlive_the_last_hold_by_half_a_second) {
  make();
  {
    const EndpointHold first = hold("p");
    park(*first, 2);
  }
  clock_.advance(milliseconds(499));
  pool_->maintain();
  EXPECT_EQ(describe(), "2 idle");
  clock_.advance(milliseconds(1));
  pool_->maintain();
  EXPECT_EQ(describe(), "empty");
  EXPECT_EQ(records_[0]->reason, CloseReason::unused);
  EXPECT_TRUE(retired());
}

TEST_F(EndpointLife, a_new_hold_within_half_a_second_finds_the_idle_connections) {
  make();
  {
    const EndpointHold first = hold("p");
    park(*first, 1);
  }
  clock_.advance(milliseconds(300));
  const EndpointHold second = hold("p");
  clock_.advance(seconds(10));
  pool_->maintain();
  EXPECT_EQ(number(idle(*second)), 1);
}

TEST_F(EndpointLife, connections_stay_for_the_idle_timeout_if_a_hold_asked_to_keep_them) {
  PoolSettings settings;
  settings.idle_timeout = seconds(120);
  make(settings);
  {
    const EndpointHold keeps = hold("p", AfterUse::keep);
    const EndpointHold closes = hold("p", AfterUse::close);
    park(*closes, 1);
  }
  clock_.advance(seconds(119));
  pool_->maintain();
  EXPECT_EQ(describe(), "1 idle");
  clock_.advance(seconds(2));
  pool_->maintain();
  EXPECT_EQ(describe(), "empty");
  EXPECT_TRUE(retired());
}

TEST_F(EndpointLife, connections_of_an_isolated_endpoint_are_closed_with_its_hold) {
  make();
  {
    const EndpointHold alone = isolated();
    park(*alone, 1);
  }
  pool_->maintain();
  EXPECT_TRUE(records_[0]->closed);
  EXPECT_TRUE(retired());
}

TEST_F(EndpointLife, an_endpoint_with_a_lease_stays_until_the_lease_is_returned) {
  make();
  auto first = std::make_unique<EndpointHold>(hold("p"));
  Lease lease = dialed(**first);
  first.reset();
  clock_.advance(seconds(1));
  pool_->maintain();
  EXPECT_FALSE(retired());
  lease.release(Reuse::yes());
  pool_->maintain();
  EXPECT_TRUE(records_[0]->closed);
  EXPECT_TRUE(retired());
}

TEST_F(EndpointLife, an_endpoint_with_a_dial_under_way_stays_until_the_dial_ends) {
  make();
  {
    const EndpointHold first = hold("p");
    auto caller = start_acquire(*first, patience(std::nullopt, seconds(1)));
    clock_.advance(seconds(2));
    EXPECT_FALSE(caller.get().ok());
  }
  pool_->maintain();
  EXPECT_FALSE(retired());
  complete_dial();
  clock_.advance(seconds(1));
  pool_->maintain();
  EXPECT_TRUE(records_[0]->closed);
  EXPECT_TRUE(retired());
}

TEST_F(EndpointLife, an_endpoint_that_is_kept_warm_stays) {
  make();
  {
    const EndpointHold first = hold("p", AfterUse::keep);
    auto warming = start_warm(*first, 1);
    complete_dial();
    EXPECT_TRUE(warming.get().ok());
  }
  records_[0]->alive = false;
  pool_->on_hang_up(records_[0]->token);
  pool_->maintain();
  EXPECT_FALSE(retired());
  complete_dial();
  EXPECT_EQ(describe(), "1 idle");
  EXPECT_TRUE(pool_->warm(*hold("p", AfterUse::keep), 0, {}).ok());
}

TEST_F(EndpointLife, an_endpoint_that_waits_at_the_total_limit_is_retired_when_its_last_caller_gives_up) {
  make(limits(5, 1));
  Lease held = dialed(*a_);
  {
    const EndpointHold first = hold("p");
    auto caller = start_acquire(*first, patience(seconds(1)));
    clock_.advance(seconds(2));
    EXPECT_FALSE(caller.get().ok());
  }
  EXPECT_TRUE(retired());
}

TEST_F(EndpointLife, a_dropped_dial_that_ends_after_its_endpoint_is_reported_with_the_name_it_began_for) {
  make(limits(5, 1));
  {
    const EndpointHold first = hold("p");
    auto quitter = start_acquire(*first, patience(std::nullopt, seconds(1)));
    ASSERT_TRUE(dials_begin(1));
    clock_.advance(seconds(2));
    EXPECT_FALSE(quitter.get().ok());
  }
  EXPECT_FALSE(retired());
  auto caller = start_acquire(*a_);
  ASSERT_TRUE(dials_begin(2)) << "the dial of the first endpoint was dropped";
  EXPECT_TRUE(retired());
  const EndpointHold next = hold("q");
  EXPECT_EQ(complete_dial(0, {.endpoint = "p"}).endpoint, "p");
  EXPECT_TRUE(records_[0]->closed);
  EXPECT_EQ(next->name(), "q");
  complete_dial();
  EXPECT_TRUE(caller.get().ok());
}

TEST_F(EndpointLife, the_object_unused_for_longest_serves_the_next_target) {
  make();
  std::vector<const Endpoint*> order;
  {
    std::vector<EndpointHold> holds;
    for (const char* name : {"p", "q", "r"})
      order.push_back(&*holds.emplace_back(hold(name)));
    for (EndpointHold& each : holds)
      each = EndpointHold();
  }
  const EndpointHold next = hold("s");
  EXPECT_EQ(&*next, order[0]);
  EXPECT_EQ(next->name(), "s");
}

TEST_F(EndpointLife, two_objects_serve_any_number_of_targets_in_turn) {
  make();
  std::set<const Endpoint*> objects;
  for (int i = 0; i < 10'000; ++i) {
    const EndpointHold each = hold(std::to_string(i));
    objects.insert(&*each);
  }
  EXPECT_LE(objects.size(), 2U);
  EXPECT_TRUE(retired());
}

TEST_F(EndpointLife, idle_connections_are_kept_for_new_and_old_targets_alike) {
  make();
  sync::ThreadWaker waker;
  for (int i = 0; i < 2'000; ++i) {
    const EndpointHold each = hold(std::to_string(i), AfterUse::keep);
    // As park(), but without a thread for each.
    Acquisition acquisition(*pool_, *each, {}, waker);
    EXPECT_FALSE(acquisition.poll().has_value());
    complete_dial();
    auto lease = acquisition.poll();
    ASSERT_TRUE(lease && lease->ok());
    lease->value().release(Reuse::yes());
    pool_->cleanup();
  }
  EXPECT_EQ(number(idle(*hold("1999", AfterUse::keep))), 2'000);
  EXPECT_EQ(number(idle(*hold("0", AfterUse::keep))), 1);
}

TEST_F(EndpointLife, histograms_do_not_shrink_when_an_endpoint_is_retired) {
  make();
  {
    const EndpointHold first = hold("p");
    dialed(*first).release(Reuse::no());
    EXPECT_EQ(pool_->stats().all.create_time.count, 1U);
  }
  EXPECT_TRUE(retired());
  EXPECT_EQ(pool_->stats().all.create_time.count, 1U);
  EXPECT_EQ(pool_->stats().all.wait_time.count, 1U);
}

TEST_F(EndpointLife, many_threads_use_and_leave_the_same_endpoint) {
  make();
  std::atomic<bool> done{false};
  std::thread dials([&] {
    while (!done || dialer_.under_way() > 0) {
      if (dialer_.under_way() > 0) complete_dial();
    }
  });
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 300; ++i) {
        EndpointHold each = i % 5 == t ? isolated() : hold("p");
        auto lease = pool_->acquire(*each, {});
        ASSERT_TRUE(lease.ok());
        if (i % 2 == 0) each = EndpointHold();
        if (i % 3 == 0) {
          clock_.advance(milliseconds(200));
          pool_->maintain();
        }
        lease->release(Reuse::yes());
      }
    });
  }
  for (std::thread& thread : threads)
    thread.join();
  done = true;
  dials.join();
  clock_.advance(seconds(1));
  pool_->maintain();
  pool_->maintain();
  EXPECT_TRUE(retired());
}

}  // namespace
}  // namespace fastpool::pool::test
