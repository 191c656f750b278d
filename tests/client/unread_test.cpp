// A request that the peer may not have read: it is sent again if this is proved, and otherwise fails once.

#include <array>
#include <cerrno>

#include <poll.h>
#include <sys/socket.h>

#include "client/client_fixture.h"
#include "client/unread.h"
#include "client/unread_watch.h"
#include "net/tcp_state.h"
#include "support/raw_listener.h"

namespace fastpool::client::test {
namespace {

// ---- the decision ----------------------------------------------------------------------------------------------------

UnreadEvidence proof() {
  UnreadEvidence seen;
  seen.fin = true;
  seen.written_before = 1000;
  seen.bytes_acknowledged = 1001;
  seen.closed = true;
  seen.closed_by = EPIPE;
  seen.waited = milliseconds(10);
  seen.patience = milliseconds(50);
  return seen;
}

UnreadEvidence pending() {
  auto seen = proof();
  seen.closed = false;
  seen.closed_by = 0;
  return seen;
}

TEST(TheProof, is_a_fin_no_acknowledgement_and_a_refusal) {
  EXPECT_EQ(judge(proof()), Unread::proved);
  auto late = proof();
  late.waited = seconds(10);
  EXPECT_EQ(judge(late), Unread::proved) << "a look may come late; what it sees has happened";
}

TEST(TheProof, needs_the_fin) {
  auto seen = proof();
  seen.fin = false;
  EXPECT_EQ(judge(seen), Unread::unproved);
}

TEST(TheProof, falls_with_the_first_acknowledged_byte_of_the_request) {
  auto seen = proof();
  seen.bytes_acknowledged = 1002;
  EXPECT_EQ(judge(seen), Unread::unproved);
  seen = pending();
  seen.bytes_acknowledged = 1002;
  EXPECT_EQ(judge(seen), Unread::unproved) << "at once, without waiting on";
  seen = proof();
  seen.bytes_acknowledged = 900;
  EXPECT_EQ(judge(seen), Unread::proved) << "not even what came before the request";
}

TEST(TheProof, is_waited_for_within_bounds) {
  auto seen = pending();
  EXPECT_EQ(judge(seen), Unread::undecided);
  seen.fin = false;
  EXPECT_EQ(judge(seen), Unread::undecided) << "a FIN may follow a close_notify";
  seen.waited = seen.patience;
  EXPECT_EQ(judge(seen), Unread::unproved);
}

TEST(TheProof, is_none_after_a_reset) {
  for (const int error : {ECONNRESET, ETIMEDOUT, EHOSTUNREACH}) {
    auto seen = proof();
    seen.os_error = error;
    EXPECT_EQ(judge(seen), Unread::unproved) << error;
    seen = pending();
    seen.os_error = error;
    EXPECT_EQ(judge(seen), Unread::unproved) << error;
    seen = proof();
    seen.closed_by = error;
    EXPECT_EQ(judge(seen), Unread::unproved) << error;
  }
}

TEST(TheProof, knows_that_a_write_may_have_fetched_the_refusal) {
  auto seen = proof();
  seen.closed_by = 0;
  EXPECT_EQ(judge(seen), Unread::unproved) << "closed, but not refused";
  seen.os_error = EPIPE;
  EXPECT_EQ(judge(seen), Unread::proved);
}

TEST(TheProof, may_take_three_round_trips_or_50_ms_but_no_longer_than_a_read) {
  EXPECT_EQ(unread_patience(milliseconds(1), {}), milliseconds(50));
  EXPECT_EQ(unread_patience(milliseconds(100), {}), milliseconds(300));
  EXPECT_EQ(unread_patience(milliseconds(100), seconds(5)), milliseconds(300));
  EXPECT_EQ(unread_patience(milliseconds(100), milliseconds(20)), milliseconds(20));
}

// ---- the watch -------------------------------------------------------------------------------------------------------

Unread wait(UnreadWatch watch, int descriptor) {
  for (;;) {
    if (const Unread verdict = watch.look(); verdict != Unread::undecided) return verdict;
    (void)net::wait_for_hang_up(descriptor, watch.awaits_end(), watch.pause());
  }
}

class Watching : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(::connect(ours_.get(), listener_.address().data(), listener_.address().size()), 0);
    theirs_ = listener_.accept();
  }
  [[nodiscard]] UnreadWatch watch(OptionalDuration read_timeout = {}) const {
    return {ours_.get(), 0, 0, read_timeout};
  }
  void send_request() const { ASSERT_EQ(::send(ours_.get(), "POST", 4, MSG_NOSIGNAL), 4); }

