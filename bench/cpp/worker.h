#pragma once

/// \file
/// What a program of bench/cpp/ consists of: worker.cpp has its main() and measures; one more source defines clients() and
/// version() for one HTTP library.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/process_time.h"

namespace fastpool::bench {

/// The request that a client repeats, and what it must receive. Outlives the clients.
struct Task {
  std::string url{};  ///< "http://127.0.0.1:8080/target" or "https://..."
  std::string host{};
  std::string port{};
  std::string target{};
  std::string ca_file{};  ///< of the server's certificate; empty: plain TCP
  /// The caller's own: without Host and Content-Length, which each client adds itself.
  std::vector<std::pair<std::string, std::string>> headers{};
  std::string body{};
  std::size_t response_size = 0;  ///< bytes of the response's body, decoded
  std::size_t width = 1;          ///< threads of a blocking client; requests at once of a loop
  bool http2 = false;             ///< HTTP/2 alone, without TLS by prior knowledge; else HTTP/1.1
};

/// Ends the program with exit code 1.
[[noreturn]] void fail(std::string_view what);
/// Ends the program unless this is the response that the server sends.
void check(const Task& task, unsigned status, std::size_t size);

/// A client on one thread, which made it and uses it.
class Blocking {
 public:
  Blocking() = default;
  Blocking(const Blocking&) = delete;
  Blocking& operator=(const Blocking&) = delete;
  virtual ~Blocking() = default;

  /// Sends the request and reads the whole response.
  virtual void exchange() = 0;
};

/// A client on an event loop of one thread. It keeps Task::width requests under way: whenever one is answered, it calls
/// answered() and sends the next one.
class Looping {
 public:
  explicit Looping(std::size_t width) : cold_(width, true), left_cold_(width) {}
  Looping(const Looping&) = delete;
  Looping& operator=(const Looping&) = delete;
  virtual ~Looping() = default;

  virtual void run_until(Clock::time_point end) = 0;

  /// How many requests have been answered since the client was made.
  [[nodiscard]] std::uint64_t answers() const { return answers_; }
  /// Whether each of the requests at once has been answered at least once, so no connection has yet to be opened.
  [[nodiscard]] bool warm() const { return left_cold_ == 0; }

 protected:
  /// \param index of the request, below the width.
  void answered(std::size_t index) {
    ++answers_;
    if (cold_[index]) {
      cold_[index] = false;
      --left_cold_;
    }
  }

 private:
  std::uint64_t answers_ = 0;
  std::vector<bool> cold_;
  std::size_t left_cold_;
};

/// Called once per thread, on that thread. What it captures is shared by the threads.
using MakeBlocking = std::function<std::unique_ptr<Blocking>()>;

/// One way to use the library: either of the two is set.
struct ClientKind {
  std::string_view name;
  MakeBlocking (*blocking)(const Task& task) = nullptr;
  std::unique_ptr<Looping> (*looping)(const Task& task) = nullptr;
  bool http2 = false;
};

[[nodiscard]] std::span<const ClientKind> clients();
/// Name and version of the library.
[[nodiscard]] std::string version();

}  // namespace fastpool::bench
