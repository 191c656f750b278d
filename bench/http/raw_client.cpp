// The limit that the other clients are compared with: system calls alone.
//
//   fastpool_bench_raw PORT THREADS WARM_SECONDS MEASURED_SECONDS RESPONSE_SIZE [CA.pem] < request
//
// Each thread has one blocking connection to 127.0.0.1 and repeats one send and one recv of fixed size; nothing is
// parsed and nothing is allocated. With a CA file it is SSL_write and SSL_read on the same blocking socket, with the
// same checks of chain and address as any client makes. Prints one JSON object: requests, seconds, CPU, latencies.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <barrier>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "common/process_time.h"

namespace {

using fastpool::bench::Clock;
using fastpool::bench::cpu_microseconds;
using fastpool::bench::seconds_of;

struct Settings {
  std::uint16_t port = 0;
  std::size_t threads = 1;
  Clock::duration warm{};
  Clock::duration measured{};
  std::size_t response_size = 0;
  const char* ca_file = nullptr;
  std::string request;
};

struct SslDeleter {
  void operator()(SSL* ssl) const noexcept { SSL_free(ssl); }
};

[[noreturn]] void fail(const char* what) {
  std::perror(what);
  ERR_print_errors_fp(stderr);
  std::_Exit(1);
}

/// One blocking connection, plain or TLS.
class Connection {
 public:
  Connection(const Settings& settings, SSL_CTX* context) : settings_(settings) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(settings.port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int yes = 1;
    descriptor_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (descriptor_ < 0 || ::connect(descriptor_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
        ::setsockopt(descriptor_, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes) != 0) {
      fail("connect");
    }
    if (context != nullptr) {
      ssl_.reset(SSL_new(context));
      X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl_.get()), "127.0.0.1");
      SSL_set_fd(ssl_.get(), descriptor_);
      if (SSL_connect(ssl_.get()) != 1) {
        fail("SSL_connect");
      }
    }
  }
  ~Connection() { ::close(descriptor_); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void exchange() {
    if (ssl_ != nullptr) {
      exchange_tls();
    } else {
      exchange_plain();
    }
  }

 private:
  void exchange_plain() {
    const std::string& request = settings_.request;
    if (::send(descriptor_, request.data(), request.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(request.size())) {
      fail("send");
    }
    for (std::size_t received = 0; received < settings_.response_size;) {
      const ssize_t count = ::recv(descriptor_, buffer_.data(), buffer_.size(), 0);
      if (count <= 0) {
        fail("recv");
      }
      received += static_cast<std::size_t>(count);
    }
  }

  void exchange_tls() {
    const std::string& request = settings_.request;
    std::size_t count = 0;
    if (SSL_write_ex(ssl_.get(), request.data(), request.size(), &count) != 1 || count != request.size()) {
      fail("SSL_write");
    }
    for (std::size_t received = 0; received < settings_.response_size; received += count) {
      if (SSL_read_ex(ssl_.get(), buffer_.data(), buffer_.size(), &count) != 1) {
        fail("SSL_read");
      }
    }
  }

  const Settings& settings_;
  int descriptor_ = -1;
  std::unique_ptr<SSL, SslDeleter> ssl_;
  std::array<char, 131'072> buffer_;  // a large response in few calls
};

SSL_CTX* make_context(const char* ca_file) {
  if (ca_file == nullptr) {
    return nullptr;
  }
  SSL_CTX* const context = SSL_CTX_new(TLS_client_method());
  if (context == nullptr || SSL_CTX_load_verify_locations(context, ca_file, nullptr) != 1) {
    fail("SSL_CTX_load_verify_locations");
  }
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_read_ahead(context, 1);
  return context;
}

std::int64_t nanoseconds(Clock::duration duration) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(duration).count();
}

/// One thread's work: connect, warm up, wait for the others twice (between the two the clocks are read), measure.
void run_thread(const Settings& settings, SSL_CTX* context, std::barrier<>& gate, std::vector<std::int64_t>& samples) {
  Connection connection(settings, context);
  for (const auto end = Clock::now() + settings.warm; Clock::now() < end;) {
    connection.exchange();
  }
  gate.arrive_and_wait();
  gate.arrive_and_wait();
  auto begin = Clock::now();
  for (const auto end = begin + settings.measured; begin < end;) {
    connection.exchange();
    const auto now = Clock::now();
    samples.push_back(nanoseconds(now - begin));
    begin = now;
  }
}

}  // namespace

int main(int argument_count, char** arguments) {
  if (argument_count < 6 || argument_count > 7) {
    std::cerr << "usage: fastpool_bench_raw PORT THREADS WARM MEASURED RESPONSE_SIZE [CA] < request\n";
    return 2;
  }
  Settings settings;
  settings.port = static_cast<std::uint16_t>(std::atoi(arguments[1]));
  settings.threads = static_cast<std::size_t>(std::atoi(arguments[2]));
  settings.warm = seconds_of(arguments[3]);
  settings.measured = seconds_of(arguments[4]);
  settings.response_size = static_cast<std::size_t>(std::atoi(arguments[5]));
  settings.ca_file = argument_count == 7 ? arguments[6] : nullptr;
  settings.request.assign(std::istreambuf_iterator<char>(std::cin), {});
  SSL_CTX* const context = make_context(settings.ca_file);

  std::vector<std::vector<std::int64_t>> samples(settings.threads);
  for (auto& own : samples) {
    own.reserve(131'072);
  }
  std::barrier gate(static_cast<std::ptrdiff_t>(settings.threads) + 1);
  std::vector<std::thread> threads;
  threads.reserve(settings.threads);
  for (std::size_t index = 0; index < settings.threads; ++index) {
    threads.emplace_back([&, index] { run_thread(settings, context, gate, samples[index]); });
  }
  gate.arrive_and_wait();
  const std::uint64_t cpu_before = cpu_microseconds();
  const auto begin = Clock::now();
  gate.arrive_and_wait();
  for (std::thread& thread : threads) {
    thread.join();
  }
  const double seconds = static_cast<double>(nanoseconds(Clock::now() - begin)) / 1e9;
  const std::uint64_t cpu = cpu_microseconds() - cpu_before;

  std::vector<std::int64_t> all;
  for (const auto& own : samples) {
    all.insert(all.end(), own.begin(), own.end());
  }
  std::sort(all.begin(), all.end());
  const auto percentile = [&](std::size_t percent) {
    return static_cast<double>(all[std::min(all.size() - 1, all.size() * percent / 100)]) / 1e3;
  };
  std::cout << "{\"requests\":" << all.size() << ",\"seconds\":" << seconds << ",\"cpu_us\":" << cpu
            << ",\"p50_us\":" << percentile(50) << ",\"p99_us\":" << percentile(99) << "}\n";
  SSL_CTX_free(context);
}
