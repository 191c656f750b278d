// Acquisition in steps, as an event loop does it. No call here blocks, except in threads beside the loop.

#include <array>

#include "net/epoll.h"
#include "pool/pool_fixture.h"

namespace fastpool::pool::test {
namespace {

/// Wakes an event loop: a descriptor becomes readable.
class LoopWaker final : public sync::Waker {
 public:
  void wake() noexcept override { event_.signal(); }
  /// Returns whether it was woken since the last call.
  [[nodiscard]] bool woken() noexcept { return event_.drain(); }
  [[nodiscard]] int descriptor() const noexcept { return event_.descriptor(); }

 private:
  net::EventFd event_ = net::EventFd::open();
};

class SteppedAcquisition : public PoolTest {
 protected:
  [[nodiscard]] std::unique_ptr<Acquisition> acquisition(Endpoint& endpoint, const AcquireOptions& options = {},
                                                         Waiter::Wants wants = Waiter::Wants::connection) {
    return std::make_unique<Acquisition>(*pool_, endpoint, options, waker_, wants);
  }
  /// Polls, and returns the lease that must be ready.
  [[nodiscard]] static Lease taken(Acquisition& acquisition) {
    auto result = acquisition.poll();
    EXPECT_TRUE(result && result->ok());
    return result && result->ok() ? std::move(*result).value() : Lease();
  }
  [[nodiscard]] static ErrorCode refused(Acquisition& acquisition) {
    auto result = acquisition.poll();
    EXPECT_TRUE(result && !result->ok());
    return result && !result->ok() ? result->error().code : ErrorCode::invalid_argument;
  }
  /// Returns an acquisition that waits for the connection of that lease.
  [[nodiscard]] std::unique_ptr<Acquisition> connecting(const LeaseRef& lease) {
    auto acquisition = std::make_unique<Acquisition>(*pool_, lease, AcquireOptions{}, waker_);
    EXPECT_FALSE(acquisition->poll());
    return acquisition;
  }
  [[nodiscard]] LeaseRef bare_lease() {
    const auto bare = pool_->try_lease(*a_);
    EXPECT_TRUE(bare);
    return bare.value_or(LeaseRef{});
  }
  LoopWaker waker_;
};

TEST_F(SteppedAcquisition, takes_an_idle_connection_at_the_first_poll) {
  make();
  park(*a_, 1);
  auto one = acquisition(*a_);
  taken(*one).release(Reuse::yes());
  EXPECT_FALSE(waker_.woken());
}

TEST_F(SteppedAcquisition, wakes_an_event_loop_through_its_descriptor_when_a_connection_is_returned) {
  make(limits(1));
  Lease held = dialed(*a_);
  auto one = acquisition(*a_);
  EXPECT_FALSE(one->poll());
  net::Epoll loop = net::Epoll::open();
  ASSERT_EQ(loop.add(waker_.descriptor(), EPOLLIN, 7), 0);
  std::array<epoll_event, 1> events;
  EXPECT_TRUE(loop.wait(events, Duration{}).empty());

  std::thread other([&] { held.release(Reuse::yes()); });
  EXPECT_EQ(loop.wait(events, support::wait_limit).size(), 1U) << support::waited_in_vain("the descriptor is readable");
  other.join();
  EXPECT_TRUE(waker_.woken());
  EXPECT_EQ(number(taken(*one)), 1);
}

TEST_F(SteppedAcquisition, shares_one_queue_with_blocking_callers) {
  make(limits(1));
  Lease held = dialed(*a_);
  auto first = acquisition(*a_);
  EXPECT_FALSE(first->poll());
  auto second = start_acquire(*a_);
  auto third = acquisition(*a_);
  EXPECT_FALSE(third->poll());

  held.release(Reuse::yes());
  EXPECT_TRUE(second.waits());
  EXPECT_FALSE(third->poll());
  taken(*first).release(Reuse::yes());
  auto lease = second.get();
  ASSERT_TRUE(lease.ok());
  EXPECT_FALSE(third->poll());
  lease->release(Reuse::yes());
  taken(*third).release(Reuse::yes());
  EXPECT_EQ(dialer_.begun(), 1U);
}

TEST_F(SteppedAcquisition, leaves_the_queue_when_its_caller_gives_up) {
  make(limits(1));
  Lease held = dialed(*a_);
  auto one = acquisition(*a_);
  auto next = acquisition(*a_);
  EXPECT_FALSE(one->poll());
  EXPECT_FALSE(next->poll());
  one.reset();
  EXPECT_EQ(describe(), "1 leased, 1 waiting");
  held.release(Reuse::yes());
  taken(*next).release(Reuse::yes());
}

TEST_F(SteppedAcquisition, passes_a_handed_over_connection_on_when_its_caller_gives_up) {
  make(limits(1));
  Lease held = dialed(*a_);
  auto one = acquisition(*a_);
  auto next = acquisition(*a_);
  EXPECT_FALSE(one->poll());
  EXPECT_FALSE(next->poll());
  held.release(Reuse::yes());  // handed to the first, which polls no more
  one.reset();
  taken(*next).release(Reuse::yes());
  EXPECT_EQ(describe(), "1 idle");
  EXPECT_EQ(dialer_.begun(), 1U);
}

TEST_F(SteppedAcquisition, leaves_nothing_behind_if_it_was_never_polled) {
  make();
  acquisition(*a_).reset();
  EXPECT_EQ(describe(), "empty");
}

TEST_F(SteppedAcquisition, keeps_a_lease_that_arrived_before_the_stop) {
  make(limits(1));
  Lease held = dialed(*a_);
  auto one = acquisition(*a_);
  EXPECT_FALSE(one->poll());
  held.release(Reuse::yes());
  one->stop(Error::make(ErrorCode::interrupted, Phase::acquire, "too late"));
  taken(*one).release(Reuse::yes());
}

TEST_F(SteppedAcquisition, reports_the_error_that_stopped_it) {
  make(limits(1));
  const Lease held = dialed(*a_);
  auto one = acquisition(*a_);
  EXPECT_FALSE(one->poll());
  one->stop(Error::make(ErrorCode::interrupted, Phase::acquire, "enough"));
  EXPECT_EQ(refused(*one), ErrorCode::interrupted);
}

TEST_F(SteppedAcquisition, has_the_pool_deadline_first_and_then_the_connect_deadline) {
  make(limits(1));
  Lease held = dialed(*a_);
  auto one = acquisition(*a_, patience(seconds(10), seconds(3)));
  const TimePoint begin = clock_.now();
  EXPECT_FALSE(one->poll());
  EXPECT_EQ(one->deadline(), begin + seconds(10));
  clock_.advance(seconds(4));
  (void)waker_.woken();
  held.release(Reuse::no());  // the place is used for a new dial
  EXPECT_TRUE(waker_.woken()) << "the deadline has changed";
  EXPECT_FALSE(one->poll());
  EXPECT_EQ(one->deadline(), begin + seconds(7));
  clock_.advance(seconds(3));
  EXPECT_EQ(refused(*one), ErrorCode::connect_timeout);
}

TEST_F(SteppedAcquisition, fails_at_its_pool_timeout_and_leaves_no_waiter) {
  make(limits(1));
  const Lease held = dialed(*a_);
  auto one = acquisition(*a_, patience(seconds(10)));
  EXPECT_FALSE(one->poll());
  clock_.advance(seconds(10));
  EXPECT_EQ(refused(*one), ErrorCode::pool_timeout);
  EXPECT_EQ(describe(), "1 leased");
}

TEST_F(SteppedAcquisition, keeps_its_place_when_it_was_handed_a_dead_connection) {
  make(limits(1));
  Lease held = dialed(*a_);
  auto first = acquisition(*a_);
  auto second = acquisition(*a_);
  EXPECT_FALSE(first->poll());
  EXPECT_FALSE(second->poll());
  records_[0]->alive = false;
  held.release(Reuse::yes());
  EXPECT_FALSE(first->poll());
  EXPECT_EQ(pool_->stats().discarded, 1U);
  complete_dial();
  EXPECT_FALSE(second->poll());
  taken(*first).release(Reuse::yes());
  taken(*second).release(Reuse::yes());
}

TEST_F(SteppedAcquisition, waits_for_a_bare_lease_too) {
  make(limits(1));
  Lease held = dialed(*a_);
  auto one = acquisition(*a_, {}, Waiter::Wants::lease);
  EXPECT_FALSE(one->poll());
  held.release(Reuse::no());
  Lease bare = taken(*one);
  EXPECT_FALSE(bare.ref().slot->connected());
  EXPECT_EQ(dialer_.begun(), 1U);
}

TEST_F(SteppedAcquisition, keeps_the_lease_and_its_dial_when_the_caller_stops_connecting) {
  make();
  const LeaseRef bare = bare_lease();
  connecting(bare).reset();
  EXPECT_TRUE(pool_->find(bare.id()));
  auto again = connecting(bare);
  EXPECT_EQ(dialer_.begun(), 1U);
  complete_dial();
  (void)taken(*again).detach();
  EXPECT_TRUE(bare.slot->connected());
  EXPECT_TRUE(pool_->release(bare, Reuse::yes()));
}

TEST_F(SteppedAcquisition, keeps_the_lease_when_the_caller_gives_up_as_the_dial_succeeds) {
  make();
  const LeaseRef bare = bare_lease();
  auto one = connecting(bare);
  complete_dial();
  one.reset();
  EXPECT_EQ(describe(), "1 leased");
  EXPECT_TRUE(pool_->release(bare, Reuse::yes()));
}

TEST_F(SteppedAcquisition, cannot_connect_a_returned_lease) {
  make();
  const LeaseRef bare = bare_lease();
  auto one = connecting(bare);
  EXPECT_TRUE(pool_->release(bare, Reuse::yes()));
  EXPECT_EQ(refused(*one), ErrorCode::stale_lease);
  Acquisition late(*pool_, bare, AcquireOptions{}, waker_);
  EXPECT_EQ(refused(late), ErrorCode::stale_lease);
}

TEST_F(SteppedAcquisition, fails_when_the_pool_closes) {
  make(limits(1));
  Lease held = dialed(*a_);
  auto one = acquisition(*a_);
  auto two = acquisition(*a_);
  EXPECT_FALSE(one->poll());
  EXPECT_FALSE(two->poll());
  (void)waker_.woken();
  pool_->close();
  EXPECT_TRUE(waker_.woken());
  EXPECT_EQ(refused(*one), ErrorCode::pool_closed);
  EXPECT_EQ(refused(*two), ErrorCode::pool_closed);
  auto late = acquisition(*a_);
  EXPECT_EQ(refused(*late), ErrorCode::pool_closed);
}

TEST_F(SteppedAcquisition, fails_if_the_pool_closes_before_it_queues) {
  make();
  park(*a_, 1);
  records_[0]->alive = false;
  records_[0]->during_check = [this] { pool_->close(); };
  auto one = acquisition(*a_);
  EXPECT_EQ(refused(*one), ErrorCode::pool_closed) << "close() ran before the caller queued";
}

TEST_F(SteppedAcquisition, does_not_take_a_handed_over_lease_from_a_closed_pool) {
  make(limits(1));
  Lease held = dialed(*a_);
  auto one = acquisition(*a_);
  EXPECT_FALSE(one->poll());
  held.release(Reuse::yes());
  pool_->close();
  EXPECT_EQ(refused(*one), ErrorCode::pool_closed);
  EXPECT_EQ(describe(), "empty");
}

TEST_F(SteppedAcquisition, connects_a_connected_lease_at_once_even_in_a_closed_pool) {
  make();
  const LeaseRef bare = bare_lease();
  auto first = connecting(bare);
  (void)complete_dial();
  (void)taken(*first).detach();
  EXPECT_TRUE(waker_.woken());
  pool_->close();
  Acquisition again(*pool_, bare, {}, waker_);
  EXPECT_EQ(taken(again).detach().id().value, bare.id().value);
  EXPECT_FALSE(waker_.woken());
  EXPECT_TRUE(pool_->release(bare, Reuse::yes()));
}

}  // namespace
}  // namespace fastpool::pool::test
