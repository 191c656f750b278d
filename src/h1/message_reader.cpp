#include "h1/message_reader.h"

#include <algorithm>
#include <array>
#include <limits>
#include <optional>

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/field.hpp>

#include "h1/lexical.h"

namespace fastpool::h1 {
namespace {

namespace http = boost::beast::http;

// Room for most responses at once, rather than bit by bit.
constexpr std::size_t usual_headers = 16;
constexpr std::size_t usual_header_bytes = 512;

constexpr const char* repeated_length = "repeated or conflicting Content-Length";
constexpr const char* length_beside_coding = "Content-Length beside Transfer-Encoding";
constexpr const char* bad_length = "a Content-Length that is not one number";
constexpr const char* bad_coding = "a Transfer-Encoding other than \"chunked\"";
constexpr const char* long_chunk_line = "a chunk size line over 16 KiB";
constexpr const char* bad_chunk_size = "a malformed chunk size";
constexpr const char* bad_chunk_extension = "a malformed chunk extension, or a space behind a chunk size";

/// Later releases of Beast tell repeated lengths from bad ones; earlier ones have no such member.
template <typename Errors>
bool is_multiple_content_length(const boost::beast::error_code& code) {
  if constexpr (requires { Errors::multiple_content_length; }) {
    return code == Errors::multiple_content_length;
  } else {
    return false;
  }
}

bool is_control(char byte) noexcept {
  const auto code = static_cast<unsigned char>(byte);
  return (code < 0x20 && code != '\t') || code == 0x7f;
}

std::string_view view(boost::beast::string_view text) noexcept {
  return {text.data(), text.size()};
}

/// Seconds or a count; -1 for what is no number or too large to be meant.
long read_count(std::string_view text) noexcept {
  const std::optional<std::uint64_t> number = parse_decimal(text);
  if (!number || *number > static_cast<std::uint64_t>(std::numeric_limits<std::int32_t>::max())) return -1;
  return static_cast<long>(*number);
}

}  // namespace

MessageReader::MessageReader(ResponseHead& head, bool head_request) : head_(head) {
  skip(head_request);
  body_limit(boost::none);
  header_limit(ResponseParser::max_head_bytes + 1);  // ResponseParser bounds all heads and trailers together
}

MessageReader::Outcome MessageReader::read_head(std::string_view bytes) {
  // "HTTP/1.1 200" without the space that RFC 9112 section 4 wants even before an empty reason is common enough in the
  // wild to be read; it cannot be misread. Beast refuses it, so it is given the line in full.
  constexpr std::size_t bare_line = 12;
  Outcome outcome;
  error_code code;
  if (bytes.size() > bare_line && bytes.substr(bare_line, 2) == "\r\n") {
    std::array<char, bare_line + 3> line{};
    std::ranges::copy(bytes.substr(0, bare_line), line.data());
    std::copy_n(" \r\n", 3, line.data() + bare_line);
    put(boost::asio::const_buffer(line.data(), line.size()), code);
    if (code == http::error::need_more) {
      outcome.consumed = bare_line + 2;
      code = {};
    }
  }
  if (!code) {
    const std::string_view rest = bytes.substr(outcome.consumed);
    outcome.consumed += put(boost::asio::const_buffer(rest.data(), rest.size()), code);
  }
  if (code) {
    outcome.complaint = complaint_ != nullptr ? complaint_ : explain_head(code, bytes);
  } else if (outcome.consumed != bytes.size()) {
    outcome.complaint = "a malformed head";
  }
  return outcome;
}

MessageReader::Outcome MessageReader::read_body(std::string_view bytes) {
  piece_ = {};
  Outcome outcome;
  // Beast asserts that a last chunk which is also the first is continued with at least its five bytes.
  if (framing_ == Framing::chunked && !behind_chunk_ && std::string_view("0\r\n\r").starts_with(bytes)) {
    outcome.need_more = true;
    return outcome;
  }
  error_code code;
  outcome.consumed = put(boost::asio::const_buffer(bytes.data(), bytes.size()), code);
  if (!code) return outcome;
  if (code == http::error::need_more) {
    outcome.need_more = true;
    outcome.complaint = check_waiting_chunk_line(bytes.substr(outcome.consumed));
  } else {
    outcome.complaint = complaint_ != nullptr ? complaint_ : explain_body(code, bytes);
  }
  return outcome;
}

bool MessageReader::keeps_alive() const noexcept {
  if (close_) return false;
  // A coding in a 1.0 message came through something that may not know it (RFC 9112 section 6.1).
  if (head_.version_minor == 0) return keep_alive_ && framing_ != Framing::chunked;
  return true;
}

void MessageReader::on_response_impl(int status, string_view reason, int version, error_code& code) {
  if (status < 100) return complain("a status code under 100", code);
  head_.status = status;
  head_.version_minor = version % 10;
  head_.reason.assign(reason.data(), reason.size());
  head_.headers.reserve(usual_headers, usual_header_bytes);
}

void MessageReader::on_field_impl(field id, string_view name, string_view value, error_code& code) {
  if (in_trailers_) return;  // checked by Beast, and dropped: a trailer must never pass for a header
  switch (id) {
    case field::content_length:
    case field::transfer_encoding:
      if (const char* const complaint = read_framing(id, view(value))) return complain(complaint, code);
      break;
    case field::connection:
      read_connection(view(value));
      break;
    case field::keep_alive:
      read_keep_alive(view(value));
      break;
    default:
      break;
  }
  head_.headers.add(view(name), view(value));
}

std::size_t MessageReader::on_body_impl(string_view body, error_code&) {
  piece_ = view(body);
  missing_bytes_ -= body.size();
  return body.size();
}

void MessageReader::on_chunk_header_impl(std::uint64_t size, string_view extensions, error_code& code) {
  if (extensions.size() > max_chunk_line_bytes) return complain(long_chunk_line, code);
  // Beast lets anything stand in a quoted string. A bare LF there is the end of the line to other readers.
  if (std::any_of(extensions.begin(), extensions.end(), is_control)) {
    return complain("a control byte in a chunk extension", code);
  }
  behind_chunk_ = true;
  in_trailers_ = size == 0;
}

std::size_t MessageReader::on_chunk_body_impl(std::uint64_t, string_view body, error_code&) {
  piece_ = view(body);
  return body.size();
}

void MessageReader::complain(const char* complaint, error_code& code) {
  complaint_ = complaint;
  code = http::error::bad_value;  // any will do: the complaint goes before it
}

const char* MessageReader::read_framing(field id, std::string_view value) {
  if (id == field::content_length) {
    if (framing_ == Framing::content_length) return repeated_length;
    if (framing_ == Framing::chunked) return length_beside_coding;
    if (value.find(',') != std::string_view::npos) return repeated_length;
    const std::optional<std::uint64_t> length = parse_decimal(value);
    if (!length) return bad_length;
    missing_bytes_ = *length;
    framing_ = Framing::content_length;
    return nullptr;
  }
  if (framing_ == Framing::content_length) return length_beside_coding;
  if (framing_ == Framing::chunked) return "repeated Transfer-Encoding";
  if (!equals_ignoring_case(value, "chunked")) return bad_coding;
  framing_ = Framing::chunked;
  return nullptr;
}

void MessageReader::read_connection(std::string_view value) {
  for_each_element(value, [this](std::string_view option) {
    if (equals_ignoring_case(option, "close")) close_ = true;
    if (equals_ignoring_case(option, "keep-alive")) keep_alive_ = true;
  });
}

void MessageReader::read_keep_alive(std::string_view value) {
  for_each_element(value, [this](std::string_view parameter) {
    const std::size_t equals = parameter.find('=');
    if (equals == std::string_view::npos) return;
    const std::string_view name = trim(parameter.substr(0, equals));
    const std::string_view number = trim(parameter.substr(equals + 1));
    if (equals_ignoring_case(name, "timeout")) keep_alive_timeout_ = read_count(number);
    if (equals_ignoring_case(name, "max")) keep_alive_max_ = read_count(number);
  });
}

// The three below run only when something is wrong or has not come yet; they look again at the bytes to name it.

const char* MessageReader::explain_head(const error_code& code, std::string_view bytes) const {
  if (is_multiple_content_length<http::error>(code)) return repeated_length;
  if (code == http::error::bad_content_length) {
    if (framing_ == Framing::chunked) return length_beside_coding;
    return framing_ == Framing::content_length ? repeated_length : bad_length;
  }
  if (code == http::error::bad_transfer_encoding) {
    if (framing_ == Framing::content_length) return length_beside_coding;
    return framing_ == Framing::chunked ? "repeated Transfer-Encoding" : bad_coding;
  }
  if (code == http::error::bad_version) return "an HTTP version other than 1.0 and 1.1";
  if (code == http::error::bad_status) return "a malformed status code";
  if (code == http::error::bad_reason) return "a control byte in the reason phrase";
  if (code == http::error::bad_field) return "a malformed header name (a space before the colon, or no colon)";
  if (code == http::error::bad_line_ending) return "a CR without LF in the head";
  if (code == http::error::header_limit) return "a folded header over 4 KiB";
  if (code == http::error::bad_value) {
    const bool control =
        std::any_of(bytes.begin(), bytes.end(), [](char c) { return is_control(c) && c != '\r' && c != '\n'; });
    return control ? "a control byte in a header value" : "a malformed Connection header";
  }
  return "a malformed head";
}

const char* MessageReader::explain_body(const error_code& code, std::string_view bytes) const {
  if (in_trailers_) return "a malformed trailer";
  if (code == http::error::bad_chunk) {
    return behind_chunk_ && !bytes.starts_with("\r\n") ? "no CRLF behind a chunk's data" : bad_chunk_size;
  }
  if (code == http::error::bad_line_ending) return "a CR without LF in the framing of a chunk";
  if (code == http::error::bad_chunk_extension) return bad_chunk_extension;
  return "malformed chunked framing";
}

/// Beast may wait for more where no more bytes can help: behind a quoted string that the line does not close, or for
/// the end of a line that has none. That must be an error now, not a read timeout later.
const char* MessageReader::check_waiting_chunk_line(std::string_view waiting) const {
  if (framing_ != Framing::chunked) return nullptr;
  const std::size_t first = behind_chunk_ ? 2 : 0;
  if (waiting.size() <= first) return nullptr;
  const std::size_t last = waiting.find("\r\n", first);
  if (last == std::string_view::npos) return waiting.size() > max_chunk_line_bytes ? long_chunk_line : nullptr;
  const std::string_view line = waiting.substr(first, last - first);
  const std::size_t size_end = std::min(line.find_first_not_of("0123456789abcdefABCDEF"), line.size());
  const bool ends_well = size_end == line.size() || line.find_first_of("; \t", size_end) == size_end;
  if (size_end == 0 || !ends_well) return bad_chunk_size;
  // A whole line waits for more only if it is the last chunk's, whose trailers are still to come.
  if (line.find_first_not_of('0') < size_end) return bad_chunk_extension;
  bool quoted = false;
  for (std::size_t index = size_end; index < line.size(); ++index) {
    if (line[index] == '"') quoted = !quoted;
    if (line[index] == '\\' && quoted) ++index;
  }
  return quoted ? bad_chunk_extension : nullptr;
}

}  // namespace fastpool::h1
