// A short run of what the fuzzer does: a server's frames with bytes changed, dropped, doubled and exchanged.

#include <random>

#include "fuzz/h2_session_properties.h"
#include "h2/server.h"

namespace fastpool::h2::test {
namespace {

/// Responses to streams 1 and 3 with all that a server may send.
std::vector<std::string> frames() {
  return {frame(settings, 0, 0, std::string("\0\3", 2) + four(10)),
          frame(window_update, 0, 0, four(1000)),
          frame(headers, end_headers, 1, literals({{":status", "103"}, {"link", "x"}})),
          frame(headers, 0, 1, literals({{":status", "200"}})),
          frame(continuation, end_headers, 1, literals({{"content-type", "text/plain"}})),
          frame(data, 0, 1, "some of it"),
          frame(ping, 0, 0, "12345678"),
          frame(headers, end_headers, 3, literals({{":status", "413"}, {"content-length", "2"}})),
          frame(data, end_stream, 3, "no"),
          frame(rst_stream, 0, 3, four(0)),
          frame(data, 0, 1, "the rest"),
          frame(headers, end_headers | end_stream, 1, literals({{"x-trailer", "yes"}})),
          frame(goaway, 0, 0, four(3) + four(0))};
}

TEST(EveryPeer, gives_one_outcome_cut_anywhere) {
  std::string all;
  for (const std::string& each : frames())
    all += each;
  EXPECT_EQ(broken_promise(all), "");
  EXPECT_EQ(outcome_of(all, 1).told, "200 1 1 1 'some of itthe rest' ended; 413 1 0 0 'no' ended; fine");
}

TEST(EveryPeer, gives_one_outcome_with_its_bytes_changed) {
  std::minstd_rand random(1);  // always the same changes, so that a failure can be reproduced
  for (int round = 0; round < 5'000; ++round) {
    std::vector<std::string> changed = frames();
    for (auto changes = random() % 3 + 1; changes > 0; --changes) {
      std::string& one = changed[random() % changed.size()];
      switch (random() % 5) {
        case 0:
          one[random() % std::min<std::size_t>(one.size(), 12)] = static_cast<char>(random());
          break;
        case 1: {
          char& byte = one[random() % one.size()];
          byte = static_cast<char>(static_cast<unsigned char>(byte) ^ (1U << random() % 8));
        } break;
        case 2:
          one.erase(random() % one.size() + (one.size() > 1 ? 0 : 1), 1);
          if (one.empty()) one = "x";
          break;
        case 3:
          std::swap(one, changed[random() % changed.size()]);
          break;
        default:
          one += one;
          break;
      }
    }
    std::string all;
    for (const std::string& each : changed)
      all += each;
    ASSERT_EQ(broken_promise(all), "") << "round " << round;
  }
}

}  // namespace
}  // namespace fastpool::h2::test
