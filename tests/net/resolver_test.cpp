#include "net/resolver.h"

#include <algorithm>
#include <condition_variable>
#include <csignal>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "support/waiting.h"

namespace fastpool::net {
namespace {

using namespace std::chrono_literals;

const TimePoint kNow = TimePoint{} + std::chrono::hours{1};

SocketAddress ip(const char* text) {
  return *SocketAddress::from_ip(text, 0);
}

/// A look-up that the test answers: counts calls per name, and holds them until the test releases them.
class Names {
 public:
  [[nodiscard]] LookUp look_up() {
    return [state = state_](const std::string& host) -> Result<AddressList> {
      std::unique_lock lock(state->mutex);
      ++state->calls[host];
      state->changed.notify_all();
      EXPECT_TRUE(support::eventually("the test releases the look-up of " + host, state->changed, lock,
                                      [&] { return !state->holding || host.starts_with("fast"); }));
      if (host.starts_with("bad")) {
        return Error::make(ErrorCode::resolve_failed, Phase::resolve, "no such name");
      }
      return AddressList{ip("192.0.2.1"), ip("2001:db8::1")};
    };
  }
  void hold() { set(true); }
  void let_go() { set(false); }
  int calls(const std::string& host) {
    const std::lock_guard lock(state_->mutex);
    return state_->calls[host];
  }
  void wait_for_call(const std::string& host) {
    std::unique_lock lock(state_->mutex);
    EXPECT_TRUE(support::eventually("the look-up of " + host + " begins", state_->changed, lock,
                                    [&] { return state_->calls[host] > 0; }));
  }

