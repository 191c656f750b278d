#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "h1/response_parser.h"

namespace fastpool::h1::test {

/// One case of a conversation file: the request, the bytes of the response, and the events that the parser must report.
/// The format is described in tests/h1/conversations/README.md.
struct Conversation {
  std::string file;
  std::string title;
  std::string method = "GET";
  std::string bytes;
  bool closed = false;  ///< whether the peer closes behind the bytes
  std::vector<std::string> expected;
};

/// Bytes as the files write them: \r \n \t \\ \" and \xHH for bytes that are not printable.
inline std::string escape(std::string_view bytes) {
  static constexpr std::string_view hex_digits = "0123456789abcdef";
  std::string text;
  for (const char byte : bytes) {
    const auto code = static_cast<unsigned char>(byte);
    switch (byte) {
      case '\r':
        text += "\\r";
        break;
      case '\n':
        text += "\\n";
        break;
      case '\t':
        text += "\\t";
        break;
      case '"':
        text += "\\\"";
        break;
      case '\\':
        text += "\\\\";
        break;
      default:
        if (code >= 0x20 && code < 0x7f) {
          text.push_back(byte);
        } else {
          text += "\\x";
          text.push_back(hex_digits[code >> 4U]);
          text.push_back(hex_digits[code & 0xfU]);
        }
    }
  }
  return text;
}

namespace detail {

inline std::string unescape(std::string_view text) {
  std::string bytes;
  for (std::size_t index = 0; index < text.size(); ++index) {
    if (text[index] != '\\') {
      bytes.push_back(text[index]);
      continue;
    }
    if (++index == text.size()) throw std::runtime_error("a backslash at the end of the line");
    switch (text[index]) {
      case 'r':
        bytes.push_back('\r');
        break;
      case 'n':
        bytes.push_back('\n');
        break;
      case 't':
        bytes.push_back('\t');
        break;
      case '"':
        bytes.push_back('"');
        break;
      case '\\':
        bytes.push_back('\\');
        break;
      case 'x':
        bytes.push_back(static_cast<char>(std::stoi(std::string(text.substr(index + 1, 2)), nullptr, 16)));
        index += 2;
        break;
      default:
        throw std::runtime_error("an unknown escape");
    }
  }
  return bytes;
}

inline std::vector<Conversation> load(const std::filesystem::path& path) {
  std::vector<Conversation> conversations;
  std::ifstream stream(path);
  std::string line;
  for (int number = 1; std::getline(stream, line); ++number) {
    const std::size_t space = std::min(line.find(' '), line.size());
    const std::string word = line.substr(0, space);
    const std::string rest = space < line.size() ? line.substr(space + 1) : "";
    try {
      if (line.empty() || line.starts_with('#')) continue;
      if (word == "===") {
        conversations.emplace_back();
        conversations.back().file = path.stem().string();
        conversations.back().title = rest;
        continue;
      }
      if (conversations.empty()) throw std::runtime_error("no \"===\" line yet");
      Conversation& current = conversations.back();
      if (word == "request") {
        current.method = rest;
      } else if (word == "send") {
        current.bytes += unescape(rest);
      } else if (word == "close") {
        current.closed = true;
      } else if (word == "expect") {
        current.expected.push_back(rest);
      } else {
        throw std::runtime_error("an unknown word");
      }
    } catch (const std::exception& error) {
      throw std::runtime_error(path.filename().string() + ":" + std::to_string(number) + ": " + error.what());
    }
  }
  return conversations;
}

/// Collects events as lines. Keeps a growing body line separate until another kind of event ends it.
class Transcript {
 public:
  void add(std::string line) {
    flush();
    lines_.push_back(std::move(line));
  }
  void add_body(std::string_view body) {
    in_body_ = true;
    body_.append(body);
  }
  std::vector<std::string> take() {
    flush();
    return std::move(lines_);
  }

 private:
  void flush() {
    if (in_body_) lines_.push_back("body \"" + escape(body_) + "\"");
    in_body_ = false;
    body_.clear();
  }

  std::vector<std::string> lines_;
  std::string body_;
  bool in_body_ = false;
};

inline void add_head(Transcript& transcript, const ResponseHead& head) {
  transcript.add("head 1." + std::to_string(head.version_minor) + " " + std::to_string(head.status) + " \"" +
                 escape(head.reason) + "\"");
  for (std::size_t index = 0; index < head.headers.size(); ++index) {
    transcript.add("header \"" + escape(head.headers[index].name) + "\" \"" + escape(head.headers[index].value) + "\"");
  }
}

inline void add_end(Transcript& transcript, const ResponseParser& parser, std::string_view left) {
  transcript.add(parser.reusable() ? "end reusable" : "end not-reusable");
  if (parser.keep_alive_timeout() >= 0) {
    transcript.add("keep-alive-timeout " + std::to_string(parser.keep_alive_timeout()));
  }
  if (parser.keep_alive_max() >= 0) transcript.add("keep-alive-max " + std::to_string(parser.keep_alive_max()));
  if (!left.empty()) transcript.add("left \"" + escape(left) + "\"");
}

}  // namespace detail

/// All cases of all files beside the tests, in the order of file names. Throws std::runtime_error naming file and line.
inline std::vector<Conversation> load_conversations() {
  const std::filesystem::path folder = std::filesystem::path(FASTPOOL_TESTS_DIR) / "h1" / "conversations";
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".txt") paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  std::vector<Conversation> conversations;
  for (const std::filesystem::path& path : paths) {
    for (Conversation& conversation : detail::load(path))
      conversations.push_back(std::move(conversation));
  }
  return conversations;
}

/// Feeds a new response parser with `pieces`, one after the other, and returns the events in the notation of the files.
/// Joins pieces of body, since the network decides where they are cut.
inline std::vector<std::string> replay(const Conversation& conversation, const std::vector<std::string_view>& pieces) {
  using Event = ResponseParser::Event;
  detail::Transcript transcript;
  ResponseParser parser;
  parser.start(conversation.method == "HEAD");
  std::string waiting;
  bool over = false;
  for (const std::string_view piece : pieces) {
    waiting.append(piece);
    Event event = Event::head;
    while (!over && event != Event::need_more) {
      // A copy of its own for every step, so that the address sanitizer detects a view that is kept too long.
      const std::string input = waiting;
      const ResponseParser::Step step = parser.parse(input);
      event = step.event;
      if (event == Event::head) detail::add_head(transcript, parser.head());
      if (event == Event::body) transcript.add_body(step.body);
      waiting.erase(0, step.consumed);
      over = event == Event::end || event == Event::error;
    }
  }
  if (!over && conversation.closed) {
    over = true;
    if (parser.finish().event == Event::end) {
      detail::add_end(transcript, parser, waiting);
    } else {
      transcript.add((parser.ended_early() ? "early-end " : "error ") + parser.error_detail());
    }
    return transcript.take();
  }
  if (!over) {
    transcript.add("need-more");
  } else if (parser.error_detail().empty()) {
    detail::add_end(transcript, parser, waiting);
  } else {
    transcript.add("error " + parser.error_detail());
  }
  return transcript.take();
}

}  // namespace fastpool::h1::test
