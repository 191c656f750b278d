#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fastpool/export.h>

namespace fastpool::inline v1 {

/// One header as it stands on the wire: name and value, case kept. Views: valid as long as what they look into.
struct Header {
  std::string_view name{};
  std::string_view value{};
};

/// Headers as they came: order, case and duplicates kept. One buffer and one index, however many headers.
///
///     for (const fastpool::Header& header : response.headers) ...
///     if (const auto type = response.headers.get("content-type")) ...
///     for (const std::string_view cookie : response.headers.all("set-cookie")) ...
///
/// Not thread-safe for writing; views and iterators last until the next add() or clear().
class FASTPOOL_EXPORT HeaderList {
 public:
  class Iterator;
  class Values;

  void add(std::string_view name, std::string_view value);
  void clear() noexcept;
  /// Makes room for so many headers, of so many bytes together.
  void reserve(std::size_t headers, std::size_t bytes);
  [[nodiscard]] std::size_t size() const noexcept { return entries_.size(); }
  [[nodiscard]] bool empty() const noexcept { return entries_.empty(); }
  [[nodiscard]] Header operator[](std::size_t index) const noexcept;
  [[nodiscard]] Iterator begin() const noexcept;
  [[nodiscard]] Iterator end() const noexcept;
  /// The first value of that name, compared without case.
  [[nodiscard]] std::optional<std::string_view> get(std::string_view name) const noexcept;
  /// The same; empty if there is none.
  [[nodiscard]] std::string_view find(std::string_view name) const noexcept;
  [[nodiscard]] bool contains(std::string_view name) const noexcept { return get(name).has_value(); }
  /// Every value of that name, in order, as a range of std::string_view. \param name lasts as long as the range.
  [[nodiscard]] Values all(std::string_view name) const noexcept;
  /// Bytes held by names and values together.
  [[nodiscard]] std::size_t byte_size() const noexcept { return bytes_.size(); }

 private:
  struct Entry {
    std::uint32_t offset = 0;
    std::uint32_t name_size = 0;
    std::uint32_t value_size = 0;
  };
  /// The first header from `index` on that has this name; size() if none has.
  [[nodiscard]] std::size_t next_of(std::string_view name, std::size_t index) const noexcept;

  std::string bytes_;
  std::vector<Entry> entries_;
};

/// Random access to a list's headers, each made when it is asked for.
class HeaderList::Iterator {
 public:
  using iterator_concept = std::random_access_iterator_tag;
  using iterator_category = std::input_iterator_tag;
  using value_type = Header;
  using difference_type = std::ptrdiff_t;
  using reference = Header;
  using pointer = void;

  Iterator() = default;
  Iterator(const HeaderList& list, std::size_t index) noexcept : list_(&list), index_(index) {}

  Header operator*() const noexcept { return (*list_)[index_]; }
  Header operator[](difference_type distance) const noexcept { return *(*this + distance); }
  Iterator& operator++() noexcept { return *this += 1; }
  Iterator operator++(int) noexcept { return std::exchange(*this, *this + 1); }
  Iterator& operator--() noexcept { return *this -= 1; }
  Iterator operator--(int) noexcept { return std::exchange(*this, *this - 1); }
  Iterator& operator+=(difference_type distance) noexcept {
    index_ += static_cast<std::size_t>(distance);
    return *this;
  }
  Iterator& operator-=(difference_type distance) noexcept { return *this += -distance; }
  friend Iterator operator+(Iterator from, difference_type distance) noexcept { return from += distance; }
  friend Iterator operator+(difference_type distance, Iterator from) noexcept { return from += distance; }
  friend Iterator operator-(Iterator from, difference_type distance) noexcept { return from -= distance; }
  friend difference_type operator-(const Iterator& left, const Iterator& right) noexcept {
    return static_cast<difference_type>(left.index_) - static_cast<difference_type>(right.index_);
  }
  friend bool operator==(const Iterator& left, const Iterator& right) noexcept { return left.index_ == right.index_; }
  friend auto operator<=>(const Iterator& left, const Iterator& right) noexcept { return left.index_ <=> right.index_; }

 private:
  const HeaderList* list_ = nullptr;
  std::size_t index_ = 0;
};

/// The values of one name: a forward range.
class HeaderList::Values {
 public:
  class Iterator {
   public:
    using iterator_concept = std::forward_iterator_tag;
    using iterator_category = std::input_iterator_tag;
    using value_type = std::string_view;
    using difference_type = std::ptrdiff_t;
    using reference = std::string_view;
    using pointer = void;

    Iterator() = default;
    std::string_view operator*() const noexcept { return (*list_)[index_].value; }
    Iterator& operator++() noexcept {
      index_ = list_->next_of(name_, index_ + 1);
      return *this;
    }
    Iterator operator++(int) noexcept {
      const Iterator before = *this;
      ++*this;
      return before;
    }
    friend bool operator==(const Iterator& left, const Iterator& right) noexcept { return left.index_ == right.index_; }

   private:
    friend class Values;
    Iterator(const HeaderList& list, std::string_view name, std::size_t index) noexcept
        : list_(&list), name_(name), index_(index) {}

    const HeaderList* list_ = nullptr;
    std::string_view name_;
    std::size_t index_ = 0;
  };

  Values(const HeaderList& list, std::string_view name) noexcept : list_(&list), name_(name) {}
  [[nodiscard]] Iterator begin() const noexcept { return {*list_, name_, list_->next_of(name_, 0)}; }
  [[nodiscard]] Iterator end() const noexcept { return {*list_, name_, list_->size()}; }
  [[nodiscard]] bool empty() const noexcept { return begin() == end(); }

 private:
  const HeaderList* list_;
  std::string_view name_;
};

inline HeaderList::Iterator HeaderList::begin() const noexcept {
  return {*this, 0};
}
inline HeaderList::Iterator HeaderList::end() const noexcept {
  return {*this, size()};
}
inline HeaderList::Values HeaderList::all(std::string_view name) const noexcept {
  return {*this, name};
}

/// ASCII comparison without case, as header names compare (RFC 9110 section 5.1).
[[nodiscard]] FASTPOOL_EXPORT bool equals_ignoring_case(std::string_view left, std::string_view right) noexcept;

}  // namespace fastpool::inline v1
