#include "driver/reactor.h"

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "net/socket.h"
#include "support/certificates.h"
#include "support/child_process.h"
#include "support/loopback_server.h"
#include "support/raw_listener.h"
#include "support/waiting.h"

namespace fastpool::driver {
namespace {

using namespace std::chrono_literals;
using connection::Dialed;
using connection::Target;
using support::RawListener;
using support::RefusingPort;

/// Records the reports of the reactor.
class Ear final : public Reactor::Listener {
 public:
  void on_hang_up(std::uint64_t token) override {
    const std::lock_guard lock(mutex_);
    hung_up_.insert(token);
    changed_.notify_all();
  }
  void on_tick(TimePoint) override {
    const std::lock_guard lock(mutex_);
    ++ticks_;
    changed_.notify_all();
  }
  [[nodiscard]] TimePoint dial_deadline(const void*, TimePoint known) override {
    const std::lock_guard lock(mutex_);
    return dial_deadline_.value_or(known);
  }
  void set_dial_deadline(TimePoint deadline) {
    const std::lock_guard lock(mutex_);
    dial_deadline_ = deadline;
  }

  [[nodiscard]] testing::AssertionResult wait_for_hang_up(std::uint64_t token) {
    std::unique_lock lock(mutex_);
    return support::eventually("the hang-up of " + std::to_string(token) + " is reported", changed_, lock,
                               [&] { return hung_up_.contains(token); });
  }
  [[nodiscard]] testing::AssertionResult wait_for_ticks(int count) {
    std::unique_lock lock(mutex_);
    return support::eventually(std::to_string(count) + " ticks are reported", changed_, lock,
                               [&] { return ticks_ >= count; });
  }
  [[nodiscard]] bool heard(std::uint64_t token) {
    const std::lock_guard lock(mutex_);
    return hung_up_.contains(token);
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::set<std::uint64_t> hung_up_;
  int ticks_ = 0;
  std::optional<TimePoint> dial_deadline_;
};

std::shared_ptr<Target> target_of(const std::string& host, std::uint16_t port) {
  auto target = std::make_shared<Target>();
  target->origin = Origin{Scheme::http, host, port};
  return target;
}

std::shared_ptr<net::Resolver> resolver_with(std::initializer_list<const char*> texts) {
  net::AddressList addresses;
  for (const char* text : texts) {
    addresses.push_back(*net::SocketAddress::from_ip(text, 0));
  }
  return std::make_shared<net::Resolver>(
      [addresses](const std::string&) -> Result<net::AddressList> { return addresses; });
}

/// The result of a dial.
using Outcome = support::LimitedFuture<Result<Dialed>>;

/// Starts a dial.
Outcome dial(Reactor& reactor, std::shared_ptr<Target> target, Duration timeout = 20s, TimePoint start = {},
             const void* key = nullptr) {
  auto promise = std::make_shared<std::promise<Result<Dialed>>>();
  reactor.dial(
      std::move(target), Clock::now() + timeout,
      [promise](Result<Dialed> result) { promise->set_value(std::move(result)); }, start, key);
  return {"the dial ends", promise->get_future()};
}

/// Returns once the reactor has run all tasks that were posted before.
void settle(Reactor& reactor) {
  std::promise<void> done;
  reactor.post([&] { done.set_value(); });
  support::wait_for("the reactor has run all tasks", done);
}

class ReactorTest : public testing::Test {
 protected:
  Ear ear_;
  Reactor reactor_{ear_, 1h};
};

/// A connected pair of sockets: one to watch, and its peer.
struct Pair {
  explicit Pair(const RawListener& listener) : ours(net::open_stream(AF_INET)) {
    EXPECT_EQ(net::set_blocking(ours.get(), true), 0);
    EXPECT_EQ(net::connect_start(ours.get(), listener.address()).state, net::ConnectState::connected);
    theirs = listener.accept();
  }
  net::Descriptor ours;
  net::Descriptor theirs;
};

TEST_F(ReactorTest, a_name_is_resolved_and_connected_to) {
  RawListener listener;
  Reactor reactor(ear_, 1h, resolver_with({"127.0.0.1"}));
  const Result<Dialed> result = dial(reactor, target_of("some.test", listener.port())).get();
  ASSERT_TRUE(result.ok()) << result.error().detail;
  EXPECT_EQ(net::peer_address(result->channel->descriptor()), listener.address());
}

TEST_F(ReactorTest, localhost_is_connected_to_whatever_the_order_of_its_addresses) {
  RawListener listener;
  const Result<Dialed> result = dial(reactor_, target_of("localhost", listener.port())).get();
  ASSERT_TRUE(result.ok()) << result.error().detail;
}

TEST_F(ReactorTest, a_silent_first_address_loses_to_the_second) {
  RawListener silent("127.0.0.1", 0);
  silent.swallow();
  RawListener answers("127.0.0.2", 8, silent.port());
  Reactor reactor(ear_, 1h, resolver_with({"127.0.0.1", "127.0.0.2"}));
  const Result<Dialed> result = dial(reactor, target_of("two.test", silent.port())).get();
  ASSERT_TRUE(result.ok()) << result.error().detail;
  EXPECT_EQ(net::peer_address(result->channel->descriptor()), answers.address());
}

TEST_F(ReactorTest, a_refused_connection_is_reported_as_refused) {
  const RefusingPort refusing;
  const Result<Dialed> result = dial(reactor_, target_of("127.0.0.1", refusing.port())).get();
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::connect_failed);
  EXPECT_EQ(result.error().os_error, ECONNREFUSED);
}

TEST_F(ReactorTest, a_silent_peer_ends_in_a_connect_timeout) {
  RawListener silent("127.0.0.1", 0);
  silent.swallow();
  EXPECT_TRUE(support::within_some_limit("the dial connects", 30ms, [&](std::chrono::milliseconds limit) {
    const Result<Dialed> result = dial(reactor_, target_of("127.0.0.1", silent.port()), limit).get();
    if (result.ok()) {
      ADD_FAILURE() << "the silent peer has answered";
      return false;
    }
    EXPECT_EQ(result.error().code, ErrorCode::connect_timeout);
    return result.error().phase == Phase::connect;
  }));
}

TEST_F(ReactorTest, a_deadline_that_has_passed_already_ends_the_dial) {
  RawListener silent("127.0.0.1", 0);
  silent.swallow();
  const Result<Dialed> result = dial(reactor_, target_of("127.0.0.1", silent.port()), -1s).get();
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::connect_timeout);
}

TEST_F(ReactorTest, a_dial_that_is_not_wanted_any_more_ends_at_once) {
  RawListener silent("127.0.0.1", 0);
  silent.swallow();
  auto under_way = dial(reactor_, target_of("127.0.0.1", silent.port()), 1h, {}, this);
  settle(reactor_);
  ear_.set_dial_deadline(TimePoint::min());
  reactor_.hurry(this);
  EXPECT_EQ(under_way.get().error().code, ErrorCode::connect_timeout);
  reactor_.hurry(this);  // there is none any more
}

TEST_F(ReactorTest, a_dial_that_was_put_off_ends_at_once_too) {
  RawListener listener;
  auto put_off = dial(reactor_, target_of("127.0.0.1", listener.port()), 2h, Clock::now() + 1h, this);
  settle(reactor_);
  ear_.set_dial_deadline(TimePoint::min());
  reactor_.hurry(this);
  EXPECT_FALSE(put_off.get().ok());
}

TEST_F(ReactorTest, a_postponed_dial_without_a_caller_does_not_begin) {
  RawListener listener;
  ear_.set_dial_deadline(TimePoint::min());
  auto unwanted = dial(reactor_, target_of("127.0.0.1", listener.port()), 1h, {}, this);
  EXPECT_FALSE(unwanted.get().ok());
}

TEST_F(ReactorTest, a_postponed_deadline_does_not_end_the_dial) {
  RawListener silent("127.0.0.1", 0);
  silent.swallow();
  ear_.set_dial_deadline(Clock::now() + 1h);
  auto under_way = dial(reactor_, target_of("127.0.0.1", silent.port()), 1ms, {}, this);
  auto other = dial(reactor_, target_of("127.0.0.1", silent.port()), 50ms);
  EXPECT_FALSE(other.get().ok());
  EXPECT_FALSE(under_way.ready());
  ear_.set_dial_deadline(TimePoint::min());
  reactor_.hurry(this);
  EXPECT_FALSE(under_way.get().ok());
}

TEST_F(ReactorTest, a_dial_without_a_deadline_is_possible) {
  RawListener listener;
  std::promise<bool> connected;
  reactor_.dial(target_of("127.0.0.1", listener.port()), TimePoint::max(),
                [&](Result<Dialed> result) { connected.set_value(result.ok()); });
  EXPECT_TRUE(support::value_of("the dial ends", connected));
}

TEST_F(ReactorTest, a_look_up_that_hangs_ends_in_a_timeout_and_holds_neither_other_dials_nor_the_destructor) {
  RawListener listener;
  std::promise<void> release;
  auto gate = std::make_shared<std::shared_future<void>>(release.get_future().share());
  auto left = std::make_shared<std::promise<void>>();
  {
    Reactor reactor(ear_, 1h,
                    std::make_shared<net::Resolver>([gate, left](const std::string& host) -> Result<net::AddressList> {
                      if (host == "slow.test") {
                        support::wait_for("the test releases the look-up", *gate);
                        left->set_value();
                      }
                      return net::AddressList{*net::SocketAddress::from_ip("127.0.0.1", 0)};
                    }));
    auto slow = dial(reactor, target_of("slow.test", listener.port()), 30ms);
    EXPECT_TRUE(dial(reactor, target_of("fast.test", listener.port())).get().ok());
    const Result<Dialed> result = slow.get();
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().code, ErrorCode::connect_timeout);
    EXPECT_EQ(result.error().phase, Phase::resolve);
  }
  release.set_value();  // its answer comes when the reactor is gone
  support::wait_for("the look-up has returned", *left);
}

