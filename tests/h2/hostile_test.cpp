// Peers that break the protocol, or do nothing else than cost (RFC 9113 sections 5.4 and 10.5).

#include <functional>

#include "h2/server.h"

namespace fastpool::h2::test {
namespace {

/// What a peer sends to a client that has streams 1 and 3 open, and what becomes of these.
struct Hostile {
  friend void PrintTo(const Hostile& hostile, std::ostream* out) { *out << hostile.name; }

  const char* name;
  std::string bytes;
  bool connection_ends;  ///< else stream 1 alone fails
};

class HostileTest : public ::testing::TestWithParam<Hostile> {};

TEST_P(HostileTest, ends_what_it_broke_and_nothing_else) {
  Stream first;
  Stream second;
  Begun begun(first, second);
  auto& [client, server] = begun;
  const auto fed = client->feed(GetParam().bytes);
  std::string out;
  ASSERT_TRUE(client->pull(out));
  EXPECT_EQ(fed.ok(), !GetParam().connection_ends) << (fed.ok() ? "" : fed.error().detail);
  ASSERT_TRUE(first.failure);
  EXPECT_FALSE(first.failure->unread);
  EXPECT_EQ(client->failed(), GetParam().connection_ends);
  if (GetParam().connection_ends) {
    EXPECT_EQ(fed.error().code, ErrorCode::remote_protocol);
    EXPECT_NE(fed.error().detail, "");
    EXPECT_TRUE(second.failure);
    EXPECT_NE(out.find(std::string("\0\0\0\0\0", 5)), std::string::npos) << "a GOAWAY, on stream 0";
    EXPECT_FALSE(client->feed(frame(ping, 0, 0, "12345678")).ok()) << "nothing more is read";
  } else {
    EXPECT_TRUE(second.is_open());
    nghttp2_session_mem_recv(server.session, reinterpret_cast<const std::uint8_t*>(out.data()), out.size());
    EXPECT_NE(server.asked[1].reset, 0U) << "the peer was told";
    EXPECT_TRUE(client->feed(frame(headers, end_headers | end_stream, 3, literals({{":status", "204"}}))).ok());
    EXPECT_EQ(second.head.status, 204);
    EXPECT_FALSE(second.failure);
  }
}

std::string many(int count, const std::string& each) {
  std::string all;
  for (int i = 0; i < count; ++i)
    all += each;
  return all;
}

std::string head(const std::vector<std::pair<std::string, std::string>>& fields, unsigned char flags = 0,
                 std::uint32_t stream = 1) {
  return frame(headers, static_cast<unsigned char>(end_headers | flags), stream, literals(fields));
}

const std::vector<Hostile> hostile = {
    {"data_on_a_stream_that_was_never_opened", frame(data, 0, 5, "bytes"), true},
    {"headers_on_a_stream_that_was_never_opened", head({{":status", "200"}}, 0, 7), true},
    {"headers_on_a_stream_of_the_servers", head({{":status", "200"}}, 0, 2), true},
    {"data_before_the_head", frame(data, 0, 1, "bytes"), true},
    {"bad_hpack", frame(headers, end_headers, 1, std::string("\xff\xff\xff\xff\xff\xff", 6)), true},
    {"a_window_that_overflows",
     frame(window_update, 0, 0, four(0x7fffffff)) + frame(window_update, 0, 0, four(0x7fffffff)), true},
    {"a_window_update_of_zero", frame(window_update, 0, 0, four(0)), true},
    {"an_initial_window_beyond_the_limit", frame(settings, 0, 0, std::string("\0\4", 2) + four(0x80000000U)), true},
    {"settings_of_a_strange_size", frame(settings, 0, 0, "12345"), true},
    {"a_ping_of_a_strange_size", frame(ping, 0, 0, "123"), true},
    {"a_frame_that_is_too_long", frame(data, 0, 1, std::string(16'385, 'x')), true},
    {"a_push", frame(push_promise, end_headers, 1, four(2) + literals({{":method", "GET"}})), true},
    {"a_header_block_that_another_frame_interrupts",
     frame(headers, 0, 1, literals({{":status", "200"}})) + frame(data, 0, 1, "bytes"), true},
    {"a_continuation_of_nothing", frame(continuation, end_headers, 1), true},
    {"continuations_without_an_end",
     frame(headers, 0, 1, literals({{":status", "200"}})) +
         many(100, frame(continuation, 0, 1, literals({{"a", "b"}}))),
     true},
    {"empty_continuations_without_an_end", frame(headers, 0, 1) + many(10'000, frame(continuation, 0, 1)), true},
    {"pings_without_an_end", many(5'000, frame(ping, 0, 0, "12345678")), true},
    {"settings_without_an_end", many(5'000, frame(settings, 0, 0)), true},
    {"empty_data_without_an_end", head({{":status", "200"}}) + many(5'000, frame(data, 0, 1)), true},
    {"priorities_without_an_end", many(5'000, frame(priority, 0, 1, four(0) + "\x10")), true},
    {"resets_of_closed_streams_without_an_end",
     frame(rst_stream, 0, 1, four(2)) + many(5'000, frame(rst_stream, 0, 1, four(2))), true},
    {"window_updates_without_an_end", many(5'000, frame(window_update, 0, 1, four(1))), true},
    {"unknown_frames_without_an_end", many(5'000, frame(0x77, 0, 0, "x")), true},
    {"no_status", head({{"server", "none"}}, end_stream), false},
    {"a_status_that_is_none", head({{":status", "abc"}}, end_stream), false},
    {"two_statuses", head({{":status", "200"}, {":status", "200"}}, end_stream), false},
    {"a_pseudo_header_of_requests", head({{":status", "200"}, {":path", "/"}}, end_stream), false},
    {"an_upper_case_name", head({{":status", "200"}, {"Server", "loud"}}, end_stream), false},
    {"a_connection_specific_header", head({{":status", "200"}, {"connection", "close"}}, end_stream), false},
    {"a_value_with_a_line_end", head({{":status", "200"}, {"a", "b\r\nc"}}, end_stream), false},
    {"a_switch_of_protocols", head({{":status", "101"}}), false},
    {"interim_heads_without_an_end", many(200, head({{":status", "103"}})), false},
    {"an_interim_head_that_ends_the_stream", head({{":status", "103"}}, end_stream), false},
    {"a_body_shorter_than_its_length",
     head({{":status", "200"}, {"content-length", "5"}}) + frame(data, end_stream, 1, "abc"), false},
    {"a_body_longer_than_its_length", head({{":status", "200"}, {"content-length", "1"}}) + frame(data, 0, 1, "abc"),
     false},
    {"an_end_without_the_body_of_its_length", head({{":status", "200"}, {"content-length", "5"}}, end_stream), false},
};

INSTANTIATE_TEST_SUITE_P(Peers, HostileTest, ::testing::ValuesIn(hostile),
                         [](const auto& each) { return std::string(each.param.name); });

TEST(Hostile, a_header_block_over_the_limit_ends_its_stream) {
  Stream stream;
  Stream other;
  Begun begun(stream, other, {.max_header_bytes = 10'000});
  auto& client = begun.client;
  std::vector<std::pair<std::string, std::string>> fields{{":status", "200"}};
  fields.resize(100, {"x-field", std::string(93, 'v')});  // 132 bytes each, as the limit counts
  ASSERT_TRUE(client->feed(head(fields, end_stream)).ok());
  ASSERT_TRUE(stream.failure);
  EXPECT_EQ(stream.failure->detail, "the header block is longer than allowed");
  ASSERT_TRUE(client->feed(head({{":status", "204"}}, end_stream, 3)).ok());
  EXPECT_EQ(other.head.status, 204);
}

// The stream's alone by RFC 9113 section 6.9.1, and in older versions of nghttp2; newer ones end the connection.
TEST(Hostile, a_streams_window_that_overflows_ends_the_stream_or_the_connection) {
  Stream stream;
  Stream other;
  Begun begun(stream, other);
  auto& client = begun.client;
  const auto fed = client->feed(frame(window_update, 0, 1, four(0x7fffffff)));
  ASSERT_TRUE(stream.failure);
  EXPECT_FALSE(stream.failure->unread);
  EXPECT_EQ(client->failed(), !fed.ok());
  EXPECT_EQ(other.failure.has_value(), client->failed());
  EXPECT_EQ(client->feed(head({{":status", "204"}}, end_stream, 3)).ok(), !client->failed());
  EXPECT_EQ(other.head.status, client->failed() ? 0 : 204);
}

TEST(Hostile, data_behind_the_end_of_a_stream_changes_no_response) {
  Stream stream;
  Begun begun(stream);
  auto& client = begun.client;
  ASSERT_TRUE(client->feed(head({{":status", "200"}}) + frame(data, end_stream, 1, "all")).ok());
  (void)client->feed(frame(data, 0, 1, "more"));
  EXPECT_EQ(stream.body, "all");
  EXPECT_TRUE(stream.ended);
  EXPECT_FALSE(stream.failure);
}

TEST(Hostile, settings_that_shrink_windows_below_zero_hold_bodies_back) {
  Stream stream;
  Begun begun(stream, {}, "POST");
  auto& client = begun.client;
  const std::string large(60'000, 'x');
  client->write(stream, large, true);
  std::string out;
  ASSERT_TRUE(client->pull(out, 16'000));
  ASSERT_FALSE(stream.unsent().empty());
  ASSERT_TRUE(client->feed(frame(settings, 0, 0, std::string("\0\4", 2) + four(0))).ok());
  const std::size_t left = stream.unsent().size();
  out.clear();
  ASSERT_TRUE(client->pull(out, 1'000'000));
  EXPECT_EQ(stream.unsent().size(), left);
  ASSERT_TRUE(client->feed(frame(window_update, 0, 1, four(1'000'000))).ok());
  ASSERT_TRUE(client->pull(out, 1'000'000));
  EXPECT_TRUE(stream.sent());
}

TEST(Hostile, bytes_in_pieces_of_one_are_as_good_as_any) {
  Stream stream;
  Begun begun(stream);
  auto& client = begun.client;
  for (const char byte : head({{":status", "200"}}) + frame(data, 0, 1, "a") + frame(ping, 0, 0, "12345678") +
                             frame(data, end_stream, 1, "b"))
    ASSERT_TRUE(client->feed({&byte, 1}).ok());
  EXPECT_EQ(stream.body, "ab");
  EXPECT_TRUE(stream.ended);
}

}  // namespace
}  // namespace fastpool::h2::test
