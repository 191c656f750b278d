// A short run of what the fuzzer does: all conversations, each with bytes changed, dropped, doubled and exchanged, must give
// the same outcome wherever they are cut.

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <string_view>

#include "fuzz/response_parser_properties.h"
#include "h1/conversation.h"

namespace fastpool::h1::test {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view telling_bytes = "\r\n\t\0 :;,\"\\0159afx=\x7f\xff"sv;

std::string mutated(std::string bytes, std::minstd_rand& random) {
  for (auto changes = random() % 3 + 1; changes > 0 && !bytes.empty(); --changes) {
    const std::size_t place = random() % bytes.size();
    switch (random() % 4) {
      case 0:
        bytes[place] = telling_bytes[random() % telling_bytes.size()];
        break;
      case 1:
        bytes.erase(place, random() % 3 + 1);
        break;
      case 2:
        bytes.insert(place, bytes.substr(place, random() % 8 + 1));
        break;
      default:
        bytes.insert(place, 1, telling_bytes[random() % telling_bytes.size()]);
        break;
    }
  }
  return bytes;
}

TEST(EveryConversation, GivesOneOutcomeCutAnywhere) {
  for (const Conversation& conversation : load_conversations()) {
    for (const bool head_request : {false, true}) {
      EXPECT_EQ(broken_promise(conversation.bytes, head_request, true), "") << escape(conversation.bytes);
    }
  }
}

TEST(EveryConversation, GivesOneOutcomeWithItsBytesChanged) {
  std::minstd_rand random(1);  // always the same changes, so that a failure can be reproduced
  for (const Conversation& conversation : load_conversations()) {
    for (int round = 0; round < 20; ++round) {
      const std::string bytes = mutated(conversation.bytes, random);
      ASSERT_EQ(broken_promise(bytes, random() % 4 == 0, false), "") << escape(bytes);
    }
  }
}

}  // namespace
}  // namespace fastpool::h1::test
