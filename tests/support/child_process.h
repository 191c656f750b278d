#pragma once

#include <cerrno>
#include <csignal>
#include <functional>

#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

namespace fastpool::support {

#if defined(__SANITIZE_THREAD__)
inline constexpr bool threads_after_fork = false;  // ThreadSanitizer starts none there
#else
inline constexpr bool threads_after_fork = true;
#endif

/// Runs `look` in the child of a fork, which runs no destructors but those of `look`'s own variables. \returns its result; -1, with a failure, if the child
/// crashed or hung.
inline int in_child(const std::function<int()>& look) {
  constexpr unsigned limit_seconds = 30;  // then the kernel ends the child
  const pid_t child = ::fork();
  if (child < 0) {
    ADD_FAILURE() << "fork failed";
    return -1;
  }
  if (child == 0) {
    ::alarm(limit_seconds);
    ::_exit(look());
  }
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
    ADD_FAILURE() << "waited " << limit_seconds << " s until the child of a fork ends";
  } else {
    ADD_FAILURE() << "signal " << WTERMSIG(status) << " ended the child of a fork";
  }
  return -1;
}

}  // namespace fastpool::support
