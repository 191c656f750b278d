#include "h1/message_facts.h"

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <string_view>

#include <fastpool/headers.h>

#include "h1/lexical.h"

namespace fastpool::h1 {
namespace {

using boost::beast::http::field;

constexpr const char* repeated_length = "repeated or conflicting Content-Length";
constexpr const char* bad_length = "a Content-Length that is not one number";
constexpr const char* repeated_coding = "repeated Transfer-Encoding";
constexpr const char* bad_coding = "a Transfer-Encoding other than \"chunked\"";

/// Connection options besides "close" and "keep-alive", and the hop-by-hop fields that a Connection header names (RFC 9110
/// section 7.6.1).
constexpr std::array<std::string_view, 8> known_options = {"upgrade",
                                                           "te",
                                                           "trailer",
                                                           "transfer-encoding",
                                                           "http2-settings",
                                                           "proxy-authenticate",
                                                           "proxy-authorization",
                                                           "proxy-connection"};

/// Seconds or a count; -1 for what is no number or too large to be meant.
long read_count(std::string_view text) noexcept {
  const std::optional<std::uint64_t> number = parse_decimal(text);
  if (!number || *number > static_cast<std::uint64_t>(std::numeric_limits<std::int32_t>::max())) return -1;
  return static_cast<long>(*number);
}

}  // namespace

MessageFacts::Noted MessageFacts::note(field name, std::string_view value) {
  switch (name) {
    case field::content_length:
      return note_length(value);
    case field::transfer_encoding:
      return {.complaint = note_coding(value), .value = value};
    case field::connection:
      note_connection(value);
      break;
    case field::proxy_connection:
      // Means nothing to a client, but a value that is no list of tokens is a sign of a confused peer.
      for_each_element(value, [this](std::string_view option) { doubtful = doubtful || !is_token(option); });
      break;
    case field::keep_alive:
      note_keep_alive(value);
      break;
    default:
      break;
  }
  return {.value = value};
}

bool MessageFacts::keeps_alive(int version_minor) const noexcept {
  if (close || doubtful) return false;
  // A coding in a 1.0 message came through something that may not know it (RFC 9112 section 6.1).
  if (version_minor == 0) return keep_alive && framing != Framing::chunked;
  return true;
}

// The same length again, in another header or in a list, says nothing new (RFC 9110 section 8.6). "Same" is the same text,
// as h11 has it.
MessageFacts::Noted MessageFacts::note_length(std::string_view value) {
  const std::optional<std::string_view> text = same_element(value);
  if (!text) return {.complaint = repeated_length, .value = value};
  const std::optional<std::uint64_t> length = parse_decimal(*text);
  if (!length) return {.complaint = bad_length, .value = value};
  const bool repeated = length_digits_ != 0;
  if (repeated && (*length != content_length || text->size() != length_digits_)) {
    return {.complaint = repeated_length, .value = value};
  }
  content_length = *length;
  length_digits_ = text->size();
  if (framing == Framing::chunked) {
    doubtful = true;  // the coding determines the length (RFC 9112 section 6.3)
  } else {
    framing = Framing::content_length;
  }
  return {.repeated = repeated, .value = *text};
}

const char* MessageFacts::note_coding(std::string_view value) {
  if (framing == Framing::chunked) return repeated_coding;
  if (!equals_ignoring_case(value, "chunked")) return bad_coding;
  doubtful = doubtful || length_digits_ != 0;
  framing = Framing::chunked;
  return nullptr;
}

void MessageFacts::note_connection(std::string_view value) {
  for_each_element(value, [this](std::string_view option) {
    const auto is = [option](std::string_view known) { return equals_ignoring_case(option, known); };
    if (is("keep-alive")) {
      keep_alive = true;
    } else if (is("close")) {
      close = true;
    } else {
      // An option that is not known may be a misspelt "close".
      doubtful = doubtful || std::none_of(known_options.begin(), known_options.end(), is);
    }
  });
}

void MessageFacts::note_keep_alive(std::string_view value) {
  for_each_element(value, [this](std::string_view parameter) {
    const std::size_t equals = parameter.find('=');
    if (equals == std::string_view::npos) return;
    const std::string_view name = trim(parameter.substr(0, equals));
    const std::string_view number = trim(parameter.substr(equals + 1));
    if (equals_ignoring_case(name, "timeout")) keep_alive_timeout = read_count(number);
    if (equals_ignoring_case(name, "max")) keep_alive_max = read_count(number);
  });
}

}  // namespace fastpool::h1
