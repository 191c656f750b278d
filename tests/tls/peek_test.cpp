// The results of peek() on an idle TLS connection.

#include <future>

#include <poll.h>

#include "tls/tls_fixture.h"

namespace fastpool::tls {
namespace {

using net::Liveness;

class Peek : public TlsTest {
 protected:
  /// A server that does one thing after the handshake and reports when it is done.
  support::LoopbackServer server_that(std::function<void(support::ServerConnection&)> act) {
    return support::LoopbackServer(localhost_, [this, act = std::move(act)](support::ServerConnection& connection) {
      act(connection);
      acted_.set_value();
      connection.read_to_end();
    });
  }

  /// Waits until the server has acted and its bytes, or its FIN, have arrived.
  void wait_for_the_server(const TlsChannel& channel) {
    support::wait_for("the server has acted", acted_);
    wait_for(channel, net::IoStatus::want_read);
  }

  /// Returns the result of a peek after the server's action has arrived. Under load the kernel may deliver the session
  /// tickets first, and until then the connection is correctly alive. Alive if nothing more arrives for some seconds.
  static Liveness peek_in_the_end(TlsChannel& channel) {
    for (;;) {
      const Liveness found = channel.peek();
      if (found != Liveness::alive) return found;
      pollfd waiting{.fd = channel.descriptor(), .events = POLLIN | POLLRDHUP, .revents = 0};
      if (::poll(&waiting, 1, 5000) <= 0) return found;
    }
  }

  std::promise<void> acted_;
};

TEST_F(Peek, unread_session_tickets_are_taken_and_what_follows_is_read_right) {
  std::promise<void> go_on;
  const support::LoopbackServer server(localhost_, [&](support::ServerConnection& connection) {
    acted_.set_value();
    support::wait_for("the client has peeked", go_on);
    connection.write("after the tickets");
    connection.read_to_end();
  });
  const auto channel = connect(make_context(trusting()), server);
  support::wait_for("the server has acted", acted_);
  EXPECT_EQ(channel->peek(), Liveness::alive);
  EXPECT_EQ(channel->peek(), Liveness::alive);
  go_on.set_value();
  EXPECT_EQ(read_exactly(*channel, 17), "after the tickets");
  EXPECT_EQ(channel->peek(), Liveness::alive);
}

TEST_F(Peek, an_orderly_close_is_dead) {
  const auto server = server_that([](support::ServerConnection& connection) {
    connection.say_goodbye();
    connection.close_writing();
  });
  const auto channel = connect(make_context(trusting()), server);
  wait_for_the_server(*channel);
  EXPECT_EQ(peek_in_the_end(*channel), Liveness::dead);
  EXPECT_EQ(channel->peek(), Liveness::dead);
}

TEST_F(Peek, a_goodbye_is_dead_even_while_the_socket_is_still_open) {
  const auto server = server_that([](support::ServerConnection& connection) { connection.say_goodbye(); });
  const auto channel = connect(make_context(trusting()), server);
  support::wait_for("the server has acted", acted_);
  EXPECT_EQ(peek_in_the_end(*channel), Liveness::dead);
  EXPECT_EQ(channel->peek(), Liveness::dead);
}

TEST_F(Peek, a_close_without_goodbye_is_dead) {
  const auto server = server_that([](support::ServerConnection& connection) { connection.close_writing(); });
  const auto channel = connect(make_context(trusting()), server);
  wait_for_the_server(*channel);
  EXPECT_EQ(peek_in_the_end(*channel), Liveness::dead);
}

TEST_F(Peek, a_reset_is_dead) {
  const auto server = server_that([](support::ServerConnection& connection) { connection.reset(); });
  const auto channel = connect(make_context(trusting()), server);
  wait_for_the_server(*channel);
  EXPECT_EQ(peek_in_the_end(*channel), Liveness::dead);
}

TEST_F(Peek, unrequested_bytes_are_unexpected_at_every_look) {
  const auto server = server_that([](support::ServerConnection& connection) { connection.write("surprise"); });
  const auto channel = connect(make_context(trusting()), server);
  support::wait_for("the server has acted", acted_);
  EXPECT_EQ(peek_in_the_end(*channel), Liveness::unexpected);
  EXPECT_EQ(peek_in_the_end(*channel), Liveness::unexpected);
}

TEST_F(Peek, bytes_that_were_read_ahead_with_the_answer_are_unexpected) {
  const auto server = server_that([](support::ServerConnection& connection) {
    connection.read_exactly(4);
    connection.write("pong");
    connection.write("and more");
  });
  const auto channel = connect(make_context(trusting()), server);
  write_all(*channel, "ping");
  support::wait_for("the server has acted", acted_);
  EXPECT_EQ(read_exactly(*channel, 4), "pong");
  EXPECT_EQ(peek_in_the_end(*channel), Liveness::unexpected);
}

TEST_F(Peek, a_key_update_is_seen_to_and_alive) {
  const support::LoopbackServer server(localhost_, [&](support::ServerConnection& connection) {
    SSL_key_update(connection.tls(), SSL_KEY_UPDATE_REQUESTED);
    SSL_do_handshake(connection.tls());
    acted_.set_value();
    support::echo(connection);
  });
  const auto channel = connect(make_context(trusting()), server);
  support::wait_for("the server has acted", acted_);
  EXPECT_EQ(channel->peek(), Liveness::alive);
  write_all(*channel, "with new keys");
  EXPECT_EQ(read_exactly(*channel, 13), "with new keys");
}

TEST_F(Peek, a_connection_that_never_shook_hands_is_dead) {
  const support::LoopbackServer server(localhost_, support::echo);
  EXPECT_EQ(make_channel(make_context(trusting()), server)->peek(), Liveness::dead);
}

}  // namespace
}  // namespace fastpool::tls
