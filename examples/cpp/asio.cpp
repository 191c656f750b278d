// asio URL            fetches the URL in a coroutine of Boost.Asio
// asio --self-test    does so against a server of its own

#include <cstdio>
#include <string>
#include <utility>

#include <fastpool/asio.h>

#include "self_test.h"

namespace net = boost::asio;

namespace {

net::awaitable<int> fetch(fastpool::AsioLoop& loop, fastpool::Client& client, std::string url) {
  const fastpool::Request request{.url = std::move(url)};
  const fastpool::Call call;
  fastpool::Result<fastpool::Response> response =
      co_await fastpool::async_send(loop, client, request, call, net::use_awaitable);
  if (!response) {
    std::fprintf(stderr, "%s\n", response.error().detail.c_str());
    co_return 0;
  }
  std::printf("%d, %zu bytes\n", response->status, response->body.size());
  co_return response->status;
}

int run(const std::string& url) {
  net::io_context context;
  fastpool::Client client;
  fastpool::AsioLoop loop(context.get_executor());
  int status = 0;
  net::co_spawn(context, fetch(loop, client, url), [&](std::exception_ptr, int result) { status = result; });
  context.run();  // returns when nothing is under way
  return status;
}

}  // namespace

int main(int argc, char** argv) {
  if (wants_self_test(argc, argv)) {
    const SelfTestServer server;
    expect(run(server.url()) == 200, "an answer");
    return 0;
  }
  return run(argv[1]) == 200 ? 0 : 1;
}
