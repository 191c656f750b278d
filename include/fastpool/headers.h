#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fastpool {

/// One header as it stands on the wire: name and value, case kept. Views: valid as long as what they look into.
struct Header {
  std::string_view name;
  std::string_view value;
};

/// Headers as they came: order, case and duplicates kept. One buffer and one index, however many headers.
/// Not thread-safe for writing; views from operator[] last until the next add() or clear().
class HeaderList {
 public:
  void add(std::string_view name, std::string_view value);
  void clear() noexcept;
  /// Makes room for so many headers, of so many bytes together.
  void reserve(std::size_t headers, std::size_t bytes);
  [[nodiscard]] std::size_t size() const noexcept { return entries_.size(); }
  [[nodiscard]] bool empty() const noexcept { return entries_.empty(); }
  [[nodiscard]] Header operator[](std::size_t index) const noexcept;
  /// The first value of that name, compared without case; empty if there is none.
  [[nodiscard]] std::string_view find(std::string_view name) const noexcept;
  /// Bytes held by names and values together.
  [[nodiscard]] std::size_t byte_size() const noexcept { return bytes_.size(); }

 private:
  struct Entry {
    std::uint32_t offset = 0;
    std::uint32_t name_size = 0;
    std::uint32_t value_size = 0;
  };
  std::string bytes_;
  std::vector<Entry> entries_;
};

/// ASCII comparison without case, as header names compare (RFC 9110 section 5.1).
[[nodiscard]] bool equals_ignoring_case(std::string_view left, std::string_view right) noexcept;

}  // namespace fastpool
