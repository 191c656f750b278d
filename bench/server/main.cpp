// The benchmark's server: one thread, one epoll set, HTTP/1.1 over TCP on one port and over TLS on another.
//
//   fastpool_bench_server CORE CERTIFICATE.pem KEY.pem ADDRESS EVENTS INTERVAL_US < answers
//
// Every request is answered with the same whole response; /large with one that has a large body, /burst with a stream of
// EVENTS events in one write, /paced with the same stream at one event per INTERVAL_US, each with the time of its sending. The bytes of all that come on
// standard input (server/answers.h). GET /stats is answered with the server's counters and CPU time. Prints
// "PLAIN_PORT TLS_PORT" once it listens on ADDRESS, and ends with SIGTERM or with the process that started it.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <span>
#include <unordered_map>
#include <utility>

#include "server/answers.h"
#include "server/pacer.h"
#include "server/session.h"

namespace fastpool::bench {
namespace {

struct ContextDeleter {
  void operator()(SSL_CTX* context) const noexcept { SSL_CTX_free(context); }
};
using ContextHandle = std::unique_ptr<SSL_CTX, ContextDeleter>;

[[noreturn]] void fail(const char* what) {
  std::perror(what);
  std::_Exit(1);
}

void pin_to(int core) {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  CPU_SET(static_cast<std::size_t>(core), &cores);
  if (::sched_setaffinity(0, sizeof cores, &cores) != 0) {
    fail("sched_setaffinity");
  }
}

ContextHandle make_context(const char* certificate, const char* key) {
  ContextHandle context(SSL_CTX_new(TLS_server_method()));
  if (context == nullptr || SSL_CTX_use_certificate_chain_file(context.get(), certificate) != 1 ||
      SSL_CTX_use_PrivateKey_file(context.get(), key, SSL_FILETYPE_PEM) != 1) {
    ERR_print_errors_fp(stderr);
    std::_Exit(1);
  }
  // Without it OpenSSL reads a record in two steps: five bytes, then the rest.
  SSL_CTX_set_read_ahead(context.get(), 1);
  // Buffers that are kept spare an allocation per record.
  SSL_CTX_clear_mode(context.get(), SSL_MODE_RELEASE_BUFFERS);
  return context;
}

struct Listener {
  int descriptor;
  std::uint16_t port;
};

Listener listen_on(const char* at) {
  const int descriptor = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  socklen_t size = sizeof address;
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  if (::inet_pton(AF_INET, at, &address.sin_addr) != 1 || descriptor < 0 || ::bind(descriptor, generic, size) != 0 ||
      ::listen(descriptor, 1'024) != 0 || ::getsockname(descriptor, generic, &size) != 0) {
    fail("listen");
  }
  return {.descriptor = descriptor, .port = ntohs(address.sin_port)};
}

/// The loop: accepts on both ports and lets each session serve what arrived. One thread, never returns.
class Server {
 public:
  Server(Answers answers, ContextHandle context, const char* address)
      : answers_(std::move(answers)),
        context_(std::move(context)),
        epoll_(::epoll_create1(EPOLL_CLOEXEC)),
        plain_(listen_on(address)),
        tls_(listen_on(address)) {
    if (epoll_ < 0) {
      fail("epoll_create1");
    }
    watch(plain_.descriptor);
    watch(tls_.descriptor);
    watch(pacer_.descriptor());
  }

  [[nodiscard]] std::uint16_t plain_port() const { return plain_.port; }
  [[nodiscard]] std::uint16_t tls_port() const { return tls_.port; }

  [[noreturn]] void run() {
    std::array<epoll_event, 64> events{};
    while (true) {
      const int count = ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), -1);
      if (count < 0 && errno != EINTR) {
        fail("epoll_wait");
      }
      for (const epoll_event& event : std::span(events).first(static_cast<std::size_t>(count < 0 ? 0 : count))) {
        handle(event.data.fd);
      }
    }
  }

 private:
  void watch(int descriptor) const { watch(descriptor, EPOLL_CTL_ADD, EPOLLIN); }
  void watch(int descriptor, int change, std::uint32_t events) const {
    epoll_event event{};
    event.events = events;
    event.data.fd = descriptor;
    if (::epoll_ctl(epoll_, change, descriptor, &event) != 0) {
      fail("epoll_ctl");
    }
  }

  void handle(int descriptor) {
    if (descriptor == plain_.descriptor || descriptor == tls_.descriptor) {
      accept_from(descriptor);
      return;
    }
    if (descriptor == pacer_.descriptor()) {
      pacer_.run([this](const Pacer::Due& due) {
        with_session(due.descriptor, [&due](Session& session) { return session.go_on(due); });
      });
      return;
    }
    with_session(descriptor, [](Session& session) { return session.serve(); });
  }

  /// `action` returns whether the session lives on.
  template <typename Action>
  void with_session(int descriptor, const Action& action) {
    const auto found = sessions_.find(descriptor);
    if (found == sessions_.end()) {
      return;
    }
    const bool was_blocked = found->second->blocked();
    if (!action(*found->second)) {
      sessions_.erase(found);
    } else if (found->second->blocked() != was_blocked) {
      watch(descriptor, EPOLL_CTL_MOD, was_blocked ? EPOLLIN : EPOLLOUT);
    }
  }

  void accept_from(int listener) {
    const int descriptor = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (descriptor < 0) {
      return;
    }
    const int yes = 1;
    ::setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    SslHandle ssl;
    if (listener == tls_.descriptor) {
      ssl.reset(SSL_new(context_.get()));
      SSL_set_fd(ssl.get(), descriptor);
    }
    sessions_.insert_or_assign(descriptor,
                               std::make_unique<Session>(descriptor, std::move(ssl), answers_, pacer_, counters_));
    watch(descriptor);
  }

  Answers answers_;
  ContextHandle context_;
  int epoll_;
  Listener plain_;
  Listener tls_;
  Pacer pacer_;
  Counters counters_;
  std::unordered_map<int, std::unique_ptr<Session>> sessions_;
};

}  // namespace
}  // namespace fastpool::bench

int main(int argument_count, char** arguments) {
  if (argument_count != 7) {
    std::cerr << "usage: fastpool_bench_server CORE CERTIFICATE KEY ADDRESS EVENTS INTERVAL_US < answers\n";
    return 2;
  }
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  ::signal(SIGPIPE, SIG_IGN);
  fastpool::bench::pin_to(std::atoi(arguments[1]));
  const fastpool::bench::Pace pace{.events = static_cast<std::size_t>(std::atoi(arguments[5])),
                                   .interval = std::chrono::microseconds(std::atoi(arguments[6]))};
  fastpool::bench::Server server(fastpool::bench::read_answers(std::cin, pace),
                                 fastpool::bench::make_context(arguments[2], arguments[3]), arguments[4]);
  std::cout << server.plain_port() << ' ' << server.tls_port() << '\n' << std::flush;
  server.run();
}
