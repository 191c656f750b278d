#pragma once

#include <memory>
#include <type_traits>
#include <utility>

#include <fastpool/error.h>

namespace fastpool::inline v1::detail {

/// What a Result<T> holds: a value or an Error, and which of them. The layout is a union and a flag of this library, so it
/// does not depend on the language mode or on a template of the standard library.
///
/// Never empty: if a value's constructor throws while it replaces what was held, the state holds an Error instead.
template <typename T>
class ResultState {
  using Value = std::remove_cv_t<T>;

 public:
  template <typename... Arguments>
  explicit ResultState(std::in_place_t, Arguments&&... arguments)
      : value_(std::forward<Arguments>(arguments)...), has_value_(true) {}
  explicit ResultState(Error error) noexcept : error_(std::move(error)), has_value_(false) {}

  ResultState(const ResultState& other)
    requires std::is_copy_constructible_v<T>
      : has_value_(other.has_value_) {
    construct(other);
  }
  ResultState(ResultState&& other) noexcept(std::is_nothrow_move_constructible_v<T>)
    requires std::is_move_constructible_v<T>
      : has_value_(other.has_value_) {
    construct(std::move(other));
  }
  ResultState& operator=(const ResultState& other)
    requires(std::is_copy_constructible_v<T> && std::is_copy_assignable_v<T>)
  {
    if (this == &other) return *this;
    if (has_value_ && other.has_value_) {
      value_ = other.value_;
    } else {
      *this = ResultState(other);  // a copy that throws leaves this as it was
    }
    return *this;
  }
  ResultState& operator=(ResultState&& other) noexcept(std::is_nothrow_move_constructible_v<T> &&
                                                       std::is_nothrow_move_assignable_v<T>)
    requires(std::is_move_constructible_v<T> && std::is_move_assignable_v<T>)
  {
    if (this == &other) return *this;
    if (has_value_ && other.has_value_) {
      value_ = std::move(other.value_);
    } else if (other.has_value_) {
      emplace(std::move(other.value_));
    } else if (has_value_) {
      replace_value(std::move(other.error_));
    } else {
      error_ = std::move(other.error_);
    }
    return *this;
  }
  ~ResultState() { destroy(); }

  [[nodiscard]] bool has_value() const noexcept { return has_value_; }
  /// The value; null if this holds an error.
  [[nodiscard]] T* value() noexcept { return has_value_ ? std::addressof(value_) : nullptr; }
  /// The error; null if this holds a value.
  [[nodiscard]] Error* error() noexcept { return has_value_ ? nullptr : &error_; }

  template <typename... Arguments>
  void emplace(Arguments&&... arguments) {
    destroy();
    if constexpr (std::is_nothrow_constructible_v<Value, Arguments...>) {
      std::construct_at(std::addressof(value_), std::forward<Arguments>(arguments)...);
      has_value_ = true;
    } else {
      // No `try`: the header compiles without exceptions.
      struct Refill {
        ResultState* state;
        ~Refill() {
          if (state != nullptr) state->fill(Error::make(ErrorCode::out_of_memory, Phase::none, {}));
        }
      } refill{this};
      std::construct_at(std::addressof(value_), std::forward<Arguments>(arguments)...);
      has_value_ = true;
      refill.state = nullptr;
    }
  }

 private:
  template <typename Other>
  void construct(Other&& other) {
    if (has_value_) {
      std::construct_at(std::addressof(value_), std::forward<Other>(other).value_);
    } else {
      std::construct_at(&error_, std::forward<Other>(other).error_);
    }
  }
  void destroy() noexcept {
    if (has_value_) {
      std::destroy_at(std::addressof(value_));
    } else {
      std::destroy_at(&error_);
    }
  }
  void fill(Error error) noexcept {
    std::construct_at(&error_, std::move(error));
    has_value_ = false;
  }
  void replace_value(Error error) noexcept {
    std::destroy_at(std::addressof(value_));
    fill(std::move(error));
  }

  union {
    Value value_;
    Error error_;
  };
  bool has_value_;
};

/// The value of a Result<void>.
struct NoValue {};

}  // namespace fastpool::inline v1::detail
