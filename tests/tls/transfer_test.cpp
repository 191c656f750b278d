// Bytes through a TLS channel: partial writes, both modes on one socket, and the ways it ends.

#include <array>
#include <chrono>
#include <future>
#include <numeric>
#include <thread>

#include "tls/tls_fixture.h"

namespace fastpool::tls {
namespace {

using net::IoMode;
using net::IoResult;
using net::IoStatus;

std::string pattern(std::size_t size) {
  std::string bytes(size, '\0');
  std::uint32_t state = 1;
  for (char& byte : bytes) {
    state = state * 1664525U + 1013904223U;
    byte = static_cast<char>(state >> 24U);
  }
  return bytes;
}

class Transfer : public TlsTest {
 protected:
  /// Shrinks the send buffer, so that records are sent in parts. The receive buffer stays: a tiny window would involve TCP's
  /// timers.
  static void shrink_buffers(const TlsChannel& channel) {
    const int small = 4096;
    ::setsockopt(channel.descriptor(), SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    (void)net::set_no_delay(channel.descriptor());
  }

  /// Writes `bytes`, cut anew at every call into pieces whose sizes `cut` gives, and reads the echo in between.
  static std::string echo_through(TlsChannel& channel, std::string bytes, const std::function<std::size_t()>& cut) {
    std::string echoed;
    std::array<char, 5000> buffer{};
    std::size_t sent = 0;
    while (echoed.size() < bytes.size()) {
      bool moved = false;
      if (sent < bytes.size()) {
        std::vector<iovec> pieces;
        for (std::size_t at = sent; at < bytes.size() && pieces.size() < 4;) {
          const std::size_t size = std::min(cut(), bytes.size() - at);
          pieces.push_back({bytes.data() + at, size});
          at += size;
        }
        const IoResult result = channel.write(pieces, IoMode::dont_wait);
        EXPECT_TRUE(result.status == IoStatus::ok || result.status == IoStatus::want_write) << channel.last_error();
        if (result.status == IoStatus::error) break;
        if (result.status == IoStatus::ok) {
          sent += result.bytes;
          moved = true;
        }
      }
      const IoResult result = channel.read(buffer, IoMode::dont_wait);
      EXPECT_TRUE(result.status == IoStatus::ok || result.status == IoStatus::want_read);
      if (result.status == IoStatus::ok) {
        echoed.append(buffer.data(), result.bytes);
        moved = true;
      } else if (result.status != IoStatus::want_read) {
        break;
      }
      if (!moved) {
        const int events = POLLIN | (sent < bytes.size() ? POLLOUT : 0);
        const auto ready = becomes_ready(channel, events);
        EXPECT_TRUE(ready);
        if (!ready) break;
      }
    }
    return echoed;
  }
};

TEST_F(Transfer, a_megabyte_comes_back_whole_through_small_buffers_without_waiting) {
  const support::LoopbackServer server(localhost_, support::echo);
  const auto channel = connect(make_context(trusting()), server);
  shrink_buffers(*channel);
  const std::string bytes = pattern(1 << 20);
  EXPECT_TRUE(echo_through(*channel, bytes, [] { return std::size_t{1} << 20; }) == bytes);
}

TEST_F(Transfer, a_half_sent_record_is_neither_lost_nor_doubled_however_the_rest_is_cut) {
  const support::LoopbackServer server(localhost_, support::echo);
  const auto channel = connect(make_context(trusting()), server);
  shrink_buffers(*channel);
  const std::string bytes = pattern(1 << 20);
  const std::array<std::size_t, 7> sizes{40'000, 1, 300, 16'384, 7, 0, 9'000};
  std::size_t turn = 0;
  EXPECT_TRUE(echo_through(*channel, bytes, [&] { return sizes[turn++ % sizes.size()]; }) == bytes);
}

TEST_F(Transfer, the_rest_of_a_half_sent_record_may_be_offered_in_smaller_pieces) {
  std::promise<void> go;
  std::promise<std::string> received;
  const support::LoopbackServer server(localhost_, [&](support::ServerConnection& connection) {
    support::wait_for("a record is half sent", go);
    std::string all;
    for (std::string some = connection.read_some(); !some.empty(); some = connection.read_some())
      all += some;
    received.set_value(std::move(all));
  });
  const auto channel = connect(make_context(trusting()), server);
  shrink_buffers(*channel);
  std::string bytes = pattern(32U << 20U);
  std::size_t sent = 0;
  const auto offer = [&](std::size_t size) {
    const iovec piece{bytes.data() + sent, size};
    const IoResult result = channel->write(std::span(&piece, 1), IoMode::dont_wait);
    if (result.status == IoStatus::ok) sent += result.bytes;
    return result.status;
  };
  while (sent < bytes.size() - (1U << 20U) && offer(16'384) == IoStatus::ok) {
  }
  ASSERT_EQ(offer(16'384), IoStatus::want_write);  // a record is half out
  go.set_value();
  for (const std::size_t end = sent + 40'000; sent < end;) {
    const IoStatus status = offer(100);
    if (status == IoStatus::want_write) {
      ASSERT_NO_FATAL_FAILURE(wait_for(*channel, status));
    }
    ASSERT_TRUE(status == IoStatus::ok || status == IoStatus::want_write);
  }
  channel->say_goodbye();
  channel->shutdown();
  EXPECT_TRUE(support::value_of("the server has received everything", received) == bytes.substr(0, sent));
}

TEST_F(Transfer, a_head_and_its_body_leave_as_one_record) {
  std::promise<std::string> first;
  const support::LoopbackServer server(localhost_, [&](support::ServerConnection& connection) {
    first.set_value(connection.read_some());  // SSL_read returns one record at most
    connection.read_to_end();
  });
  const auto channel = connect(make_context(trusting()), server);
  std::string head = "head ";
  std::string body = "body";
  const std::array<iovec, 3> pieces{iovec{head.data(), head.size()}, iovec{nullptr, 0},
                                    iovec{body.data(), body.size()}};
  const IoResult result = channel->write(pieces, IoMode::wait);
  EXPECT_EQ(result.bytes, 9U);
  EXPECT_EQ(support::value_of("the server has received a record", first), "head body");
}

TEST_F(Transfer, one_socket_serves_waiting_and_not_waiting_calls) {
  const support::LoopbackServer server(localhost_, support::echo);
  const auto channel = connect(make_context(trusting()), server);
  std::array<char, 16> buffer{};
  EXPECT_EQ(channel->read(buffer, IoMode::dont_wait).status, IoStatus::want_read);
  write_all(*channel, "one");
  EXPECT_EQ(read_exactly(*channel, 3), "one");  // waits
  EXPECT_EQ(channel->read(buffer, IoMode::dont_wait).status, IoStatus::want_read);
}

TEST_F(Transfer, the_receive_timeout_shows_as_want_read) {
  const support::LoopbackServer server(localhost_, support::echo);
  const auto channel = connect(make_context(trusting()), server);
  ASSERT_EQ(net::set_receive_timeout(channel->descriptor(), std::chrono::milliseconds(1)), 0);
  std::array<char, 16> buffer{};
  EXPECT_EQ(channel->read(buffer, IoMode::wait).status, IoStatus::want_read);
  ASSERT_EQ(net::set_receive_timeout(channel->descriptor(), Duration::zero()), 0);
  write_all(*channel, "and goes on");
  EXPECT_EQ(read_exactly(*channel, 11), "and goes on");
}

TEST_F(Transfer, the_send_timeout_shows_as_want_write) {
  std::promise<void> done;
  const support::LoopbackServer server(localhost_, [&](support::ServerConnection&) {
    support::wait_for("the write of the client has timed out", done);
  });
  const auto channel = connect(make_context(trusting()), server);
  shrink_buffers(*channel);
  ASSERT_EQ(net::set_send_timeout(channel->descriptor(), std::chrono::milliseconds(1)), 0);
  std::string bytes(1 << 20, 'x');
  const iovec piece{bytes.data(), bytes.size()};
  IoResult result;
  for (int round = 0; round < 10'000 && result.status == IoStatus::ok; ++round) {
    result = channel->write(std::span(&piece, 1), IoMode::wait);
  }
  EXPECT_EQ(result.status, IoStatus::want_write);
  done.set_value();
}

TEST_F(Transfer, a_goodbye_is_an_end_and_a_bare_close_is_a_truncation) {
  for (const bool polite : {true, false}) {
    const support::LoopbackServer server(localhost_, [&](support::ServerConnection& connection) {
      connection.write("last words");
      if (polite) connection.say_goodbye();
    });
    const auto channel = connect(make_context(trusting()), server);
    IoStatus last = IoStatus::ok;
    EXPECT_EQ(read_exactly(*channel, 100, &last), "last words");
    EXPECT_EQ(last, polite ? IoStatus::end : IoStatus::truncated);
    std::array<char, 16> buffer{};
    EXPECT_EQ(channel->read(buffer, IoMode::wait).status, last) << "and so it stays";
  }
}

TEST_F(Transfer, a_reset_is_an_error_with_its_errno_and_writing_raises_no_signal) {
  std::promise<void> was_reset;
  const support::LoopbackServer server(localhost_, [&](support::ServerConnection& connection) {
    connection.reset();
    was_reset.set_value();
  });
  const auto channel = connect(make_context(trusting()), server);
  support::wait_for("the server has reset the connection", was_reset);
  std::array<char, 16> buffer{};
  const IoResult read = channel->read(buffer, IoMode::wait);
  EXPECT_EQ(read.status, IoStatus::error);
  EXPECT_EQ(read.os_error, ECONNRESET);
  std::string bytes = "x";
  const iovec piece{bytes.data(), bytes.size()};
  IoResult write = channel->write(std::span(&piece, 1), IoMode::wait);
  EXPECT_EQ(write.status, IoStatus::error);
  EXPECT_EQ(write.os_error, EPIPE);
}

TEST_F(Transfer, bytes_that_are_no_tls_are_an_error_in_words) {
  const support::LoopbackServer server(localhost_, [](support::ServerConnection& connection) {
    ::send(connection.descriptor(), "garbage in the clear, and enough of it", 38, MSG_NOSIGNAL);
    connection.read_to_end();
  });
  const auto channel = connect(make_context(trusting()), server);
  std::array<char, 16> buffer{};
  EXPECT_EQ(channel->read(buffer, IoMode::wait).status, IoStatus::error);
  EXPECT_FALSE(channel->last_error().empty());
}

TEST_F(Transfer, a_shutdown_by_another_thread_wakes_a_waiting_read) {
  const support::LoopbackServer server(localhost_, support::echo);
  const auto channel = connect(make_context(trusting()), server);
  std::thread closer([&] { channel->shutdown(); });
  std::array<char, 16> buffer{};
  const IoStatus status = channel->read(buffer, IoMode::wait).status;
  // the server's last alert may have arrived at the closed socket
  EXPECT_TRUE(status == IoStatus::truncated || status == IoStatus::error);
  closer.join();
}

TEST_F(Transfer, our_own_goodbye_reaches_the_server) {
  std::promise<int> seen;
  const support::LoopbackServer server(localhost_, [&](support::ServerConnection& connection) {
    connection.read_to_end();
    seen.set_value(SSL_get_shutdown(connection.tls()));
  });
  auto channel = connect(make_context(trusting()), server);
  channel->say_goodbye();
  EXPECT_NE(support::value_of("the server has read to the end", seen) & SSL_RECEIVED_SHUTDOWN, 0);
}

TEST_F(Transfer, a_large_answer_fills_a_large_buffer_record_after_record) {
  const std::string bytes = pattern(1 << 20);
  const support::LoopbackServer server(localhost_, [&](support::ServerConnection& connection) {
    connection.write(bytes);
    connection.read_to_end();
  });
  const auto channel = connect(make_context(trusting()), server);
  EXPECT_TRUE(read_exactly(*channel, bytes.size()) == bytes);
  EXPECT_EQ(channel->pending(), 0U);
}

}  // namespace
}  // namespace fastpool::tls
