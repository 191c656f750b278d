#include "h1/conversation.h"

#include <gtest/gtest.h>

#include <cctype>
#include <ostream>

namespace fastpool::h1::test {

/// framing.txt, "a body of known length" -> framing__a_body_of_known_length
std::string test_name(const Conversation& conversation) {
  std::string name = conversation.file + "__" + conversation.title;
  for (char& byte : name) {
    if (std::isalnum(static_cast<unsigned char>(byte)) == 0) byte = '_';
  }
  return name;
}

// Found by GoogleTest through the type's own namespace. Letters only: ctest puts it into the names of tests.
void PrintTo(const Conversation& conversation, std::ostream* stream) {
  *stream << test_name(conversation);
}

namespace {

class Conversations : public testing::TestWithParam<Conversation> {};

TEST_P(Conversations, GiveTheSameEventsHoweverTheirBytesAreCut) {
  const std::string_view bytes = GetParam().bytes;
  EXPECT_EQ(replay(GetParam(), {bytes}), GetParam().expected) << "in one piece";
  for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
    ASSERT_EQ(replay(GetParam(), {bytes.substr(0, cut), bytes.substr(cut)}), GetParam().expected) << "cut at " << cut;
  }
  std::vector<std::string_view> pieces;
  for (std::size_t index = 0; index < bytes.size(); ++index)
    pieces.push_back(bytes.substr(index, 1));
  EXPECT_EQ(replay(GetParam(), pieces), GetParam().expected) << "byte by byte";
}

INSTANTIATE_TEST_SUITE_P(Files, Conversations, testing::ValuesIn(load_conversations()),
                         [](const auto& test) { return test_name(test.param); });

TEST(ConversationFiles, AreFoundBesideTheTests) {
  EXPECT_GE(load_conversations().size(), 150U);
}

}  // namespace
}  // namespace fastpool::h1::test