  support::RawListener listener_;
  net::Descriptor ours_{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  net::Descriptor theirs_;
};

TEST_F(Watching, sees_the_refusal_of_a_peer_that_had_closed) {
  theirs_.reset();
  ASSERT_TRUE(net::wait_for_hang_up(ours_.get(), true, seconds(30)));
  send_request();
  EXPECT_EQ(wait(watch(), ours_.get()), Unread::proved);
}

TEST_F(Watching, sees_a_half_closed_peer_acknowledge) {
  ASSERT_EQ(::shutdown(theirs_.get(), SHUT_WR), 0);
  ASSERT_TRUE(net::wait_for_hang_up(ours_.get(), true, seconds(30)));
  send_request();
  EXPECT_EQ(wait(watch(), ours_.get()), Unread::unproved);
}

TEST_F(Watching, gives_up_when_nothing_comes) {
  EXPECT_EQ(watch().look(), Unread::undecided);
  EXPECT_EQ(wait(watch(milliseconds(1)), ours_.get()), Unread::unproved);
}

TEST(WatchingAUnixSocket, proves_nothing) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
  const net::Descriptor ours(ends[0]);
  net::Descriptor(ends[1]).reset();
  EXPECT_EQ(wait(UnreadWatch(ours.get(), 0, 0, {}), ours.get()), Unread::unproved);
}

// ---- whole requests --------------------------------------------------------------------------------------------------

/// A server whose first connection answers one request and ends on the test's signal, in a way that the test chooses. Later
/// connections answer every request. Counts all requests except the first.
class StaleConnection : public ExchangeTest {
 protected:
  using ExchangeTest::ExchangeTest;
  using End = std::function<void(ServerConnection&)>;
  enum class Transport : std::uint8_t { plain, tls };

  void serve_until(End end, Transport transport = Transport::plain) {
    auto handler = [this, end = std::move(end)](ServerConnection& connection) {
      if (next_++ == 0) {
        (void)read_request(connection);
        connection.write(ok("first"));
        support::wait_for("the client has checked out the connection", go_);
        end(connection);
        return;
      }
      while (const Seen seen = read_request(connection)) {
        ++seen_;
        connection.write(ok(seen.body.empty() ? "again" : seen.body));
      }
    };
    Profile profile;
    std::string scheme = "http";
    if (transport == Transport::tls) {
      scheme = "https";
      profile.tls.ca_file = authority_.ca_file();
      server_ = std::make_unique<support::LoopbackServer>(support::ServerTls{authority_.issue_localhost()},
                                                          std::move(handler));
    } else {
      server_ = std::make_unique<support::LoopbackServer>(std::move(handler));
    }
    const std::string url = scheme + "://localhost:" + std::to_string(server_->port());
    own_handle_.emplace(core_, core_.intern(profile), pool::AfterUse::keep, Handle::Isolation::by_handle);
    use_ = std::move(own_handle_->use(*Origin::parse(url))).value();
    Exchange first = open("GET");
    ASSERT_TRUE(first.obtain(options_));
    ASSERT_TRUE(first.send("", options_));
    EXPECT_EQ(read_all(first), "first");
  }
  [[nodiscard]] Exchange open(std::string_view method, std::vector<Header> headers = {}) {
    headers.insert(headers.begin(), {"Host", "test"});
    auto exchange = Exchange::open(core_, use_.share(), {method, "/", headers});
    EXPECT_TRUE(exchange.ok());
    return std::move(exchange).value();
  }
  [[nodiscard]] Exchange open_post() { return open("POST", {{"Content-Length", "5"}}); }
  /// Ends the first connection after the check at checkout. Returns when the client's kernel has noticed: the FIN, or the
  /// event `what`.
  void end_meanwhile(const Exchange& exchange, short what = POLLRDHUP) {
    go_.set_value();
    ASSERT_TRUE(support::becomes_ready("the end of the connection has arrived", exchange.descriptor(), what,
                                       std::chrono::seconds(30)));
  }
  void expect_sent_again(Exchange& exchange) {
    ASSERT_TRUE(exchange.obtain(options_));
    end_meanwhile(exchange);
    const auto sent = exchange.send("order", options_);
    ASSERT_TRUE(sent.ok()) << sent.error().detail;
    EXPECT_EQ(read_all(exchange), "order");
    EXPECT_EQ(seen_, 1);
    EXPECT_EQ(core_.retried(), 1U);
    EXPECT_EQ(core_.retried_unread(), 1U);
  }
  std::atomic<int> next_{0};
  std::atomic<int> seen_{0};
  std::promise<void> go_;
  std::promise<void> go_on_;
  std::promise<void> over_;
  support::CertificateAuthority authority_;
  std::optional<Handle> own_handle_;
  EndpointUse use_;
  std::unique_ptr<support::LoopbackServer> server_;  // last: its threads use the rest
};

