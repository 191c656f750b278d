#pragma once

#include <chrono>
#include <cstddef>
#include <istream>
#include <string>

namespace fastpool::bench {

/// How the paced stream goes.
struct Pace {
  std::size_t events = 0;
  std::chrono::microseconds interval{};
};

/// Every answer of the server, made once at its start. Sessions hold views into it.
struct Answers {
  std::string whole;        ///< head and body, to every target that is not named below
  std::string large;        ///< the same with a large body: /large
  std::string stream_head;  ///< the head of both streams (chunked)
  std::string event;        ///< one event as one chunk; holds a run of zeros, where the paced stream puts its stamp
  std::string stream_end;   ///< the last event and the last chunk
  std::string burst;        ///< GET or POST /burst: stream_head, all events and stream_end, in one write
  std::size_t stamp_at = 0;
  Pace pace;  ///< POST /paced: the head at once, then one event per interval

  static constexpr std::size_t kStampSize = 20;
};

/// Reads the parts, each as "SIZE\n" and as many bytes: whole, large, stream_head, event, stream_end. The size of `event`
/// is 0 where no stream is wanted. Ends the process if the parts are not there.
[[nodiscard]] Answers read_answers(std::istream& input, Pace pace);

/// The event with the time of CLOCK_MONOTONIC in nanoseconds, in 20 digits, where its zeros are.
[[nodiscard]] std::string stamped_event(const Answers& answers, std::chrono::steady_clock::time_point now);

}  // namespace fastpool::bench
