// Which caller waits for which dial when dials end in another order than they began, are shared, or find no descriptor left.

#include <string>
#include <vector>

#include "pool/decisions.h"
#include "pool/pool_fixture.h"

namespace fastpool::pool::test {
namespace {

class Dials : public FailingEndpointTest {
 protected:
  [[nodiscard]] static Error no_descriptor() { return refusal(false, EMFILE); }

  /// Completes all dials under way and those that begin meanwhile.
  void complete_all() {
    while (dialer_.under_way() != 0)
      complete_dial();
  }
};

// ---- in another order ------------------------------------------------------------------------------------------------

TEST_F(Dials, serve_the_caller_whose_own_dial_served_another_caller) {
  make(limits(2));
  auto one = start_acquire(*a_);
  auto two = start_acquire(*a_);
  const Slot* first = dialer_.peek(0).slot;
  clock_.advance(milliseconds(300));
  complete_dial(1);
  EXPECT_TRUE(one.get().ok());
  EXPECT_FALSE(dialer_.hurried(first)) << "it is as likely to succeed soon as the other dial was";
  EXPECT_EQ(dialer_.begun(), 2U);
  complete_all();
  EXPECT_TRUE(two.get().ok());
}

TEST_F(Dials, to_a_slow_host_are_about_as_many_as_callers_in_any_order_of_completion) {
  PoolSettings settings;
  settings.max_dials_per_endpoint = 8;
  make(settings);
  std::vector<Caller<Result<Lease>>> callers;
  for (int i = 0; i < 32; ++i)
    callers.push_back(start_acquire(*a_));
  std::vector<Result<Lease>> leases;
  while (dialer_.under_way() != 0) {
    clock_.advance(milliseconds(300));
    for (std::size_t i = dialer_.under_way(); i-- > 0;) {
      EXPECT_FALSE(dialer_.hurried(dialer_.peek(i).slot)) << "a dial that is about to succeed was dropped";
      complete_dial(i);
    }
  }
  for (auto& caller : callers)
    leases.push_back(caller.get());
  EXPECT_LE(dialer_.begun(), 32U + 8U);
  for (const auto& lease : leases)
    EXPECT_TRUE(lease.ok());
}

TEST_F(Dials, that_serve_one_of_two_callers_return_the_other_to_its_pool_timeout) {
  make(limits(1));
  auto one = start_acquire(*a_);
  auto two = start_acquire(*a_, patience(std::nullopt, seconds(5)));
  auto three = start_acquire(*a_, patience(std::nullopt, seconds(5)));
  refuse_dial(refusal());
  EXPECT_FALSE(one.get().ok());
  EXPECT_TRUE(becomes("1 dialing, 2 waiting"));
  complete_dial();  // the host accepts again; both callers waited for this dial
  auto lease = two.get();
  ASSERT_TRUE(lease.ok());
  clock_.advance(seconds(6));  // a long response, while no dial is under way for the third caller
  std::move(lease).value().release(Reuse::yes());
  EXPECT_TRUE(three.get().ok());
}

// ---- bare leases among callers ---------------------------------------------------------------------------------------

TEST_F(Dials, taken_over_by_the_next_caller_free_the_bare_lease_behind_it) {
  PoolSettings settings;
  settings.max_dials_per_endpoint = 1;
  make(settings);
  Lease used = dialed(*a_);
  auto one = start_acquire(*a_);
  auto two = start_acquire(*a_);
  auto bare = start_lease(*a_);
  EXPECT_EQ(describe(), "1 leased, 1 dialing, 3 waiting");
  used.release(Reuse::yes());
  auto first = one.get();
  ASSERT_TRUE(first.ok());  // its dial now serves the second caller
  auto lease = bare.get();
  ASSERT_TRUE(lease.ok());
  complete_all();
  EXPECT_TRUE(two.get().ok());
  EXPECT_TRUE(pool_->release(*lease, Reuse::no()));
}

TEST_F(Dials, begin_for_callers_behind_a_bare_lease_once_a_descriptor_is_free) {
  make();
  Endpoint* b = endpoint("b");
  Lease held = dialed(*b);
  auto one = start_acquire(*a_);
  refuse_dial(no_descriptor());
  EXPECT_TRUE(becomes("1 leased, 1 waiting"));
  auto bare = start_lease(*a_);
  auto two = start_acquire(*a_);
  EXPECT_EQ(describe(), "1 leased, 3 waiting");
  held.release(Reuse::no());
  auto lease = bare.get();
  ASSERT_TRUE(lease.ok());
  EXPECT_EQ(dialer_.under_way(), 2U);
  complete_all();
  EXPECT_TRUE(one.get().ok());
  EXPECT_TRUE(two.get().ok());
  EXPECT_TRUE(pool_->release(*lease, Reuse::no()));
}

// ---- without descriptors ---------------------------------------------------------------------------------------------

TEST_F(Dials, begin_again_for_a_lease_that_shared_one_when_a_descriptor_is_freed) {
  make();
  Endpoint* b = endpoint("b");
  const auto bare = pool_->lease(*a_, {});
  ASSERT_TRUE(bare.ok());
  use_up_the_burst(*a_);
  park(*b, 1);
  Looks looks;
  AcquireOptions options;
  options.interrupt = looks.interrupt();
  auto caller = start_acquire(*a_, options);
  auto connecting = start_connect(*bare);
  EXPECT_EQ(dialer_.under_way(), 1U);
  looks.stop = true;  // only the lease waits for the shared dial now
  EXPECT_FALSE(caller.get().ok());
  clock_.advance(milliseconds(6));
  refuse_dial(no_descriptor());
  EXPECT_TRUE(records_.back()->closed);
  ASSERT_TRUE(dials_begin(1));
  complete_dial();
  EXPECT_TRUE(connecting.get().ok());
  EXPECT_TRUE(pool_->release(*bare, Reuse::no()));
}

TEST_F(Dials, fail_for_every_caller_when_no_descriptor_can_be_freed) {
  make();
  std::vector<Caller<Result<Lease>>> callers;
  for (int i = 0; i < 40; ++i)
    callers.push_back(start_acquire(*a_));
  while (dialer_.under_way() != 0)
    refuse_dial(no_descriptor());
  for (auto& caller : callers)
    EXPECT_EQ(caller.get().error().os_error, EMFILE);
  EXPECT_LE(dialer_.begun(), 80U);
}

TEST_F(Dials, use_the_descriptor_of_a_disconnected_lease) {
  make();
  Endpoint* b = endpoint("b");
  const auto bare = pool_->lease(*b, {});
  ASSERT_TRUE(bare.ok());
  auto connecting = start_connect(*bare);
  complete_dial();
  ASSERT_TRUE(connecting.get().ok());
  auto caller = start_acquire(*a_);
  refuse_dial(no_descriptor());
  EXPECT_TRUE(caller.waits());
  EXPECT_EQ(dialer_.under_way(), 0U);
  pool_->disconnect(*bare);
  ASSERT_EQ(dialer_.under_way(), 1U);
  complete_dial();
  EXPECT_TRUE(caller.get().ok());
  EXPECT_TRUE(pool_->release(*bare, Reuse::no()));
}

TEST_F(Dials, of_leases_are_retried_while_another_endpoint_waits_at_the_total_limit) {
  make(limits(2, 2));
  Endpoint* b = endpoint("b");
  Endpoint* c = endpoint("c");
  Lease used = dialed(*c);
  const auto bare = pool_->lease(*b, {});
  ASSERT_TRUE(bare.ok());
  auto starving = start_acquire(*a_);
  EXPECT_EQ(dialer_.under_way(), 0U);
  auto connecting = start_connect(*bare);
  refuse_dial(no_descriptor());
  EXPECT_TRUE(connecting.waits());
  pool_->maintain();  // other code of the process may have closed a descriptor
  ASSERT_EQ(dialer_.under_way(), 1U);
  complete_dial();
  EXPECT_TRUE(connecting.get().ok());
  EXPECT_TRUE(pool_->release(*bare, Reuse::no()));
  complete_dial();
  EXPECT_TRUE(starving.get().ok());
}

TEST_F(Dials, that_wait_for_a_descriptor_give_their_place_to_a_bare_lease) {
  make(limits(5, 2));
  Endpoint* b = endpoint("b");
  Lease held = dialed(*b);
  auto caller = start_acquire(*a_);
  auto bare = start_lease(*b);
  EXPECT_EQ(describe(), "1 leased, 1 dialing, 2 waiting");
  refuse_dial(no_descriptor());
  auto lease = bare.get();
  ASSERT_TRUE(lease.ok());
  EXPECT_TRUE(pool_->release(*lease, Reuse::no()));
  held.release(Reuse::no());
  complete_dial();
  EXPECT_TRUE(caller.get().ok());
}

// ---- paced -----------------------------------------------------------------------------------------------------------

TEST_F(Dials, beyond_the_pace_are_shared_after_one_was_dropped_before_it_began) {
  make(limits(PoolSettings::unlimited, 30));
  Endpoint* b = endpoint("b");
  use_up_the_burst(*a_);
  std::vector<LeaseRef> leases;
  for (int i = 0; i < 29; ++i)
    leases.push_back(*pool_->lease(*b, {}));
  Looks looks;
  AcquireOptions options;
  options.interrupt = looks.interrupt();
  auto given_up = start_acquire(*a_, options);
  looks.stop = true;
  EXPECT_FALSE(given_up.get().ok());
  leases.push_back(*pool_->lease(*b, {}));  // at the total limit: the dial is dropped
  refuse_dial(refusal());
  for (const LeaseRef& ref : leases)
    EXPECT_TRUE(pool_->release(ref, Reuse::no()));
  std::vector<Caller<Result<Lease>>> callers;
  for (int i = 0; i < 20; ++i)
    callers.push_back(start_acquire(*a_));
  ASSERT_EQ(dialer_.under_way(), 1U);
  EXPECT_LE(dialer_.peek().start, clock_.now() + 2 * dead_interval);
  refuse_dial(refusal());
  for (auto& caller : callers)
    EXPECT_FALSE(caller.get().ok());
}

}  // namespace
}  // namespace fastpool::pool::test
