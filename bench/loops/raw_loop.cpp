// The limit of clients on an event loop: system calls alone, on one thread with one epoll set.
//
//   fastpool_bench_loop PORT CONNECTIONS WARM_SECONDS MEASURED_SECONDS RESPONSE_SIZE < request
//
// Every connection repeats one send and one recv of fixed size, as soon as its last answer is whole; nothing is parsed
// and nothing is allocated. The set is edge-triggered and never changed. Prints one JSON object: requests, seconds, CPU.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "common/process_time.h"

namespace {

using fastpool::bench::Clock;
using fastpool::bench::cpu_microseconds;
using fastpool::bench::seconds_of;

[[noreturn]] void fail(const char* what) {
  std::perror(what);
  std::_Exit(1);
}

struct Connection {
  int descriptor = -1;
  std::size_t received = 0;
};

int connect_to(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int yes = 1;
  const int descriptor = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (descriptor < 0 || ::connect(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      ::setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes) != 0) {
    fail("connect");
  }
  return descriptor;
}

/// All connections and their set. Each has one request under way from its start on.
class Loop {
 public:
  Loop(std::uint16_t port, std::size_t connections, std::size_t response_size, std::string request)
      : response_size_(response_size), request_(std::move(request)), epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
    connections_.resize(connections);
    for (Connection& connection : connections_) {
      connection.descriptor = connect_to(port);
      epoll_event event{};
      event.events = EPOLLIN | EPOLLRDHUP | EPOLLET;
      event.data.ptr = &connection;
      if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, connection.descriptor, &event) != 0) {
        fail("epoll_ctl");
      }
      send_on(connection);
    }
  }

  /// Goes on until `end`; the number of answers that came whole.
  std::uint64_t run_until(Clock::time_point end) {
    std::uint64_t whole = 0;
    std::array<epoll_event, 256> events{};
    while (Clock::now() < end) {
      const int count = ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), 100);
      if (count < 0 && errno != EINTR) {
        fail("epoll_wait");
      }
      for (int index = 0; index < count; ++index) {
        auto& connection = *static_cast<Connection*>(events[static_cast<std::size_t>(index)].data.ptr);
        if (receive_on(connection)) {
          ++whole;
          send_on(connection);
        }
      }
    }
    return whole;
  }

 private:
  void send_on(const Connection& connection) {
    const ssize_t count = ::send(connection.descriptor, request_.data(), request_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count != static_cast<ssize_t>(request_.size())) {
      fail("send");
    }
  }

  /// One recv for a small answer, which is one write of the server's and comes whole but for once in a while. More while
  /// the buffer is filled: the set reports only what arrives after that.
  bool receive_on(Connection& connection) {
    for (bool filled = true; filled && connection.received < response_size_;) {
      const ssize_t count = ::recv(connection.descriptor, buffer_.data(), buffer_.size(), MSG_DONTWAIT);
      if (count <= 0) {
        if (count < 0 && errno == EAGAIN) {
          return false;
        }
        fail("recv");
      }
      connection.received += static_cast<std::size_t>(count);
      filled = static_cast<std::size_t>(count) == buffer_.size();
    }
    if (connection.received < response_size_) {
      return false;
    }
    connection.received = 0;
    return true;
  }

  std::size_t response_size_;
  std::string request_;
  int epoll_;
  std::vector<Connection> connections_;
  std::array<char, 131'072> buffer_{};  // a large answer in few calls
};

}  // namespace

int main(int argument_count, char** arguments) {
  if (argument_count != 6) {
    std::cerr << "usage: fastpool_bench_loop PORT CONNECTIONS WARM MEASURED RESPONSE_SIZE < request\n";
    return 2;
  }
  std::string request{std::istreambuf_iterator<char>(std::cin), {}};
  Loop loop(static_cast<std::uint16_t>(std::atoi(arguments[1])), static_cast<std::size_t>(std::atoi(arguments[2])),
            static_cast<std::size_t>(std::atoi(arguments[5])), std::move(request));
  loop.run_until(Clock::now() + seconds_of(arguments[3]));
  const std::uint64_t cpu_before = cpu_microseconds();
  const auto begin = Clock::now();
  const std::uint64_t requests = loop.run_until(begin + seconds_of(arguments[4]));
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  std::cout << "{\"requests\":" << requests << ",\"seconds\":" << seconds
            << ",\"cpu_us\":" << cpu_microseconds() - cpu_before << "}\n";
}
