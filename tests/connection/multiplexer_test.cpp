// What the callers of one HTTP/2 connection share: wakes, room, output, ends.

#include "connection/multiplexer.h"

#include <future>
#include <thread>

#include "connection/multiplexer_fixture.h"

namespace fastpool::connection::test {
namespace {

using std::chrono::seconds;
using support::eventually;

TimePoint at(int second) {
  return TimePoint(std::chrono::hours(1)) + seconds(second);
}

// ---- wakes -----------------------------------------------------------------------------------------------------------

TEST_F(MultiplexerTest, a_response_wakes_its_caller_alone) {
  const auto first = open();
  const auto second = open();
  converse();
  CountingWaker& first_waker = new_waker();
  CountingWaker& second_waker = new_waker();
  ASSERT_FALSE(multiplexer_->look(*first, Awaited::head, first_waker));
  ASSERT_FALSE(multiplexer_->look(*second, Awaited::head, second_waker));
  peer_.server.answer(3, 200, "two");
  converse();
  EXPECT_EQ(first_waker.wakes, 0);
  EXPECT_GE(second_waker.wakes, 1);
  EXPECT_TRUE(multiplexer_->look(*second, Awaited::head, second_waker));
  EXPECT_EQ(second->head.status, 200);
  EXPECT_EQ(taken(*second), "two");
  EXPECT_FALSE(multiplexer_->look(*first, Awaited::head, first_waker));
  multiplexer_->forget_waker(*first);
}

TEST_F(MultiplexerTest, a_caller_that_waits_for_the_body_is_not_woken_by_the_head) {
  const auto stream = open();
  converse();
  CountingWaker& waker = new_waker();
  ASSERT_FALSE(multiplexer_->look(*stream, Awaited::body, waker));
  peer_.server.inform(1, 103);
  converse();
  EXPECT_EQ(waker.wakes, 0);
  peer_.server.answer(1, 200, "body");
  converse();
  EXPECT_GE(waker.wakes, 1);
}

TEST_F(MultiplexerTest, a_caller_that_went_away_is_not_woken) {
  const auto stream = open();
  converse();
  CountingWaker& waker = new_waker();
  ASSERT_FALSE(multiplexer_->look(*stream, Awaited::head, waker));
  multiplexer_->forget_waker(*stream);
  peer_.server.answer(1, 200, "late");
  converse();
  EXPECT_EQ(waker.wakes, 0);
}

TEST_F(MultiplexerTest, interim_heads_are_taken_once) {
  const auto stream = open();
  converse();
  peer_.server.inform(1, 102);
  peer_.server.inform(1, 103);
  converse();
  EXPECT_TRUE(has_come(*stream, Awaited::head));
  const auto heads = multiplexer_->take_interim(*stream);
  ASSERT_EQ(heads.size(), 2U);
  EXPECT_EQ(heads[0].status, 102);
  EXPECT_EQ(heads[1].status, 103);
  EXPECT_TRUE(multiplexer_->take_interim(*stream).empty());
  EXPECT_FALSE(has_come(*stream, Awaited::head)) << "the final head has not come";
}

TEST_F(MultiplexerTest, a_window_that_opens_wakes_the_caller_that_sends) {
  const std::string body(100'000, 'x');  // more than the 65,535 bytes that a server takes at first
  const auto stream = open("POST", body);
  CountingWaker& waker = new_waker();
  (void)multiplexer_->look(*stream, Awaited::sent, waker);  // a part has gone out
  const bool sent = multiplexer_->look(*stream, Awaited::sent, waker);
  EXPECT_FALSE(sent);
  EXPECT_FALSE(multiplexer_->stand_of(*stream).sent);
  converse();  // the server reads, and opens its window
  EXPECT_GE(waker.wakes, 1);
  EXPECT_TRUE(multiplexer_->stand_of(*stream).sent);
  EXPECT_EQ(peer_.server.asked[1].body.size(), body.size());
}

TEST_F(MultiplexerTest, a_caller_that_takes_the_body_lets_the_server_send_on) {
  const auto stream = open();
  const auto other = open();
  converse();
  const std::string large(3UL << 20U, 'x');
  peer_.server.answer(1, 200, large);
  peer_.server.answer(3, 200, "other");
  converse();
  EXPECT_TRUE(has_come(*other, Awaited::body)) << "the window of one stream holds up no other";
  std::string all;
  for (int round = 0; all.size() < large.size() && round < 1000; ++round) {
    all += taken(*stream);
    converse();
  }
  EXPECT_EQ(all.size(), large.size());
}

// ---- room ------------------------------------------------------------------------------------------------------------

TEST_F(MultiplexerTest, tells_how_many_streams_the_server_allows) {
  auto listener = std::make_shared<CountingListener>();
  multiplexer_->set_listener(listener);
  EXPECT_EQ(multiplexer_->most_streams(), 100U) << "as long as the server has not said";
  const nghttp2_settings_entry few{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 2};
  nghttp2_submit_settings(peer_.server.session, NGHTTP2_FLAG_NONE, &few, 1);
  converse();
  EXPECT_EQ(multiplexer_->most_streams(), 2U);
  const int before = listener->changes;
  EXPECT_GE(before, 1);
  const nghttp2_settings_entry more{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 3};
  nghttp2_submit_settings(peer_.server.session, NGHTTP2_FLAG_NONE, &more, 1);
  converse();
  EXPECT_EQ(multiplexer_->most_streams(), 3U);
  EXPECT_EQ(listener->changes, before + 1);
}

TEST_F(MultiplexerTest, opens_no_stream_beyond_the_limit) {
  const nghttp2_settings_entry few{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 1};
  nghttp2_submit_settings(peer_.server.session, NGHTTP2_FLAG_NONE, &few, 1);
  converse();
  const auto first = open();
  MultiplexedStream second;
  const std::vector<Header> host{{"Host", "one.example"}};
  const auto refused = multiplexer_->open(second, {"GET", "http", "/", host}, {}, true);
  ASSERT_TRUE(refused.ok());
  EXPECT_FALSE(*refused);
  EXPECT_FALSE(second.is_open());
  converse();
  peer_.server.answer(1, 200, "");
  converse();
  EXPECT_EQ(multiplexer_->open_streams(), 0U);
  const auto opened = multiplexer_->open(second, {"GET", "http", "/", host}, {}, true);
  EXPECT_TRUE(opened.ok() && *opened);
  multiplexer_->detach();
}

TEST_F(MultiplexerTest, carries_no_new_stream_after_goaway_and_finishes_the_old_ones) {
  auto listener = std::make_shared<CountingListener>();
  const auto first = open();
  const auto second = open();
  converse();
  multiplexer_->set_listener(listener);
  nghttp2_submit_goaway(peer_.server.session, NGHTTP2_FLAG_NONE, 1, NGHTTP2_NO_ERROR, nullptr, 0);
  converse();
  EXPECT_EQ(multiplexer_->most_streams(), 0U);
  EXPECT_EQ(listener->changes, 1);
  EXPECT_TRUE(has_come(*second, Awaited::head));
  ASSERT_TRUE(second->failure.has_value());
  EXPECT_TRUE(second->failure->unread);
  EXPECT_FALSE(has_come(*first, Awaited::head));
  peer_.server.answer(1, 200, "first");
  converse();
  EXPECT_TRUE(has_come(*first, Awaited::head));
  EXPECT_EQ(taken(*first), "first");
}

TEST_F(MultiplexerTest, is_retired_after_five_hundred_resets) {
  converse();
  for (int number = 0; number < 499; ++number)
    multiplexer_->give_up(open());
  EXPECT_NE(multiplexer_->most_streams(), 0U);
  multiplexer_->give_up(open());
  EXPECT_EQ(multiplexer_->most_streams(), 0U);
}

// ---- streams that are given up ---------------------------------------------------------------------------------------

TEST_F(MultiplexerTest, a_stream_that_is_given_up_is_reset_and_wakes_nobody) {
  auto stream = open();
  converse();
  CountingWaker& waker = new_waker();
  ASSERT_FALSE(multiplexer_->look(*stream, Awaited::head, waker));
  multiplexer_->give_up(std::move(stream));
  EXPECT_EQ(multiplexer_->open_streams(), 0U);
  converse();
  EXPECT_EQ(peer_.server.asked[1].reset, std::uint32_t{NGHTTP2_CANCEL});
  EXPECT_EQ(waker.wakes, 0);
}

TEST_F(MultiplexerTest, the_reset_of_a_stream_that_is_given_up_goes_out_at_once) {
  const auto stream = open();
  converse();
  multiplexer_->give_up(stream);
  peer_.move();
  EXPECT_EQ(peer_.server.asked[1].reset, std::uint32_t{NGHTTP2_CANCEL});
}

TEST_F(MultiplexerTest, a_stream_is_given_up_while_another_thread_has_the_mutex_which_resets_it_then) {
  auto stream = std::make_shared<MultiplexedStream>();
  const std::vector<Header> host{{"Host", "one.example"}};
  const auto opened = multiplexer_->open(*stream, {"GET", "http", "/", host}, {}, true);
  ASSERT_TRUE(opened.ok() && *opened);
  const auto other = open();
  converse();
  std::promise<void> inside;
  std::promise<void> go_on;
  channel_->during_read = [&] {
    inside.set_value();
    support::wait_for("the stream was given up", go_on);
  };
  std::thread holder([&] { (void)multiplexer_->pump(); });
  support::wait_for("the holder has the mutex", inside);
  std::weak_ptr<MultiplexedStream> gone = stream;
  multiplexer_->give_up(std::move(stream));  // returns although the mutex is taken
  go_on.set_value();
  holder.join();
  EXPECT_TRUE(gone.expired()) << "the holder has let it go";
  EXPECT_EQ(multiplexer_->open_streams(), 1U);
  converse();
  EXPECT_EQ(peer_.server.asked[1].reset, std::uint32_t{NGHTTP2_CANCEL});
  EXPECT_EQ(peer_.server.asked[3].reset, 0U);
}

TEST_F(MultiplexerTest, many_streams_are_given_up_while_another_thread_has_the_mutex) {
  std::vector<std::shared_ptr<MultiplexedStream>> streams;
  for (int number = 0; number < 20; ++number)
    streams.push_back(open());
  converse();
  std::promise<void> inside;
  std::promise<void> go_on;
  channel_->during_read = [&] {
    inside.set_value();
    support::wait_for("the streams were given up", go_on);
  };
  std::thread holder([&] { (void)multiplexer_->pump(); });
  support::wait_for("the holder has the mutex", inside);
  std::vector<std::thread> givers;
  for (auto& stream : streams)
    givers.emplace_back([&] { multiplexer_->give_up(std::move(stream)); });
  for (auto& each : givers)
    each.join();
  go_on.set_value();
  holder.join();
  EXPECT_EQ(multiplexer_->open_streams(), 0U);
  converse();
  for (const auto& [id, asked] : peer_.server.asked)
    EXPECT_EQ(asked.reset, std::uint32_t{NGHTTP2_CANCEL}) << id;
}

// As a finalizer may that runs within a channel of the application's.
TEST_F(MultiplexerTest, a_stream_is_given_up_from_within_the_channel) {
  auto stream = open();
  converse();
  channel_->during_read = [&] { multiplexer_->give_up(std::move(stream)); };
  (void)multiplexer_->pump();
  EXPECT_EQ(multiplexer_->open_streams(), 0U);
}

// The bytes are the caller's, who may free them then.
TEST_F(MultiplexerTest, nothing_of_a_body_is_sent_after_sending_was_stopped) {
  const nghttp2_settings_entry wide{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1U << 20U};
  nghttp2_submit_settings(peer_.server.session, NGHTTP2_FLAG_NONE, &wide, 1);
  nghttp2_session_set_local_window_size(peer_.server.session, NGHTTP2_FLAG_NONE, 0, 1 << 20);
  converse();
  std::string body(150'000, 'x');
  auto stream = std::make_shared<MultiplexedStream>();
  const std::vector<Header> host{{"Host", "one.example"}};
  const auto opened = multiplexer_->open(*stream, {"POST", "http", "/", host}, body, true);
  ASSERT_TRUE(opened.ok() && *opened);
  std::promise<void> inside;
  std::promise<void> go_on;
  channel_->during_write = [&] {
    inside.set_value();
    support::wait_for("the body is no more", go_on);
  };
  std::thread holder([&] { multiplexer_->flush(); });
  support::wait_for("the holder sends the first part of the body", inside);
  std::thread stopper([&] {
    multiplexer_->stop_sending(*stream);
    body.assign(body.size(), '!');
    multiplexer_->give_up(std::move(stream));
  });
  go_on.set_value();
  holder.join();
  stopper.join();
  converse();
  EXPECT_EQ(peer_.server.asked[1].reset, std::uint32_t{NGHTTP2_CANCEL});
  const std::string& got = peer_.server.asked[1].body;
  EXPECT_EQ(got.find_first_not_of('x'), std::string::npos) << "of " << got.size() << " bytes";
}

// ---- output ----------------------------------------------------------------------------------------------------------

TEST_F(MultiplexerTest, output_that_the_socket_does_not_take_stays_and_goes_out_later_in_order) {
  converse();
  channel_->full = true;
  const auto first = open();
  const auto second = open("POST", "body");
  channel_->full = false;
  converse();
  ASSERT_EQ(peer_.server.asked.size(), 2U);
  EXPECT_TRUE(peer_.server.asked[1].ended);
  EXPECT_EQ(peer_.server.asked[3].body, "body");
}

// A caller that has sent a piece of its body may do other things before it waits for anything: nobody else sends the rest.
TEST_F(MultiplexerTest, a_body_is_sent_once_the_socket_has_taken_it) {
  converse();
  channel_->full = true;
  const auto stream = open("POST", "a piece", false);
  EXPECT_FALSE(multiplexer_->stand_of(*stream).sent);
  channel_->full = false;
  multiplexer_->flush();
  EXPECT_TRUE(multiplexer_->stand_of(*stream).sent);
}

TEST_F(MultiplexerTest, a_connection_that_breaks_says_which_requests_were_never_sent) {
  const auto sent = open();
  converse();
  channel_->full = true;
  MultiplexedStream waits_in_session;
  const std::vector<Header> host{{"Host", "one.example"}};
  const auto in_buffer = open();  // handed to the output, which the socket does not take
  const auto opened = multiplexer_->open(waits_in_session, {"POST", "http", "/", host}, {}, true);
  ASSERT_TRUE(opened.ok() && *opened);
  peer_.close();
  (void)multiplexer_->pump();
  ASSERT_TRUE(sent->failure && in_buffer->failure && waits_in_session.failure);
  EXPECT_TRUE(sent->failure->disconnected);
  EXPECT_FALSE(sent->failure->unread);
  EXPECT_FALSE(in_buffer->failure->unread) << "a part of it may have gone out";
  EXPECT_TRUE(waits_in_session.failure->unread);
}

// ---- input -----------------------------------------------------------------------------------------------------------

TEST_F(MultiplexerTest, one_pump_reads_a_bounded_amount_and_says_that_there_is_more) {
  const auto stream = open();
  converse();
  const std::string piece(16UL * 1024, 'x');
  channel_->scripted = h2::test::frame(h2::test::headers, h2::test::end_headers, 1, "\x88");  // :status 200
  for (int number = 0; number < 40; ++number)
    channel_->scripted += h2::test::frame(h2::test::data, 0, 1, piece);
  const std::size_t all = channel_->scripted.size();
  EXPECT_TRUE(multiplexer_->pump());
  EXPECT_GE(all - channel_->scripted.size(), 256UL * 1024);
  EXPECT_LT(all - channel_->scripted.size(), 384UL * 1024);
  EXPECT_TRUE(multiplexer_->pump());
  EXPECT_FALSE(multiplexer_->pump());
  EXPECT_TRUE(channel_->scripted.empty());
  EXPECT_EQ(taken(*stream).size(), 40 * piece.size());
}

TEST_F(MultiplexerTest, a_response_that_came_before_the_connection_broke_is_read_although_sending_fails) {
  const auto answered = open();
  const auto unanswered = open();
  converse();
  peer_.server.answer(1, 200, "in time");
  peer_.send();
  peer_.close();
  const auto late = open();  // its write meets EPIPE
  EXPECT_TRUE(has_come(*answered, Awaited::head));
  EXPECT_TRUE(answered->ended);
  EXPECT_EQ(taken(*answered), "in time");
  ASSERT_TRUE(unanswered->failure && late->failure);
  EXPECT_TRUE(unanswered->failure->disconnected);
  EXPECT_EQ(multiplexer_->most_streams(), 0U);
}

TEST_F(MultiplexerTest, a_server_that_breaks_the_protocol_ends_the_connection_and_is_told) {
  auto listener = std::make_shared<CountingListener>();
  const auto stream = open();
  converse();
  multiplexer_->set_listener(listener);
  CountingWaker& waker = new_waker();
  ASSERT_FALSE(multiplexer_->look(*stream, Awaited::head, waker));
  peer_.write(h2::test::frame(h2::test::data, 0, 77, "of no stream"));
  (void)multiplexer_->pump();
  EXPECT_GE(waker.wakes, 1);
  ASSERT_TRUE(stream->failure.has_value());
  EXPECT_FALSE(stream->failure->unread);
  EXPECT_EQ(multiplexer_->most_streams(), 0U);
  EXPECT_EQ(listener->changes, 1);
  EXPECT_FALSE(multiplexer_->check_alive());
  peer_.receive();
  EXPECT_EQ(peer_.server.goodbye, NGHTTP2_PROTOCOL_ERROR);
}

// ---- a connection without streams ------------------------------------------------------------------------------------

TEST_F(MultiplexerTest, an_idle_connection_is_alive_until_its_server_says_otherwise) {
  peer_.move();
  EXPECT_TRUE(multiplexer_->check_alive());
  nghttp2_submit_ping(peer_.server.session, NGHTTP2_FLAG_NONE, nullptr);
  peer_.move();
  EXPECT_TRUE(multiplexer_->check_alive());
  const std::size_t before = peer_.received.size();
  peer_.receive();
  EXPECT_NE(peer_.received.find(h2::test::frame(h2::test::ping, h2::test::ack, 0, std::string(8, '\0')),
                                before > 17 ? before - 17 : 0),
            std::string::npos)
      << "the look answers a PING";
  nghttp2_submit_goaway(peer_.server.session, NGHTTP2_FLAG_NONE, 0, NGHTTP2_NO_ERROR, nullptr, 0);
  peer_.move();
  EXPECT_FALSE(multiplexer_->check_alive());
}

TEST_F(MultiplexerTest, an_idle_connection_that_its_server_closed_is_not_alive) {
  peer_.move();
  peer_.close();
  EXPECT_FALSE(multiplexer_->check_alive());
  EXPECT_EQ(multiplexer_->most_streams(), 0U);
}

TEST_F(MultiplexerTest, says_goodbye) {
  multiplexer_->say_goodbye();
  peer_.move();
  EXPECT_EQ(peer_.server.goodbye, NGHTTP2_NO_ERROR);
  EXPECT_EQ(multiplexer_->most_streams(), 0U);
}

TEST_F(MultiplexerTest, streams_fail_when_it_is_detached_and_nothing_touches_the_channel_after_it) {
  const auto stream = open();
  converse();
  CountingWaker& waker = new_waker();
  ASSERT_FALSE(multiplexer_->look(*stream, Awaited::head, waker));
  multiplexer_->detach();
  channel_.reset();
  EXPECT_GE(waker.wakes, 1);
  ASSERT_TRUE(stream->failure.has_value());
  EXPECT_TRUE(stream->failure->disconnected);
  MultiplexedStream late;
  const std::vector<Header> host{{"Host", "one.example"}};
  const auto refused = multiplexer_->open(late, {"GET", "http", "/", host}, {}, true);
  EXPECT_TRUE(refused.ok() && !*refused);
  EXPECT_FALSE(multiplexer_->pump());
  multiplexer_->flush();
  multiplexer_->stand_by(at(0));
  multiplexer_->say_goodbye();
  EXPECT_FALSE(multiplexer_->check_alive());
  EXPECT_TRUE(multiplexer_->look(*stream, Awaited::head, waker));
}

// ---- the pass once a second ------------------------------------------------------------------------------------------

class StandingBy : public MultiplexerTest {
 protected:
  /// How many PING frames of the client have arrived.
  [[nodiscard]] int pings() {
    peer_.receive();
    int count = 0;
    const std::string ping = h2::test::frame(h2::test::ping, 0, 0, std::string(8, '\0'));
    for (auto place = peer_.received.find(ping); place != std::string::npos;
         place = peer_.received.find(ping, place + 1))
      ++count;
    return count;
  }
};

TEST_F(StandingBy, ends_a_connection_whose_server_said_goodbye_once_it_has_no_stream) {
  const auto stream = open();
  converse();
  nghttp2_submit_goaway(peer_.server.session, NGHTTP2_FLAG_NONE, 1, NGHTTP2_NO_ERROR, nullptr, 0);
  peer_.move();
  multiplexer_->stand_by(at(0));
  EXPECT_FALSE(stream->failure) << "it is below the last id";
  EXPECT_FALSE(support::becomes_ready("the end", peer_.descriptor(), POLLRDHUP, std::chrono::seconds(0)));
  multiplexer_->give_up(stream);
  multiplexer_->stand_by(at(1));
  EXPECT_TRUE(support::becomes_ready("the end", peer_.descriptor(), POLLRDHUP, std::chrono::seconds(0)));
  EXPECT_FALSE(multiplexer_->check_alive());
}

TEST_F(StandingBy, asks_for_a_sign_of_life_after_thirty_seconds_of_silence) {
  const auto stream = open();
  converse();
  multiplexer_->stand_by(at(0));
  multiplexer_->stand_by(at(29));
  EXPECT_EQ(pings(), 0);
  multiplexer_->stand_by(at(30));
  EXPECT_EQ(pings(), 1);
  peer_.send();  // the answer
  multiplexer_->stand_by(at(31));
  multiplexer_->stand_by(at(55));
  EXPECT_EQ(pings(), 1);
  EXPECT_FALSE(stream->failure.has_value());
  multiplexer_->stand_by(at(61));
  EXPECT_EQ(pings(), 2) << "silence again";
}

TEST_F(StandingBy, a_server_that_has_never_sent_a_byte_is_asked_too) {
  const auto stream = open();
  for (int second = 0; second <= 31; ++second)
    multiplexer_->stand_by(at(second));
  EXPECT_EQ(pings(), 1);
  for (int second = 32; second <= 52; ++second)
    multiplexer_->stand_by(at(second));
  EXPECT_TRUE(stream->failure.has_value());
}

TEST_F(StandingBy, bytes_of_the_server_are_a_sign_of_life) {
  const auto stream = open();
  converse();
  multiplexer_->stand_by(at(0));
  multiplexer_->stand_by(at(20));
  peer_.server.inform(1, 102);
  peer_.move();
  multiplexer_->stand_by(at(25));
  multiplexer_->stand_by(at(54));
  EXPECT_EQ(pings(), 0);
  multiplexer_->stand_by(at(55));
  EXPECT_EQ(pings(), 1);
}

TEST_F(StandingBy, fails_the_streams_of_a_server_that_does_not_answer_within_twenty_seconds) {
  auto listener = std::make_shared<CountingListener>();
  const auto stream = open();
  converse();
  multiplexer_->set_listener(listener);
  multiplexer_->stand_by(at(0));
  multiplexer_->stand_by(at(30));
  CountingWaker& waker = new_waker();
  ASSERT_FALSE(multiplexer_->look(*stream, Awaited::head, waker));
  multiplexer_->stand_by(at(49));
  EXPECT_FALSE(stream->failure.has_value());
  multiplexer_->stand_by(at(50));
  ASSERT_TRUE(stream->failure.has_value());
  EXPECT_TRUE(stream->failure->disconnected);
  EXPECT_FALSE(stream->failure->unread);
  EXPECT_EQ(stream->failure->detail, "the server did not answer a PING");
  EXPECT_GE(waker.wakes, 1);
  EXPECT_EQ(multiplexer_->most_streams(), 0U);
  EXPECT_EQ(listener->changes, 1);
}

TEST_F(StandingBy, asks_nothing_while_no_stream_is_open) {
  converse();
  for (int second = 0; second < 200; second += 10)
    multiplexer_->stand_by(at(second));
  EXPECT_EQ(pings(), 0);
  const auto stream = open();  // silence counts from here
  multiplexer_->stand_by(at(201));
  multiplexer_->stand_by(at(215));
  EXPECT_EQ(pings(), 0);
}

TEST_F(StandingBy, reads_for_connections_that_nobody_reads) {
  nghttp2_submit_ping(peer_.server.session, NGHTTP2_FLAG_NONE, nullptr);
  const nghttp2_settings_entry few{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 7};
  nghttp2_submit_settings(peer_.server.session, NGHTTP2_FLAG_NONE, &few, 1);
  peer_.move();
  multiplexer_->stand_by(at(0));
  EXPECT_EQ(multiplexer_->most_streams(), 7U);
  peer_.receive();
  EXPECT_NE(peer_.received.find(h2::test::frame(h2::test::ping, h2::test::ack, 0, std::string(8, '\0'))),
            std::string::npos);
}

TEST_F(StandingBy, never_waits_for_a_thread_that_has_the_mutex) {
  converse();
  std::promise<void> inside;
  std::promise<void> go_on;
  channel_->during_read = [&] {
    inside.set_value();
    support::wait_for("the other thread has stood by", go_on);
  };
  std::thread holder([&] { (void)multiplexer_->pump(); });
  support::wait_for("the holder has the mutex", inside);
  multiplexer_->stand_by(at(0));
  go_on.set_value();
  holder.join();
}

TEST_F(StandingBy, leaves_a_channel_of_the_applications_alone) {
  channel_->foreign = true;
  const auto foreign = Multiplexer::create(*channel_);
  ASSERT_TRUE(foreign.ok());
  const int before = channel_->reads;
  for (int second = 0; second < 100; second += 10)
    (*foreign)->stand_by(at(second));
  EXPECT_EQ(channel_->reads, before);
  (*foreign)->detach();
}

}  // namespace
}  // namespace fastpool::connection::test
