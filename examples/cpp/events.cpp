// events URL            prints the lines of a stream of events as they arrive
// events --self-test    does so against a server of its own

#include <cstdio>
#include <string>
#include <string_view>

#include <fastpool/client.h>

#include "self_test.h"

namespace {

/// \returns how many lines of data there were; -1 on an error.
int print_events(fastpool::Client& client, const std::string& url) {
  // No bound on a silence of the server: events may be far apart. A Call::stop would end the stream from another thread.
  fastpool::Call call;
  call.timeouts.read = std::nullopt;
  auto stream = client.open({.url = url, .headers = {{"Accept", "text/event-stream"}}}, call);
  if (!stream) {
    std::fprintf(stderr, "%s\n", stream.error().detail.c_str());
    return -1;
  }
  int events = 0;
  std::string line;  // a piece may end within a line
  for (;;) {
    const auto piece = stream->read();
    if (!piece) {
      std::fprintf(stderr, "%s\n", piece.error().detail.c_str());
      return -1;
    }
    if (piece->empty()) return events;
    for (const char byte : *piece) {
      if (byte != '\n') {
        line += byte;
        continue;
      }
      if (line.rfind("data: ", 0) == 0) {
        std::printf("%s\n", line.c_str() + 6);
        ++events;
      }
      line.clear();
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (wants_self_test(argc, argv)) {
    const SelfTestServer server;
    fastpool::Client client;
    expect(print_events(client, server.url("/events")) == 3, "three events");
    return 0;
  }
  fastpool::Client client;
  return print_events(client, argv[1]) < 0 ? 1 : 0;
}
