// A fork and the threads inside the gate: the fork waits for them, or they wait for the fork. The tests call the handlers as
// fork() does.

#include "sync/fork_gate.h"

#include <atomic>
#include <cerrno>
#include <optional>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fastpool/timeouts.h>

namespace fastpool::sync {
namespace {

void wait_for_a_fork() {
  while (!ForkGate::fork_wanted())
    std::this_thread::yield();
}

TEST(ForkGate, a_fork_waits_for_the_threads_inside) {
  std::atomic<bool> came{false};
  std::atomic<bool> left{false};
  std::thread visitor([&] {
    const ForkGate::Section section;
    came = true;
    wait_for_a_fork();
    left = true;
  });
  while (!came)
    std::this_thread::yield();
  ForkGate::before_fork();
  EXPECT_TRUE(left);
  ForkGate::in_parent();
  visitor.join();
}

TEST(ForkGate, a_thread_that_enters_during_a_fork_waits_until_it_is_over) {
  std::atomic<int> coming{0};
  std::atomic<bool> over{false};
  ForkGate::before_fork();
  std::vector<std::thread> visitors;
  for (int each = 0; each < 3; ++each) {
    visitors.emplace_back([&] {
      ++coming;
      errno = EAGAIN;
      const ForkGate::Section section;
      EXPECT_TRUE(over);
      EXPECT_EQ(errno, EAGAIN);
    });
  }
  while (coming < 3)
    std::this_thread::yield();
  over = true;
  ForkGate::in_parent();
  for (std::thread& visitor : visitors)
    visitor.join();
}

TEST(ForkGate, a_recess_does_not_delay_a_fork_and_ends_after_it) {
  std::atomic<bool> waits{false};
  std::atomic<bool> under_way{false};
  std::atomic<bool> over{false};
  std::thread visitor([&] {
    const ForkGate::Section section;
    const ForkGate::Section nested;
    std::optional<ForkGate::Recess> recess(std::in_place);
    waits = true;
    while (!under_way)
      std::this_thread::yield();
    recess.reset();
    EXPECT_TRUE(over);
  });
  while (!waits)
    std::this_thread::yield();
  ForkGate::before_fork();
  under_way = true;
  over = true;
  ForkGate::in_parent();
  visitor.join();
}

TEST(ForkGate, a_thread_is_inside_again_after_a_recess) {
  std::atomic<bool> came{false};
  std::atomic<bool> left{false};
  std::thread visitor([&] {
    const ForkGate::Section section;
    {
      const ForkGate::Recess recess;
    }
    {
      const ForkGate::Section nested;
    }
    came = true;
    wait_for_a_fork();
    left = true;
  });
  while (!came)
    std::this_thread::yield();
  ForkGate::before_fork();
  EXPECT_TRUE(left);
  ForkGate::in_parent();
  visitor.join();
}

TEST(ForkGate, a_thread_that_forks_inside_does_not_wait_for_itself) {
  const ForkGate::Section section;
  ForkGate::before_fork();
  {
    const ForkGate::Section of_another_handler;
  }
  ForkGate::in_parent();
  EXPECT_FALSE(ForkGate::fork_wanted());
}

TEST(ForkGate, a_thread_that_forks_outside_may_enter_during_its_fork) {
  ForkGate::before_fork();
  {
    const ForkGate::Section of_another_handler;
  }
  ForkGate::in_parent();
}

TEST(ForkGate, two_forks_at_once_wait_for_the_same_thread) {
  std::atomic<bool> came{false};
  std::atomic<bool> left{false};
  std::thread visitor([&] {
    const ForkGate::Section section;
    came = true;
    wait_for_a_fork();
    left = true;
  });
  while (!came)
    std::this_thread::yield();
  const auto fork = [&] {
    ForkGate::before_fork();
    EXPECT_TRUE(left);
    ForkGate::in_parent();
  };
  std::thread other(fork);
  fork();
  other.join();
  visitor.join();
  EXPECT_FALSE(ForkGate::fork_wanted());
}

TEST(ForkGate, in_the_child_no_other_thread_is_inside) {
  std::atomic<bool> came{false};
  std::atomic<bool> forked{false};
  std::thread visitor([&] {
    const ForkGate::Section section;
    came = true;
    while (!forked)
      std::this_thread::yield();
  });
  while (!came)
    std::this_thread::yield();
  const pid_t child = ::fork();  // without the handler, like a fork whose wait for the gate timed out
  if (child == 0) {
    ::alarm(20);
    ForkGate::in_child();
    const TimePoint began = Clock::now();
    ForkGate::before_fork();
    const bool waited = Clock::now() - began >= ForkGate::patience;
    ForkGate::in_child();
    const ForkGate::Section section;
    ::_exit(waited || ForkGate::fork_wanted() ? 1 : 0);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  forked = true;
  visitor.join();
}

TEST(ForkGate, the_task_at_a_threads_end_runs_inside) {
  static std::atomic<bool> began;
  static std::atomic<bool> ended;
  began = ended = false;
  ForkGate::at_thread_end([] {
    began = true;
    wait_for_a_fork();
    ended = true;
  });
  std::thread visitor([] { const ForkGate::Section section; });
  while (!began)
    std::this_thread::yield();
  ForkGate::before_fork();
  EXPECT_TRUE(ended);
  ForkGate::in_parent();
  visitor.join();
  ForkGate::at_thread_end(nullptr);
}

}  // namespace
}  // namespace fastpool::sync