TEST_F(ReactorTest, a_callback_may_dial_again) {
  RawListener listener;
  const auto target = target_of("127.0.0.1", listener.port());
  std::promise<int> third;
  reactor_.dial(target, Clock::now() + 20s, [&](Result<Dialed>) {
    reactor_.dial(target, Clock::now() + 20s, [&](Result<Dialed>) {
      reactor_.dial(target, Clock::now() + 20s, [&](Result<Dialed> result) { third.set_value(result.ok() ? 3 : 0); });
    });
  });
  EXPECT_EQ(support::value_of("the third dial ends", third), 3);
}

TEST_F(ReactorTest, without_descriptors_dials_fail_with_emfile_and_work_again_once_there_are_some) {
  RawListener listener;
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit none = before;
  none.rlim_cur = 3;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  const Result<Dialed> failed = dial(reactor_, target_of("127.0.0.1", listener.port())).get();
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code, ErrorCode::connect_failed);
  EXPECT_EQ(failed.error().os_error, EMFILE);
  for (;;) {
    // The reactor looks for descriptors again on its next round; a dial that comes before it is told EMFILE once more.
    const Result<Dialed> result = dial(reactor_, target_of("127.0.0.1", listener.port())).get();
    if (result.ok()) {
      break;
    }
    ASSERT_EQ(result.error().os_error, EMFILE) << result.error().detail;
  }
}

