#pragma once

/// \file
/// The few lexical rules of HTTP/1.1 that the encoder and the parser share (RFC 9110 section 5.6). Pure functions.

#include <array>
#include <charconv>
#include <cstdint>
#include <optional>
#include <string_view>
#include <system_error>

namespace fastpool::h1 {

namespace detail {

constexpr std::array<bool, 256> make_token_table() noexcept {
  std::array<bool, 256> table{};
  for (unsigned char byte = '0'; byte <= '9'; ++byte)
    table[byte] = true;
  for (unsigned char byte = 'A'; byte <= 'Z'; ++byte)
    table[byte] = true;
  for (unsigned char byte = 'a'; byte <= 'z'; ++byte)
    table[byte] = true;
  for (const char byte : std::string_view("!#$%&'*+-.^_`|~"))
    table[static_cast<unsigned char>(byte)] = true;
  return table;
}

inline constexpr std::array<bool, 256> token_table = make_token_table();

}  // namespace detail

/// Whether `text` is a token: at least one byte, and each a letter, a digit or one of !#$%&'*+-.^_`|~
[[nodiscard]] constexpr bool is_token(std::string_view text) noexcept {
  for (const char byte : text) {
    if (!detail::token_table[static_cast<unsigned char>(byte)]) return false;
  }
  return !text.empty();
}

/// `text` without the spaces and tabs around it.
[[nodiscard]] constexpr std::string_view trim(std::string_view text) noexcept {
  // find_first_not_of() calls memchr() for each byte.
  const auto is_blank = [](char byte) { return byte == ' ' || byte == '\t'; };
  while (!text.empty() && is_blank(text.front()))
    text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back()))
    text.remove_suffix(1);
  return text;
}

/// The number that `text` is, if it is digits and nothing else (no sign, no space, no list) and fits 64 bits.
[[nodiscard]] inline std::optional<std::uint64_t> parse_decimal(std::string_view text) noexcept {
  std::uint64_t number = 0;
  const char* const first = text.data();
  const char* const last = first + text.size();
  const auto [end, code] = std::from_chars(first, last, number);  // takes no '+', and no '-' for unsigned types
  if (text.empty() || code != std::errc() || end != last) return std::nullopt;
  return number;
}

/// Calls `visit` with every non-empty element of a comma-separated list, trimmed. Knows nothing of quoted strings: for
/// lists of tokens and of parameters with plain values.
template <typename Visit>
void for_each_element(std::string_view list, Visit&& visit) {
  while (true) {
    const std::size_t comma = list.find(',');
    const std::string_view element = trim(list.substr(0, comma));
    if (!element.empty()) visit(element);
    if (comma == std::string_view::npos) return;
    list.remove_prefix(comma + 1);
  }
}

/// The one element that a comma-separated list consists of, however often it stands there; nothing if elements differ,
/// empty ones included.
[[nodiscard]] constexpr std::optional<std::string_view> same_element(std::string_view list) noexcept {
  const std::string_view first = trim(list.substr(0, list.find(',')));
  for (std::size_t comma = list.find(','); comma != std::string_view::npos; comma = list.find(',')) {
    list.remove_prefix(comma + 1);
    if (trim(list.substr(0, list.find(','))) != first) return std::nullopt;
  }
  return first;
}

}  // namespace fastpool::h1
