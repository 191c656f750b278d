// get URL ...        fetches each URL over one pool and prints what came
// get --self-test    does so against a server of its own, and fails if the second request did not reuse the connection

#include <cstdio>
#include <cstring>
#include <string>
#include <thread>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fastpool/client.h>

namespace {

int fetch(fastpool::Client& client, const std::string& url) {
  auto response = client.send({.url = url});
  if (!response) {
    const fastpool::Error& error = response.error();
    std::fprintf(stderr, "%s: %s\n", std::string(to_string(error.code)).c_str(), error.detail.c_str());
    return 1;
  }
  std::printf("%d %s, %zu headers, %zu bytes\n", response->status, response->reason.c_str(), response->headers.size(),
              response->body.size());
  return 0;
}

// Serves one connection for ever: the self-test's requests must share it.
int listen_on_loopback(std::uint16_t& port) {
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (::bind(listener, reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(listener, 1) != 0 ||
      ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) != 0)
    return -1;
  port = ntohs(address.sin_port);
  return listener;
}

void serve_one_connection(int listener) {
  const int peer = ::accept(listener, nullptr, nullptr);
  char buffer[4096];
  static constexpr char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
  while (::recv(peer, buffer, sizeof buffer, 0) > 0)
    (void)!::send(peer, answer, std::strlen(answer), MSG_NOSIGNAL);
  ::close(peer);
  ::close(listener);
}

int self_test() {
  std::uint16_t port = 0;
  const int listener = listen_on_loopback(port);
  if (listener < 0) return 1;
  std::thread server(serve_one_connection, listener);
  int failures = 0;
  {
    fastpool::Client client;
    const std::string url = "http://127.0.0.1:" + std::to_string(port) + "/";
    failures += fetch(client, url);
    failures += fetch(client, url);
    const fastpool::PoolStats stats = client.stats();
    if (stats.reused != 1 || stats.connections_opened != 1) {
      std::fprintf(stderr, "the connection was not reused\n");
      ++failures;
    }
  }
  server.join();
  return failures;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: get URL ... | get --self-test\n");
    return 2;
  }
  if (std::strcmp(argv[1], "--self-test") == 0) return self_test();
  fastpool::Client client;
  int failures = 0;
  for (int i = 1; i < argc; ++i)
    failures += fetch(client, argv[i]);
  return failures;
}
