#include "h1/request_encoder.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "h1/lexical.h"

namespace fastpool::h1 {
namespace {

Error refuse(std::string detail) {
  return Error::make(ErrorCode::local_protocol, Phase::write, std::move(detail));
}

/// A name for a message: what cannot be printed is escaped. Values are never put into messages, they may be secrets.
std::string printable(std::string_view text) {
  static constexpr std::string_view digits = "0123456789abcdef";
  std::string result = "\"";
  for (const char byte : text) {
    const auto code = static_cast<unsigned char>(byte);
    if (code >= 0x20 && code < 0x7f) {
      result.push_back(byte);
    } else {
      result.append("\\x").push_back(digits[code >> 4U]);
      result.push_back(digits[code & 0xfU]);
    }
  }
  result.push_back('"');
  return result;
}

// The two below have no early end, so that the compiler looks at many bytes at once.
bool is_target(std::string_view target) noexcept {
  unsigned bad = target.empty() ? 1U : 0U;
  for (const char byte : target) {
    const auto code = static_cast<unsigned char>(byte);
    bad |= static_cast<unsigned>(code <= 0x20) | static_cast<unsigned>(code == 0x7f);
  }
  return bad == 0;
}

bool is_value(std::string_view value) noexcept {
  unsigned bad = 0;
  for (const char byte : value)
    bad |=
        static_cast<unsigned>(byte == '\r') | static_cast<unsigned>(byte == '\n') | static_cast<unsigned>(byte == '\0');
  return bad == 0;
}

/// Writes into room that was made before.
class Writer {
 public:
  explicit Writer(char* begin) noexcept : next_(begin) {}
  Writer& put(std::string_view text) noexcept {
    next_ = std::copy(text.begin(), text.end(), next_);
    return *this;
  }
  /// Of a literal: its size is known when it is compiled, so that no call is needed.
  template <std::size_t size>
  Writer& put(const char (&literal)[size]) noexcept {  // NOLINT(modernize-avoid-c-arrays)
    next_ = std::copy_n(static_cast<const char*>(literal), size - 1, next_);
    return *this;
  }
  [[nodiscard]] const char* next() const noexcept { return next_; }
  void put(const Header& header) noexcept { put(header.name).put(": ").put(header.value).put("\r\n"); }

 private:
  char* next_;
};

/// Reads what the headers say of framing, one by one, and refuses what two peers could read in two ways.
class FramingReader {
 public:
  [[nodiscard]] const char* read(const Header& header) {
    // The length tells almost every header apart before its bytes are looked at.
    switch (header.name.size()) {
      case 4:
        return equals_ignoring_case(header.name, "host") ? read_host() : nullptr;
      case 7:
        if (equals_ignoring_case(header.name, "upgrade") && !trim(header.value).empty()) result_.upgrade = true;
        return nullptr;
      case 10:
        return equals_ignoring_case(header.name, "connection") ? read_connection(header.value) : nullptr;
      case 14:
        return equals_ignoring_case(header.name, "content-length") ? read_length(header.value) : nullptr;
      case 17:
        return equals_ignoring_case(header.name, "transfer-encoding") ? read_coding(header.value) : nullptr;
      default:
        return nullptr;
    }
  }
  [[nodiscard]] const EncodedHead& result() const noexcept { return result_; }
  /// The Content-Length to be written in place of all that were given: no text for none; nothing if they go out as given.
  [[nodiscard]] std::optional<std::string_view> length() const noexcept {
    if (!length_.empty() && result_.framing == Framing::chunked) return std::string_view();
    return rewrites_length_ ? std::optional(length_) : std::nullopt;
  }

 private:
  const char* read_host() noexcept {
    if (result_.has_host) return "repeated Host";
    result_.has_host = true;
    return nullptr;
  }

  const char* read_connection(std::string_view value) {
    for_each_element(value, [this](std::string_view option) {
      if (equals_ignoring_case(option, "close")) result_.close = true;
    });
    return nullptr;
  }

