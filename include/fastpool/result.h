#pragma once

/// \file
/// Result<T>: a value or an Error, with the interface of C++23's std::expected<T, Error>.

#include <concepts>
#include <functional>
#include <type_traits>
#include <utility>
#include <version>

#include <fastpool/detail/result_state.h>
#include <fastpool/error.h>
#include <fastpool/export.h>

#ifdef __cpp_lib_expected
#include <expected>
#endif

namespace fastpool::inline v1 {

template <typename T>
class Result;

namespace detail {

/// Prints what was misused and aborts. \param error what the Result holds; null: a value.
[[noreturn]] FASTPOOL_EXPORT void abort_on_misused_result(const Error* error) noexcept;

template <typename T>
inline constexpr bool is_result = false;
template <typename T>
inline constexpr bool is_result<Result<T>> = true;

#ifdef __cpp_lib_expected
template <typename T>
inline constexpr bool is_expected = false;
template <typename T>
inline constexpr bool is_expected<std::expected<T, Error>> = true;
#else
template <typename T>
inline constexpr bool is_expected = false;
#endif

/// What can become the value of a Result<T> without being one already.
template <typename U, typename T>
concept ValueFor =
    std::constructible_from<T, U> && !is_result<std::remove_cvref_t<U>> && !is_expected<std::remove_cvref_t<U>> &&
    !std::same_as<std::remove_cvref_t<U>, Error> && !std::same_as<std::remove_cvref_t<U>, std::in_place_t>;

}  // namespace detail

/// A value or an Error. A type of its own in every language mode, so that a library built as C++20 and a program built as
/// C++23 agree on its layout; where the standard library has std::expected it converts to and from it.
///
/// It differs from std::expected in one point: nothing throws. To take the value of an error, or the error of a value, prints
/// which error it is and aborts.
///
///     fastpool::Result<fastpool::Response> response = client.send(request);
///     if (!response) return std::move(response).error();
///     use(response->body);
///
/// Not thread-safe, like any value.
template <typename T>
class [[nodiscard]] Result {
  static_assert(std::is_object_v<T> && !std::is_array_v<T> && !std::same_as<std::remove_cv_t<T>, Error>,
                "Result<T> holds an object other than an Error");

 public:
  using value_type = T;
  using error_type = Error;

  Result()
    requires std::default_initializable<T>
      : state_(std::in_place) {}
  template <detail::ValueFor<T> U = T>
  explicit(!std::convertible_to<U, T>) Result(U&& value)  // NOLINT(google-explicit-constructor,bugprone-forwarding-*)
      : state_(std::in_place, std::forward<U>(value)) {}
  Result(Error error) noexcept : state_(std::move(error)) {}  // NOLINT(google-explicit-constructor)
  template <typename... Arguments>
    requires std::constructible_from<T, Arguments...>
  explicit Result(std::in_place_t, Arguments&&... arguments)
      : state_(std::in_place, std::forward<Arguments>(arguments)...) {}

  [[nodiscard]] bool has_value() const noexcept { return state_.has_value(); }
  /// The same.
  [[nodiscard]] bool ok() const noexcept { return has_value(); }
  explicit operator bool() const noexcept { return has_value(); }

  /// The value. Aborts if this is an error.
  [[nodiscard]] T& value() & noexcept { return *checked_value(); }
  [[nodiscard]] const T& value() const& noexcept { return *checked_value(); }
  [[nodiscard]] T&& value() && noexcept { return std::move(*checked_value()); }
  [[nodiscard]] const T&& value() const&& noexcept { return std::move(*checked_value()); }
  [[nodiscard]] T& operator*() & noexcept { return value(); }
  [[nodiscard]] const T& operator*() const& noexcept { return value(); }
  [[nodiscard]] T&& operator*() && noexcept { return std::move(*this).value(); }
  [[nodiscard]] const T&& operator*() const&& noexcept { return std::move(*this).value(); }
  [[nodiscard]] T* operator->() noexcept { return checked_value(); }
  [[nodiscard]] const T* operator->() const noexcept { return checked_value(); }

  /// The error. Aborts if this is a value.
  [[nodiscard]] Error& error() & noexcept { return *checked_error(); }
  [[nodiscard]] const Error& error() const& noexcept { return *checked_error(); }
  [[nodiscard]] Error&& error() && noexcept { return std::move(*checked_error()); }
  [[nodiscard]] const Error&& error() const&& noexcept { return std::move(*checked_error()); }

