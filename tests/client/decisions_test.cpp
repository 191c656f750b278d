// Decisions of the client as functions of plain values: the retry table, completed headers.

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "client/headers.h"
#include "client/retry.h"

namespace fastpool::client {
namespace {

FailedExchange stale() {
  FailedExchange failed;
  failed.bytes_sent = 100;
  failed.replayable = true;
  return failed;
}

TEST(RetryTable, a_replayable_request_on_a_stale_connection_is_sent_again) {
  EXPECT_EQ(decide_retry(stale()), Retry::yes);
}

TEST(RetryTable, never_on_a_fresh_connection) {
  auto failed = stale();
  failed.fresh = true;
  EXPECT_EQ(decide_retry(failed), Retry::no);
  failed.bytes_sent = 0;
  EXPECT_EQ(decide_retry(failed), Retry::no);
}

TEST(RetryTable, other_requests_only_if_no_byte_was_sent_or_with_proof) {
  auto failed = stale();
  failed.replayable = false;
  EXPECT_EQ(decide_retry(failed), Retry::no);
  failed.bytes_sent = 1;
  EXPECT_EQ(decide_retry(failed), Retry::no);
  failed.bytes_sent = 0;
  EXPECT_EQ(decide_retry(failed), Retry::yes);
}

TEST(RetryTable, a_proof_is_sought_only_where_it_is_possible_and_useful) {
  auto ended = stale();
  ended.peer_ended = true;
  EXPECT_EQ(decide_retry(ended), Retry::yes) << "replayable: no need";
  ended.replayable = false;
  EXPECT_EQ(decide_retry(ended), Retry::if_unread);
  for (bool FailedExchange::* hopeless : {&FailedExchange::fresh, &FailedExchange::response_began}) {
    auto failed = ended;
    failed.*hopeless = true;
    EXPECT_EQ(decide_retry(failed), Retry::no);
  }
  ended.rewindable = false;
  EXPECT_EQ(decide_retry(ended), Retry::no);
}

TEST(RetryTable, never_once_the_response_began) {
  auto failed = stale();
  failed.response_began = true;
  EXPECT_EQ(decide_retry(failed), Retry::no);
}

TEST(RetryTable, never_without_the_body) {
  auto failed = stale();
  failed.rewindable = false;
  EXPECT_EQ(decide_retry(failed), Retry::no);
  failed.bytes_sent = 0;
  EXPECT_EQ(decide_retry(failed), Retry::no);
}

TEST(RetryTable, only_a_broken_connection_is_a_reason) {
  for (std::size_t code = 0; code < error_code_count; ++code) {
    auto failed = stale();
    failed.error = static_cast<ErrorCode>(code);
    const bool broken = failed.error == ErrorCode::write_failed || failed.error == ErrorCode::read_failed;
    EXPECT_EQ(decide_retry(failed), broken ? Retry::yes : Retry::no) << to_string(failed.error);
  }
}

std::string wire(const CompletedHeaders& completed) {
  std::string text;
  for (const Header& header : completed.headers())
    text.append(header.name).append(": ").append(header.value).append("\n");
  return text;
}

TEST(CompletedHeaders, host_comes_first_without_the_schemes_own_port) {
  EXPECT_EQ(wire({"https://example.org:443", "GET", {{"Accept", "*/*"}}, 0}), "Host: example.org\nAccept: */*\n");
  EXPECT_EQ(wire({"http://example.org:80", "GET", {}, 0}), "Host: example.org\n");
  EXPECT_EQ(wire({"https://example.org:80", "GET", {}, 0}), "Host: example.org:80\n");
  EXPECT_EQ(wire({"http://[::1]:8080", "GET", {}, 0}), "Host: [::1]:8080\n");
  EXPECT_EQ(wire({"https://a:4430", "GET", {}, 0}), "Host: a:4430\n");
}

TEST(CompletedHeaders, a_host_that_the_caller_set_keeps_its_position) {
  EXPECT_EQ(wire({"http://a:80", "GET", {{"X", "1"}, {"hOsT", "other"}}, 0}), "X: 1\nhOsT: other\n");
}

TEST(CompletedHeaders, a_body_gets_its_length) {
  EXPECT_EQ(wire({"http://a:80", "POST", {}, 12}), "Host: a\nContent-Length: 12\n");
  EXPECT_EQ(wire({"http://a:80", "GET", {}, 3}), "Host: a\nContent-Length: 3\n");
}

TEST(CompletedHeaders, methods_that_expect_a_body_say_that_there_is_none) {
  for (const char* method : {"POST", "PUT", "PATCH"})
    EXPECT_EQ(wire({"http://a:80", method, {}, 0}), "Host: a\nContent-Length: 0\n") << method;
  for (const char* method : {"GET", "HEAD", "DELETE", "OPTIONS"})
    EXPECT_EQ(wire({"http://a:80", method, {}, 0}), "Host: a\n") << method;
}

TEST(CompletedHeaders, framing_that_the_caller_set_is_kept) {
  EXPECT_EQ(wire({"http://a:80", "POST", {{"Host", "a"}, {"transfer-encoding", "chunked"}}, 5}),
            "Host: a\ntransfer-encoding: chunked\n");
  EXPECT_EQ(wire({"http://a:80", "POST", {{"Host", "a"}, {"content-length", "7"}}, 5}), "Host: a\ncontent-length: 7\n");
}

}  // namespace
}  // namespace fastpool::client
