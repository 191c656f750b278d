#include "h2/request_fields.h"

#include <algorithm>
#include <array>

#include "h1/lexical.h"

namespace fastpool::h2 {

namespace {

Error refuse(std::string what) {
  return Error::make(ErrorCode::local_protocol, Phase::write, std::move(what));
}

bool is_field_value(std::string_view text) noexcept {
  return std::none_of(text.begin(), text.end(), [](char byte) { return byte == '\r' || byte == '\n' || byte == '\0'; });
}

bool is_target(std::string_view text) noexcept {
  return !text.empty() && std::none_of(text.begin(), text.end(), [](char byte) {
    const auto code = static_cast<unsigned char>(byte);
    return code <= ' ' || code == 0x7f;
  });
}

bool is_connection_specific(std::string_view name) noexcept {
  constexpr std::array<std::string_view, 6> names = {"connection",        "keep-alive", "proxy-connection",
                                                     "transfer-encoding", "upgrade",    "http2-settings"};
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

Result<RequestFields> RequestFields::of(const RequestHead& head) {
  if (!h1::is_token(head.method)) return refuse("the method is no token");
  if (!is_target(head.target)) return refuse("the target is empty, or has a space or a control byte in it");
  std::size_t bytes = 0;
  for (const Header& header : head.headers) {
    if (!h1::is_token(header.name)) return refuse("the header name \"" + std::string(header.name) + "\" is no token");
    if (!is_field_value(header.value))
      return refuse("the value of the header " + std::string(header.name) + " has a CR, LF or NUL in it");
    bytes += header.name.size();
  }
  RequestFields made;
  made.lower_.reserve(bytes);  // the views look into it
  made.fields_.reserve(head.headers.size() + 4);
  made.fields_.push_back({":method", head.method});
  made.fields_.push_back({":scheme", head.scheme});
  made.fields_.push_back({":authority", {}});
  made.fields_.push_back({":path", head.target});
  bool has_host = false;
  for (const Header& header : head.headers) {
    const std::size_t at = made.lower_.size();
    for (const char byte : header.name)
      made.lower_.push_back(byte >= 'A' && byte <= 'Z' ? static_cast<char>(byte + ('a' - 'A')) : byte);
    const std::string_view name(made.lower_.data() + at, header.name.size());
    const std::string_view value = h1::trim(header.value);
    if (name == "host") {
      if (std::exchange(has_host, true)) return refuse("several Host headers");
      made.fields_[2].value = value;
    } else if (is_connection_specific(name) || (name == "te" && !equals_ignoring_case(value, "trailers"))) {
      continue;
    } else if (name == "cookie") {
      for (std::string_view rest = value; !rest.empty();) {
        const std::size_t end = rest.find(';');
        made.fields_.push_back({name, h1::trim(rest.substr(0, end))});
        rest = end == std::string_view::npos ? std::string_view() : h1::trim(rest.substr(end + 1));
      }
    } else {
      if (name == "content-length") {
        const auto length = h1::parse_decimal(value);
        if (!length) return refuse("Content-Length is no number");
        if (made.content_length_ && made.content_length_ != length) return refuse("conflicting Content-Lengths");
        if (std::exchange(made.content_length_, length)) continue;  // once
      }
      made.fields_.push_back({name, value});
    }
  }
  if (!has_host) return refuse("no Host header");
  return made;
}

}  // namespace fastpool::h2