  /// The value, or what is given in its place.
  template <typename U = std::remove_cv_t<T>>
  [[nodiscard]] T value_or(U&& other) const& {
    return has_value() ? **this : static_cast<T>(std::forward<U>(other));
  }
  template <typename U = std::remove_cv_t<T>>
  [[nodiscard]] T value_or(U&& other) && {
    return has_value() ? *std::move(*this) : static_cast<T>(std::forward<U>(other));
  }
  /// The error, or what is given in its place.
  [[nodiscard]] Error error_or(Error other) const& { return has_value() ? std::move(other) : error(); }
  [[nodiscard]] Error error_or(Error other) && { return has_value() ? std::move(other) : std::move(*this).error(); }

  /// `next(value)`, which returns a Result of any type; an error is passed on.
  template <typename Next>
  auto and_then(Next&& next) & {
    return and_then_of(*this, std::forward<Next>(next));
  }
  template <typename Next>
  auto and_then(Next&& next) const& {
    return and_then_of(*this, std::forward<Next>(next));
  }
  template <typename Next>
  auto and_then(Next&& next) && {
    return and_then_of(std::move(*this), std::forward<Next>(next));
  }
  /// A Result of what `next(value)` returns, void too; an error is passed on.
  template <typename Next>
  auto transform(Next&& next) & {
    return transform_of(*this, std::forward<Next>(next));
  }
  template <typename Next>
  auto transform(Next&& next) const& {
    return transform_of(*this, std::forward<Next>(next));
  }
  template <typename Next>
  auto transform(Next&& next) && {
    return transform_of(std::move(*this), std::forward<Next>(next));
  }
  /// `next(error)`, which returns a Result<T>; a value is passed on.
  template <typename Next>
  Result or_else(Next&& next) const& {
    return has_value() ? *this : std::invoke(std::forward<Next>(next), error());
  }
  template <typename Next>
  Result or_else(Next&& next) && {
    return has_value() ? std::move(*this) : std::invoke(std::forward<Next>(next), std::move(*this).error());
  }
  /// The value, or the Error that `next(error)` returns.
  template <typename Next>
  Result transform_error(Next&& next) const& {
    return has_value() ? *this : Result(std::invoke(std::forward<Next>(next), error()));
  }
  template <typename Next>
  Result transform_error(Next&& next) && {
    return has_value() ? std::move(*this) : Result(std::invoke(std::forward<Next>(next), std::move(*this).error()));
  }

  /// Replaces what this holds by a new value.
  template <typename... Arguments>
    requires std::constructible_from<T, Arguments...>
  T& emplace(Arguments&&... arguments) {
    state_.emplace(std::forward<Arguments>(arguments)...);
    return **this;
  }

#ifdef __cpp_lib_expected
  Result(std::expected<T, Error> other)  // NOLINT(google-explicit-constructor)
      : state_(other ? State(std::in_place, *std::move(other)) : State(std::move(other).error())) {}
  operator std::expected<T, Error>() const& {  // NOLINT(google-explicit-constructor)
    if (has_value()) return **this;
    return std::unexpected(error());
  }
  operator std::expected<T, Error>() && {  // NOLINT(google-explicit-constructor)
    if (has_value()) return *std::move(*this);
    return std::unexpected(std::move(*this).error());
  }
#endif

 private:
  using State = detail::ResultState<T>;

  template <typename Self, typename Next>
  static auto and_then_of(Self&& self, Next&& next) {
    using Outcome = std::remove_cvref_t<std::invoke_result_t<Next, decltype(*std::forward<Self>(self))>>;
    static_assert(detail::is_result<Outcome>, "what and_then() calls returns a Result");
    if (!self.has_value()) return Outcome(std::forward<Self>(self).error());
    return Outcome(std::invoke(std::forward<Next>(next), *std::forward<Self>(self)));
  }
  template <typename Self, typename Next>
  static auto transform_of(Self&& self, Next&& next) {
    using Value = std::remove_cv_t<std::invoke_result_t<Next, decltype(*std::forward<Self>(self))>>;
    if (!self.has_value()) return Result<Value>(std::forward<Self>(self).error());
    if constexpr (std::is_void_v<Value>) {
      std::invoke(std::forward<Next>(next), *std::forward<Self>(self));
      return Result<Value>();
    } else {
      return Result<Value>(std::in_place, std::invoke(std::forward<Next>(next), *std::forward<Self>(self)));
    }
  }

  [[nodiscard]] T* checked_value() noexcept {
    T* const value = state_.value();
    if (value == nullptr) [[unlikely]]
      detail::abort_on_misused_result(state_.error());
    return value;
  }
  [[nodiscard]] const T* checked_value() const noexcept { return const_cast<Result*>(this)->checked_value(); }
  [[nodiscard]] Error* checked_error() noexcept {
    Error* const error = state_.error();
    if (error == nullptr) [[unlikely]]
      detail::abort_on_misused_result(nullptr);
    return error;
  }
  [[nodiscard]] const Error* checked_error() const noexcept { return const_cast<Result*>(this)->checked_error(); }

