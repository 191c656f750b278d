#pragma once

/// \file
/// Interleaved rounds: every case once, then every case again; the median of each is told, with its range, as one JSON
/// object per line.

#include <time.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <latch>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace fastpool::bench {

class Measurement {
 public:
  /// Runs that many pairs on the thread that calls it; `thread` counts from 0.
  using Pairs = std::function<void(std::size_t thread, std::uint64_t pairs)>;

  /// \param name of the figure, "group.case"
  void add(std::string name, std::size_t threads, Pairs run) {
    cases_.push_back({std::move(name), threads, std::move(run), 0, {}});
  }

  /// \param seconds that one sample takes, more or less; at least 0.2 with several threads: in a time slice or two they would
  ///        run one after the other.
  void run(int rounds, double seconds) {
    for (Case& each : cases_)
      calibrate(each, seconds);
    for (int round = 0; round < rounds; ++round) {
      for (Case& each : cases_)
        each.nanoseconds.push_back(sample(each, each.pairs));
    }
  }

  void print() {
    for (Case& each : cases_) {
      std::sort(each.nanoseconds.begin(), each.nanoseconds.end());
      std::printf(R"({"name": "%s", "threads": %zu, "ns": %.2f, "low": %.2f, "high": %.2f})"
                  "\n",
                  each.name.c_str(), each.threads, each.nanoseconds[each.nanoseconds.size() / 2],
                  each.nanoseconds.front(), each.nanoseconds.back());
    }
  }

 private:
  static constexpr std::uint64_t warming_pairs = 20'000;

  struct Case {
    std::string name;
    std::size_t threads;
    Pairs run;
    std::uint64_t pairs;  // of each thread
    std::vector<double> nanoseconds;
  };

  static void calibrate(Case& each, double seconds) {
    if (each.threads > 1) seconds = std::max(seconds, 0.2);
    std::uint64_t pairs = 1000;
    for (;;) {
      const double taken = sample(each, pairs) * 1e-9 * static_cast<double>(pairs * each.threads);
      if (taken > seconds / 4) {
        each.pairs =
            std::max<std::uint64_t>(1, static_cast<std::uint64_t>(static_cast<double>(pairs) * seconds / taken));
        return;
      }
      pairs *= 4;
    }
  }

  /// Nanoseconds per pair: of the thread's CPU time where there is one thread, which leaves out what other processes took;
  /// with several, of the time from the first one's begin to the last one's end, over the pairs of all.
  [[nodiscard]] static double sample(const Case& each, std::uint64_t pairs) {
    if (each.threads == 1) {
      // What the other cases have displaced, from the caches or from memory, comes back first.
      each.run(0, std::min(pairs, warming_pairs));
      const double begin = thread_seconds();
      each.run(0, pairs);
      return (thread_seconds() - begin) * 1e9 / static_cast<double>(pairs);
    }
    using Clock = std::chrono::steady_clock;
    std::latch ready(static_cast<std::ptrdiff_t>(each.threads));
    std::vector<std::pair<Clock::time_point, Clock::time_point>> spans(each.threads);
    {
      std::vector<std::jthread> threads;
      for (std::size_t thread = 0; thread < each.threads; ++thread) {
        threads.emplace_back([&, thread] {
          ready.arrive_and_wait();
          const auto begin = Clock::now();
          each.run(thread, pairs);
          spans[thread] = {begin, Clock::now()};
        });
      }
    }
    auto [begin, end] = spans[0];
    for (const auto& span : spans) {
      begin = std::min(begin, span.first);
      end = std::max(end, span.second);
    }
    return std::chrono::duration<double, std::nano>(end - begin).count() / static_cast<double>(pairs * each.threads);
  }

  [[nodiscard]] static double thread_seconds() noexcept {
    timespec now{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
  }

  std::vector<Case> cases_;
};

}  // namespace fastpool::bench
