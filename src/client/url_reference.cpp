#include "client/url_reference.h"

#include <algorithm>
#include <cstddef>
#include <optional>

namespace fastpool::client {

namespace {

/// The parts of RFC 3986 section 3, without their delimiters. Absent and empty differ.
struct Parts {
  std::optional<std::string_view> scheme;
  std::optional<std::string_view> authority;
  std::string_view path;
  std::optional<std::string_view> query;
  std::optional<std::string_view> fragment;
};

bool is_letter(char byte) noexcept {
  return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
}

bool is_scheme_byte(char byte) noexcept {
  return is_letter(byte) || (byte >= '0' && byte <= '9') || byte == '+' || byte == '-' || byte == '.';
}

Parts split(std::string_view text) {
  Parts parts;
  if (const std::size_t hash = text.find('#'); hash != std::string_view::npos) {
    parts.fragment = text.substr(hash + 1);
    text = text.substr(0, hash);
  }
  if (const std::size_t mark = text.find('?'); mark != std::string_view::npos) {
    parts.query = text.substr(mark + 1);
    text = text.substr(0, mark);
  }
  if (const std::size_t colon = text.find(':'); colon != std::string_view::npos && colon > 0) {
    const std::string_view scheme = text.substr(0, colon);
    if (is_letter(scheme.front()) && std::all_of(scheme.begin(), scheme.end(), is_scheme_byte)) {
      parts.scheme = scheme;
      text = text.substr(colon + 1);
    }
  }
  if (text.starts_with("//")) {
    const std::size_t end = std::min(text.find('/', 2), text.size());
    parts.authority = text.substr(2, end - 2);
    text = text.substr(end);
  }
  parts.path = text;
  return parts;
}

// RFC 3986 section 5.2.4, for a path that begins with "/" or is empty, as those of http URLs do. Other paths stay relative.
std::string without_dot_segments(std::string_view path) {
  std::string kept;
  kept.reserve(path.size());
  while (!path.empty()) {
    // A segment with the slash before it. "." and ".." at the end leave that slash.
    const std::size_t end = std::min(path.find('/', 1), path.size());
    const std::string_view segment = path.substr(0, end);
    path = path.substr(end);
    const bool up = segment == "/..";
    if (up) kept.erase(std::min(kept.rfind('/'), kept.size()));
    if (!up && segment != "/.") {
      kept.append(segment);
    } else if (path.empty()) {
      kept.push_back('/');
    }
  }
  return kept;
}

// RFC 3986 section 5.2.3: the reference's path in place of the last segment of the base's.
std::string merged(const Parts& base, std::string_view path) {
  const std::size_t slash = base.path.rfind('/');
  std::string whole(slash == std::string_view::npos ? std::string_view("/") : base.path.substr(0, slash + 1));
  return whole.append(path);
}

}  // namespace

std::string resolve_reference(std::string_view base_text, std::string_view reference_text) {
  const Parts base = split(base_text);
  Parts target = split(reference_text);
  std::string path;
  if (target.scheme || target.authority) {
    path = without_dot_segments(target.path);
    if (!target.scheme) target.scheme = base.scheme;
  } else {
    if (target.path.empty()) {
      path = base.path;
      if (!target.query) target.query = base.query;
    } else {
      path = without_dot_segments(target.path.starts_with('/') ? std::string(target.path) : merged(base, target.path));
    }
    target.scheme = base.scheme;
    target.authority = base.authority;
  }
  std::string url;
  if (target.scheme) url.append(*target.scheme).push_back(':');
  if (target.authority) url.append("//").append(*target.authority);
  url.append(path);
  if (target.query) url.append("?").append(*target.query);
  if (target.fragment) url.append("#").append(*target.fragment);
  return url;
}

std::string encode_strange_bytes(std::string_view reference) {
  static constexpr std::string_view digits = "0123456789ABCDEF";
  std::string encoded;
  encoded.reserve(reference.size());
  for (const char byte : reference) {
    const auto code = static_cast<unsigned char>(byte);
    if (code > 0x20 && code < 0x7f) {
      encoded.push_back(byte);
    } else {
      encoded.append({'%', digits[code >> 4U], digits[code & 0xfU]});
    }
  }
  return encoded;
}

}  // namespace fastpool::client
