// Requests over a session, beside nghttp2 as a server.

#include "h2/session.h"

#include "h2/server.h"

namespace fastpool::h2::test {
namespace {

class SessionTest : public ::testing::Test {
 protected:
  [[nodiscard]] static std::vector<Header> host() { return {{"Host", "one.example"}}; }
  void open(Stream& stream, std::string_view method = "GET", bool end = true) {
    const auto headers = host();
    const auto opened = client_->open(stream, {method, "https", "/path?query", headers}, end);
    ASSERT_TRUE(opened.ok()) << opened.error().detail;
  }

  std::unique_ptr<Session> client_ = Session::create();
  Server server_;
};

using Fields = std::vector<std::pair<std::string, std::string>>;

TEST_F(SessionTest, a_request_and_its_response) {
  Stream stream;
  open(stream);
  server_.converse(*client_);
  ASSERT_EQ(server_.asked.size(), 1U);
  EXPECT_EQ(
      server_.asked[1].fields,
      (Fields{{":method", "GET"}, {":scheme", "https"}, {":authority", "one.example"}, {":path", "/path?query"}}));
  EXPECT_TRUE(server_.asked[1].ended);
  server_.answer(1, 200, "hello", {{"content-type", "text/plain"}, {"content-length", "5"}});
  server_.converse(*client_);
  EXPECT_EQ(client_->take_changed(), &stream);
  EXPECT_EQ(client_->take_changed(), nullptr);
  EXPECT_EQ(stream.head.status, 200);
  EXPECT_EQ(stream.head.reason, "");
  EXPECT_EQ(stream.head.headers.find("content-type"), "text/plain");
  EXPECT_EQ(stream.body, "hello");
  EXPECT_TRUE(stream.ended);
  EXPECT_FALSE(stream.failure);
  EXPECT_FALSE(stream.is_open());
  EXPECT_EQ(client_->open_streams(), 0U);
}

TEST_F(SessionTest, many_requests_at_once_get_their_own_answers) {
  std::vector<Stream> streams(50);
  for (Stream& stream : streams)
    open(stream);
  server_.converse(*client_);
  for (auto& [id, asked] : server_.asked)
    server_.answer(id, 200, std::to_string(id));
  server_.converse(*client_);
  for (const Stream& stream : streams)
    EXPECT_EQ(stream.body, std::to_string(stream.id()));
}

TEST_F(SessionTest, a_body_is_sent_as_it_comes) {
  Stream stream;
  open(stream, "POST", false);
  server_.converse(*client_);
  EXPECT_FALSE(server_.asked[1].ended);
  for (const std::string_view piece : {"one", "two"}) {
    client_->write(stream, piece, false);
    server_.converse(*client_);
    EXPECT_EQ(stream.unsent(), "");
  }
  EXPECT_FALSE(stream.sent());
  client_->write(stream, "three", true);
  server_.converse(*client_);
  EXPECT_TRUE(stream.sent());
  EXPECT_EQ(server_.asked[1].body, "onetwothree");
  EXPECT_TRUE(server_.asked[1].ended);
}

TEST_F(SessionTest, a_body_that_was_handed_over_first_goes_with_the_head) {
  Stream stream;
  open(stream, "POST", false);
  client_->write(stream, "text", true);
  std::string out;
  ASSERT_TRUE(client_->pull(out));
  EXPECT_NE(out.find("text"), std::string::npos);
}

TEST_F(SessionTest, a_body_waits_for_the_peers_window) {
  Stream stream;
  open(stream, "POST", false);
  const std::string large(100'000, 'x');  // the window is 65,535 bytes
  client_->write(stream, large, true);
  nghttp2_session_set_local_window_size(server_.session, NGHTTP2_FLAG_NONE, 0, 1'000'000);
  std::string out;
  ASSERT_TRUE(client_->pull(out, 1'000'000));
  EXPECT_EQ(stream.unsent().size(), large.size() - 65'535);
  nghttp2_session_mem_recv(server_.session, reinterpret_cast<const std::uint8_t*>(out.data()), out.size());
  server_.converse(*client_);
  EXPECT_EQ(server_.asked[1].body, large);
}

TEST_F(SessionTest, a_response_nobody_reads_stops_at_its_own_window_and_no_other) {
  Stream slow;
  Stream other;
  open(slow);
  server_.converse(*client_);
  server_.answer(1, 200, std::string(3'000'000, 'x'));
  server_.converse(*client_);
  EXPECT_EQ(slow.body.size(), 1U << 20U);
  for (int i = 0; i < 20; ++i) {
    Stream each;
    open(each);
    server_.converse(*client_);
    server_.answer(each.id(), 200, std::string(1'000'000, 'y'));
    server_.converse(*client_);
    EXPECT_EQ(each.body.size(), 1'000'000U);
    client_->reset(each);
  }
  std::size_t size = 0;
  for (int round = 0; !slow.ended; ++round) {
    ASSERT_LT(round, 100) << "the connection's window is closed";
    size += slow.body.size();
    client_->credit(slow, slow.body.size());
    slow.body.clear();
    server_.converse(*client_);
  }
  EXPECT_EQ(size + slow.body.size(), 3'000'000U);
}

TEST_F(SessionTest, interim_responses_come_before_the_head_and_trailers_behind_the_body) {
  Stream stream;
  open(stream);
  server_.converse(*client_);
  server_.inform(1, 103);
  server_.converse(*client_);
  ASSERT_EQ(stream.interim.size(), 1U);
  EXPECT_EQ(stream.interim[0].status, 103);
  EXPECT_EQ(stream.interim[0].headers.find("x-interim"), "yes");
  EXPECT_FALSE(stream.has_head);
  const auto fed =
      client_->feed(frame(headers, end_headers, 1, literals({{":status", "200"}})) + frame(data, 0, 1, "body") +
                    frame(headers, end_headers | end_stream, 1, literals({{"x-trailer", "yes"}})));
  ASSERT_TRUE(fed.ok()) << fed.error().detail;
  EXPECT_EQ(stream.head.status, 200);
  EXPECT_EQ(stream.body, "body");
  EXPECT_EQ(stream.trailers.find("x-trailer"), "yes");
  EXPECT_TRUE(stream.ended);
}

TEST_F(SessionTest, a_peers_limit_of_streams_holds_new_ones_back) {
  Server strict({{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 2}});
  EXPECT_EQ(client_->max_streams(), 100U) << "until the peer has said";
  strict.converse(*client_);
  EXPECT_EQ(client_->max_streams(), 2U);
  Stream first;
  Stream second;
  Stream third;
  open(first);
  open(second);
  EXPECT_FALSE(client_->may_open());
  EXPECT_EQ(client_->open(third, {"GET", "https", "/", host()}, true).error().code, ErrorCode::unsupported);
  strict.converse(*client_);
  strict.answer(first.id(), 204, "");
  strict.converse(*client_);
  EXPECT_TRUE(client_->may_open());
}

TEST_F(SessionTest, requests_beyond_a_limit_that_came_before_they_were_sent_are_given_back) {
  Server strict({{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 2}});
  std::vector<Stream> streams(4);
  for (Stream& stream : streams)
    open(stream);
  strict.speak(*client_);
  EXPECT_TRUE(streams[0].is_open());
  EXPECT_TRUE(streams[1].is_open());
  for (const std::size_t last : {2U, 3U}) {
    ASSERT_TRUE(streams[last].failure);
    EXPECT_TRUE(streams[last].failure->unread);
    EXPECT_TRUE(streams[last].failure->unsent);
  }
  EXPECT_EQ(client_->resets(), 0U) << "the server does not hear of them";
  strict.converse(*client_);
  EXPECT_EQ(strict.asked.size(), 2U);
  for (const std::size_t first : {0U, 1U})
    strict.answer(streams[first].id(), 200, std::to_string(first));
  strict.converse(*client_);
  EXPECT_EQ(streams[0].body + streams[1].body, "01");
  Stream next;
  open(next);
  strict.converse(*client_);
  EXPECT_EQ(strict.asked.size(), 3U);
}

TEST_F(SessionTest, a_request_whose_head_is_half_sent_is_not_given_back) {
  const std::string long_value(50'000, 'x');
  const std::vector<Header> head{{"Host", "one.example"}, {"x-long", long_value}};
  std::vector<Stream> streams(2);
  for (Stream& stream : streams)
    ASSERT_TRUE(client_->open(stream, {"POST", "https", "/", head}, true).ok());
  std::string out;
  ASSERT_TRUE(client_->pull(out, 64UL * 1024).ok());
  ASSERT_GE(out.size(), 64UL * 1024) << "the second head is cut";
  const nghttp2_settings_entry none{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 0};
  nghttp2_submit_settings(server_.session, NGHTTP2_FLAG_NONE, &none, 1);
  server_.speak(*client_);
  for (const Stream& stream : streams) {
    EXPECT_TRUE(stream.is_open());
    EXPECT_FALSE(stream.failure);
  }
  client_->disconnect("gone");
  EXPECT_FALSE(streams[1].failure->unread);
}

TEST_F(SessionTest, requests_that_were_sent_before_the_limit_fell_go_on) {
  std::vector<Stream> streams(3);
  open(streams[0]);
  open(streams[1]);
  server_.converse(*client_);
  open(streams[2]);
  const nghttp2_settings_entry one{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 1};
  nghttp2_submit_settings(server_.session, NGHTTP2_FLAG_NONE, &one, 1);
  server_.speak(*client_);
  EXPECT_TRUE(streams[0].is_open());
  EXPECT_TRUE(streams[1].is_open());
  ASSERT_TRUE(streams[2].failure);
  EXPECT_TRUE(streams[2].failure->unsent);
  for (const std::size_t first : {0U, 1U})
    server_.answer(streams[first].id(), 200, std::to_string(first));
  server_.converse(*client_);
  EXPECT_EQ(streams[0].body + streams[1].body, "01");
}

TEST_F(SessionTest, a_stream_given_up_is_reset_and_forgotten) {
  auto stream = std::make_unique<Stream>();
  open(*stream);
  server_.converse(*client_);
  client_->reset(*stream);
  EXPECT_FALSE(stream->is_open());
  stream.reset();
  server_.answer(1, 200, "late");
  server_.converse(*client_);
  EXPECT_EQ(server_.asked[1].reset, std::uint32_t{NGHTTP2_CANCEL});
  EXPECT_EQ(client_->take_changed(), nullptr);
  EXPECT_EQ(client_->resets(), 1U);
  Stream next;
  open(next);
  server_.converse(*client_);
  server_.answer(3, 200, "fine");
  server_.converse(*client_);
  EXPECT_EQ(next.body, "fine");
}

TEST_F(SessionTest, a_stream_given_up_before_it_was_sent_is_never_seen) {
  Stream stream;
  open(stream, "POST", false);
  client_->write(stream, "text", true);
  client_->reset(stream);
  server_.converse(*client_);
  EXPECT_TRUE(server_.asked.empty());
}

TEST_F(SessionTest, a_refused_stream_is_proved_unread) {
  Stream stream;
  open(stream, "POST");
  server_.converse(*client_);
  nghttp2_submit_rst_stream(server_.session, NGHTTP2_FLAG_NONE, 1, NGHTTP2_REFUSED_STREAM);
  server_.converse(*client_);
  ASSERT_TRUE(stream.failure);
  EXPECT_TRUE(stream.failure->unread);
  EXPECT_TRUE(stream.failure->by_peer);
}

TEST_F(SessionTest, any_other_reset_may_have_been_processed) {
  Stream stream;
  open(stream, "POST");
  server_.converse(*client_);
  nghttp2_submit_rst_stream(server_.session, NGHTTP2_FLAG_NONE, 1, NGHTTP2_INTERNAL_ERROR);
  server_.converse(*client_);
  ASSERT_TRUE(stream.failure);
  EXPECT_FALSE(stream.failure->unread);
  EXPECT_EQ(stream.failure->code, std::uint32_t{NGHTTP2_INTERNAL_ERROR});
}

TEST_F(SessionTest, streams_above_the_last_id_of_a_goaway_are_proved_unread_and_the_others_end_as_they_do) {
  std::vector<Stream> streams(3);
  for (Stream& stream : streams)
    open(stream);
  server_.converse(*client_);
  ASSERT_TRUE(client_->feed(frame(goaway, 0, 0, four(3) + four(NGHTTP2_NO_ERROR))).ok());
  EXPECT_TRUE(client_->draining());
  EXPECT_FALSE(client_->may_open());
  EXPECT_TRUE(streams[0].is_open());
  EXPECT_TRUE(streams[1].is_open());
  ASSERT_TRUE(streams[2].failure);
  EXPECT_TRUE(streams[2].failure->unread);
  EXPECT_TRUE(streams[2].failure->goodbye) << "after it has served others";
  server_.answer(1, 200, "fine");
  server_.converse(*client_);
  EXPECT_EQ(streams[0].body, "fine");
}

TEST_F(SessionTest, a_goodbye_of_a_server_that_has_served_nothing_is_a_refusal) {
  Stream stream;
  open(stream);
  server_.converse(*client_);
  ASSERT_TRUE(client_->feed(frame(goaway, 0, 0, four(0) + four(NGHTTP2_NO_ERROR))).ok());
  ASSERT_TRUE(stream.failure);
  EXPECT_TRUE(stream.failure->unread);
  EXPECT_FALSE(stream.failure->goodbye);
}

TEST_F(SessionTest, an_answer_before_the_end_of_an_upload_stops_it) {
  Stream stream;
  open(stream, "POST", false);
  client_->write(stream, "first", false);
  server_.converse(*client_);
  ASSERT_TRUE(client_
                  ->feed(frame(headers, end_headers, 1, literals({{":status", "413"}})) +
                         frame(data, end_stream, 1, "no") + frame(rst_stream, 0, 1, four(NGHTTP2_NO_ERROR)))
                  .ok());
  EXPECT_EQ(stream.head.status, 413);
  EXPECT_EQ(stream.body, "no");
  EXPECT_TRUE(stream.ended);
  EXPECT_FALSE(stream.failure);
  EXPECT_TRUE(stream.stopped());
  EXPECT_TRUE(stream.sent());
}

TEST_F(SessionTest, pings_are_counted_until_they_are_answered) {
  client_->ping();
  client_->ping();
  EXPECT_EQ(client_->pings_unanswered(), 2U);
  server_.converse(*client_);
  EXPECT_EQ(client_->pings_unanswered(), 0U);
}

TEST_F(SessionTest, a_broken_connection_fails_all_streams) {
  Stream first;
  Stream second;
  open(first);
  server_.converse(*client_);
  open(second);
  client_->disconnect("the peer is gone");
  for (const Stream* stream : {&first, &second}) {
    ASSERT_TRUE(stream->failure);
    EXPECT_EQ(stream->failure->detail, "the peer is gone");
  }
  EXPECT_FALSE(first.failure->unread);
  EXPECT_TRUE(second.failure->unread) << "its HEADERS were never sent";
  EXPECT_FALSE(client_->may_open());
}

TEST_F(SessionTest, a_goodbye_is_told) {
  client_->say_goodbye();
  server_.converse(*client_);
  EXPECT_EQ(server_.goodbye, NGHTTP2_NO_ERROR);
  EXPECT_FALSE(client_->may_open());
}

TEST_F(SessionTest, push_is_off_and_the_windows_are_large) {
  server_.converse(*client_);
  EXPECT_EQ(nghttp2_session_get_remote_settings(server_.session, NGHTTP2_SETTINGS_ENABLE_PUSH), 0U);
  EXPECT_EQ(nghttp2_session_get_remote_settings(server_.session, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE), 1U << 20U);
  EXPECT_EQ(nghttp2_session_get_remote_window_size(server_.session), 16 << 20);
}

}  // namespace
}  // namespace fastpool::h2::test
