#include <fastpool/headers.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <ranges>
#include <string>
#include <string_view>
#include <vector>

namespace fastpool {
namespace {

TEST(AHeaderList, KeepsOrderCaseAndDuplicates) {
  HeaderList headers;
  headers.add("Set-Cookie", "a=1");
  headers.add("X-Empty", "");
  headers.add("set-cookie", "b=2");
  ASSERT_EQ(headers.size(), 3U);
  EXPECT_EQ(headers[0].name, "Set-Cookie");
  EXPECT_EQ(headers[0].value, "a=1");
  EXPECT_EQ(headers[1].name, "X-Empty");
  EXPECT_EQ(headers[1].value, "");
  EXPECT_EQ(headers[2].name, "set-cookie");
  EXPECT_EQ(headers[2].value, "b=2");
}

TEST(AHeaderList, FindsTheFirstValueWithoutCase) {
  HeaderList headers;
  headers.add("Accept", "one");
  headers.add("ACCEPT", "two");
  EXPECT_EQ(headers.find("accept"), "one");
  EXPECT_EQ(headers.find("accep"), "");
  EXPECT_EQ(headers.find(""), "");
}

TEST(AHeaderList, IsARangeOfHeaders) {
  static_assert(std::ranges::random_access_range<const HeaderList>);
  static_assert(std::ranges::sized_range<const HeaderList>);
  HeaderList headers;
  EXPECT_EQ(headers.begin(), headers.end());
  headers.add("A", "1");
  headers.add("B", "2");
  headers.add("C", "3");
  std::string text;
  for (const auto& [name, value] : headers)
    text.append(name).append(value);
  EXPECT_EQ(text, "A1B2C3");
  EXPECT_EQ(headers.begin()[2].value, "3");
  EXPECT_EQ((headers.end() - 1)[0].name, "C");
  EXPECT_EQ(headers.end() - headers.begin(), 3);
  EXPECT_TRUE(std::ranges::any_of(headers, [](const Header& header) { return header.name == "B"; }));
}

TEST(AHeaderList, TellsAnEmptyValueFromNone) {
  HeaderList headers;
  headers.add("X-Empty", "");
  EXPECT_EQ(headers.get("x-empty"), "");
  EXPECT_TRUE(headers.contains("X-EMPTY"));
  EXPECT_EQ(headers.get("x-other"), std::nullopt);
  EXPECT_FALSE(headers.contains("x-other"));
}

TEST(AHeaderList, GivesEveryValueOfAName) {
  static_assert(std::ranges::forward_range<HeaderList::Values>);
  HeaderList headers;
  headers.add("Set-Cookie", "a=1");
  headers.add("Date", "today");
  headers.add("set-cookie", "b=2");
  std::vector<std::string_view> cookies;
  for (const std::string_view cookie : headers.all("SET-COOKIE"))
    cookies.push_back(cookie);
  EXPECT_EQ(cookies, (std::vector<std::string_view>{"a=1", "b=2"}));
  EXPECT_TRUE(headers.all("x-other").empty());
}

TEST(AHeaderList, IsEmptyAfterClearAndCanBeFilledAgain) {
  HeaderList headers;
  EXPECT_TRUE(headers.empty());
  headers.add("Name", "value");
  EXPECT_EQ(headers.byte_size(), 9U);
  headers.clear();
  EXPECT_TRUE(headers.empty());
  EXPECT_EQ(headers.byte_size(), 0U);
  EXPECT_EQ(headers.find("Name"), "");
  headers.add("Other", "x");
  EXPECT_EQ(headers[0].name, "Other");
}

TEST(AHeaderList, HoldsManyHeaders) {
  HeaderList headers;
  for (int index = 0; index < 1000; ++index)
    headers.add("N" + std::to_string(index), std::to_string(index));
  EXPECT_EQ(headers.size(), 1000U);
  EXPECT_EQ(headers.find("n999"), "999");
  EXPECT_EQ(headers[500].name, "N500");
}

// The comparison looks at several bytes at once: every size up to three words, every byte, at every position.
TEST(HeaderNames, DifferInOneByteOnlyWhereThatIsALetterOfTheOtherCase) {
  for (std::size_t size = 0; size <= 24; ++size) {
    const std::string zeros(size, '\0');
    EXPECT_TRUE(equals_ignoring_case(zeros, zeros)) << size;
    for (std::size_t position = 0; position < size; ++position) {
      for (int code = 0; code < 256; ++code) {
        std::string one = zeros;
        std::string other = zeros;
        one[position] = static_cast<char>(code);
        other[position] = static_cast<char>(code ^ 0x20);
        const int lower = code | 0x20;
        const bool letter = lower >= 'a' && lower <= 'z';
        ASSERT_EQ(equals_ignoring_case(one, other), letter) << size << " bytes, byte " << code << " at " << position;
        ASSERT_EQ(equals_ignoring_case(one, zeros), code == 0) << size << " bytes, byte " << code << " at " << position;
        ASSERT_TRUE(equals_ignoring_case(one, one)) << size << " bytes, byte " << code << " at " << position;
      }
    }
  }
}

TEST(HeaderNames, CompareAsAsciiWithoutCase) {
  EXPECT_TRUE(equals_ignoring_case("Content-Length", "cONTENT-lENGTH"));
  EXPECT_TRUE(equals_ignoring_case("", ""));
  EXPECT_FALSE(equals_ignoring_case("a", "ab"));
  EXPECT_FALSE(equals_ignoring_case("[", "{"));        // differ in the bit that distinguishes the case of letters
  EXPECT_FALSE(equals_ignoring_case("\xc4", "\xe4"));  // no case outside ASCII
}

}  // namespace
}  // namespace fastpool