TEST_F(StaleConnection, a_post_to_a_peer_that_had_closed_is_sent_again) {
  serve_until([](ServerConnection&) {});
  Exchange exchange = open_post();
  expect_sent_again(exchange);
}

TEST_F(StaleConnection, through_tls_with_a_goodbye) {
  serve_until([](ServerConnection& connection) { connection.say_goodbye(); }, Transport::tls);
  Exchange exchange = open_post();
  expect_sent_again(exchange);
}

TEST_F(StaleConnection, through_tls_without_a_goodbye) {
  serve_until([](ServerConnection&) {}, Transport::tls);
  Exchange exchange = open_post();
  expect_sent_again(exchange);
}

TEST_F(StaleConnection, a_goodbye_alone_proves_nothing) {
  serve_until(
      [this](ServerConnection& connection) {
        connection.say_goodbye();
        if (read_request(connection)) ++seen_;
        go_on_.set_value();
        support::wait_for("the request has failed", over_);
      },
      Transport::tls);
  Exchange exchange = open_post();
  ASSERT_TRUE(exchange.obtain(options_));
  end_meanwhile(exchange, POLLIN);
  const auto sent = exchange.send("order", options_);
  over_.set_value();
  ASSERT_FALSE(sent.ok());
  EXPECT_EQ(sent.error().code, ErrorCode::read_failed) << sent.error().detail;
  EXPECT_EQ(core_.retried(), 0U);
  support::wait_for("the server has read the request", go_on_);
  EXPECT_EQ(seen_, 1);
}

TEST_F(StaleConnection, a_half_closed_peer_may_continue_to_read) {
  serve_until([this](ServerConnection& connection) {
    connection.close_writing();
    if (read_request(connection)) ++seen_;
    over_.set_value();
    connection.read_to_end();
  });
  Exchange exchange = open_post();
  ASSERT_TRUE(exchange.obtain(options_));
  end_meanwhile(exchange);
  const auto sent = exchange.send("order", options_);
  ASSERT_FALSE(sent.ok());
  EXPECT_EQ(sent.error().code, ErrorCode::read_failed) << sent.error().detail;
  support::wait_for("the server has read the request", over_);
  EXPECT_EQ(seen_, 1);
  EXPECT_EQ(core_.retried(), 0U);
}

TEST_F(StaleConnection, the_connection_acquired_during_the_proof_is_kept) {
  serve_until([this](ServerConnection& connection) {
    connection.close_writing();
    // Reads nothing: the request is acknowledged, and no more is known.
    support::wait_for("the request has failed", over_);
  });
  Exchange exchange = open_post();
  ASSERT_TRUE(exchange.obtain(options_));
  end_meanwhile(exchange);
  EXPECT_FALSE(exchange.send("order", options_).ok());
  over_.set_value();
  EXPECT_EQ(core_.pool().stats().all.active_connections, 0U);
  Exchange get = open("GET");
  ASSERT_TRUE(get.obtain(options_));
  ASSERT_TRUE(get.send("", options_));
  EXPECT_EQ(read_all(get), "again");
  EXPECT_LE(server_->connections(), 2);
}

