#include "h1/message_reader.h"

#include <algorithm>
#include <array>

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/field.hpp>

#include "h1/lenient_head.h"

namespace fastpool::h1 {
namespace {

namespace http = boost::beast::http;

// Room for most responses at once, rather than bit by bit.
constexpr std::size_t usual_headers = 16;
constexpr std::size_t usual_header_bytes = 512;

constexpr const char* length_beside_coding = "Content-Length beside Transfer-Encoding";

/// Later releases of Beast report repeated lengths apart from bad ones; earlier ones have no such member.
template <typename Errors>
bool is_about_length(const boost::beast::error_code& code) {
  if constexpr (requires { Errors::multiple_content_length; }) {
    if (code == Errors::multiple_content_length) return true;
  }
  return code == Errors::bad_content_length;
}

/// What is wrong with the lengths of a complete head. Releases of Beast differ in how they report a list of lengths, so
/// that our own rule names the fault.
const char* explain_length(std::string_view head) {
  MessageFacts facts;
  bool bare_lf = false;
  for (std::string_view line = take_line(head, bare_lf); !line.empty(); line = take_line(head, bare_lf)) {
    const FieldLine found = read_field_line(line);
    if (found.kind != FieldLine::Kind::field) continue;
    const boost::beast::string_view name(found.name.data(), found.name.size());
    if (http::string_to_field(name) != http::field::content_length) continue;
    const char* const complaint = facts.note(http::field::content_length, found.value).complaint;
    if (complaint != nullptr) return complaint;
  }
  return "a Content-Length that is not one number";  // one that is folded over two lines
}

bool is_control(char byte) noexcept {
  const auto code = static_cast<unsigned char>(byte);
  return (code < 0x20 && code != '\t') || code == 0x7f;
}

std::string_view view(boost::beast::string_view text) noexcept {
  return {text.data(), text.size()};
}

}  // namespace

MessageReader::MessageReader(ResponseHead& head, MessageFacts& facts) : head_(head), facts_(facts) {
  body_limit(boost::none);
  header_limit(ResponseParser::max_head_bytes + 1);  // ResponseParser bounds all heads and trailers together
}

const char* MessageReader::read_head(std::string_view bytes) {
  // "HTTP/1.1 200" without the space that RFC 9112 section 4 wants even before an empty reason is common enough in the
  // wild to be read; it cannot be misread. Beast refuses it, so it is given the line in full.
  constexpr std::size_t bare_line = 12;
  std::size_t consumed = 0;
  error_code code;
  if (bytes.size() > bare_line && bytes.substr(bare_line, 2) == "\r\n") {
    std::array<char, bare_line + 3> line{};
    std::ranges::copy(bytes.substr(0, bare_line), line.data());
    std::copy_n(" \r\n", 3, line.data() + bare_line);
    put(boost::asio::const_buffer(line.data(), line.size()), code);
    if (code == http::error::need_more) {
      consumed = bare_line + 2;
      code = {};
    }
  }
  if (!code) {
    const std::string_view rest = bytes.substr(consumed);
    consumed += put(boost::asio::const_buffer(rest.data(), rest.size()), code);
  }
  if (code) return complaint_ != nullptr ? complaint_ : explain(code, bytes);
  return consumed == bytes.size() ? nullptr : "a malformed head";
}

void MessageReader::on_response_impl(int status, string_view reason, int version, error_code& code) {
  if (status < 100) return complain("a status code under 100", code);
  head_.status = status;
  head_.version_minor = version % 10;
  head_.reason.assign(reason.data(), reason.size());
  head_.headers.reserve(usual_headers, usual_header_bytes);
}

void MessageReader::on_field_impl(field id, string_view name, string_view value, error_code& code) {
  const MessageFacts::Noted noted = facts_.note(id, view(value));
  if (noted.complaint != nullptr) return complain(noted.complaint, code);
  if (!noted.repeated) head_.headers.add(view(name), noted.value);
}

void MessageReader::complain(const char* complaint, error_code& code) {
  complaint_ = complaint;
  code = http::error::bad_value;  // any will do: the complaint goes before it
}

// Runs only when something is wrong; looks again at the bytes to name it.
const char* MessageReader::explain(const error_code& code, std::string_view bytes) const {
  using Framing = MessageFacts::Framing;
  if (is_about_length<http::error>(code)) {
    return facts_.framing == Framing::chunked ? length_beside_coding : explain_length(bytes);
  }
  if (code == http::error::bad_transfer_encoding) {
    if (facts_.framing == Framing::content_length) return length_beside_coding;
    return facts_.framing == Framing::chunked ? "repeated Transfer-Encoding"
                                              : "a Transfer-Encoding other than \"chunked\"";
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

}  // namespace fastpool::h1