 private:
  struct State {
    std::mutex mutex;
    std::condition_variable changed;
    std::map<std::string, int> calls;
    bool holding = false;
  };
  void set(bool holding) {
    const std::lock_guard lock(state_->mutex);
    state_->holding = holding;
    state_->changed.notify_all();
  }
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

constexpr Duration kMaxAge = 5s;

using Answer = support::LimitedFuture<Result<AddressList>>;

Answer ask(Resolver& resolver, const std::string& host, TimePoint now = kNow, Duration max_age = kMaxAge) {
  auto promise = std::make_shared<std::promise<Result<AddressList>>>();
  resolver.resolve(host, now, max_age,
                   [promise](Result<AddressList> found, CacheEntry) { promise->set_value(std::move(found)); });
  return {"the look-up of " + host + " ends", promise->get_future()};
}

/// Returns the cache entry that the answer came from, or 0.
CacheEntry origin_of(Resolver& resolver, const std::string& host, TimePoint now = kNow) {
  auto promise = std::make_shared<std::promise<CacheEntry>>();
  resolver.resolve(host, now, kMaxAge,
                   [promise](const Result<AddressList>&, CacheEntry entry) { promise->set_value(entry); });
  return support::value_of("the look-up of " + host + " ends", *promise);
}

TEST(ResolverTest, an_answer_serves_for_as_long_as_its_caller_takes_it) {
  Names names;
  Resolver resolver(names.look_up());
  EXPECT_TRUE(ask(resolver, "a.test").get().ok());
  const Result<AddressList> again = ask(resolver, "a.test", kNow + 4999ms).get();
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again.value(), (AddressList{ip("192.0.2.1"), ip("2001:db8::1")}));
  EXPECT_EQ(names.calls("a.test"), 1);
  EXPECT_TRUE(ask(resolver, "a.test", kNow + 2s, 1s).get().ok());
  EXPECT_EQ(names.calls("a.test"), 2);
  EXPECT_TRUE(ask(resolver, "a.test", kNow + 7s).get().ok());
  EXPECT_EQ(names.calls("a.test"), 3);
}

TEST(ResolverTest, with_no_age_allowed_each_caller_gets_a_look_up) {
  Names names;
  Resolver resolver(names.look_up());
  EXPECT_TRUE(ask(resolver, "a.test", kNow, 0s).get().ok());
  EXPECT_TRUE(ask(resolver, "a.test", kNow, 0s).get().ok());
  EXPECT_TRUE(ask(resolver, "a.test", kNow, 5s).get().ok());  // nothing was kept for it
  EXPECT_EQ(names.calls("a.test"), 3);
  EXPECT_TRUE(ask(resolver, "a.test", kNow, 0s).get().ok());
  EXPECT_EQ(names.calls("a.test"), 4);
}

TEST(ResolverTest, an_answer_whose_addresses_failed_is_dropped_and_the_next_look_up_is_shared) {
  Names names;
  Resolver resolver(names.look_up());
  EXPECT_EQ(origin_of(resolver, "a.test"), 0U);
  const CacheEntry entry = origin_of(resolver, "a.test");
  EXPECT_NE(entry, 0U);
  names.hold();
  resolver.forget("a.test", entry);
  auto first = ask(resolver, "a.test");
  resolver.forget("a.test", entry);
  auto second = ask(resolver, "a.test");
  names.let_go();
  EXPECT_TRUE(first.get().ok());
  EXPECT_TRUE(second.get().ok());
  EXPECT_EQ(names.calls("a.test"), 2);
}

TEST(ResolverTest, only_the_answer_that_was_used_is_dropped) {
  Names names;
  Resolver resolver(names.look_up());
  EXPECT_TRUE(ask(resolver, "a.test").get().ok());
  EXPECT_TRUE(ask(resolver, "b.test").get().ok());
  const CacheEntry used = origin_of(resolver, "a.test");
  resolver.forget("a.test", used);
  EXPECT_TRUE(ask(resolver, "a.test").get().ok());
  resolver.forget("a.test", used);  // another dial fails on it later
  resolver.forget("b.test", used);
  EXPECT_NE(origin_of(resolver, "a.test"), 0U);
  EXPECT_NE(origin_of(resolver, "b.test"), 0U);
  EXPECT_EQ(names.calls("a.test"), 2);
  EXPECT_EQ(names.calls("b.test"), 1);
}

TEST(ResolverTest, concurrent_callers_of_one_name_share_a_look_up) {
  Names names;
  names.hold();
  Resolver resolver(names.look_up());
  auto first = ask(resolver, "a.test");
  auto second = ask(resolver, "a.test");
  auto third = ask(resolver, "a.test");
  names.let_go();
  EXPECT_TRUE(first.get().ok());
  EXPECT_TRUE(second.get().ok());
  EXPECT_TRUE(third.get().ok());
  EXPECT_EQ(names.calls("a.test"), 1);
}

TEST(ResolverTest, a_failure_is_reported_to_all_waiting_callers_and_not_cached) {
  Names names;
  names.hold();
  Resolver resolver(names.look_up());
  auto first = ask(resolver, "bad.test");
  auto second = ask(resolver, "bad.test");
  names.let_go();
  EXPECT_EQ(first.get().error().code, ErrorCode::resolve_failed);
  EXPECT_FALSE(second.get().ok());
  EXPECT_EQ(names.calls("bad.test"), 1);
  EXPECT_FALSE(ask(resolver, "bad.test").get().ok());
  EXPECT_EQ(names.calls("bad.test"), 2);
}

TEST(ResolverTest, fifty_slow_names_do_not_delay_another_name) {
  Names names;
  names.hold();
  Resolver resolver(names.look_up());
  std::vector<Answer> slow;
  for (int i = 0; i < 50; ++i) {
    slow.push_back(ask(resolver, "slow" + std::to_string(i) + ".test"));
  }
  EXPECT_TRUE(ask(resolver, "fast.test").get().ok());
  names.let_go();
  for (auto& answer : slow) {
    EXPECT_TRUE(answer.get().ok());
  }
}

TEST(ResolverTest, names_beyond_the_threads_queue_and_are_all_answered) {
  Names names;
  names.hold();
  Resolver::Settings settings;
  settings.max_threads = 2;
  Resolver resolver(names.look_up(), settings);
  std::vector<Answer> answers;
  for (int i = 0; i < 20; ++i) {
    answers.push_back(ask(resolver, "host" + std::to_string(i) + ".test"));
  }
  names.wait_for_call("host1.test");
  EXPECT_EQ(names.calls("host2.test"), 0);
  names.let_go();
  for (auto& answer : answers) {
    EXPECT_TRUE(answer.get().ok());
  }
}

TEST(ResolverTest, an_ip_address_needs_no_look_up) {
  Names names;
  Resolver resolver(names.look_up());
  bool answered = false;
  for (const char* text : {"192.0.2.7", "2001:db8::7", "::1"}) {
    answered = false;
    resolver.resolve(text, kNow, kMaxAge, [&](Result<AddressList> found, CacheEntry) {
      answered = true;
      ASSERT_TRUE(found.ok());
      EXPECT_EQ(found.value(), AddressList{ip(text)});
    });
    EXPECT_TRUE(answered) << text;
    EXPECT_EQ(names.calls(text), 0);
  }
}

TEST(ResolverTest, a_name_that_no_resolver_can_take_is_refused_at_once) {
  Names names;
  Resolver resolver(names.look_up());
  const std::string long_label(64, 'a');
  std::string long_name;
  for (int i = 0; i < 64; ++i) {
    long_name += "abc.";
  }
  const std::string with_nul("good.test\0.evil.test", 20);
  for (const std::string& host : {long_label + ".test", "www." + long_label, long_name, with_nul, std::string()}) {
    const Result<AddressList> found = ask(resolver, host).get();
    ASSERT_FALSE(found.ok()) << host;
    EXPECT_EQ(found.error().code, ErrorCode::resolve_failed);
    EXPECT_EQ(found.error().phase, Phase::resolve);
    EXPECT_TRUE(found.error().final);
    EXPECT_EQ(names.calls(host), 0);
  }
  EXPECT_TRUE(ask(resolver, std::string(63, 'a') + ".test").get().ok());
}

TEST(ResolverTest, clear_cache_forgets_names_and_look_ups_under_way) {
  Names names;
  Resolver resolver(names.look_up());
  EXPECT_TRUE(ask(resolver, "a.test").get().ok());
  resolver.clear_cache();
  names.hold();
  auto old = ask(resolver, "a.test");
  resolver.clear_cache();
  auto fresh = ask(resolver, "a.test");
  names.let_go();
  EXPECT_TRUE(old.get().ok());
  EXPECT_TRUE(fresh.get().ok());
  EXPECT_EQ(names.calls("a.test"), 3);
}

TEST(ResolverTest, a_full_cache_forgets_the_oldest_answer) {
  Names names;
  Resolver::Settings settings;
  settings.cache_names = 2;
  Resolver resolver(names.look_up(), settings);
  EXPECT_TRUE(ask(resolver, "a.test", kNow).get().ok());
  EXPECT_TRUE(ask(resolver, "b.test", kNow + 1s).get().ok());
  EXPECT_TRUE(ask(resolver, "c.test", kNow + 2s).get().ok());
  EXPECT_TRUE(ask(resolver, "b.test", kNow + 3s).get().ok());
  EXPECT_TRUE(ask(resolver, "c.test", kNow + 3s).get().ok());
  EXPECT_EQ(names.calls("b.test"), 1);
  EXPECT_EQ(names.calls("c.test"), 1);
  EXPECT_TRUE(ask(resolver, "a.test", kNow + 3s).get().ok());
  EXPECT_EQ(names.calls("a.test"), 2);
}

TEST(ResolverTest, a_hanging_look_up_does_not_delay_the_destructor_and_queued_ones_fail) {
  Names names;
  names.hold();
  Resolver::Settings settings;
  settings.max_threads = 1;
  auto resolver = std::make_unique<Resolver>(names.look_up(), settings);
  auto hanging = ask(*resolver, "slow.test");
  names.wait_for_call("slow.test");
  auto queued = ask(*resolver, "fast.test");
  resolver.reset();
  EXPECT_EQ(queued.get().error().code, ErrorCode::pool_closed);
  EXPECT_EQ(names.calls("fast.test"), 0);
  names.let_go();
  EXPECT_TRUE(hanging.get().ok());
}

TEST(ResolverTest, its_threads_take_no_signals) {
  Resolver resolver([](const std::string&) -> Result<AddressList> {
    sigset_t blocked;
    pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
    if (sigismember(&blocked, SIGINT) == 1 && sigismember(&blocked, SIGTERM) == 1 &&
        sigismember(&blocked, SIGALRM) == 1) {
      return AddressList{ip("192.0.2.1")};
    }
    return Error::make(ErrorCode::resolve_failed, Phase::resolve, "signals reach this thread");
  });
  EXPECT_TRUE(ask(resolver, "a.test").get().ok());
}

TEST(ResolverTest, a_caller_may_ask_again_from_within_its_callback) {
  Names names;
  Resolver resolver(names.look_up());
  std::promise<bool> both;
  resolver.resolve("a.test", kNow, kMaxAge, [&](const Result<AddressList>&, CacheEntry) {
    resolver.resolve("b.test", kNow, kMaxAge,
                     [&](const Result<AddressList>& found, CacheEntry) { both.set_value(found.ok()); });
  });
  EXPECT_TRUE(support::value_of("both look-ups end", both));
}

TEST(ResolverTest, localhost_is_found_by_the_system) {
  const Result<AddressList> found = system_look_up("localhost");
  ASSERT_TRUE(found.ok()) << found.error().detail;
  const AddressList& addresses = found.value();
  EXPECT_TRUE(std::find(addresses.begin(), addresses.end(), ip("127.0.0.1")) != addresses.end() ||
              std::find(addresses.begin(), addresses.end(), ip("::1")) != addresses.end());
}

TEST(ResolverTest, what_the_system_cannot_resolve_says_why) {
  const Result<AddressList> found = system_look_up("two..dots");  // malformed: no query leaves this machine
  ASSERT_FALSE(found.ok());
  EXPECT_EQ(found.error().code, ErrorCode::resolve_failed);
  EXPECT_NE(found.error().detail.find("'two..dots': "), std::string::npos) << found.error().detail;
}

}  // namespace
}  // namespace fastpool::net
