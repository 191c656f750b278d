// A fork with open connections: the parent keeps them, and the child makes its own.

#include "client/client_fixture.h"
#include "support/child_process.h"

namespace fastpool::client::test {
namespace {

using support::in_child;
using support::threads_after_fork;

TEST(Fork, the_child_makes_its_own_connection_and_the_parent_keeps_its_own) {
  if (!threads_after_fork) GTEST_SKIP() << "case: needs a thread in the child, which ThreadSanitizer does not start";
  const HttpServer server;
  Client client;
  ASSERT_TRUE(client.send(request("GET", server.url()), patient()).ok());
  const int answer = in_child([&] {
    if (client.stats().all.total_connections != 0) return 2;
    const auto response = client.send(request("POST", server.url(), "child"), patient());
    return response.ok() && response->body == "child" ? 0 : 1;
  });
  EXPECT_EQ(answer, 0);
  EXPECT_EQ(server.connections(), 2);
  EXPECT_EQ(client.send(request("POST", server.url(), "parent"), patient())->body, "parent");
  EXPECT_EQ(server.connections(), 2) << "the parent's connection was still good";
}

TEST(Fork, a_client_that_the_child_destroys_does_not_affect_the_parents_connection) {
  const HttpServer server;
  auto client = std::make_unique<Client>();
  ASSERT_TRUE(client->send(request("GET", server.url()), patient()).ok());
  EXPECT_EQ(in_child([&] {
              client.reset();
              return 0;
            }),
            0);
  EXPECT_TRUE(client->send(request("GET", server.url()), patient()).ok());
  EXPECT_EQ(server.connections(), 1);
}

class ForkedExchange : public ExchangeTest {};

TEST_F(ForkedExchange, reports_forked_in_the_child_at_every_step_and_continues_in_the_parent) {
  std::promise<void> forked;
  const HttpServer server([&](ServerConnection& connection, int) {
    (void)read_request(connection);
    connection.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
    support::wait_for("the child has ended", forked);
    connection.write("world");
    serve(connection);
  });
  Exchange reading = open(server, "GET");
  ASSERT_TRUE(reading.obtain(options_));
  ASSERT_TRUE(reading.send("", options_));
  Exchange unsent = open(server, "POST", {{"Content-Length", "1"}});
  const auto says_forked = [](const auto& result) { return !result.ok() && result.error().code == ErrorCode::forked; };
  const int answer = in_child([&] {
    std::vector<std::string_view> pieces;
    if (!says_forked(reading.read(pieces, options_))) return 1;
    if (reading.descriptor() != -1) return 2;
    reading.close();
    if (!says_forked(unsent.obtain(options_))) return 3;
    if (!says_forked(unsent.send("x", options_)) || !says_forked(unsent.write("x", options_)) ||
        !says_forked(unsent.finish(options_)))
      return 4;
    return 0;
  });
  EXPECT_EQ(answer, 0);
  forked.set_value();
  EXPECT_EQ(read_all(reading), "helloworld");
  EXPECT_EQ(idle(), 1U);
}

}  // namespace
}  // namespace fastpool::client::test
