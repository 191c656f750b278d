// Threads that wait for streams of one connection: one of them reads for all, and hands that on.

#include "connection/multiplexed_wait.h"

#include <future>
#include <optional>
#include <thread>

#include "connection/multiplexer_fixture.h"

namespace fastpool::connection::test {
namespace {

/// Steps of several threads' waits, taken by the test's own thread: a pause returns when there is something to do, and has a limit
/// otherwise.
class MultiplexedWaitTest : public MultiplexerTest {
 protected:
  /// Pauses until it has what it waits for. \returns whether it has.
  [[nodiscard]] static ::testing::AssertionResult gets(MultiplexedWait& wait) {
    const TimePoint limit = Clock::now() + support::wait_limit;
    while (!wait.look()) {
      if (Clock::now() >= limit) return ::testing::AssertionFailure() << support::waited_in_vain("the wait ends");
      wait.pause(limit);
    }
    return ::testing::AssertionSuccess();
  }
  static TimePoint limit() { return Clock::now() + support::wait_limit; }
  /// A time that has passed: pause() only does what there is to do.
  static TimePoint past() { return Clock::now(); }
};

/// Two waits, of which the first has the reader role.
class TwoMultiplexedWaits : public MultiplexedWaitTest {
 protected:
  void SetUp() override {
    MultiplexedWaitTest::SetUp();
    converse();
    ASSERT_FALSE(reader.look());
    ASSERT_FALSE(sleeper.look());
  }
  const std::shared_ptr<MultiplexedStream> first = open();
  const std::shared_ptr<MultiplexedStream> second = open();
  MultiplexedWait reader{*multiplexer_, *first, Awaited::head};
  MultiplexedWait sleeper{*multiplexer_, *second, Awaited::head};
};

TEST_F(MultiplexedWaitTest, a_thread_that_waits_alone_reads_for_itself) {
  const auto stream = open();
  converse();
  MultiplexedWait wait(*multiplexer_, *stream, Awaited::head);
  ASSERT_FALSE(wait.look());
  peer_.server.answer(1, 200, "hello");
  peer_.send();
  wait.pause(limit());
  EXPECT_TRUE(wait.look());
  EXPECT_EQ(taken(*stream), "hello");
}

TEST_F(TwoMultiplexedWaits, one_thread_reads_for_the_others) {
  const int before = channel_->reads;
  sleeper.pause(past());
  EXPECT_EQ(channel_->reads, before) << "the sleeper does not read";
  peer_.server.answer(3, 200, "for the sleeper");
  peer_.send();
  reader.pause(limit());
  EXPECT_FALSE(reader.look());
  sleeper.pause(limit());  // it was woken
  EXPECT_TRUE(sleeper.look());
}

TEST_F(MultiplexedWaitTest, a_reader_that_leaves_hands_its_role_to_another_and_wakes_it) {
  const auto first = open();
  const auto second = open();
  converse();
  std::optional<MultiplexedWait> reader(std::in_place, *multiplexer_, *first, Awaited::head);
  MultiplexedWait heir(*multiplexer_, *second, Awaited::head);
  ASSERT_FALSE(reader->look());
  ASSERT_FALSE(heir.look());
  peer_.server.answer(1, 200, "for the reader");
  peer_.send();
  reader->pause(limit());
  EXPECT_TRUE(reader->look());
  reader.reset();
  heir.pause(limit());  // it was woken, though nothing has come for it
  ASSERT_FALSE(heir.look());
  peer_.server.answer(3, 200, "for the heir");
  peer_.send();
  heir.pause(limit());  // at the socket
  EXPECT_TRUE(heir.look());
}

TEST_F(MultiplexedWaitTest, an_heir_that_gives_up_hands_the_role_on) {
  std::array<MadeStream, 3> streams{open(), open(), open()};
  converse();
  std::optional<MultiplexedWait> reader(std::in_place, *multiplexer_, *streams[0], Awaited::head);
  std::optional<MultiplexedWait> heir(std::in_place, *multiplexer_, *streams[1], Awaited::head);
  MultiplexedWait last(*multiplexer_, *streams[2], Awaited::head);
  ASSERT_FALSE(reader->look());
  ASSERT_FALSE(heir->look());
  ASSERT_FALSE(last.look());
  reader.reset();  // cancelled
  heir.reset();    // the same, before it has looked
  peer_.server.answer(5, 200, "for the last");
  peer_.send();
  EXPECT_TRUE(gets(last));
}

TEST_F(MultiplexedWaitTest, a_sleeper_that_leaves_takes_nothing_with_it) {
  std::array<MadeStream, 3> streams{open(), open(), open()};
  converse();
  std::optional<MultiplexedWait> reader(std::in_place, *multiplexer_, *streams[0], Awaited::head);
  std::optional<MultiplexedWait> middle(std::in_place, *multiplexer_, *streams[1], Awaited::head);
  MultiplexedWait last(*multiplexer_, *streams[2], Awaited::head);
  ASSERT_FALSE(reader->look());
  ASSERT_FALSE(middle->look());
  ASSERT_FALSE(last.look());
  middle.reset();
  peer_.server.answer(3, 200, "for nobody");
  peer_.server.answer(1, 200, "for the reader");
  peer_.send();
  EXPECT_TRUE(gets(*reader));
  reader.reset();
  peer_.server.answer(5, 200, "for the last");
  peer_.send();
  EXPECT_TRUE(gets(last));
}

TEST_F(MultiplexedWaitTest, the_role_is_free_after_the_last_wait) {
  const auto first = open();
  converse();
  {
    MultiplexedWait wait(*multiplexer_, *first, Awaited::head);
    ASSERT_FALSE(wait.look());
  }
  MultiplexedWait next(*multiplexer_, *first, Awaited::head);
  ASSERT_FALSE(next.look());
  peer_.server.answer(1, 200, "hello");
  peer_.send();
  EXPECT_TRUE(gets(next));
}

TEST_F(MultiplexedWaitTest, what_has_come_already_needs_no_pause) {
  const auto stream = open();
  converse();
  peer_.server.answer(1, 200, "hello");
  converse();
  MultiplexedWait wait(*multiplexer_, *stream, Awaited::head);
  EXPECT_TRUE(wait.look());
}

TEST_F(TwoMultiplexedWaits, a_pause_ends_at_its_time) {
  const support::Watchdog watchdog("the pauses end", [&] {
    peer_.server.answer(1, 200, "");
    peer_.server.answer(3, 200, "");
    peer_.send();
  });
  reader.pause(Clock::now() + std::chrono::milliseconds(5));
  sleeper.pause(Clock::now() + std::chrono::milliseconds(5));
  EXPECT_FALSE(reader.look());
  EXPECT_FALSE(sleeper.look());
}

TEST_F(MultiplexedWaitTest, another_thread_ends_the_pause_of_a_reader) {
  const auto stream = open();
  converse();
  MultiplexedWait wait(*multiplexer_, *stream, Awaited::head);
  ASSERT_FALSE(wait.look());
  std::thread other([&] { wait.waker().wake(); });
  wait.pause(TimePoint::max());
  other.join();
  EXPECT_FALSE(wait.look());
  wait.waker().wake();
  wait.pause(TimePoint::max());  // a wake between two pauses counts
  EXPECT_FALSE(wait.look());
}

TEST_F(TwoMultiplexedWaits, another_thread_ends_the_pause_of_a_sleeper) {
  std::thread other([&] { sleeper.waker().wake(); });
  sleeper.pause(TimePoint::max());
  other.join();
  EXPECT_FALSE(sleeper.look());
}

TEST_F(TwoMultiplexedWaits, a_connection_that_is_lost_ends_every_wait) {
  peer_.close();
  reader.pause(limit());
  EXPECT_TRUE(reader.look());
  sleeper.pause(limit());
  EXPECT_TRUE(sleeper.look());
  EXPECT_TRUE(first->failure && second->failure);
}

TEST_F(MultiplexedWaitTest, another_thread_that_reads_wakes_the_reader) {
  const auto stream = open();
  converse();
  MultiplexedWait wait(*multiplexer_, *stream, Awaited::head);
  ASSERT_FALSE(wait.look());
  peer_.server.answer(1, 200, "hello");
  peer_.send();
  (void)multiplexer_->pump();  // as check_alive() or a loop does
  wait.pause(TimePoint::max());
  EXPECT_TRUE(wait.look());
}

TEST_F(MultiplexedWaitTest, bytes_that_a_bounded_read_left_are_read_without_a_pause) {
  const auto stream = open();
  converse();
  channel_->scripted = h2::test::frame(h2::test::headers, h2::test::end_headers, 1, "\x88");  // :status 200
  for (int number = 0; number < 40; ++number)
    channel_->scripted += h2::test::frame(h2::test::ping, 0, 0, "12345678") +
                          h2::test::frame(h2::test::data, 0, 1, std::string(16UL * 1024, 'x'));
  channel_->scripted += h2::test::frame(h2::test::data, h2::test::end_stream, 1, "end");
  EXPECT_TRUE(multiplexer_->pump());
  (void)taken(*stream);
  MultiplexedWait wait(*multiplexer_, *stream, Awaited::body);
  EXPECT_TRUE(gets(wait)) << "the socket itself is never readable";
}

// ---- output ----------------------------------------------------------------------------------------------------------

TEST_F(MultiplexedWaitTest, a_reader_that_pauses_learns_that_output_waits_for_room) {
  const nghttp2_settings_entry wide{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 16U << 20U};
  nghttp2_submit_settings(peer_.server.session, NGHTTP2_FLAG_NONE, &wide, 1);
  nghttp2_session_set_local_window_size(peer_.server.session, NGHTTP2_FLAG_NONE, 0, 16 << 20);
  const auto first = open();
  converse();
  std::promise<void> looked;
  auto reading = std::async(std::launch::async, [&] {
    MultiplexedWait wait(*multiplexer_, *first, Awaited::head);
    const bool come = wait.look();
    looked.set_value();
    return !come && gets(wait);
  });
  support::wait_for("the reader has its role", looked);
  // More than the socket takes: the rest goes out only if the reader polls for room.
  const std::string large(4UL << 20U, 'x');
  const auto upload = open("POST", large);
  EXPECT_FALSE(multiplexer_->stand_of(*upload).sent);
  EXPECT_TRUE(support::eventually("the server has the whole body", [&] {
    peer_.receive();
    return peer_.server.asked[3].body.size() == large.size();
  }));
  peer_.server.answer(1, 200, "hello");
  peer_.send();
  EXPECT_TRUE(support::value_of("the reader has its response", reading));
}

TEST_F(MultiplexedWaitTest, a_sender_that_waits_gets_on_as_the_server_reads) {
  const nghttp2_settings_entry wide{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 16U << 20U};
  nghttp2_submit_settings(peer_.server.session, NGHTTP2_FLAG_NONE, &wide, 1);
  nghttp2_session_set_local_window_size(peer_.server.session, NGHTTP2_FLAG_NONE, 0, 16 << 20);
  converse();
  const std::string large(4UL << 20U, 'x');
  const auto upload = open("POST", large);
  auto sending = std::async(std::launch::async, [&] {
    while (!multiplexer_->stand_of(*upload).sent) {
      MultiplexedWait wait(*multiplexer_, *upload, Awaited::sent);
      if (!gets(wait)) return false;
    }
    MultiplexedWait answer(*multiplexer_, *upload, Awaited::head);
    return static_cast<bool>(gets(answer));
  });
  EXPECT_TRUE(support::eventually("the server has the whole body", [&] {
    peer_.receive();
    return peer_.server.asked[1].body.size() == large.size();
  }));
  peer_.server.answer(1, 200, "thanks");
  peer_.send();
  EXPECT_TRUE(support::value_of("the sender is done", sending));
}

// ---- many threads ----------------------------------------------------------------------------------------------------

TEST_F(MultiplexedWaitTest, threads_that_come_and_go_all_get_their_answers) {
  constexpr int threads = 8;
  constexpr int rounds = 200;
  converse();
  std::mutex opening;  // ids grow in the order in which heads are sent
  sync::Flag over;
  std::array<std::future<int>, threads> callers;
  for (auto& caller : callers) {
    caller = std::async(std::launch::async, [&] {
      int good = 0;
      for (int round = 0; round < rounds; ++round) {
        MadeStream stream;
        {
          const std::lock_guard lock(opening);
          stream = open();
        }
        if (round % 7 == 3) {  // gives up at once, with whatever role it has
          MultiplexedWait wait(*multiplexer_, *stream, Awaited::head);
          (void)wait.look();
        } else {
          for (bool ended = false; !ended;) {
            MultiplexedWait wait(*multiplexer_, *stream, Awaited::body);
            if (!gets(wait)) return good;
            std::string piece;
            const auto taken = multiplexer_->take_body(*stream, piece);
            if (taken.credits) multiplexer_->flush();
            if (taken.failed) return good;
            ended = taken.ended;
          }
        }
        multiplexer_->give_up(std::move(stream));
        ++good;
      }
      return good;
    });
  }
  std::thread server([&] {
    std::int32_t next = 1;
    while (!over.get()) {
      peer_.receive();
      for (auto found = peer_.server.asked.find(next); found != peer_.server.asked.end() && found->second.ended;
           found = peer_.server.asked.find(next)) {
        peer_.server.answer(next, 200, "answer");
        next += 2;
      }
      peer_.send();
      std::this_thread::yield();
    }
  });
  for (auto& caller : callers)
    EXPECT_EQ(support::value_of("a caller is done", caller), rounds);
  over.set();
  server.join();
  EXPECT_EQ(multiplexer_->open_streams(), 0U);
}

}  // namespace
}  // namespace fastpool::connection::test
