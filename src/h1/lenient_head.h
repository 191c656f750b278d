#pragma once

#include <string_view>

#include "h1/message_facts.h"
#include "h1/response_parser.h"

namespace fastpool::h1 {

/// Reads a head that the strict parser refuses, by the grammar of h11, which is what httpx's own transport accepts: lines
/// that end in LF alone, control bytes in values and in the reason, a Connection header that is no list of tokens,
/// HTTP/1.2 to 1.9, repeated equal lengths. A request that was processed (and paid for) is lost if its answer is refused.
///
/// NUL and a bare CR stay refused everywhere, and so does everything else that h11 refuses. What leaves doubt about where
/// the message ends is marked in `facts`.
///
/// \param bytes one whole head, from its status line to its empty line.
/// \param head, facts are overwritten; unspecified where the head is refused.
/// \returns what is wrong with the head, or null.
[[nodiscard]] const char* read_head_leniently(std::string_view bytes, ResponseHead& head, MessageFacts& facts);

/// A line of headers or trailers without its end, read by the same grammar: "name: value", or the continuation of one.
struct FieldLine {
  enum class Kind : std::uint8_t { field, continuation, malformed };
  Kind kind = Kind::malformed;
  std::string_view name;
  std::string_view value;           ///< trimmed
  const char* complaint = nullptr;  ///< of a malformed line
};
[[nodiscard]] FieldLine read_field_line(std::string_view line) noexcept;

/// Takes the first line off `bytes` and returns it without its end, which is CRLF or LF; `bytes` must contain one.
/// \param bare_lf is set where the line ends in LF alone.
[[nodiscard]] std::string_view take_line(std::string_view& bytes, bool& bare_lf) noexcept;

}  // namespace fastpool::h1
