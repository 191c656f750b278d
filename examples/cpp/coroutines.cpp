// coroutines URL            fetches the URL three times at once, in coroutines over an epoll loop of its own
// coroutines --self-test    does so against a server of its own

#include <coroutine>
#include <cstdio>
#include <exception>
#include <string>
#include <utility>

#include <sys/epoll.h>
#include <unistd.h>

#include <fastpool/coroutine.h>

#include "self_test.h"

namespace {

/// A minimal coroutine type: starts eagerly, and its completion is not awaited. Any other coroutine type works too.
struct Detached {
  struct promise_type {
    Detached get_return_object() { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() noexcept {}
    void unhandled_exception() { std::terminate(); }
  };
};

// Arguments by value, or by a reference that outlives the coroutine: it goes on after its caller has.
Detached fetch(fastpool::Loop& loop, fastpool::Client& client, std::string url, int& left, int& answered) {
  const fastpool::Request request{.url = std::move(url)};
  const auto response = co_await fastpool::send(loop, client, request);
  if (response) {
    std::printf("%d, %zu bytes\n", response->status, response->body.size());
    ++answered;
  } else {
    std::fprintf(stderr, "%s\n", response.error().detail.c_str());
  }
  --left;
}

/// \returns how many were answered.
int fetch_at_once(const std::string& url) {
  fastpool::Client client;
  auto loop = fastpool::Loop::make();
  if (!loop) return 0;

  // A loop of the application's own; the pool is one descriptor among others.
  const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
  epoll_event interest{};
  interest.events = EPOLLIN;
  ::epoll_ctl(epoll, EPOLL_CTL_ADD, loop->descriptor(), &interest);

  int left = 3;
  int answered = 0;
  for (int count = 0; count < 3; ++count)
    fetch(*loop, client, url, left, answered);
  while (left > 0) {
    epoll_event event{};
    if (::epoll_wait(epoll, &event, 1, -1) == 1) loop->turn();
  }
  ::close(epoll);
  return answered;
}

}  // namespace

int main(int argc, char** argv) {
  if (wants_self_test(argc, argv)) {
    const SelfTestServer server;
    expect(fetch_at_once(server.url()) == 3, "three answers");
    return 0;
  }
  return fetch_at_once(argv[1]) == 3 ? 0 : 1;
}
