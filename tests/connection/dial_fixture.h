#pragma once

#include <algorithm>
#include <initializer_list>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <poll.h>
#include <sys/epoll.h>

#include <gtest/gtest.h>

#include "connection/dialer.h"
#include "net/socket_address.h"
#include "support/waiting.h"

namespace fastpool::connection::test {

using namespace std::chrono_literals;

inline const TimePoint kNow = TimePoint{} + 1h;
inline const TimePoint kDeadline = kNow + 60s;

inline std::shared_ptr<Target> target_of(const std::string& host, std::uint16_t port) {
  auto target = std::make_shared<Target>();
  target->origin = Origin{Scheme::http, host, port};
  return target;
}

inline net::AddressList ips(std::initializer_list<const char*> texts) {
  net::AddressList addresses;
  for (const char* text : texts) {
    addresses.push_back(*net::SocketAddress::from_ip(text, 0));
  }
  return addresses;
}

/// Records what a dial asked for and delivers real readiness, with a time that the test sets.
class Host final : public DialHost {
 public:
  void resolve(const std::string& host, Duration max_age) override {
    asked.push_back(host);
    last_max_age = max_age;
  }
  void forget(const std::string& host, net::CacheEntry entry) override { forgotten.emplace_back(host, entry); }
  int set_interest(int descriptor, std::uint32_t events) override {
    interests[descriptor] = events;
    most_interests = std::max(most_interests, interests.size());
    return 0;
  }
  void drop_interest(int descriptor) override { interests.erase(descriptor); }

  /// Waits (for at most 10 s) until the dial has finished or, if `once`, until something was ready.
  void pump(Dial& dial, TimePoint now, bool once = false) {
    while (!dial.finished()) {
      std::vector<pollfd> waiting;
      for (const auto& [descriptor, events] : interests) {
        waiting.push_back({descriptor, static_cast<short>((events & EPOLLIN) != 0 ? POLLIN : POLLOUT), 0});
      }
      ASSERT_FALSE(waiting.empty()) << "the dial waits for no socket";
      ASSERT_TRUE(support::becomes_ready("a socket of the dial is ready", waiting, std::chrono::seconds(10)));
      for (const pollfd& one : waiting) {
        if (one.revents != 0) {
          dial.on_ready(one.fd, now);
        }
      }
      if (once) {
        return;
      }
    }
  }

  /// Waits until the dial asks for another look-up of its name.
  void pump_until_asked_again(Dial& dial, TimePoint now) {
    while (asked.size() == 1 && !dial.finished() && !testing::Test::HasFatalFailure())
      pump(dial, now, true);
    EXPECT_EQ(asked.size(), 2U) << "the dial has not asked for a second look-up";
  }

  std::vector<std::string> asked;
  Duration last_max_age{};
  std::vector<std::pair<std::string, net::CacheEntry>> forgotten;
  std::map<int, std::uint32_t> interests;
  std::size_t most_interests = 0;
};

}  // namespace fastpool::connection::test