  const char* read_length(std::string_view value) {
    const std::optional<std::string_view> text = same_element(value);
    if (!text) return "conflicting Content-Length";
    const std::optional<std::uint64_t> length = parse_decimal(*text);
    if (!length) return "a Content-Length that is not one number";
    if (!length_.empty() && length_ != *text) return "conflicting Content-Length";
    if (!length_.empty() || text->size() != trim(value).size()) rewrites_length_ = true;
    length_ = *text;
    if (result_.framing == Framing::chunked) return nullptr;
    result_.framing = Framing::content_length;
    result_.content_length = *length;
    return nullptr;
  }

  const char* read_coding(std::string_view value) {
    if (result_.framing == Framing::chunked) return "repeated Transfer-Encoding";
    if (!equals_ignoring_case(trim(value), "chunked")) return "a Transfer-Encoding other than \"chunked\"";
    result_.framing = Framing::chunked;
    return nullptr;
  }

  EncodedHead result_;
  std::string_view length_;       // the text of the Content-Length
  bool rewrites_length_ = false;  // it was given more than once
};

bool is_length(const Header& header) noexcept {
  return equals_ignoring_case(header.name, "content-length");
}

}  // namespace

Result<EncodedHead> encode_head(std::string& out, std::string_view method, std::string_view target,
                                std::span<const Header> headers) {
  if (!is_token(method)) return refuse("the method " + printable(method) + " is not a token");
  if (!is_target(target)) return refuse("the request target is empty or contains a space or a control byte");

  constexpr std::size_t version_size = std::string_view(" HTTP/1.1\r\n").size();
  std::size_t size = method.size() + 1 + target.size() + version_size + 2;
  FramingReader framing;
  const Header* host = nullptr;
  for (const Header& header : headers) {
    if (!is_token(header.name)) return refuse("the header name " + printable(header.name) + " is not a token");
    if (!is_value(header.value))
      return refuse("the value of the header " + printable(header.name) + " contains CR, LF or NUL");
    const bool had_host = framing.result().has_host;
    if (const char* const complaint = framing.read(header)) return refuse(std::string("the request has ") + complaint);
    if (framing.result().has_host != had_host) host = &header;
    size += header.name.size() + header.value.size() + 4;
  }

  const std::size_t before = out.size();
  out.resize(before + size);
  Writer writer(out.data() + before);
  writer.put(method).put(" ").put(target).put(" HTTP/1.1\r\n");
  if (host != nullptr) writer.put(*host);
  std::optional<std::string_view> length = framing.length();
  for (const Header& header : headers) {
    if (&header == host) continue;
    if (length && is_length(header)) [[unlikely]] {
      if (!length->empty()) writer.put({header.name, *length});
      length.emplace();
      continue;
    }
    writer.put(header);
  }
  writer.put("\r\n");
  out.resize(static_cast<std::size_t>(writer.next() - out.data()));  // less than was measured if lengths were left out
  return framing.result();
}

HeadParts parts_of(std::string_view encoded) {
  const auto take_until = [&encoded](std::string_view mark) {
    const std::size_t end = encoded.find(mark);
    const std::string_view taken = encoded.substr(0, end);
    encoded.remove_prefix(end + mark.size());
    return taken;
  };
  HeadParts parts;
  parts.method = take_until(" ");
  parts.target = take_until(" ");
  (void)take_until("\r\n");  // the version
  while (!encoded.starts_with("\r\n")) {
    const std::string_view name = take_until(": ");
    parts.headers.push_back({name, take_until("\r\n")});
  }
  return parts;
}

void encode_chunk_size(std::string& out, std::uint64_t size) {
  std::array<char, 16> digits{};
  const std::to_chars_result result = std::to_chars(digits.data(), digits.data() + digits.size(), size, 16);
  out.append(digits.data(), result.ptr).append("\r\n");
}

bool is_idempotent(std::string_view method) noexcept {
  // Methods are case-sensitive (RFC 9110 section 9.1).
  return method == "GET" || method == "HEAD" || method == "PUT" || method == "DELETE" || method == "OPTIONS" ||
         method == "TRACE";
}

}  // namespace fastpool::h1
