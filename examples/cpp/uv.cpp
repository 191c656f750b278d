// uv URL            fetches the URL three times at once in a loop of libuv
// uv --self-test    does so against a server of its own

#include <cstdio>
#include <string>

#include <uv.h>

#include <fastpool/loop.h>

#include "self_test.h"

namespace {

/// \returns how many were answered.
int fetch_at_once(const std::string& url) {
  fastpool::Client client;
  auto pool_loop = fastpool::Loop::make();
  if (!pool_loop) return 0;

  uv_loop_t loop{};
  uv_loop_init(&loop);
  uv_poll_t watch{};
  watch.data = &*pool_loop;
  uv_poll_init(&loop, &watch, pool_loop->descriptor());
  uv_poll_start(&watch, UV_READABLE, [](uv_poll_t* handle, int, int) {
    auto& turned = *static_cast<fastpool::Loop*>(handle->data);
    turned.turn();
    if (!turned.busy()) uv_poll_stop(handle);  // so that uv_run() returns
  });

  int answered = 0;
  for (int count = 0; count < 3; ++count) {
    fastpool::send(*pool_loop, client, {.url = url}, {}, [&](fastpool::Result<fastpool::Response> response) {
      if (!response) return;
      std::printf("%d, %zu bytes\n", response->status, response->body.size());
      ++answered;
    });
  }
  uv_run(&loop, UV_RUN_DEFAULT);
  uv_close(reinterpret_cast<uv_handle_t*>(&watch), nullptr);
  uv_run(&loop, UV_RUN_DEFAULT);
  uv_loop_close(&loop);
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
