// A lease of the public interface: several requests on one connection.

#include "client/client_fixture.h"

namespace fastpool::client::test {
namespace {

TEST(ClientLease, keeps_its_connection_to_itself) {
  const HttpServer server;
  Client client;
  auto lease = client.lease(server.url(), patient());
  ASSERT_TRUE(lease.ok()) << lease.error().detail;
  EXPECT_TRUE(lease->alive());
  EXPECT_GE(lease->native_handle(), 0);
  EXPECT_EQ(lease->send(request("POST", server.url(), "one"), patient())->body, "one");
  EXPECT_EQ(lease->send(request("POST", server.url(), "two"), patient())->body, "two");
  EXPECT_EQ(server.connections(), 1);
  EXPECT_EQ(client.send(request("GET", server.url()), patient())->body, "hello");
  EXPECT_EQ(server.connections(), 2) << "others get another connection";
}

TEST(ClientLease, gives_its_connection_back) {
  const HttpServer server;
  Client client;
  {
    auto lease = client.lease(server.url(), patient());
    ASSERT_TRUE(lease.ok()) << lease.error().detail;
    ASSERT_TRUE(lease->send(request("GET", server.url()), patient()).ok());
  }
  EXPECT_EQ(client.stats().all.idle_connections, 1U);
  EXPECT_EQ(client.send(request("GET", server.url()), patient())->body, "hello");
  EXPECT_EQ(server.connections(), 1);
}

TEST(ClientLease, that_is_discarded_closes_its_connection) {
  const HttpServer server;
  Client client;
  auto lease = client.lease(server.url(), patient());
  ASSERT_TRUE(lease.ok()) << lease.error().detail;
  lease->discard();
  EXPECT_EQ(client.stats().all.total_connections, 0U);
  EXPECT_FALSE(lease->alive());
  EXPECT_EQ(lease->native_handle(), -1);
  EXPECT_EQ(lease->send(request("GET", server.url()), patient()).error().code, ErrorCode::stale_lease);
}

TEST(ClientLease, carries_one_stream_at_a_time) {
  const HttpServer server([](ServerConnection& connection, int) {
    while (read_request(connection)) {
      connection.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
      std::this_thread::sleep_for(milliseconds(20));
      connection.write("others");
    }
  });
  Client client;
  auto lease = client.lease(server.url(), patient());
  ASSERT_TRUE(lease.ok());
  auto stream = lease->open(request("GET", server.url()), patient());
  ASSERT_TRUE(stream.ok()) << stream.error().detail;
  EXPECT_EQ(lease->send(request("GET", server.url()), patient()).error().code, ErrorCode::stale_lease);
  EXPECT_TRUE(lease->alive()) << "an open stream is no sign of death";
  std::string body;
  for (;;) {
    const auto piece = stream->read();
    ASSERT_TRUE(piece.ok()) << piece.error().detail;
    if (piece->empty()) break;
    body += *piece;
  }
  EXPECT_EQ(body, "halfothers");
  EXPECT_TRUE(lease->send(request("GET", server.url()), patient()).ok());
  EXPECT_EQ(server.connections(), 1);
}

TEST(ClientLease, sees_that_its_server_is_gone_and_connects_anew_for_the_next_request) {
  std::promise<void> first_done;
  const HttpServer server([&](ServerConnection& connection, int number) {
    if (number > 0) return serve(connection);
    (void)read_request(connection);
    connection.write(ok("first"));
    support::wait_for("the client has the first response", first_done);
  });
  Client client;
  auto lease = client.lease(server.url(), patient());
  ASSERT_TRUE(lease.ok());
  ASSERT_TRUE(lease->send(request("GET", server.url()), patient()).ok());
  EXPECT_TRUE(lease->alive());
  first_done.set_value();
  ASSERT_TRUE(support::eventually("the lease sees the end", [&] { return !lease->alive(); }));
  EXPECT_EQ(lease->send(request("POST", server.url(), "again"), patient())->body, "again");
  EXPECT_EQ(server.connections(), 2);
}

TEST(ClientLease, refuses_a_request_to_another_origin) {
  const HttpServer server;
  const HttpServer other;
  Client client;
  auto lease = client.lease(server.url(), patient());
  ASSERT_TRUE(lease.ok());
  const auto refused = lease->send(request("GET", other.url()), patient());
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(other.connections(), 0);
  EXPECT_TRUE(lease->send(request("GET", server.url()), patient()).ok());
}

TEST(ClientLease, outlives_its_client) {
  const HttpServer server;
  auto client = std::make_unique<Client>();
  auto lease = client->lease(server.url(), patient());
  ASSERT_TRUE(lease.ok());
  client.reset();
  EXPECT_EQ(lease->send(request("GET", server.url()), patient()).error().code, ErrorCode::pool_closed);
}

TEST(Client, drain_finishes_pending_requests_and_refuses_new_ones) {
  const HttpServer server;
  Client client;
  auto lease = client.lease(server.url(), patient());
  ASSERT_TRUE(lease.ok());
  auto draining = std::async(std::launch::async, [&] { return client.drain(seconds(20)); });
  ASSERT_TRUE(support::eventually("the client drains", [&] { return client.stats().draining; }));
  EXPECT_EQ(client.send(request("GET", server.url()), patient()).error().code, ErrorCode::pool_closed);
  EXPECT_EQ(lease->send(request("POST", server.url(), "last"), patient())->body, "last");
  lease->discard();
  const auto drained = support::value_of("the client has drained", draining);
  ASSERT_TRUE(drained.ok());
  EXPECT_TRUE(*drained);
  EXPECT_EQ(client.stats().all.total_connections, 0U);
}

}  // namespace
}  // namespace fastpool::client::test
