#include "server/answers.h"

#include <cstdint>
#include <cstdlib>
#include <iostream>

namespace fastpool::bench {
namespace {

std::string read_part(std::istream& input) {
  std::size_t size = 0;
  input >> size;
  input.get();
  std::string part(size, '\0');
  input.read(part.data(), static_cast<std::streamsize>(size));
  if (!input) {
    std::cerr << "the answers are not on standard input\n";
    std::_Exit(2);
  }
  return part;
}

}  // namespace

Answers read_answers(std::istream& input, Pace pace) {
  Answers answers;
  answers.whole = read_part(input);
  answers.large = read_part(input);
  answers.stream_head = read_part(input);
  answers.event = read_part(input);
  answers.stream_end = read_part(input);
  answers.pace = pace;
  answers.burst = answers.stream_head;
  for (std::size_t count = 0; count < pace.events; ++count) {
    answers.burst += answers.event;
  }
  answers.burst += answers.stream_end;
  answers.stamp_at = answers.event.find(std::string(Answers::kStampSize, '0'));
  if (!answers.event.empty() && answers.stamp_at == std::string::npos) {
    std::cerr << "the event has no place for its stamp\n";
    std::_Exit(2);
  }
  return answers;
}

std::string stamped_event(const Answers& answers, std::chrono::steady_clock::time_point now) {
  std::string event = answers.event;
  auto stamp =
      static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(now.time_since_epoch()).count());
  for (std::size_t at = answers.stamp_at + Answers::kStampSize; stamp > 0; stamp /= 10) {
    event[--at] = static_cast<char>('0' + stamp % 10);
  }
  return event;
}

}  // namespace fastpool::bench
