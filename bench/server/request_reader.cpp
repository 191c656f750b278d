#include "server/request_reader.h"

#include <algorithm>
#include <charconv>

namespace fastpool::bench {
namespace {

constexpr char lower(char letter) {
  return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a') : letter;
}

/// The value of the header line, if it carries that name (given in lower case, with its colon).
std::optional<std::string_view> value_of(std::string_view line, std::string_view name) {
  const auto same = [](char wanted, char found) { return wanted == lower(found); };
  if (line.size() < name.size() || !std::equal(name.begin(), name.end(), line.begin(), same)) {
    return std::nullopt;
  }
  line.remove_prefix(name.size());
  while (!line.empty() && line.front() == ' ') {
    line.remove_prefix(1);
  }
  return line;
}

}  // namespace

ReadOutcome read_request(std::string_view bytes) {
  const std::size_t head_end = bytes.find("\r\n\r\n");
  if (head_end == std::string_view::npos) {
    return {};
  }
  const std::string_view head = bytes.substr(0, head_end + 2);
  const std::size_t first_line_end = head.find("\r\n");
  const std::string_view first_line = head.substr(0, first_line_end);
  const std::size_t target_begin = first_line.find(' ');
  const std::size_t target_end = first_line.rfind(' ');
  if (target_begin == std::string_view::npos || target_end <= target_begin) {
    return {.request = std::nullopt, .refused = true};
  }

  std::size_t body_size = 0;
  for (std::size_t at = first_line_end + 2; at < head.size();) {
    const std::size_t line_end = head.find("\r\n", at);
    const std::string_view line = head.substr(at, line_end - at);
    if (const auto length = value_of(line, "content-length:")) {
      const auto parsed = std::from_chars(length->data(), length->data() + length->size(), body_size);
      if (parsed.ec != std::errc{}) {
        return {.request = std::nullopt, .refused = true};
      }
    } else if (value_of(line, "transfer-encoding:")) {
      return {.request = std::nullopt, .refused = true};
    }
    at = line_end + 2;
  }

  const std::size_t size = head_end + 4 + body_size;
  if (bytes.size() < size) {
    return {};
  }
  return {.request =
              RequestView{.target = first_line.substr(target_begin + 1, target_end - target_begin - 1), .size = size},
          .refused = false};
}

}  // namespace fastpool::bench
