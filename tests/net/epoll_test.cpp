#include "net/epoll.h"

#include <array>
#include <cerrno>
#include <thread>

#include <gtest/gtest.h>
#include <sys/socket.h>

#include "support/loopback_server.h"
#include "support/waiting.h"

namespace fastpool::net {
namespace {

TEST(Epoll, says_which_of_its_descriptors_is_ready_by_token) {
  Epoll epoll = Epoll::open();
  EventFd one = EventFd::open();
  EventFd two = EventFd::open();
  ASSERT_EQ(epoll.add(one.descriptor(), EPOLLIN, 1), 0);
  ASSERT_EQ(epoll.add(two.descriptor(), EPOLLIN, 0xFFFF'FFFF'FFFF'FFFF), 0);
  std::array<epoll_event, 4> room{};
  EXPECT_TRUE(epoll.wait(room, Duration::zero()).empty());
  two.signal();
  const auto ready = epoll.wait(room, support::wait_limit);
  ASSERT_EQ(ready.size(), 1U) << support::waited_in_vain("the signal is reported");
  EXPECT_EQ(ready[0].data.u64, 0xFFFF'FFFF'FFFF'FFFF);
}

TEST(Epoll, removes_a_descriptor_and_reports_an_unknown_one) {
  Epoll epoll = Epoll::open();
  EventFd event = EventFd::open();
  ASSERT_EQ(epoll.add(event.descriptor(), EPOLLIN, 1), 0);
  EXPECT_EQ(epoll.add(event.descriptor(), EPOLLIN, 1), EEXIST);
  EXPECT_EQ(epoll.remove(event.descriptor()), 0);
  EXPECT_EQ(epoll.remove(event.descriptor()), ENOENT);
  event.signal();
  std::array<epoll_event, 4> room{};
  EXPECT_TRUE(epoll.wait(room, Duration::zero()).empty());
}

TEST(Epoll, a_hang_up_is_seen_without_asking_for_data_and_data_is_not) {
  const support::LoopbackServer server([&](support::ServerConnection& connection) {
    connection.write("data");
    connection.read_exactly(1);
    connection.close_writing();
    connection.read_to_end();
  });
  const Descriptor socket = server.connect();
  std::array<char, 4> bytes{};
  ASSERT_EQ(::recv(socket.get(), bytes.data(), bytes.size(), MSG_PEEK | MSG_WAITALL), 4);
  Epoll epoll = Epoll::open();
  ASSERT_EQ(epoll.add(socket.get(), EPOLLRDHUP | EPOLLET, 9), 0);
  std::array<epoll_event, 4> room{};
  EXPECT_TRUE(epoll.wait(room, Duration::zero()).empty());
  ASSERT_EQ(::send(socket.get(), "x", 1, MSG_NOSIGNAL), 1);
  const auto ready = epoll.wait(room, support::wait_limit);
  ASSERT_EQ(ready.size(), 1U) << support::waited_in_vain("the hang-up is reported");
  EXPECT_NE(ready[0].events & EPOLLRDHUP, 0U);
}

TEST(Epoll, a_precise_wait_ends_with_an_event_or_after_its_time) {
  Epoll set = Epoll::open();
  EventFd bell = EventFd::open();
  ASSERT_EQ(set.add(bell.descriptor(), EPOLLIN, 7), 0);
  std::array<epoll_event, 4> room{};
  for (const Duration none : {Duration{-1}, Duration::zero(), Duration{1}, Duration{1'500'000}})
    EXPECT_TRUE(set.wait_precisely(room, none).empty()) << none.count();
  bell.signal();
  for (const OptionalDuration limit :
       {OptionalDuration(), OptionalDuration(Duration::zero()), OptionalDuration(support::wait_limit)}) {
    const auto events = set.wait_precisely(room, limit);
    ASSERT_EQ(events.size(), 1U);
    EXPECT_EQ(events.front().data.u64, 7U);
  }
}

TEST(EventFd, signals_add_up_and_are_drained_together) {
  EventFd event = EventFd::open();
  EXPECT_FALSE(event.drain());
  event.signal();
  event.signal();
  EXPECT_TRUE(event.drain());
  EXPECT_FALSE(event.drain());
}

TEST(EventFd, wakes_a_thread_that_waits_for_ever) {
  Epoll epoll = Epoll::open();
  EventFd event = EventFd::open();
  ASSERT_EQ(epoll.add(event.descriptor(), EPOLLIN | EPOLLET, 3), 0);
  const support::Watchdog watchdog("the signal wakes the thread", [&] { event.signal(); });
  std::thread waker([&] { event.signal(); });
  std::array<epoll_event, 1> room{};
  EXPECT_EQ(epoll.wait(room, std::nullopt).size(), 1U);
  waker.join();
}

}  // namespace
}  // namespace fastpool::net