TEST_F(ReactorTest, two_hundred_dials_at_once_all_connect) {
  RawListener listener;
  Reactor reactor(ear_, 1h, resolver_with({"127.0.0.1"}));
  std::vector<Outcome> dials;
  for (int i = 0; i < 200; ++i) {
    dials.push_back(dial(reactor, target_of("host" + std::to_string(i % 20) + ".test", listener.port())));
  }
  std::vector<Dialed> connections;
  for (auto& one : dials) {
    Result<Dialed> result = one.get();
    ASSERT_TRUE(result.ok()) << result.error().detail;
    connections.push_back(std::move(result).value());
  }
  EXPECT_EQ(connections.size(), 200U);
}

TEST_F(ReactorTest, tls_handshakes_are_done_on_the_reactor) {
  support::CertificateAuthority authority;
  support::LoopbackServer server({authority.issue_localhost()}, support::echo);
  auto target = target_of("localhost", server.port());
  target->origin.scheme = Scheme::https;
  target->profile.tls.ca_file = authority.ca_file();
  target->tls = tls::Context::create(target->profile.tls).value();
  std::vector<Outcome> dials;
  for (int i = 0; i < 8; ++i) {
    dials.push_back(dial(reactor_, target));
  }
  for (auto& one : dials) {
    const Result<Dialed> result = one.get();
    ASSERT_TRUE(result.ok()) << result.error().detail;
    EXPECT_TRUE(result->tls);
  }
}

