// Sessions are resumed, and only between equal settings and names.

#include <future>

#include "net/tcp_channel.h"
#include "tls/session_cache.h"
#include "tls/tls_fixture.h"

namespace fastpool::tls {
namespace {

class Resumption : public TlsTest {
 protected:
  /// One exchange, so that the tickets which follow the handshake are read.
  static void exchange(TlsChannel& channel) {
    write_all(channel, "ping");
    ASSERT_EQ(read_exactly(channel, 4), "ping");
  }

  /// Makes a connection, uses it, closes it. \returns whether it was resumed.
  static bool visit(const std::shared_ptr<Context>& context, const support::LoopbackServer& server,
                    const std::string& name = "localhost") {
    const auto channel = connect(context, server, name);
    exchange(*channel);
    return channel->resumed();
  }
};

TEST_F(Resumption, the_second_connection_resumes_the_first_ones_session) {
  const support::LoopbackServer server(localhost_, support::echo);
  const auto context = make_context(trusting());
  EXPECT_FALSE(visit(context, server));
  EXPECT_TRUE(visit(context, server));
  EXPECT_TRUE(visit(context, server));
  EXPECT_EQ(server.full_handshakes(), 1);
  EXPECT_EQ(server.resumed_handshakes(), 2);
}

TEST_F(Resumption, a_tls_1_2_session_serves_many_connections) {
  localhost_.maximum_version = TLS1_2_VERSION;
  const support::LoopbackServer server(localhost_, support::echo);
  const auto context = make_context(trusting());
  const auto first = connect(context, server);
  exchange(*first);
  const auto second = connect(context, server);
  const auto third = connect(context, server);
  EXPECT_TRUE(second->resumed());
  EXPECT_TRUE(third->resumed());
}

TEST_F(Resumption, a_tls_1_3_ticket_is_used_once) {
  const support::LoopbackServer server(localhost_, support::echo);  // two tickets
  const auto context = make_context(trusting());
  visit(context, server);
  const auto one = connect(context, server);
  const auto two = connect(context, server);
  const auto three = connect(context, server);
  EXPECT_TRUE(one->resumed());
  EXPECT_TRUE(two->resumed());
  EXPECT_FALSE(three->resumed());
}

TEST_F(Resumption, a_session_is_offered_to_no_other_name_and_in_no_other_context) {
  const support::LoopbackServer server(localhost_, support::echo);
  const auto context = make_context(trusting());
  visit(context, server);
  auto same_key =
      TlsChannel::create(context, std::make_unique<net::TcpChannel>(server.connect()), "127.0.0.1", "localhost:443");
  ASSERT_TRUE(same_key.ok());
  ASSERT_EQ(run_handshake(**same_key), net::IoStatus::ok);
  EXPECT_FALSE((*same_key)->resumed());
  EXPECT_FALSE(visit(make_context(trusting()), server));
  EXPECT_TRUE(visit(context, server)) << "it is still there for its own";
}

TEST_F(Resumption, a_connection_that_was_dropped_without_goodbye_can_be_resumed) {
  localhost_.tickets = 1;
  const support::LoopbackServer server(localhost_, support::echo);
  const auto context = make_context(trusting());
  visit(context, server);
  EXPECT_TRUE(visit(context, server));
}

TEST_F(Resumption, tickets_that_only_a_peek_has_seen_are_used) {
  std::promise<void> handshake_done;  // set by the server, which has then sent its tickets
  const support::LoopbackServer server(localhost_, [&](support::ServerConnection& connection) {
    if (SSL_session_reused(connection.tls()) == 0) handshake_done.set_value();
    connection.read_to_end();
  });
  const auto context = make_context(trusting());
  const auto first = connect(context, server);
  support::wait_for("the server has sent its tickets", handshake_done);
  EXPECT_EQ(first->peek(), net::Liveness::alive);
  EXPECT_EQ(first->peek(), net::Liveness::alive);
  EXPECT_TRUE(connect(context, server)->resumed());
}

TEST(SessionCache, keeps_a_bounded_number_of_keys_and_of_sessions_per_key) {
  SessionCache cache;
  const auto session = [] {
    SessionHandle made(SSL_SESSION_new());
    SSL_SESSION_set_protocol_version(made.get(), TLS1_3_VERSION);
    return made;
  };
  for (std::size_t index = 0; index < 2 * SessionCache::max_sessions_per_key; ++index)
    cache.store("one", session());
  EXPECT_EQ(cache.size(), SessionCache::max_sessions_per_key);
  for (std::size_t index = 0; index < 2 * SessionCache::max_keys; ++index)
    cache.store(std::to_string(index), session());
  EXPECT_EQ(cache.size(), SessionCache::max_keys);
}

}  // namespace
}  // namespace fastpool::tls