TEST_F(StaleConnection, a_reset_proves_nothing) {
  serve_until([this](ServerConnection& connection) {
    if (read_request(connection)) ++seen_;
    connection.reset();
  });
  go_.set_value();
  Exchange exchange = open_post();
  ASSERT_TRUE(exchange.obtain(options_));
  const auto sent = exchange.send("order", options_);
  ASSERT_FALSE(sent.ok());
  EXPECT_EQ(sent.error().code, ErrorCode::read_failed) << sent.error().detail;
  EXPECT_EQ(sent.error().os_error, ECONNRESET);
  EXPECT_EQ(seen_, 1);
  EXPECT_EQ(core_.retried(), 0U);
}

TEST_F(StaleConnection, a_get_after_a_reset_is_sent_again) {
  serve_until([](ServerConnection& connection) { connection.reset(); });
  Exchange exchange = open("GET");
  ASSERT_TRUE(exchange.obtain(options_));
  end_meanwhile(exchange);
  ASSERT_TRUE(exchange.send("", options_));
  EXPECT_EQ(read_all(exchange), "again");
  EXPECT_EQ(core_.retried(), 1U);
  EXPECT_EQ(core_.retried_unread(), 0U);
}

TEST_F(StaleConnection, a_streamed_body_is_not_sent_again_after_its_first_piece) {
  serve_until([](ServerConnection&) {});
  Exchange exchange = open("POST", {{"Transfer-Encoding", "chunked"}});
  ASSERT_TRUE(exchange.obtain(options_));
  end_meanwhile(exchange);
  ASSERT_TRUE(exchange.write("order", options_).ok());
  const auto finished = exchange.finish(options_);
  ASSERT_FALSE(finished.ok());
  EXPECT_NE(finished.error().code, ErrorCode::remote_protocol);
  EXPECT_EQ(seen_, 0);
  EXPECT_EQ(core_.retried(), 0U);
}

TEST_F(StaleConnection, a_streamed_body_without_a_piece_is_sent_again) {
  serve_until([](ServerConnection&) {});
  Exchange exchange = open("POST", {{"Transfer-Encoding", "chunked"}});
  ASSERT_TRUE(exchange.obtain(options_));
  end_meanwhile(exchange);
  ASSERT_TRUE(exchange.finish(options_));
  EXPECT_EQ(read_all(exchange), "0\r\n\r\n");
  EXPECT_EQ(core_.retried_unread(), 1U);
}

TEST_F(StaleConnection, on_an_explicit_lease_the_lease_stays) {
  serve_until([](ServerConnection&) {});
  const auto lease = core_.pool().try_lease(*use_);
  ASSERT_TRUE(lease);
  const std::vector<Header> headers{{"Host", "test"}, {"Content-Length", "5"}};
  {
    auto exchange = Exchange::open_on(core_, *lease, {"POST", "/", headers});
    ASSERT_TRUE(exchange.ok());
    expect_sent_again(*exchange);
  }
  EXPECT_TRUE(core_.pool().release(*lease, pool::Reuse::yes()));
  EXPECT_EQ(idle(), 1U);
}

/// Has room for one connection: the connection under watch fills the limit.
class StaleConnectionAtTheLimit : public StaleConnection {
 protected:
  StaleConnectionAtTheLimit() : StaleConnection(one_connection()) {}
  static PoolSettings one_connection() {
    PoolSettings settings;
    settings.max_connections_per_endpoint = 1;
    return settings;
  }
};

TEST_F(StaleConnectionAtTheLimit, no_caller_waits_for_the_connection_that_it_watches) {
  serve_until([](ServerConnection&) {});
  Exchange exchange = open_post();
  expect_sent_again(exchange);
}

}  // namespace
}  // namespace fastpool::client::test
