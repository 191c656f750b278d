#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <string_view>

#include "h1/response_parser.h"

namespace fastpool::client {

/// How large the body of a response will be, if its head says so, at most `bound`; 0 if not. A promise is not memory: beyond
/// the bound the body's holder grows with what comes.
[[nodiscard]] inline std::size_t expected_size(const h1::ResponseHead& head, std::size_t bound) noexcept {
  std::size_t expected = 0;
  const std::string_view length = head.headers.find("content-length");
  (void)std::from_chars(length.data(), length.data() + length.size(), expected);
  return std::min(expected, bound);
}

}  // namespace fastpool::client
