#include "h1/chunk_reader.h"

#include <algorithm>
#include <charconv>
#include <system_error>

#include <fastpool/headers.h>

#include "h1/lenient_head.h"
#include "h1/lexical.h"

namespace fastpool::h1 {
namespace {

constexpr const char* long_line = "a chunk size line over 16 KiB";
constexpr const char* bad_size = "a malformed chunk size";
constexpr const char* bad_extension = "a malformed chunk extension";
constexpr const char* control_byte = "a control byte in a chunk extension";
constexpr const char* bare_cr = "a CR without LF in the framing of a chunk";
constexpr const char* no_line_end = "no CRLF behind a chunk's data";
constexpr const char* bad_trailer = "a malformed trailer";

bool is_control(char byte) noexcept {
  const auto code = static_cast<unsigned char>(byte);
  return (code < 0x20 && code != '\t') || code == 0x7f;
}

void skip_spaces(std::string_view& text) noexcept {
  text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size()));
}

bool skip_token(std::string_view& text) noexcept {
  std::size_t size = 0;
  while (size < text.size() && is_token(text.substr(size, 1)))
    ++size;
  text.remove_prefix(size);
  return size != 0;
}

bool skip_quoted(std::string_view& text) noexcept {
  for (std::size_t index = 1; index < text.size(); ++index) {
    if (text[index] == '"') {
      text.remove_prefix(index + 1);
      return true;
    }
    if (text[index] == '\\') ++index;
  }
  return false;
}

/// What is wrong with "*( ; name [ = value ] )" behind a chunk's size, spaces allowed between all parts; or null.
const char* check_extensions(std::string_view text) noexcept {
  for (skip_spaces(text); !text.empty(); skip_spaces(text)) {
    if (text.front() != ';') return bad_extension;
    text.remove_prefix(1);
    skip_spaces(text);
    if (!skip_token(text)) return bad_extension;
    skip_spaces(text);
    if (text.empty() || text.front() != '=') continue;
    text.remove_prefix(1);
    skip_spaces(text);
    const bool quoted = !text.empty() && text.front() == '"';
    const std::string_view value = text;
    if (quoted ? !skip_quoted(text) : !skip_token(text)) return bad_extension;
    // Anything may be quoted, but a control byte is the end of the line to some other reader.
    const std::string_view read = value.substr(0, value.size() - text.size());
    if (std::any_of(read.begin(), read.end(), is_control)) return control_byte;
  }
  return nullptr;
}

}  // namespace

ChunkReader::Outcome ChunkReader::read(std::string_view bytes) {
  piece_ = {};
  if (bytes.empty()) return {.need_more = true};
  switch (state_) {
    case State::size_line:
      return read_size_line(bytes);
    case State::data:
      return read_data(bytes);
    case State::data_end:
      return read_data_end(bytes);
    case State::trailers:
      return read_trailer(bytes);
    case State::done:
      break;
  }
  return {};
}

ChunkReader::Outcome ChunkReader::read_size_line(std::string_view bytes) {
  const std::string_view window = bytes.substr(0, max_line_bytes + 2);
  const std::size_t end = window.find_first_of("\r\n");
  const std::size_t size_end = std::min(window.find_first_not_of("0123456789abcdefABCDEF"), window.size());
  if (end == std::string_view::npos) {
    if (window.size() > max_line_bytes) return {.complaint = long_line};
    return {.need_more = true};
  }
  if (window[end] == '\r') {
    if (end + 1 == bytes.size()) return {.need_more = true};
    if (bytes[end + 1] != '\n') return {.complaint = size_end == 0 ? bad_size : bare_cr};
  }
  const std::string_view line = window.substr(0, end);
  const std::string_view extensions = line.substr(size_end);
  const auto [stop, code] = std::from_chars(line.data(), line.data() + size_end, missing_, 16);
  if (size_end == 0 || code != std::errc()) return {.complaint = bad_size};
  if (window[end] == '\n') return {.complaint = extensions.starts_with(';') ? control_byte : bad_extension};
  // "0x5" is a size in another notation.
  if (missing_ == 0 && extensions.find_first_of("; \t") != 0 && !extensions.empty()) return {.complaint = bad_size};
  if (const char* const complaint = check_extensions(extensions)) return {.complaint = complaint};
  state_ = missing_ == 0 ? State::trailers : State::data;
  return {.consumed = end + 2};
}

ChunkReader::Outcome ChunkReader::read_data(std::string_view bytes) {
  const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(missing_, bytes.size()));
  piece_ = bytes.substr(0, size);
  missing_ -= size;
  if (missing_ == 0) state_ = State::data_end;
  return {.consumed = size};
}

ChunkReader::Outcome ChunkReader::read_data_end(std::string_view bytes) {
  constexpr std::string_view line_end = "\r\n";
  const std::size_t size = std::min(bytes.size(), line_end.size());
  if (bytes.substr(0, size) != line_end.substr(0, size)) return {.complaint = no_line_end};
  if (size < line_end.size()) return {.need_more = true};
  state_ = State::size_line;
  return {.consumed = size};
}

ChunkReader::Outcome ChunkReader::read_trailer(std::string_view bytes) {
  const std::size_t end = bytes.find('\n', std::min(scanned_, bytes.size()));
  if (end == std::string_view::npos) {
    scanned_ = bytes.size();
    return {.need_more = true};
  }
  scanned_ = 0;
  std::string_view rest = bytes;
  const std::string_view line = take_line(rest, doubtful_);
  if (line.empty()) {
    state_ = State::done;
    return {.consumed = end + 1};
  }
  const FieldLine field = read_field_line(line);
  if (field.kind == FieldLine::Kind::malformed || (field.kind == FieldLine::Kind::continuation && !trailer_seen_)) {
    return {.complaint = bad_trailer};
  }
  // Framing behind the body frames nothing, but shows a confused peer (RFC 9110 section 6.5.1).
  doubtful_ = doubtful_ || equals_ignoring_case(field.name, "content-length") ||
              equals_ignoring_case(field.name, "transfer-encoding");
  trailer_seen_ = true;
  return {.consumed = end + 1, .trailer = {field.name, field.value}};
}

}  // namespace fastpool::h1
