// upload FILE URL         posts a file
// upload --self-test      posts this program to a server of its own, which sends it back

#include <cstdio>
#include <string>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fastpool/client.h>

#include "self_test.h"

namespace {

fastpool::Result<fastpool::Response> upload(fastpool::Client& client, const char* path, const std::string& url) {
  const int file = ::open(path, O_RDONLY | O_CLOEXEC);
  // The body is read while it is sent, in pieces, and again from its start if the request may be sent again.
  auto response = client.send({.method = "PUT", .url = url, .body = fastpool::Body::file(file)});
  if (file >= 0) ::close(file);
  return response;
}

}  // namespace

int main(int argc, char** argv) {
  fastpool::Client client;
  if (wants_self_test(argc, argv)) {
    const SelfTestServer server;
    struct stat self{};
    expect(::stat("/proc/self/exe", &self) == 0, "the size of this program");
    {
      fastpool::Client sender;
      const auto response = upload(sender, "/proc/self/exe", server.url());
      expect(response.ok(), "an answer");
      expect(response->body.size() == static_cast<std::size_t>(self.st_size), "all bytes");
      expect(!upload(sender, "/nowhere", server.url()).ok(), "an error for a file that is not there");
    }
    return 0;
  }
  if (argc < 3) {
    std::fprintf(stderr, "usage: upload FILE URL\n");
    return 2;
  }
  const auto response = upload(client, argv[1], argv[2]);
  if (!response) {
    std::fprintf(stderr, "%s\n", response.error().detail.c_str());
    return 1;
  }
  std::printf("%d %s\n", response->status, response->reason.c_str());
  return 0;
}