  State state_;
};

/// Success without a value, or an Error.
template <>
class [[nodiscard]] Result<void> {
 public:
  using value_type = void;
  using error_type = Error;

  Result() noexcept : state_(std::in_place) {}
  Result(Error error) noexcept : state_(std::move(error)) {}  // NOLINT(google-explicit-constructor)
  explicit Result(std::in_place_t) noexcept : Result() {}

  [[nodiscard]] bool has_value() const noexcept { return state_.has_value(); }
  /// The same.
  [[nodiscard]] bool ok() const noexcept { return has_value(); }
  explicit operator bool() const noexcept { return has_value(); }
  /// Aborts if this is an error.
  void value() const noexcept {
    if (!has_value()) [[unlikely]]
      detail::abort_on_misused_result(checked_error());
  }
  void operator*() const noexcept { value(); }

  /// The error. Aborts if this is success.
  [[nodiscard]] Error& error() & noexcept { return *checked_error(); }
  [[nodiscard]] const Error& error() const& noexcept { return *checked_error(); }
  [[nodiscard]] Error&& error() && noexcept { return std::move(*checked_error()); }
  [[nodiscard]] const Error&& error() const&& noexcept { return std::move(*checked_error()); }
  [[nodiscard]] Error error_or(Error other) const& { return has_value() ? std::move(other) : error(); }
  [[nodiscard]] Error error_or(Error other) && { return has_value() ? std::move(other) : std::move(*this).error(); }

  /// `next()`, which returns a Result of any type; an error is passed on.
  template <typename Next>
  auto and_then(Next&& next) const& {
    return and_then_of(*this, std::forward<Next>(next));
  }
  template <typename Next>
  auto and_then(Next&& next) && {
    return and_then_of(std::move(*this), std::forward<Next>(next));
  }
  /// A Result of what `next()` returns, void too; an error is passed on.
  template <typename Next>
  auto transform(Next&& next) const {
    using Value = std::remove_cv_t<std::invoke_result_t<Next>>;
    if (!has_value()) return Result<Value>(error());
    if constexpr (std::is_void_v<Value>) {
      std::invoke(std::forward<Next>(next));
      return Result<Value>();
    } else {
      return Result<Value>(std::in_place, std::invoke(std::forward<Next>(next)));
    }
  }
  /// `next(error)`, which returns a Result<void>; success is passed on.
  template <typename Next>
  Result or_else(Next&& next) const& {
    return has_value() ? Result() : std::invoke(std::forward<Next>(next), error());
  }
  template <typename Next>
  Result or_else(Next&& next) && {
    return has_value() ? Result() : std::invoke(std::forward<Next>(next), std::move(*this).error());
  }
  /// Success, or the Error that `next(error)` returns.
  template <typename Next>
  Result transform_error(Next&& next) const& {
    return has_value() ? Result() : Result(std::invoke(std::forward<Next>(next), error()));
  }

  /// Makes this success.
  void emplace() noexcept { state_.emplace(); }

#ifdef __cpp_lib_expected
  Result(std::expected<void, Error> other)  // NOLINT(google-explicit-constructor)
      : state_(other ? State(std::in_place) : State(std::move(other).error())) {}
  operator std::expected<void, Error>() const& {  // NOLINT(google-explicit-constructor)
    if (has_value()) return {};
    return std::unexpected(error());
  }
  operator std::expected<void, Error>() && {  // NOLINT(google-explicit-constructor)
    if (has_value()) return {};
    return std::unexpected(std::move(*this).error());
  }
#endif

 private:
  using State = detail::ResultState<detail::NoValue>;

  template <typename Self, typename Next>
  static auto and_then_of(Self&& self, Next&& next) {
    using Outcome = std::remove_cvref_t<std::invoke_result_t<Next>>;
    static_assert(detail::is_result<Outcome>, "what and_then() calls returns a Result");
    if (!self.has_value()) return Outcome(std::forward<Self>(self).error());
    return Outcome(std::invoke(std::forward<Next>(next)));
  }

  [[nodiscard]] Error* checked_error() noexcept {
    Error* const error = state_.error();
    if (error == nullptr) [[unlikely]]
      detail::abort_on_misused_result(nullptr);
    return error;
  }
  [[nodiscard]] const Error* checked_error() const noexcept { return const_cast<Result*>(this)->checked_error(); }

  State state_;
};

}  // namespace fastpool::inline v1
