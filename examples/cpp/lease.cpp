// lease URL            sends two requests on one connection of its own
// lease --self-test    does so against a server of its own

#include <cstdio>
#include <string>

#include <fastpool/client.h>

#include "self_test.h"

namespace {

int talk(fastpool::Client& client, const std::string& url) {
  auto lease = client.lease(url);
  if (!lease) {
    std::fprintf(stderr, "%s\n", lease.error().detail.c_str());
    return 1;
  }
  for (int count = 0; count < 2; ++count) {
    // What a server keeps per connection (NTLM, a session) is still there, unless the connection has died.
    if (!lease->alive()) return 1;
    const auto response = lease->send({.url = url});
    if (!response) {
      std::fprintf(stderr, "%s\n", response.error().detail.c_str());
      return 1;
    }
    std::printf("%d over socket %d\n", response->status, lease->native_handle());
  }
  return 0;  // the connection goes back to the pool; lease->discard() would close it
}

}  // namespace

int main(int argc, char** argv) {
  if (wants_self_test(argc, argv)) {
    const SelfTestServer server;
    fastpool::Client client;
    expect(talk(client, server.url()) == 0, "two answers");
    expect(server.connections() == 1, "one connection");
    expect(client.stats().all.idle_connections == 1, "the connection went back");
    return 0;
  }
  fastpool::Client client;
  return talk(client, argv[1]);
}
