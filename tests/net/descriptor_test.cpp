// A descriptor is closed by its owner, or by the handler in a fork's child, and by no other code.

#include "net/descriptor.h"

#include <array>
#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "net/epoll.h"
#include "net/tcp_channel.h"
#include "support/child_process.h"
#include "support/loopback_server.h"
#include "support/waiting.h"

namespace fastpool::net {
namespace {

using support::in_child;

bool is_open(int number) {
  return ::fcntl(number, F_GETFD) >= 0;
}

TEST(Descriptor, its_end_closes_it) {
  int number = -1;
  {
    const Descriptor owner(::eventfd(0, EFD_CLOEXEC));
    number = owner.get();
    EXPECT_TRUE(is_open(number));
  }
  EXPECT_FALSE(is_open(number));
}

TEST(Descriptor, moving_transfers_it_and_closes_the_previous_one) {
  Descriptor first(::eventfd(0, EFD_CLOEXEC));
  Descriptor second(::eventfd(0, EFD_CLOEXEC));
  const int moved = first.get();
  const int replaced = second.get();
  second = std::move(first);
  EXPECT_FALSE(first.valid());  // NOLINT(bugprone-use-after-move): that is the question
  EXPECT_EQ(second.get(), moved);
  EXPECT_FALSE(is_open(replaced));
  second.reset();
  second.reset();
  EXPECT_FALSE(is_open(moved));
}

TEST(Descriptor, a_failed_open_keeps_its_errno) {
  const Descriptor none(::open("/nowhere/at/all", O_RDONLY));
  EXPECT_FALSE(none.valid());
  EXPECT_EQ(errno, ENOENT);
}

TEST(Fork, the_child_has_none_of_the_parents_descriptors_and_the_parent_keeps_them) {
  const Descriptor owner(::eventfd(0, EFD_CLOEXEC));
  EXPECT_EQ(in_child([&] { return is_open(owner.get()) ? 1 : 0; }), 0);
  EXPECT_TRUE(is_open(owner.get()));
}

TEST(Fork, an_inherited_descriptor_does_not_close_a_reused_number) {
  Descriptor owner(::eventfd(0, EFD_CLOEXEC));
  EXPECT_EQ(in_child([&] {
              const int number = owner.get();
              const Descriptor mine(::eventfd(0, EFD_CLOEXEC));  // the lowest free number: the same
              if (mine.get() != number) return 2;
              owner.reset();
              return is_open(number) ? 0 : 1;
            }),
            0);
}

TEST(Fork, the_epoch_counts_forks_in_the_child_only) {
  install_fork_handler();
  const unsigned before = fork_epoch();
  EXPECT_EQ(in_child([&] {
              if (fork_epoch() != before + 1) return 1;
              return in_child([&] { return fork_epoch() == before + 2 ? 0 : 1; });
            }),
            0);
  EXPECT_EQ(fork_epoch(), before);
}

TEST(Fork, the_parents_connection_still_works_after_a_child_has_lived_and_died) {
  const support::LoopbackServer server(support::echo);
  TcpChannel channel(server.connect());
  EXPECT_EQ(in_child([&] {
              channel.shutdown();  // an inherited channel touches nothing
              return is_open(channel.descriptor()) ? 1 : 0;
            }),
            0);
  std::string bytes = "still here";
  const iovec piece{bytes.data(), bytes.size()};
  ASSERT_EQ(channel.write(std::span(&piece, 1), IoMode::wait).bytes, bytes.size());
  std::string buffer(16, '\0');
  const IoResult result = channel.read(buffer, IoMode::wait);
  EXPECT_EQ(buffer.substr(0, result.bytes), "still here");
}

TEST(Fork, changes_of_the_childs_epoll_set_do_not_affect_the_parents) {
  Epoll epoll = Epoll::open();
  EventFd event = EventFd::open();
  ASSERT_EQ(epoll.add(event.descriptor(), EPOLLIN, 7), 0);
  EXPECT_EQ(in_child([&] {
              if (epoll.remove(event.descriptor()) != EOWNERDEAD) return 1;
              event.signal();
              std::array<epoll_event, 1> room{};
              return epoll.wait(room, support::wait_limit).empty() ? 0 : 1;
            }),
            0);
  std::array<epoll_event, 4> room{};
  EXPECT_TRUE(epoll.wait(room, Duration::zero()).empty()) << "the child's signal was not sent";
  event.signal();
  const auto ready = epoll.wait(room, support::wait_limit);
  ASSERT_EQ(ready.size(), 1U) << support::waited_in_vain("the set reports the signal");
  EXPECT_EQ(ready[0].data.u64, 7U);
}

}  // namespace
}  // namespace fastpool::net
