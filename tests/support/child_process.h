#pragma once

#include <cerrno>
#include <csignal>
#include <functional>

#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

namespace fastpool::support {

/// After so many seconds the kernel ends a child that hangs.
inline constexpr unsigned child_limit_seconds = 30;

/// Waits for the end of a child that has called ::alarm(child_limit_seconds). \returns its exit status; -1, with a failure,
/// if a signal ended it.
inline int exit_status_of(pid_t child) {
  int status = 0;
  pid_t ended = -1;
  do {
    ended = ::waitpid(child, &status, 0);
  } while (ended < 0 && errno == EINTR);
  if (ended != child) {
    ADD_FAILURE() << "the child of a fork cannot be waited for";
    return -1;
  }
  if (WIFEXITED(status)) return WEXITSTATUS(status);
  if (WTERMSIG(status) == SIGALRM) {
    ADD_FAILURE() << "waited " << child_limit_seconds << " s until the child of a fork ends";
  } else {
    ADD_FAILURE() << "signal " << WTERMSIG(status) << " ended the child of a fork";
  }
  return -1;
}

/// Runs `look` in the child of a fork, which runs no destructors. \returns its result; -1, with a failure, if the child
/// crashed or hung.
inline int in_child(const std::function<int()>& look) {
  const pid_t child = ::fork();
  if (child < 0) {
    ADD_FAILURE() << "fork failed";
    return -1;
  }
  if (child == 0) {
    ::alarm(child_limit_seconds);
    ::_exit(look());
  }
  return exit_status_of(child);
}

}  // namespace fastpool::support
