// The bytes of an event stream, cut in every way, and the events that they are.

#include <algorithm>
#include <ostream>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <fastpool/server_sent_events.h>

namespace fastpool::client::test {
namespace {

using namespace std::string_literals;
using std::chrono::milliseconds;

/// An event that owns its text.
struct Seen {
  std::string data;
  std::string event = "message";
  std::string id = {};
  OptionalDuration retry = {};
  friend bool operator==(const Seen&, const Seen&) = default;
  friend std::ostream& operator<<(std::ostream& out, const Seen& seen) {
    out << seen.event << " \"" << seen.data << "\" id \"" << seen.id << '"';
    if (seen.retry) out << " retry " << seen.retry->count() << " ns";
    return out;
  }
};

/// What a whole stream came to.
struct Outcome {
  std::vector<Seen> events;
  std::string last_id = {};
  OptionalDuration retry = {};
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

Outcome scan(std::span<const std::string> pieces) {
  Outcome outcome;
  EventScanner scanner;
  for (std::string piece : pieces) {
    scanner.feed(piece);
    for (;;) {
      const auto event = scanner.next();
      EXPECT_TRUE(event.ok()) << event.error().detail;
      if (!event || !*event) break;
      const ServerSentEvent& seen = **event;
      outcome.events.push_back({std::string(seen.data), std::string(seen.event), std::string(seen.id), seen.retry});
    }
    piece.assign(piece.size(), 'X');  // the scanner keeps no view into it
  }
  outcome.last_id = scanner.last_event_id();
  outcome.retry = scanner.retry();
  return outcome;
}

std::vector<std::string> byte_by_byte(const std::string& bytes) {
  std::vector<std::string> pieces;
  for (const char byte : bytes)
    pieces.emplace_back(1, byte);
  return pieces;
}

struct Case {
  std::string bytes;
  std::vector<Seen> events;
};

void expect_events(const Case& tested) {
  SCOPED_TRACE(::testing::PrintToString(tested.bytes));
  const Outcome whole = scan({{tested.bytes}});
  EXPECT_EQ(whole.events, tested.events);
  EXPECT_EQ(scan(byte_by_byte(tested.bytes)), whole);
  for (std::size_t cut = 0; cut <= tested.bytes.size(); ++cut)
    ASSERT_EQ(scan({{tested.bytes.substr(0, cut), tested.bytes.substr(cut)}}), whole) << "cut at " << cut;
}

const std::string long_text(2048, 'x');

TEST(EventScanner, reads_the_examples_of_the_standard) {
  expect_events(
      {"data: This is the first message.\n\n"
       "data: This is the second message, it\ndata: has two lines.\n\n"
       "data: This is the third message.\n\n",
       {{"This is the first message."},
        {"This is the second message, it\nhas two lines."},
        {"This is the third message."}}});
  expect_events({"event: add\ndata: 73857293\n\nevent: remove\ndata: 2153\n\nevent: add\ndata: 113411\n\n",
                 {{"73857293", "add"}, {"2153", "remove"}, {"113411", "add"}}});
  expect_events({"data: YHOO\ndata: +2\ndata: 10\n\n", {{"YHOO\n+2\n10"}}});
  expect_events({": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
                 {{"first event", "message", "1"}, {"second event"}, {" third event"}}});
  expect_events({"data\n\ndata\ndata\n\ndata:", {{""}, {"\n"}}});
  expect_events({"data:test\n\ndata: test\n\n", {{"test"}, {"test"}}});
}

// As in web-platform-tests, eventsource/format-*.
TEST(EventScanner, takes_a_byte_order_mark_at_the_start_alone) {
  expect_events(
      {"\xEF\xBB\xBF"
       "data:1\n\n\xEF\xBB\xBF"
       "data:2\n\ndata:3\n\n",
       {{"1"}, {"3"}}});
  expect_events(
      {"\xEF\xBB\xBF\xEF\xBB\xBF"
       "data:1\n\ndata:2\n\ndata:3\n\n",
       {{"2"}, {"3"}}});
  expect_events({"\xEF\xBB\xBF\n\ndata:1\n\n", {{"1"}}});
  expect_events(
      {"\n\xEF\xBB\xBF"
       "data:1\n\ndata:2\n\n",
       {{"2"}}});
  expect_events(
      {"\xEF\xBB"
       "data:1\n\ndata:2\n\n",
       {{"2"}}});
}

TEST(EventScanner, ignores_comments) {
  expect_events({"data:1\r:\0\n:\r\ndata:2\n:"s + long_text + "\rdata:3\n:data:fail\r:" + long_text + "\ndata:4\n\n",
                 {{"1\n2\n3\n4"}}});
  expect_events({": nothing else\n\n:\n\n", {}});
}

TEST(EventScanner, drops_an_event_that_the_end_cuts_off) {
  expect_events({"retry:1000\ndata:test1\n\nid:test\ndata:test2", {{"test1", "message", "", milliseconds(1000)}}});
  expect_events({"data:test1\n\ndata:test2\n", {{"test1"}}});
  EXPECT_EQ(scan({{"id:1\ndata:a\n\nid:2\ndata:b\n"s}}).last_id, "1") << "the second event has not ended";
}

TEST(EventScanner, takes_lines_of_data_that_are_empty) {
  expect_events({"data:\n\ndata\ndata\n\ndata:test\n\n", {{""}, {"\n"}, {"test"}}});
  expect_events({"\n\n\ndata:test\n\n\n\n", {{"test"}}});
}

TEST(EventScanner, names_an_event_message_unless_its_type_is_given) {
  expect_events({"event: \ndata:data\n\n", {{"data"}}});
  expect_events({"event:test\ndata:x\n\ndata:x\n\n", {{"x", "test"}, {"x"}}});
  expect_events({"event:first\nevent:second\ndata:x\n\n", {{"x", "second"}}});
  expect_events({"event:without data\n\ndata:x\n\n", {{"x"}}});
}

TEST(EventScanner, keeps_the_last_event_id) {
  expect_events({"id: 1\ndata:a\n\ndata:b\n\nid\ndata:c\n\n", {{"a", "message", "1"}, {"b", "message", "1"}, {"c"}}});
  expect_events({"id: 1\n\ndata:a\n\n", {{"a", "message", "1"}}});
  expect_events({"id: 1\nid: 2\x00\ndata:a\n\nid: \0\ndata:b\n\n"s, {{"a", "message", "1"}, {"b", "message", "1"}}});
  expect_events({"id:\xE2\x80\xA6\ndata:a\n\n", {{"a", "message", "\xE2\x80\xA6"}}});
  EXPECT_EQ(scan({{"id:7\n\n"s}}).last_id, "7");
}

TEST(EventScanner, reads_fields_exactly) {
  expect_events(
      {"data:\0\ndata:  2\rData:1\ndata\0:2\ndata:1\r\0data:4\nda-ta:3\rdata_5\ndata:3\rdata:\r\n data:32\ndata:4\n\n"s,
       {{"\0\n 2\n1\n3\n\n4"s}}});
  expect_events({"data:test\n data\ndata\nfoobar:xxx\njustsometext\n:thisisacommentyay\n\n", {{"test\n"}}});
  expect_events({"data:\ttest\rdata: \ndata:test\n\n", {{"\ttest\n\ntest"}}});
  expect_events({"data:\0\n\n\n\n"s, {{"\0"s}}});
  expect_events({"data: a: b:c\n\n", {{"a: b:c"}}});
  expect_events({"data:ok\xE2\x80\xA6\n\n", {{"ok\xE2\x80\xA6"}}});
}

TEST(EventScanner, ends_lines_by_cr_lf_and_both) {
  expect_events({"data:test\r\ndata\ndata:test\r\n\r", {{"test\n\ntest"}}});
  for (const std::string end : {"\r", "\n", "\r\n"})
    expect_events({"data:1" + end + "data:2" + end + end + "data:3" + end + end, {{"1\n2"}, {"3"}}});
  expect_events({"data:1\n\r\ndata:2\r\r\ndata:3\r\n\n", {{"1"}, {"2"}, {"3"}}});
}

TEST(EventScanner, gives_an_event_without_waiting_for_the_lf_after_its_cr) {
  EventScanner scanner;
  scanner.feed("data:1\r\n\r");
  ASSERT_TRUE(*scanner.next());
  EXPECT_FALSE(*scanner.next());
  scanner.feed("\ndata:2\r\n\r\n");
  const auto second = scanner.next();
  ASSERT_TRUE(*second);
  EXPECT_EQ((**second).data, "2");
}

TEST(EventScanner, takes_reconnection_times_of_digits) {
  const auto retry_after = [](const std::string& fields) { return scan({{fields}}).retry; };
  EXPECT_EQ(retry_after("retry:3000\n"), milliseconds(3000));
  EXPECT_EQ(retry_after("retry: 007\n"), milliseconds(7));
  EXPECT_EQ(retry_after("retry:3000\nretry:1000x\n"), milliseconds(3000));
  EXPECT_EQ(retry_after("retry:3000\nretry:-1\nretry:1.5\nretry:+1\nretry:1 \nretry:\nretry\n"), milliseconds(3000));
  EXPECT_EQ(retry_after("retry:0\n"), milliseconds(0));
  EXPECT_EQ(retry_after("retry:9223372036854\n"), milliseconds(9223372036854));
  EXPECT_EQ(retry_after("retry:9223372036855\n"), Duration::max());
  EXPECT_EQ(retry_after("retry:" + std::string(100, '9') + "\n"), Duration::max());
  EXPECT_EQ(retry_after("data:x\n\n"), std::nullopt);
  expect_events({"retry:5\n\ndata:a\n\ndata:b\n\n", {{"a", "message", "", milliseconds(5)}, {"b"}}});
}

// ---- limits ----------------------------------------------------------------------------------------------------------

ErrorCode code_of(std::size_t most, std::span<const std::string> pieces) {
  EventScanner scanner(most);
  for (const std::string& piece : pieces) {
    scanner.feed(piece);
    for (;;) {
      const auto event = scanner.next();
      if (!event) {
        EXPECT_EQ(scanner.next().error().code, event.error().code) << "the error lasts";
        scanner.feed("data:1\n\n");
        EXPECT_FALSE(scanner.next().ok()) << "the error lasts";
        return event.error().code;
      }
      if (!*event) break;
    }
  }
  return ErrorCode{};
}

TEST(EventScanner, refuses_lines_and_events_beyond_its_limit) {
  const auto refuses = [](const std::string& bytes) {
    const bool whole = code_of(20, {{bytes}}) == ErrorCode::body_too_large;
    EXPECT_EQ(code_of(20, byte_by_byte(bytes)) == ErrorCode::body_too_large, whole) << bytes;
    return whole;
  };
  EXPECT_FALSE(refuses("data:" + std::string(15, 'x') + "\n\n"));
  EXPECT_TRUE(refuses("data:" + std::string(16, 'x') + "\n\n"));
  EXPECT_TRUE(refuses(":" + std::string(20, 'x') + "\n"));
  EXPECT_TRUE(refuses(std::string(21, 'x'))) << "before the end of the line has come";
  EXPECT_FALSE(refuses(std::string(20, 'x')));
  EXPECT_FALSE(refuses("data:123456789\ndata:123456789\n\n"));
  EXPECT_TRUE(refuses("data:123456789\ndata:1234567890\ndata:\n\n"));
  EXPECT_FALSE(refuses("data:1234567890\n\ndata:1234567890\n\ndata:1234567890\n\n")) << "the limit is of one event";
}

TEST(EventScanner, reports_a_piece_fed_before_all_events_of_the_last_were_taken) {
  EventScanner scanner;
  scanner.feed("data:1\n\ndata:2\n\n");
  ASSERT_TRUE(*scanner.next());
  scanner.feed("data:3\n\n");
  const auto lost = scanner.next();
  ASSERT_FALSE(lost.ok());
  EXPECT_EQ(lost.error().code, ErrorCode::invalid_argument);
}

// ---- any bytes -------------------------------------------------------------------------------------------------------

/// The standard's own steps, over a whole stream at once.
std::vector<Seen> by_the_book(std::string bytes) {
  if (bytes.starts_with("\xEF\xBB\xBF")) bytes.erase(0, 3);
  std::vector<std::string> lines(1);
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    if (bytes[at] != '\r' && bytes[at] != '\n') {
      lines.back() += bytes[at];
      continue;
    }
    if (bytes.compare(at, 2, "\r\n") == 0) ++at;
    lines.emplace_back();
  }
  lines.pop_back();  // has no end
  std::vector<Seen> events;
  std::string data;
  std::string event;
  std::string id;
  OptionalDuration retry;
  for (const std::string& line : lines) {
    if (line.empty()) {
      if (!data.empty()) {
        data.pop_back();
        events.push_back({data, event.empty() ? "message" : event, id, std::exchange(retry, {})});
      }
      data.clear();
      event.clear();
      continue;
    }
    const std::size_t colon = std::min(line.find(':'), line.size());
    const std::string name = line.substr(0, colon);
    std::string value = colon < line.size() ? line.substr(colon + 1) : "";
    if (!value.empty() && value[0] == ' ') value.erase(0, 1);
    if (name == "data") data += value + '\n';
    if (name == "event") event = value;
    if (name == "id" && value.find('\0') == std::string::npos) id = value;
    if (name == "retry" && !value.empty() && value.find_first_not_of("0123456789") == std::string::npos)
      retry = milliseconds(std::stol(value));
  }
  return events;
}

TEST(EventScanner, finds_the_same_events_however_any_bytes_are_cut) {
  const std::vector<std::string> parts = {"data", "event", "id",           "retry",      ":", ":",  " ", "\n",
                                          "\n",   "\r",    "\r\n",         "\n\n",       "x", "12", "",  "\0"s,
                                          "é",    "data:", "\xEF\xBB\xBF", "data: y\n\n"};
  std::mt19937 random(20240607);  // NOLINT(cert-msc51-cpp): the same cases in each run
  const auto below = [&](std::size_t limit) {
    return std::uniform_int_distribution<std::size_t>(0, limit - 1)(random);
  };
  std::size_t found = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string bytes;
    for (std::size_t count = below(40); count > 0; --count)
      bytes += parts[below(parts.size())];
    std::vector<std::string> pieces;
    for (std::size_t at = 0; at < bytes.size();) {
      pieces.push_back(bytes.substr(at, below(8)));
      at += pieces.back().size();
    }
    const Outcome cut = scan(pieces);
    ASSERT_EQ(cut.events, by_the_book(bytes)) << ::testing::PrintToString(pieces);
    ASSERT_EQ(cut, scan({{bytes}})) << ::testing::PrintToString(pieces);
    found += cut.events.size();
  }
  EXPECT_GT(found, 500U) << "the cases are too poor";
}

}  // namespace
}  // namespace fastpool::client::test
