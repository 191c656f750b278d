#include <fastpool/error.h>
#include <fastpool/result.h>

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <set>
#include <string>

namespace fastpool {
namespace {

TEST(EveryErrorCode, HasANameOfItsOwn) {
  std::set<std::string_view> names;
  constexpr auto last = static_cast<std::uint8_t>(error_code_count - 1);
  for (std::uint8_t code = 0; code <= last; ++code)
    names.insert(to_string(static_cast<ErrorCode>(code)));
  EXPECT_EQ(names.size(), last + 1U);
  EXPECT_FALSE(names.contains("unknown"));
  EXPECT_EQ(to_string(ErrorCode::remote_protocol), "remote_protocol");
}

TEST(EveryPhase, HasANameOfItsOwn) {
  std::set<std::string_view> names;
  constexpr auto last = static_cast<std::uint8_t>(Phase::read_body);
  for (std::uint8_t phase = 0; phase <= last; ++phase)
    names.insert(to_string(static_cast<Phase>(phase)));
  EXPECT_EQ(names.size(), last + 1U);
  EXPECT_FALSE(names.contains("unknown"));
  EXPECT_EQ(to_string(Phase::tls_handshake), "tls_handshake");
}

TEST(AnError, CarriesWhatItWasMadeWith) {
  const Error error = Error::make(ErrorCode::write_failed, Phase::write, "broken pipe", 32);
  EXPECT_EQ(error.code, ErrorCode::write_failed);
  EXPECT_EQ(error.phase, Phase::write);
  EXPECT_EQ(error.detail, "broken pipe");
  EXPECT_EQ(error.os_error, 32);
  EXPECT_EQ(error.bytes_sent, 0U);
  EXPECT_FALSE(error.final);
}

TEST(AResult, HoldsAValueOrAnError) {
  const Result<int> seven = 7;
  ASSERT_TRUE(seven.ok());
  EXPECT_EQ(seven.value(), 7);
  const Result<int> failed = Error::make(ErrorCode::pool_closed, Phase::acquire, "closed");
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().detail, "closed");
}

TEST(AResult, GivesAwayAValueThatCannotBeCopied) {
  Result<std::unique_ptr<int>> result = std::make_unique<int>(3);
  const std::unique_ptr<int> value = std::move(result).value();
  EXPECT_EQ(*value, 3);
}

TEST(AResultOfNothing, IsSuccessUnlessGivenAnError) {
  const Result<void> success;
  EXPECT_TRUE(success.ok());
  const Result<void> failed = Error::make(ErrorCode::forked, Phase::none, "child");
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code, ErrorCode::forked);
}

}  // namespace
}  // namespace fastpool
