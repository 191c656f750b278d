// get URL            fetches the URL twice over one pool and prints both responses
// get --self-test    does so against a server of its own, and fails if the second request did not reuse the connection

#include <cstdio>
#include <string>

#include <fastpool/client.h>

#include "self_test.h"

namespace {

int fetch(fastpool::Client& client, const std::string& url) {
  const auto response = client.send({.url = url}, {.total = std::chrono::seconds(30)});
  if (!response) {
    const fastpool::Error& error = response.error();
    std::fprintf(stderr, "%s: %s\n", std::string(to_string(error.code)).c_str(), error.detail.c_str());
    return 1;
  }
  std::printf("%d %s, %zu headers, %zu bytes\n", response->status, response->reason.c_str(), response->headers.size(),
              response->body.size());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (wants_self_test(argc, argv)) {
    const SelfTestServer server;
    fastpool::Client client;
    const int failures = fetch(client, server.url()) + fetch(client, server.url());
    const fastpool::ClientStats stats = client.stats();
    expect(stats.reused == 1 && stats.connections_opened == 1, "the connection was not reused");
    return failures;
  }
  fastpool::Client client;
  return fetch(client, argv[1]) + fetch(client, argv[1]);
}
