// A small HTTP server on the loopback interface, so that each example can run by itself: `example --self-test`.
//
// GET is answered with "hello", /events with three server-sent events that come one after the other, POST with the body that it
// carried. Serves any number of connections, each in a thread of its own.

#pragma once

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

class SelfTestServer {
 public:
  SelfTestServer() : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(listener_, 16) != 0 ||
        ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0)
      std::abort();
    port_ = ntohs(address.sin_port);
    acceptor_ = std::thread([this] { accept_connections(); });
  }
  SelfTestServer(const SelfTestServer&) = delete;
  SelfTestServer& operator=(const SelfTestServer&) = delete;
  /// Waits until the clients have closed their connections.
  ~SelfTestServer() {
    ::shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    for (std::thread& thread : threads_)
      thread.join();
    ::close(listener_);
  }

  [[nodiscard]] std::string url(const std::string& path = "/") const {
    return "http://127.0.0.1:" + std::to_string(port_) + path;
  }
  [[nodiscard]] int connections() const { return connections_; }

 private:
  void accept_connections() {
    for (;;) {
      const int peer = ::accept(listener_, nullptr, nullptr);
      if (peer < 0) return;
      ++connections_;
      threads_.emplace_back([peer] {
        serve(peer);
        ::close(peer);
      });
    }
  }
  static void write(int peer, const std::string& bytes) {
    (void)!::send(peer, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  }
  static void serve(int peer) {
    std::string received;
    for (;;) {
      std::size_t end = 0;
      while ((end = received.find("\r\n\r\n")) == std::string::npos)
        if (!read_more(peer, received)) return;
      const std::string head = received.substr(0, end);
      received.erase(0, end + 4);
      std::string body;
      if (const auto at = head.find("Content-Length: "); at != std::string::npos) {
        const std::size_t size = std::stoul(head.substr(at + 16));
        while (received.size() < size)
          if (!read_more(peer, received)) return;
        body = received.substr(0, size);
        received.erase(0, size);
      }
      if (head.rfind("GET /events", 0) == 0) {
        write(peer, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
        for (const char* event : {"data: one\n\n", "data: two\n\n", "data: three\n\n"}) {
          std::this_thread::sleep_for(std::chrono::milliseconds(20));
          char size[16];
          std::snprintf(size, sizeof size, "%zx\r\n", std::strlen(event));
          write(peer, size + std::string(event) + "\r\n");
        }
        write(peer, "0\r\n\r\n");
      } else {
        if (body.empty()) body = "hello";
        write(peer, "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
      }
    }
  }
  static bool read_more(int peer, std::string& received) {
    char buffer[4096];
    const ssize_t got = ::recv(peer, buffer, sizeof buffer, 0);
    if (got > 0) received.append(buffer, static_cast<std::size_t>(got));
    return got > 0;
  }

  int listener_;
  int port_ = 0;
  std::atomic<int> connections_{0};
  std::vector<std::thread> threads_;  // of the acceptor's thread, until it has been joined
  std::thread acceptor_;
};

/// Ends the example with a message unless the condition holds.
inline void expect(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "self-test failed: %s\n", what);
  std::exit(1);
}

/// The URL to use: that of the server if the example runs its self-test, else its argument.
inline bool wants_self_test(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s URL | %s --self-test\n", argv[0], argv[0]);
    std::exit(2);
  }
  return std::strcmp(argv[1], "--self-test") == 0;
}
