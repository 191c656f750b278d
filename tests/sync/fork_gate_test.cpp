// A fork and the threads inside the gate: the fork waits for them, or they wait for the fork. The tests call the handlers as
// fork() does.

#include "sync/fork_gate.h"

#include <atomic>
#include <cerrno>
#include <optional>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include <fastpool/timeouts.h>

#include "support/child_process.h"
#include "support/waiting.h"

namespace fastpool::sync {
namespace {

using support::eventually;

void wait_for_flag(const char* what, const std::atomic<bool>& flag) {
  EXPECT_TRUE(eventually(what, [&flag] { return flag.load(); }));
}

void wait_for_a_fork() {
  EXPECT_TRUE(eventually("a fork begins", [] { return ForkGate::fork_wanted(); }));
}

/// Begins a fork, and expects that it waits for a thread inside, which sets the flag before it leaves; or that it waits for as long as a
/// fork does.
void begin_fork_after(const std::atomic<bool>& left) {
  const TimePoint began = Clock::now();
  ForkGate::before_fork();
  EXPECT_TRUE(left || Clock::now() - began >= ForkGate::patience);
  wait_for_flag("the thread inside is about to leave", left);
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
  wait_for_flag("the thread is inside", came);
  begin_fork_after(left);
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
  EXPECT_TRUE(eventually("three threads are about to enter", [&] { return coming == 3; }));
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
    wait_for_flag("the fork is under way", under_way);
    recess.reset();
    EXPECT_TRUE(over);
  });
  wait_for_flag("the thread is in its recess", waits);
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
  wait_for_flag("the thread is inside", came);
  begin_fork_after(left);
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
  wait_for_flag("the thread is inside", came);
  const auto fork = [&] {
    begin_fork_after(left);
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
    wait_for_flag("the child has ended", forked);
  });
  wait_for_flag("the thread is inside", came);
  // Without the handler, like a fork whose wait for the gate timed out.
  EXPECT_EQ(support::in_child([] {
              ForkGate::in_child();
              bool waited = true;
              for (int fork = 0; waited && fork < 3; ++fork) {  // one of them may take as long as a wait
                const TimePoint began = Clock::now();
                ForkGate::before_fork();
                waited = Clock::now() - began >= ForkGate::patience;
                ForkGate::in_child();
              }
              const ForkGate::Section section;
              return waited || ForkGate::fork_wanted() ? 1 : 0;
            }),
            0);
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
  wait_for_flag("the task at the end of the thread has begun", began);
  begin_fork_after(ended);
  ForkGate::in_parent();
  visitor.join();
  ForkGate::at_thread_end(nullptr);
}

}  // namespace
}  // namespace fastpool::sync