TEST_F(ReactorTest, a_hang_up_of_a_watched_socket_is_heard_and_data_alone_is_not) {
  RawListener listener;
  Pair fin(listener);
  Pair fin_behind_data(listener);
  Pair reset(listener);
  Pair data(listener);
  Pair unwatched(listener);
  const std::uint64_t high = (std::uint64_t{1} << 63) - 1;
  reactor_.watch(fin.ours.get(), 1);
  reactor_.watch(fin_behind_data.ours.get(), 2);
  reactor_.watch(reset.ours.get(), high);
  reactor_.watch(data.ours.get(), 4);
  reactor_.watch(unwatched.ours.get(), 5);
  reactor_.unwatch(unwatched.ours.get());

  ASSERT_EQ(::send(data.theirs.get(), "data", 4, 0), 4);
  unwatched.theirs.reset();
  fin.theirs.reset();
  EXPECT_TRUE(ear_.wait_for_hang_up(1));
  ASSERT_EQ(::send(fin_behind_data.theirs.get(), "data", 4, 0), 4);
  ASSERT_EQ(::shutdown(fin_behind_data.theirs.get(), SHUT_WR), 0);
  EXPECT_TRUE(ear_.wait_for_hang_up(2));
  const linger at_once{1, 0};
  ::setsockopt(reset.theirs.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  reset.theirs.reset();
  EXPECT_TRUE(ear_.wait_for_hang_up(high));

  // These came before the others, which have been heard.
  EXPECT_FALSE(ear_.heard(4));
  EXPECT_FALSE(ear_.heard(5));
  data.theirs.reset();
  EXPECT_TRUE(ear_.wait_for_hang_up(4));
}

TEST_F(ReactorTest, a_socket_that_was_hung_up_before_it_is_watched_is_heard_too) {
  RawListener listener;
  Pair pair(listener);
  pair.theirs.reset();
  reactor_.watch(pair.ours.get(), 9);
  EXPECT_TRUE(ear_.wait_for_hang_up(9));
}

TEST_F(ReactorTest, a_dialed_socket_can_be_watched_and_its_descriptor_number_used_again) {
  RawListener listener;
  for (std::uint64_t token = 1; token <= 20; ++token) {
    Result<Dialed> result = dial(reactor_, target_of("127.0.0.1", listener.port())).get();
    ASSERT_TRUE(result.ok()) << result.error().detail;
    net::Descriptor theirs = listener.accept();
    reactor_.watch(result->channel->descriptor(), token);
    if (token % 2 == 0) {
      theirs.reset();
      EXPECT_TRUE(ear_.wait_for_hang_up(token));
    }
    reactor_.unwatch(result->channel->descriptor());
  }
  EXPECT_FALSE(ear_.heard(1));
}

TEST_F(ReactorTest, stop_ends_dials_under_way_and_later_ones_at_once) {
  RawListener silent("127.0.0.1", 0);
  silent.swallow();
  std::vector<Outcome> dials;
  for (int i = 0; i < 20; ++i) {
    dials.push_back(dial(reactor_, target_of("127.0.0.1", silent.port())));
  }
  reactor_.stop();
  for (auto& one : dials) {
    ASSERT_TRUE(one.ready());
    EXPECT_EQ(one.get().error().code, ErrorCode::pool_closed);
  }
  reactor_.stop();
  bool told = false;
  reactor_.dial(target_of("127.0.0.1", silent.port()), Clock::now() + 20s, [&](Result<Dialed> result) {
    told = true;
    EXPECT_EQ(result.error().code, ErrorCode::pool_closed);
  });
  EXPECT_TRUE(told);
  reactor_.post([] { FAIL() << "a task ran after stop()"; });
  reactor_.watch(0, 1);
  reactor_.unwatch(0);
}

TEST_F(ReactorTest, a_dial_from_within_a_callback_while_stopping_ends_too) {
  RawListener silent("127.0.0.1", 0);
  silent.swallow();
  const auto target = target_of("127.0.0.1", silent.port());
  std::promise<ErrorCode> inner;
  reactor_.dial(target, Clock::now() + 20s, [&](Result<Dialed>) {
    reactor_.dial(target, Clock::now() + 20s, [&](Result<Dialed> result) { inner.set_value(result.error().code); });
  });
  settle(reactor_);
  reactor_.stop();
  EXPECT_EQ(support::value_of("the inner dial ends", inner), ErrorCode::pool_closed);
}

TEST_F(ReactorTest, dials_raced_against_stop_are_each_answered_once) {
  RawListener listener;
  for (int round = 0; round < 20; ++round) {
    auto reactor = std::make_unique<Reactor>(ear_, 1h);
    std::atomic<int> answers = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        for (int j = 0; j < 10; ++j) {
          reactor->dial(target_of("127.0.0.1", listener.port()), Clock::now() + 20s,
                        [&](Result<Dialed>) { answers.fetch_add(1); });
        }
      });
    }
    reactor->stop();
    for (std::thread& thread : threads) {
      thread.join();
    }
    reactor.reset();
    EXPECT_EQ(answers.load(), 40);
  }
}

