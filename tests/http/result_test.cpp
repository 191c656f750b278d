#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

#include <fastpool/error.h>
#include <fastpool/result.h>

#include <gtest/gtest.h>

namespace fastpool {
namespace {

Error refused() {
  return Error::make(ErrorCode::connect_failed, Phase::connect, "refused");
}

Result<int> half(int number) {
  if (number % 2 != 0) return Error::make(ErrorCode::invalid_argument, Phase::none, "odd");
  return number / 2;
}

Result<std::unique_ptr<int>> boxed(int number) {
  return std::make_unique<int>(number);
}

TEST(ResultOf, a_value_gives_the_value) {
  Result<std::string> result("text");
  EXPECT_TRUE(result.has_value());
  EXPECT_TRUE(result);
  EXPECT_EQ(*result, "text");
  EXPECT_EQ(result->size(), 4U);
  result->append("s");
  EXPECT_EQ(result.value(), "texts");
  EXPECT_EQ(std::move(result).value_or("other"), "texts");
}

TEST(ResultOf, an_error_gives_the_error) {
  const Result<std::string> result = refused();
  EXPECT_FALSE(result.has_value());
  EXPECT_EQ(result.error().code, ErrorCode::connect_failed);
  EXPECT_EQ(result.value_or("other"), "other");
  EXPECT_EQ(result.error_or(Error{}).code, ErrorCode::connect_failed);
}

TEST(ResultOf, a_value_is_moved_out_of_a_temporary) {
  const std::unique_ptr<int> box = *boxed(3);
  EXPECT_EQ(*box, 3);
  EXPECT_EQ(*boxed(4).value(), 4);
  EXPECT_EQ(*boxed(5).value_or(nullptr), 5);
  static_assert(std::is_same_v<decltype(*boxed(1)), std::unique_ptr<int>&&>);
}

TEST(ResultOf, steps_are_chained_until_the_first_error) {
  EXPECT_EQ(half(12).and_then(half).transform([](int number) { return std::to_string(number); }).value(), "3");
  const auto stopped = half(6).and_then(half).transform([](int) -> int {
    ADD_FAILURE();
    return 0;
  });
  EXPECT_EQ(stopped.error().detail, "odd");
  EXPECT_EQ(half(5).or_else([](const Error&) { return half(8); }).value(), 4);
  EXPECT_EQ(half(4).or_else([](const Error&) { return half(8); }).value(), 2);
  const auto renamed = half(5).transform_error([](Error error) {
    error.detail += "!";
    return error;
  });
  EXPECT_EQ(renamed.error().detail, "odd!");
  static_assert(std::is_same_v<decltype(half(2).transform([](int) {})), Result<void>>);
  EXPECT_TRUE(half(2).transform([](int) {}));
}

TEST(ResultOf, move_only_values_go_through_a_chain) {
  const auto doubled = boxed(4).transform([](std::unique_ptr<int> box) { return std::make_unique<int>(*box * 2); });
  EXPECT_EQ(**doubled, 8);
}

TEST(ResultOf, nothing_is_success_or_an_error) {
  Result<void> done;
  EXPECT_TRUE(done.has_value());
  *done;
  EXPECT_EQ(done.and_then([] { return half(2); }).value(), 1);
  EXPECT_EQ(done.transform([] { return 7; }).value(), 7);
  done = refused();
  EXPECT_FALSE(done);
  EXPECT_EQ(done.transform([] { return 7; }).error().code, ErrorCode::connect_failed);
  EXPECT_TRUE(done.or_else([](const Error&) { return Result<void>(); }));
  done.emplace();
  EXPECT_TRUE(done);
}

TEST(ResultOf, a_value_is_constructed_in_place) {
  Result<std::string> result(std::in_place, std::size_t{3}, 'x');
  EXPECT_EQ(*result, "xxx");
  EXPECT_EQ(result.emplace("new"), "new");
}

TEST(ResultOf, what_converts_to_the_value_converts) {
  const Result<std::string> from_text = "text";
  EXPECT_EQ(*from_text, "text");
  static_assert(std::is_convertible_v<const char*, Result<std::string>>);
  static_assert(!std::is_convertible_v<int, Result<std::string>>);
  static_assert(!std::is_constructible_v<Result<std::unique_ptr<int>>, int>);
  static_assert(std::is_constructible_v<Result<std::unique_ptr<int>>, int*>);
  static_assert(!std::is_convertible_v<int*, Result<std::unique_ptr<int>>>);
}

TEST(ResultOf, assignment_replaces_a_value_and_an_error_by_each_other) {
  const auto alive = std::make_shared<int>(1);
  Result<std::shared_ptr<int>> result = alive;
  const Result<std::shared_ptr<int>> value = alive;
  const Result<std::shared_ptr<int>> error = refused();
  EXPECT_EQ(alive.use_count(), 3);
  result = error;
  EXPECT_EQ(result.error().detail, "refused");
  EXPECT_EQ(alive.use_count(), 2);
  result = value;
  EXPECT_EQ(*result, alive);
  EXPECT_EQ(alive.use_count(), 3);
  result = Result<std::shared_ptr<int>>(refused());
  EXPECT_EQ(alive.use_count(), 2);
  result = Result<std::shared_ptr<int>>(alive);
  result = value;
  EXPECT_EQ(alive.use_count(), 3);
  const auto& itself = result;
  result = itself;
  EXPECT_EQ(*result, alive);
  result = error;
  result = Error::make(ErrorCode::forked, Phase::none, "another");
  EXPECT_EQ(result.error().detail, "another");
  const auto copy = value;  // NOLINT(performance-unnecessary-copy-initialization)
  EXPECT_EQ(alive.use_count(), 3);
}

// Throws when it is copied, and when it is made from a number below zero.
struct Fragile {
  explicit Fragile(int made_from) : number(made_from) {
    if (made_from < 0) throw std::runtime_error("below zero");
  }
  Fragile(const Fragile& other) : number(other.number) { throw std::runtime_error("a copy"); }
  Fragile(Fragile&&) noexcept = default;
  Fragile& operator=(const Fragile&) = default;
  Fragile& operator=(Fragile&&) noexcept = default;
  ~Fragile() = default;
  int number;
};

TEST(ResultOf, a_value_that_cannot_be_copied_leaves_the_error_that_was_held) {
  const Result<Fragile> value(std::in_place, 3);
  Result<Fragile> result = refused();
  EXPECT_THROW(result = value, std::runtime_error);
  EXPECT_EQ(result.error().detail, "refused");
}

TEST(ResultOf, a_value_that_cannot_be_constructed_in_place_leaves_an_error) {
  Result<Fragile> result(std::in_place, 3);
  EXPECT_THROW(result.emplace(-1), std::runtime_error);
  EXPECT_EQ(result.error().code, ErrorCode::out_of_memory);
  EXPECT_EQ(result.emplace(4).number, 4);
}

TEST(ResultOf, a_result_copies_and_moves_as_its_value_does) {
  static_assert(!std::is_copy_constructible_v<Result<std::unique_ptr<int>>>);
  static_assert(!std::is_copy_assignable_v<Result<std::unique_ptr<int>>>);
  static_assert(std::is_nothrow_move_constructible_v<Result<std::unique_ptr<int>>>);
  static_assert(std::is_nothrow_move_assignable_v<Result<std::string>>);
  static_assert(std::is_copy_constructible_v<Result<const int>> && !std::is_copy_assignable_v<Result<const int>>);
  static_assert(std::is_nothrow_move_constructible_v<Result<void>> && std::is_copy_assignable_v<Result<void>>);
}

TEST(ResultOf, the_layout_is_a_union_and_a_flag) {
  struct Expected {
    union {
      int value;
      unsigned char error[sizeof(Error)];
    };
    alignas(alignof(Error)) bool has_value;
  };
  static_assert(sizeof(Result<int>) == sizeof(Expected));
  static_assert(sizeof(Result<void>) == sizeof(Expected));
}

TEST(ResultOfDeathTest, a_misuse_names_the_error_and_aborts) {
  const Result<int> failed = refused();
  EXPECT_DEATH((void)*failed, "connect_failed: refused");
  EXPECT_DEATH(Result<void>(refused()).value(), "connect_failed: refused");
  const Result<int> number = 3;
  EXPECT_DEATH((void)number.error(), "holds a value");
  EXPECT_DEATH((void)Result<void>().error(), "holds a value");
}

TEST(ErrorCodes, become_std_error_codes) {
  for (std::size_t index = 0; index < error_code_count; ++index) {
    const std::error_code code = static_cast<ErrorCode>(index);
    EXPECT_TRUE(code) << index;
    EXPECT_EQ(code.message(), to_string(static_cast<ErrorCode>(index)));
    EXPECT_STREQ(code.category().name(), "fastpool");
  }
  EXPECT_EQ(refused().error_code(), ErrorCode::connect_failed);
  EXPECT_NE(refused().error_code(), ErrorCode::read_failed);
}

TEST(ErrorCodes, compare_with_the_standards_conditions) {
  EXPECT_EQ(make_error_code(ErrorCode::read_timeout), std::errc::timed_out);
  EXPECT_EQ(make_error_code(ErrorCode::pool_timeout), std::errc::timed_out);
  EXPECT_EQ(make_error_code(ErrorCode::interrupted), std::errc::interrupted);
  EXPECT_EQ(make_error_code(ErrorCode::out_of_memory), std::errc::not_enough_memory);
  EXPECT_NE(make_error_code(ErrorCode::read_failed), std::errc::timed_out);
}

#ifdef __cpp_lib_expected

TEST(ResultOf, std_expected_converts_to_and_from_it) {
  const std::expected<int, Error> number = half(8);
  EXPECT_EQ(*number, 4);
  const Result<int> back = number;
  EXPECT_EQ(*back, 4);
  const std::expected<int, Error> odd = half(3);
  EXPECT_EQ(odd.error().detail, "odd");
  EXPECT_EQ(Result<int>(odd).error().detail, "odd");
  const std::expected<void, Error> done = Result<void>();
  EXPECT_TRUE(done.has_value());
  EXPECT_EQ(Result<void>(std::expected<void, Error>(std::unexpected(refused()))).error().detail, "refused");
}

#endif

}  // namespace
}  // namespace fastpool
