#include "h1/request_encoder.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

namespace fastpool::h1 {
namespace {

using namespace std::string_view_literals;

EncodedHead encoded(std::string& out, const std::vector<Header>& headers) {
  const Result<EncodedHead> head = encode_head(out, "POST", "/v1", headers);
  EXPECT_TRUE(head.ok()) << (head.ok() ? "" : head.error().detail);
  return head.ok() ? head.value() : EncodedHead{};
}

std::string refusal(std::string_view method, std::string_view target, const std::vector<Header>& headers) {
  std::string out = "kept";
  const Result<EncodedHead> head = encode_head(out, method, target, headers);
  EXPECT_EQ(out.substr(0, 4), "kept");
  if (head.ok()) return "accepted";
  EXPECT_EQ(out, "kept") << "a refused head must leave nothing behind";
  EXPECT_EQ(head.error().code, ErrorCode::local_protocol);
  EXPECT_EQ(head.error().phase, Phase::write);
  return head.error().detail;
}

std::string refusal(const std::vector<Header>& headers) {
  return refusal("POST", "/", headers);
}

TEST(AHead, IsWrittenExactlyAsGivenBehindWhatIsThere) {
  std::string out = "before|";
  const std::vector<Header> headers = {
      {"Host", "example.com"}, {"x-Odd", ""}, {"X-odd", "  spaces kept "}, {"X-Utf8", "caf\xc3\xa9"}};
  ASSERT_TRUE(encode_head(out, "GET", "/a?b=c", headers).ok());
  EXPECT_EQ(out,
            "before|GET /a?b=c HTTP/1.1\r\nHost: example.com\r\nx-Odd: \r\nX-odd:   spaces kept \r\n"
            "X-Utf8: caf\xc3\xa9\r\n\r\n");
}

TEST(AHead, BeginsWithHostWhereverThatWasGiven) {
  std::string out = "before|";
  const std::vector<Header> headers = {{"Accept", "*/*"}, {"X-A", "1"}, {"hOST", "example.com"}, {"x-b", "2"}};
  const Result<EncodedHead> head = encode_head(out, "GET", "/", headers);
  ASSERT_TRUE(head.ok());
  EXPECT_TRUE(head->has_host);
  EXPECT_EQ(out, "before|GET / HTTP/1.1\r\nhOST: example.com\r\nAccept: */*\r\nX-A: 1\r\nx-b: 2\r\n\r\n");
}

TEST(AHead, MayHaveNoHeadersAtAll) {
  std::string out;
  const Result<EncodedHead> head = encode_head(out, "OPTIONS", "*", {});
  ASSERT_TRUE(head.ok());
  EXPECT_EQ(out, "OPTIONS * HTTP/1.1\r\n\r\n");
  EXPECT_EQ(head->framing, Framing::none);
  EXPECT_FALSE(head->has_host);
  EXPECT_FALSE(head->close);
}

TEST(AHead, TellsItsFraming) {
  std::string out;
  EXPECT_EQ(encoded(out, {{"content-length", " 42 "}}).framing, Framing::content_length);
  EXPECT_EQ(encoded(out, {{"Content-Length", "18446744073709551615"}}).content_length,
            std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(encoded(out, {{"TRANSFER-ENCODING", "Chunked"}}).framing, Framing::chunked);
  EXPECT_EQ(encoded(out, {{"Content-Type", "text/plain"}}).framing, Framing::none);
}

TEST(AHead, TellsWhetherItHasAHostAndAsksToClose) {
  std::string out;
  EXPECT_TRUE(encoded(out, {{"HOST", "x"}}).has_host);
  EXPECT_FALSE(encoded(out, {{"Hosts", "x"}}).has_host);
  EXPECT_TRUE(encoded(out, {{"connection", "foo, Close"}}).close);
  EXPECT_FALSE(encoded(out, {{"Connection", "keep-alive"}}).close);
  EXPECT_FALSE(encoded(out, {{"Connection", "closed"}}).close);
}

TEST(AMethodThatIsNoToken, IsRefused) {
  EXPECT_EQ(refusal("", "/", {}), "the method \"\" is not a token");
  EXPECT_EQ(refusal("GET /admin", "/", {}), "the method \"GET /admin\" is not a token");
  EXPECT_EQ(refusal("GET\r\n", "/", {}), "the method \"GET\\x0d\\x0a\" is not a token");
  EXPECT_EQ(refusal("M-SEARCH", "/", {}), "accepted");
}

TEST(ATargetThatWouldEndTheRequestLine, IsRefused) {
  const std::string detail = "the request target is empty or contains a space or a control byte";
  for (const std::string_view target : {""sv, "/a b"sv, "/\r\nX: y"sv, "/\n"sv, "/\0"sv, "/\t"sv, "/\x7f"sv}) {
    EXPECT_EQ(refusal("GET", target, {}), detail);
  }
}

TEST(AHeaderNameThatIsNoToken, IsRefused) {
  for (const std::string_view name : {""sv, "a b"sv, "a:"sv, "a\r\nb"sv, "a\0"sv, " a"sv, "\xc3\xa9"sv, "a("sv}) {
    EXPECT_NE(refusal({{name, "x"}}).find("is not a token"), std::string::npos) << name;
  }
}

TEST(AHeaderValueThatWouldEndTheLine, IsRefusedWithoutShowingIt) {
  for (const std::string_view value : {"secret\r\nX: y"sv, "secret\n"sv, "secret\r"sv, "secret\0"sv}) {
    EXPECT_EQ(refusal({{"Authorization", value}}), "the value of the header \"Authorization\" contains CR, LF or NUL");
  }
}

TEST(ARefusedHead, LeavesNothingEvenIfItsFirstHeadersWereGood) {
  EXPECT_NE(refusal({{"Host", "x"}, {"Good", "y"}, {"Bad", "\n"}}), "accepted");
}

TEST(FramingThatCouldBeReadInTwoWays, IsRefused) {
  EXPECT_EQ(refusal({{"Content-Length", "5"}, {"content-length", "6"}}), "the request has conflicting Content-Length");
  EXPECT_EQ(refusal({{"Content-Length", "5, 6"}}), "the request has conflicting Content-Length");
  EXPECT_EQ(refusal({{"Content-Length", "5"}, {"Content-Length", "05"}}), "the request has conflicting Content-Length");
  EXPECT_EQ(refusal({{"Transfer-Encoding", "chunked"}, {"Content-Length", "5"}, {"Content-Length", "6"}}),
            "the request has conflicting Content-Length");
  EXPECT_EQ(refusal({{"Content-Length", "x"}, {"Transfer-Encoding", "chunked"}}),
            "the request has a Content-Length that is not one number");
  EXPECT_EQ(refusal({{"Transfer-Encoding", "chunked"}, {"Transfer-Encoding", "chunked"}}),
            "the request has repeated Transfer-Encoding");
  EXPECT_EQ(refusal({{"Host", "a"}, {"Host", "a"}}), "the request has repeated Host");
  for (const char* coding : {"", "gzip", "gzip, chunked", "chunked, chunked", "chunked;q=1", "identity"}) {
    EXPECT_EQ(refusal({{"Transfer-Encoding", coding}}), "the request has a Transfer-Encoding other than \"chunked\"");
  }
  for (const char* length : {"", "-1", "+1", ",", "0x1", "1 1", "18446744073709551616", "five"}) {
    EXPECT_EQ(refusal({{"Content-Length", length}}), "the request has a Content-Length that is not one number");
  }
}

TEST(ALengthGivenMoreThanOnce, IsWrittenOnce) {
  std::string out;
  const std::vector<Header> headers = {{"A", "1"}, {"Content-Length", "5"}, {"B", "2"}, {"content-length", "5"}};
  EXPECT_EQ(encoded(out, headers).content_length, 5U);
  EXPECT_EQ(out, "POST /v1 HTTP/1.1\r\nA: 1\r\nContent-Length: 5\r\nB: 2\r\n\r\n");
  out.clear();
  EXPECT_EQ(encoded(out, {{"Content-Length", " 7 , 7"}, {"A", "1"}}).content_length, 7U);
  EXPECT_EQ(out, "POST /v1 HTTP/1.1\r\nContent-Length: 7\r\nA: 1\r\n\r\n");
}

TEST(ALengthBesideChunks, IsLeftOut) {
  for (const std::vector<Header>& headers :
       {std::vector<Header>{{"Content-Length", "5"}, {"Transfer-Encoding", "Chunked"}, {"A", "1"}},
        std::vector<Header>{{"Transfer-Encoding", "Chunked"}, {"content-length", "5, 5"}, {"A", "1"}},
        std::vector<Header>{
            {"Content-Length", "5"}, {"Transfer-Encoding", "Chunked"}, {"Content-Length", "5"}, {"A", "1"}}}) {
    std::string out = "before|";
    EXPECT_EQ(encoded(out, headers).framing, Framing::chunked);
    EXPECT_EQ(out, "before|POST /v1 HTTP/1.1\r\nTransfer-Encoding: Chunked\r\nA: 1\r\n\r\n");
  }
}

TEST(AChunkSize, IsHexadecimalWithItsLineEnd) {
  std::string out;
  encode_chunk_size(out, 26);
  encode_chunk_size(out, 1);
  encode_chunk_size(out, std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(out, "1a\r\n1\r\nffffffffffffffff\r\n");
}

TEST(IdempotentMethods, AreThoseOfTheStandardInTheirOwnCase) {
  for (const char* method : {"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
    EXPECT_TRUE(is_idempotent(method));
  for (const char* method : {"POST", "PATCH", "CONNECT", "get", ""})
    EXPECT_FALSE(is_idempotent(method));
}

}  // namespace
}  // namespace fastpool::h1