TEST_F(ReactorTest, a_reactor_that_did_nothing_can_be_stopped_and_destroyed) {
  Reactor idle(ear_, 1ms);
  idle.stop();
}

TEST_F(ReactorTest, two_threads_may_stop_it_at_the_same_time) {
  settle(reactor_);
  std::thread other([&] { reactor_.stop(); });
  reactor_.stop();
  other.join();
}

TEST_F(ReactorTest, it_may_be_destroyed_by_one_of_its_own_callbacks) {
  RawListener listener;
  RawListener silent("127.0.0.1", 0);
  silent.swallow();
  auto reactor = std::make_unique<Reactor>(ear_, 1h);
  auto under_way = dial(*reactor, target_of("127.0.0.1", silent.port()));
  std::promise<void> destroyed;
  std::promise<void> ready;
  Reactor* raw = reactor.get();
  auto go = ready.get_future().share();
  raw->dial(target_of("127.0.0.1", listener.port()), Clock::now() + 20s, [&, go](Result<Dialed>) {
    support::wait_for("the test is ready", go);
    reactor.reset();
    destroyed.set_value();
  });
  ready.set_value();
  support::wait_for("the callback has destroyed the reactor", destroyed);
  EXPECT_EQ(under_way.get().error().code, ErrorCode::pool_closed);
}

TEST_F(ReactorTest, its_thread_has_a_name_and_takes_no_signals) {
  std::promise<std::string> name;
  std::promise<bool> blocked;
  reactor_.post([&] {
    char buffer[16] = {};
    pthread_getname_np(pthread_self(), buffer, sizeof buffer);
    name.set_value(buffer);
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    blocked.set_value(sigismember(&mask, SIGINT) == 1 && sigismember(&mask, SIGTERM) == 1 &&
                      sigismember(&mask, SIGCHLD) == 1);
  });
  EXPECT_EQ(support::value_of("the task has run", name), "fastpool-reacto");
  EXPECT_TRUE(support::value_of("the task has run", blocked));
  sigset_t mine;
  pthread_sigmask(SIG_SETMASK, nullptr, &mine);
  EXPECT_EQ(sigismember(&mine, SIGINT), 0);
}

TEST_F(ReactorTest, it_ticks_once_its_thread_runs) {
  Reactor reactor(ear_, 1ms);
  settle(reactor);
  EXPECT_TRUE(ear_.wait_for_ticks(3));
}

TEST_F(ReactorTest, is_dead_in_the_child_of_a_fork_and_watches_on_in_the_parent) {
  RawListener listener;
  Pair pair(listener);
  reactor_.watch(pair.ours.get(), 7);
  settle(reactor_);
  EXPECT_EQ(support::in_child([&] {
              int answer = 1;
              Ear ear;
              reactor_.dial(target_of("127.0.0.1", listener.port()), Clock::now() + 20s, [&](Result<Dialed> result) {
                answer = !result.ok() && result.error().code == ErrorCode::pool_closed ? 0 : 2;
              });
              reactor_.unwatch(pair.ours.get());
              reactor_.post([] {});
              reactor_.stop();
              reactor_.~Reactor();
              return answer;
            }),
            0);
  EXPECT_FALSE(ear_.heard(7));
  pair.theirs.reset();
  EXPECT_TRUE(ear_.wait_for_hang_up(7));
}

}  // namespace
}  // namespace fastpool::driver
