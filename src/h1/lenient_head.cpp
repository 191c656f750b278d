#include "h1/lenient_head.h"

#include <algorithm>
#include <string>

#include "h1/lexical.h"

namespace fastpool::h1 {
namespace {

constexpr const char* bad_version = "an HTTP version other than 1.0 and 1.1";
constexpr const char* bad_status = "a malformed status code";
constexpr const char* low_status = "a status code under 100";
constexpr const char* bad_reason = "a control byte in the reason phrase";
constexpr const char* bad_name = "a malformed header name (a space before the colon, or no colon)";
constexpr const char* bad_value = "a control byte in a header value";

bool is_digit(char byte) noexcept {
  return byte >= '0' && byte <= '9';
}

/// NUL and CR alone have a meaning to other readers; LF cannot stand within a line.
bool is_text(std::string_view text) noexcept {
  return text.find_first_of(std::string_view("\0\r", 2)) == std::string_view::npos;
}

/// "HTTP/1.x SP 3DIGIT [ SP reason ]"
const char* read_status_line(std::string_view line, ResponseHead& head) {
  constexpr std::string_view prefix = "HTTP/1.";
  constexpr std::size_t version_size = prefix.size() + 1;
  if (!line.starts_with(prefix) || line.size() <= version_size || !is_digit(line[prefix.size()]) ||
      line[version_size] != ' ') {
    return bad_version;
  }
  const std::string_view status = line.substr(version_size + 1, 3);
  if (status.size() != 3 || !is_digit(status[0]) || !is_digit(status[1]) || !is_digit(status[2])) return bad_status;
  std::string_view reason = line.substr(version_size + 4);
  if (!reason.empty()) {
    if (reason.front() != ' ') return bad_status;
    reason.remove_prefix(1);
  }
  if (status[0] == '0') return low_status;
  if (!is_text(reason)) return bad_reason;
  head.version_minor = line[prefix.size()] - '0';
  head.status = (status[0] - '0') * 100 + (status[1] - '0') * 10 + (status[2] - '0');
  head.reason.assign(reason);
  return nullptr;
}

const char* add_field(std::string_view line, ResponseHead& head, MessageFacts& facts) {
  const FieldLine field = read_field_line(line);
  if (field.kind == FieldLine::Kind::continuation) return bad_name;  // of nothing
  if (field.kind == FieldLine::Kind::malformed) return field.complaint;
  const boost::beast::string_view name(field.name.data(), field.name.size());
  const MessageFacts::Noted noted = facts.note(boost::beast::http::string_to_field(name), field.value);
  if (noted.complaint == nullptr && !noted.repeated) head.headers.add(field.name, noted.value);
  return noted.complaint;
}

}  // namespace

std::string_view take_line(std::string_view& bytes, bool& bare_lf) noexcept {
  const std::size_t end = bytes.find('\n');
  std::string_view line = bytes.substr(0, end);
  bytes.remove_prefix(end + 1);
  if (line.ends_with('\r')) {
    line.remove_suffix(1);
  } else {
    bare_lf = true;
  }
  return line;
}

FieldLine read_field_line(std::string_view line) noexcept {
  FieldLine field;
  if (!line.empty() && (line.front() == ' ' || line.front() == '\t')) {
    field.value = trim(line);
    field.kind = is_text(field.value) ? FieldLine::Kind::continuation : FieldLine::Kind::malformed;
    field.complaint = bad_value;
    return field;
  }
  const std::size_t colon = line.find(':');
  field.name = line.substr(0, colon);
  field.complaint = bad_name;
  if (colon == std::string_view::npos || !is_token(field.name)) return field;
  field.value = trim(line.substr(colon + 1));
  field.complaint = bad_value;
  if (is_text(field.value)) field.kind = FieldLine::Kind::field;
  return field;
}

const char* read_head_leniently(std::string_view bytes, ResponseHead& head, MessageFacts& facts) {
  facts = {};
  head.headers.clear();
  if (const char* const complaint = read_status_line(take_line(bytes, facts.doubtful), head)) return complaint;
  std::string_view line = take_line(bytes, facts.doubtful);
  while (!line.empty()) {
    std::string_view next = take_line(bytes, facts.doubtful);
    if (!next.starts_with(' ') && !next.starts_with('\t')) {
      if (const char* const complaint = add_field(line, head, facts)) return complaint;
      line = next;
      continue;
    }
    std::string folded(line);
    for (; next.starts_with(' ') || next.starts_with('\t'); next = take_line(bytes, facts.doubtful)) {
      folded.append(" ").append(next.substr(std::min(next.find_first_not_of(" \t"), next.size())));
    }
    if (const char* const complaint = add_field(folded, head, facts)) return complaint;
    line = next;
  }
  return nullptr;
}

}  // namespace fastpool::h1
