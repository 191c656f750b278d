// One client of the benchmark, as a process of its own.
//
//   PROGRAM CLIENT URL RESPONSE_SIZE WIDTH WARM_SECONDS MEASURED_SECONDS [CA.pem] < request
//   PROGRAM --version
//
// Repeats the request that comes on standard input (HTTP/1.1, whole), by WIDTH threads or with WIDTH requests at once,
// whichever CLIENT is. RESPONSE_SIZE is that of the response's body. Warms up until every connection is open, at least for
// WARM_SECONDS. Prints one JSON object: requests, seconds, CPU of all threads.

#include "cpp/worker.h"

#include <algorithm>
#include <barrier>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <iterator>
#include <thread>

namespace fastpool::bench {

void fail(std::string_view what) {
  std::cerr << what << '\n' << std::flush;
  std::_Exit(1);
}

void check(const Task& task, unsigned status, std::size_t size) {
  if (status != 200 || size != task.response_size) {
    fail("status " + std::to_string(status) + " with a body of " + std::to_string(size) + " bytes, not 200 with " +
         std::to_string(task.response_size));
  }
}

namespace {

constexpr std::chrono::seconds kWarmUpLimit{30};

struct Timing {
  Clock::duration warm{};
  Clock::duration measured{};
};

struct Figures {
  std::uint64_t requests = 0;
  double seconds = 0;
  std::uint64_t cpu_us = 0;
};

/// Reads head and body of the whole request; leaves out Host and Content-Length.
void read_request(std::istream& input, Task& task) {
  const std::string request(std::istreambuf_iterator<char>(input), {});
  const std::size_t head_end = request.find("\r\n\r\n");
  if (head_end == std::string::npos) {
    fail("no request on standard input");
  }
  task.body = request.substr(head_end + 4);
  for (std::size_t at = request.find("\r\n") + 2; at < head_end + 2;) {
    const std::size_t line_end = request.find("\r\n", at);
    const std::size_t colon = request.find(": ", at);
    std::string name = request.substr(at, colon - at);
    if (name != "host" && name != "content-length") {
      task.headers.emplace_back(std::move(name), request.substr(colon + 2, line_end - colon - 2));
    }
    at = line_end + 2;
  }
}

/// Takes "scheme://host:port/target" apart.
void read_url(Task& task) {
  const std::size_t host = task.url.find("://") + 3;
  const std::size_t port = task.url.find(':', host);
  const std::size_t target = task.url.find('/', host);
  if (port == std::string::npos || target == std::string::npos) {
    fail("the URL has no port or no path");
  }
  task.host = task.url.substr(host, port - host);
  task.port = task.url.substr(port + 1, target - port - 1);
  task.target = task.url.substr(target);
}

/// One thread's work: warm up, wait for the others twice (between the two the clocks are read), measure.
std::uint64_t run_thread(const MakeBlocking& make, const Timing& timing, std::barrier<>& gate) {
  const auto client = make();
  const auto warm_end = Clock::now() + timing.warm;
  do {
    client->exchange();
  } while (Clock::now() < warm_end);
  gate.arrive_and_wait();
  gate.arrive_and_wait();
  std::uint64_t requests = 0;
  for (const auto end = Clock::now() + timing.measured; Clock::now() < end; ++requests) {
    client->exchange();
  }
  return requests;
}

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

Figures measure_blocking(const MakeBlocking& make, std::size_t width, const Timing& timing) {
  std::barrier gate(static_cast<std::ptrdiff_t>(width) + 1);
  std::vector<std::uint64_t> requests(width);
  std::vector<std::jthread> threads;
  threads.reserve(width);
  for (std::uint64_t& own : requests) {
    threads.emplace_back([&] { own = run_thread(make, timing, gate); });
  }
  gate.arrive_and_wait();
  const std::uint64_t cpu_before = cpu_microseconds();
  const auto begin = Clock::now();
  gate.arrive_and_wait();
  threads.clear();
  Figures figures{.seconds = seconds_since(begin), .cpu_us = cpu_microseconds() - cpu_before};
  for (const std::uint64_t own : requests) {
    figures.requests += own;
  }
  return figures;
}

Figures measure_looping(Looping& client, const Timing& timing) {
  const auto limit = Clock::now() + kWarmUpLimit;
  client.run_until(Clock::now() + timing.warm);
  while (!client.warm()) {
    if (Clock::now() > limit) {
      fail("not every request was answered during the warm-up");
    }
    client.run_until(Clock::now() + std::chrono::milliseconds(20));
  }
  const std::uint64_t before = client.answers();
  const std::uint64_t cpu_before = cpu_microseconds();
  const auto begin = Clock::now();
  client.run_until(begin + timing.measured);
  return {.requests = client.answers() - before,
          .seconds = seconds_since(begin),
          .cpu_us = cpu_microseconds() - cpu_before};
}

Figures measure(const ClientKind& kind, const Task& task, const Timing& timing) {
  if (kind.blocking != nullptr) {
    return measure_blocking(kind.blocking(task), task.width, timing);
  }
  const auto client = kind.looping(task);
  return measure_looping(*client, timing);
}

int run(std::span<char*> arguments) {
  if (arguments.size() == 2 && std::string_view(arguments[1]) == "--version") {
    std::cout << version() << '\n';
    return 0;
  }
  if (arguments.size() < 7 || arguments.size() > 8) {
    std::cerr << "usage: " << arguments[0]
              << " CLIENT URL RESPONSE_SIZE WIDTH WARM_SECONDS MEASURED_SECONDS [CA] < request\n";
    return 2;
  }
  const auto known = clients();
  const std::string_view name = arguments[1];
  const auto kind = std::find_if(known.begin(), known.end(), [&](const ClientKind& each) { return each.name == name; });
  if (kind == known.end()) {
    fail("no such client: " + std::string(name));
  }
  Task task{.url = arguments[2],
            .ca_file = arguments.size() == 8 ? arguments[7] : "",
            .response_size = static_cast<std::size_t>(std::atol(arguments[3])),
            .width = static_cast<std::size_t>(std::atol(arguments[4])),
            .http2 = kind->http2};
  read_url(task);
  read_request(std::cin, task);
  const Figures figures =
      measure(*kind, task, {.warm = seconds_of(arguments[5]), .measured = seconds_of(arguments[6])});
  std::cout << "{\"requests\":" << figures.requests << ",\"seconds\":" << figures.seconds
            << ",\"cpu_us\":" << figures.cpu_us << "}\n";
  return 0;
}

}  // namespace
}  // namespace fastpool::bench

int main(int argument_count, char** arguments) {
  return fastpool::bench::run({arguments, static_cast<std::size_t>(argument_count)});
}
