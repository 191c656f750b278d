#include "h1/response_parser.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

namespace fastpool::h1 {
namespace {

using Event = ResponseParser::Event;

constexpr std::string_view status_line = "HTTP/1.1 200 OK\r\n";

/// Reads to the end or the first need_more or error; the body goes to `body`.
Event run(ResponseParser& parser, std::string_view input, std::string* body = nullptr) {
  while (true) {
    const ResponseParser::Step step = parser.parse(input);
    input.remove_prefix(step.consumed);
    if (step.event == Event::body && body != nullptr) body->append(step.body);
    if (step.event != Event::head && step.event != Event::body) return step.event;
  }
}

/// Returns a head of exactly `size` bytes that announces no body.
std::string head_of_size(std::size_t size) {
  const std::string frame = std::string(status_line) + "Content-Length: 0\r\nX: \r\n\r\n";
  std::string head = std::string(status_line) + "Content-Length: 0\r\nX: ";
  head.append(size - frame.size(), 'x').append("\r\n\r\n");
  return head;
}

TEST(AParser, ServesManyResponsesOneAfterTheOther) {
  ResponseParser parser;
  for (int round = 0; round < 3; ++round) {
    std::string body;
    parser.start(false);
    EXPECT_FALSE(parser.saw_bytes());
    EXPECT_EQ(run(parser,
                  "HTTP/1.1 201 Made\r\nKeep-Alive: timeout=9\r\nTransfer-Encoding: chunked\r\n\r\n"
                  "3\r\nabc\r\n0\r\n\r\n",
                  &body),
              Event::end);
    EXPECT_EQ(parser.head().status, 201);
    EXPECT_EQ(parser.head().headers.size(), 2U);
    EXPECT_EQ(parser.keep_alive_timeout(), 9);
    EXPECT_EQ(body, "abc");
    EXPECT_TRUE(parser.reusable());

    parser.start(true);
    EXPECT_EQ(parser.keep_alive_timeout(), -1);
    EXPECT_EQ(run(parser, "HTTP/1.1 204 None\r\n\r\n"), Event::end);
    EXPECT_EQ(parser.head().status, 204);
    EXPECT_TRUE(parser.head().headers.empty());
  }
}

TEST(AParser, StartsAfreshBehindAnErrorAndBehindAResponseLeftUnread) {
  ResponseParser parser;
  parser.start(false);
  EXPECT_EQ(run(parser, "nonsense"), Event::error);
  EXPECT_EQ(run(parser, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), Event::error) << "an error is final";
  EXPECT_FALSE(parser.reusable());
  EXPECT_FALSE(parser.ended_early());
  parser.start(false);
  EXPECT_EQ(run(parser, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"), Event::need_more);
  EXPECT_FALSE(parser.reusable());
  parser.start(false);
  EXPECT_EQ(run(parser, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), Event::end);
  EXPECT_TRUE(parser.error_detail().empty());
  EXPECT_TRUE(parser.reusable());
}

TEST(AParser, CanBeMovedWithinAResponse) {
  ResponseParser first;
  first.start(false);
  EXPECT_EQ(run(first, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab"), Event::need_more);
  ResponseParser second = std::move(first);
  std::string body;
  EXPECT_EQ(run(second, "cd", &body), Event::end);
  EXPECT_EQ(body, "cd");
  EXPECT_EQ(second.head().headers.find("content-length"), "4");
}

TEST(AParser, GivesPiecesOfBodyAsViewsIntoTheInput) {
  ResponseParser parser;
  parser.start(false);
  const std::string input = std::string(status_line) + "Content-Length: 6\r\n\r\nabcdef";
  const ResponseParser::Step head = parser.parse(input);
  ASSERT_EQ(head.event, Event::head);
  const ResponseParser::Step body = parser.parse(std::string_view(input).substr(head.consumed));
  ASSERT_EQ(body.event, Event::body);
  EXPECT_EQ(body.body.data(), input.data() + head.consumed);
  EXPECT_EQ(body.body, "abcdef");
}

TEST(AParser, EndsAResponseWithoutABodyWhenAskedWithNothing) {
  ResponseParser parser;
  parser.start(true);
  ASSERT_EQ(parser.parse("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n").event, Event::head);
  EXPECT_EQ(parser.parse("").event, Event::end);
  EXPECT_EQ(parser.parse("more").consumed, 0U) << "what follows is not this response's";
  EXPECT_EQ(parser.finish().event, Event::end);
}

TEST(AParser, RemembersThatBytesWereSeenEvenOfAnInterimHead) {
  ResponseParser parser;
  parser.start(false);
  EXPECT_EQ(parser.parse("").event, Event::need_more);
  EXPECT_FALSE(parser.saw_bytes());
  EXPECT_EQ(run(parser, "HTTP/1.1 100 Continue\r\n\r\n"), Event::need_more);
  EXPECT_TRUE(parser.saw_bytes());
}

TEST(AParser, ReadsABodyOverEveryLimitOfItsLibrary) {
  ResponseParser parser;
  const std::string piece(1 << 20, 'x');
  parser.start(false);
  EXPECT_EQ(run(parser, "HTTP/1.1 200 OK\r\nContent-Length: 20971520\r\n\r\n"), Event::need_more);
  std::string body;
  for (int count = 0; count < 19; ++count)
    ASSERT_EQ(run(parser, piece, &body), Event::need_more);
  EXPECT_EQ(run(parser, piece, &body), Event::end);
  EXPECT_EQ(body.size(), 20U << 20U);

  parser.start(false);
  EXPECT_EQ(run(parser, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1400000\r\n"), Event::need_more);
  for (int count = 0; count < 20; ++count)
    ASSERT_EQ(run(parser, piece), Event::need_more);
  EXPECT_EQ(run(parser, "\r\n0\r\n\r\n"), Event::end);
}

TEST(AHeadOf256KiB, IsReadAndOneByteMoreIsRefused) {
  ResponseParser parser;
  parser.start(false);
  EXPECT_EQ(run(parser, head_of_size(ResponseParser::max_head_bytes)), Event::end);
  parser.start(false);
  EXPECT_EQ(run(parser, head_of_size(ResponseParser::max_head_bytes + 1)), Event::error);
  EXPECT_EQ(parser.error_detail(), "status line, headers and trailers over 256 KiB");
}

TEST(AHeadWithoutEnd, IsRefusedAsSoonAsItIsTooLarge) {
  ResponseParser parser;
  parser.start(false);
  const std::string head = head_of_size(ResponseParser::max_head_bytes + 100);
  EXPECT_EQ(parser.parse(std::string_view(head).substr(0, ResponseParser::max_head_bytes)).event, Event::need_more);
  EXPECT_EQ(parser.parse(std::string_view(head).substr(0, ResponseParser::max_head_bytes + 1)).event, Event::error);
}

TEST(ManyHeaders, AreReadUpToTheSameBound) {
  std::string head(status_line);
  int count = 0;
  for (; head.size() + 100 < ResponseParser::max_head_bytes; ++count)
    head += "N" + std::to_string(count) + ": v\r\n";
  head += "Content-Length: 0\r\n\r\n";
  ResponseParser parser;
  parser.start(false);
  EXPECT_EQ(run(parser, head), Event::end);
  EXPECT_EQ(parser.head().headers.size(), static_cast<std::size_t>(count) + 1);
}

TEST(Trailers, CountTogetherWithTheHead) {
  const std::string head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
  const std::string half(ResponseParser::max_head_bytes / 2, 'x');
  const std::string trailers = "0\r\nA: " + half + "\r\nB: " + half + "\r\n\r\n";
  ResponseParser parser;
  parser.start(false);
  EXPECT_EQ(run(parser, head + trailers), Event::error) << "in one piece";
  EXPECT_EQ(parser.error_detail(), "status line, headers and trailers over 256 KiB");
  parser.start(false);
  ASSERT_EQ(run(parser, head), Event::need_more);
  EXPECT_EQ(run(parser, trailers.substr(0, trailers.size() - 2)), Event::error) << "while they wait for their end";
  parser.start(false);
  EXPECT_EQ(run(parser, head + "0\r\nA: " + half + "\r\n\r\n"), Event::end) << "below the bound";
}

TEST(AChunkSizeLine, IsBounded) {
  const std::string head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
  const std::string extension(17UL * 1024, 'x');
  ResponseParser parser;
  parser.start(false);
  EXPECT_EQ(run(parser, head + "1;" + extension + "\r\na\r\n0\r\n\r\n"), Event::error) << "in one piece";
  EXPECT_EQ(parser.error_detail(), "a chunk size line over 16 KiB");
  parser.start(false);
  EXPECT_EQ(run(parser, head + "1;" + extension), Event::error) << "while it waits for its end";
  EXPECT_EQ(parser.error_detail(), "a chunk size line over 16 KiB");
}

TEST(InterimHeads, AreSkippedUpToAHundred) {
  std::string hundred;
  for (int count = 0; count < 100; ++count)
    hundred += "HTTP/1.1 102 Processing\r\n\r\n";
  ResponseParser parser;
  parser.start(false);
  EXPECT_EQ(run(parser, hundred + "HTTP/1.1 204 Done\r\n\r\n"), Event::end);
  EXPECT_EQ(parser.head().status, 204);
  parser.start(false);
  EXPECT_EQ(run(parser, hundred + "HTTP/1.1 102 Processing\r\n\r\n"), Event::error);
  EXPECT_EQ(parser.error_detail(), "more than 100 interim (1xx) responses");
}

TEST(AFoldedHeader, IsReadOverTheLimitOfItsLibrary) {
  const std::string line(3000, 'x');
  ResponseParser parser;
  parser.start(false);
  EXPECT_EQ(run(parser, "HTTP/1.1 204 None\r\nX: " + line + "\r\n " + line + "\r\n\r\n"), Event::end);
  EXPECT_EQ(parser.head().headers.find("x"), line + " " + line);
  EXPECT_TRUE(parser.reusable());
}

}  // namespace
}  // namespace fastpool::h1
