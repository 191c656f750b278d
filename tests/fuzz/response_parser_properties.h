#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "h1/response_parser.h"

namespace fastpool::h1::test {

/// The outcome of parsing a response, in a form that can be compared.
struct Outcome {
  std::string head;
  std::string body;
  std::string result;       ///< "end", "error" or "early-end"
  std::size_t used = 0;     ///< bytes of the input that belong to the response; meaningful for "end" alone
  std::string broken_rule;  ///< a promise of the parser that it did not keep, or empty

  friend bool operator==(const Outcome&, const Outcome&) = default;
};

/// Feeds the pieces, then the peer's close, and checks the parser's guarantees meanwhile.
inline Outcome play(const std::vector<std::string_view>& pieces, bool head_request) {
  using Event = ResponseParser::Event;
  Outcome outcome;
  ResponseParser parser;
  parser.start(head_request);
  std::string waiting;
  Event event = Event::need_more;
  for (const std::string_view piece : pieces) {
    waiting.append(piece);
    do {
      const std::string input = waiting;
      const ResponseParser::Step step = parser.parse(input);
      event = step.event;
      if (step.consumed > input.size()) outcome.broken_rule = "more consumed than given";
      if (event == Event::body) {
        const bool inside =
            step.body.data() >= input.data() && step.body.data() + step.body.size() <= input.data() + step.consumed;
        if (!inside || step.body.empty()) outcome.broken_rule = "a piece of body that is empty or outside the input";
        outcome.body.append(step.body);
      }
      if (event == Event::head) {
        if (!outcome.head.empty()) outcome.broken_rule = "two heads";
        const ResponseHead& head = parser.head();
        const bool is_final = head.status == 101 || (head.status >= 200 && head.status <= 999);
        if (!is_final) outcome.broken_rule = "a status out of range";
        outcome.head = std::to_string(head.status) + " " + head.reason;
        for (std::size_t index = 0; index < head.headers.size(); ++index) {
          outcome.head.append("\n").append(head.headers[index].name).append(":").append(head.headers[index].value);
        }
        if (outcome.head.find_first_of(std::string_view("\0\r", 2)) != std::string::npos) {
          outcome.broken_rule = "a NUL or CR in the head";
        }
      }
      waiting.erase(0, step.consumed);
      outcome.used += step.consumed;
    } while (event == Event::head || event == Event::body);
    if (event != Event::need_more) break;
  }
  if (event == Event::need_more) event = parser.finish().event;
  outcome.result = event == Event::end ? "end" : parser.ended_early() ? "early-end" : "error";
  if (event != Event::end) outcome.used = 0;
  if (event != Event::end && parser.reusable()) outcome.broken_rule = "reusable without an end";
  if (event != Event::end && parser.error_detail().empty()) outcome.broken_rule = "an error without words";
  return outcome;
}

/// Returns the guarantee that these bytes break, or an empty text. The outcome must not depend on where the bytes are cut.
/// \param every_cut tries all cuts in two, which is quadratic; otherwise only the middle, and byte by byte.
[[nodiscard]] inline std::string broken_promise(std::string_view bytes, bool head_request, bool every_cut) {
  const Outcome whole = play({bytes}, head_request);
  if (!whole.broken_rule.empty()) return whole.broken_rule;
  std::vector<std::string_view> single;
  for (std::size_t index = 0; index < bytes.size(); ++index)
    single.push_back(bytes.substr(index, 1));
  if (play(single, head_request) != whole) return "another outcome byte by byte";
  for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
    if (!every_cut && cut != bytes.size() / 2) continue;
    if (play({bytes.substr(0, cut), bytes.substr(cut)}, head_request) != whole) {
      return "another outcome cut at " + std::to_string(cut);
    }
  }
  return {};
}

}  // namespace fastpool::h1::test
