#include "net/background_thread.h"

#include <csignal>
#include <system_error>
#include <utility>

#include <sys/prctl.h>

namespace fastpool::net {

std::optional<std::thread> start_background_thread(const char* name, std::function<void()> body) {
  // A new thread inherits the mask of its maker, so there is no moment in which a signal could reach it.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::optional<std::thread> thread;
  try {
    thread.emplace([name, run = std::move(body)] {
      prctl(PR_SET_NAME, name);  // unlike pthread_setname_np it cuts a long name instead of refusing it
      run();
    });
  } catch (const std::system_error&) {
    thread.reset();
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

}  // namespace fastpool::net
