// Long bodies of known length, whose larger part is read right into the response's string.

#include <algorithm>
#include <array>

#include <linux/sockios.h>
#include <sys/ioctl.h>

#include <fastpool/loop.h>

#include "client/append_unset.h"
#include "client/client_fixture.h"

namespace fastpool::client::test {
namespace {

/// Every size has other bytes at its end.
std::string bytes_of(std::size_t size) {
  std::string bytes(size, '\0');
  for (std::size_t index = 0; index < size; ++index)
    bytes[index] = static_cast<char>('a' + (index + size) % 23);
  return bytes;
}

/// Around what is read at once, at least and at most.
constexpr std::array<std::size_t, 8> sizes{65'537,    131'071,   131'072,   131'073,
                                           1'000'000, 1'114'112, 1'114'113, 3'000'001};

/// Answers "GET /SIZE" with a body of that size, in pieces of `most`.
HttpServer::Script in_pieces(std::size_t most) {
  return [most](ServerConnection& connection, int) {
    while (const Seen seen = read_request(connection)) {
      const std::string answer = ok(bytes_of(std::stoul(seen.head.substr(5))));
      for (std::size_t at = 0; at < answer.size(); at += most)
        connection.write(std::string_view(answer).substr(at, most));
    }
  };
}

Result<Response> sent_on_loop(Client& client, const std::string& url) {
  auto loop = *Loop::make();
  std::optional<Result<Response>> result;
  send(loop, client, request("GET", url), patient(), [&](Result<Response> response) { result = std::move(response); });
  const auto limit = std::chrono::steady_clock::now() + support::wait_limit;
  while (loop.busy() && std::chrono::steady_clock::now() < limit)
    loop.wait(seconds(1));
  EXPECT_TRUE(result) << support::waited_in_vain("the response is there");
  return result ? *std::move(result) : Result<Response>(Error{});
}

TEST(ALongBody, arrives_whole_and_leaves_its_connection_to_the_next_request) {
  for (const std::size_t most : {std::size_t{7'001}, std::size_t{4'000'000}}) {
    const HttpServer server(in_pieces(most));
    Client client;
    Response kept;
    for (const std::size_t size : sizes) {
      const std::string url = server.url("/" + std::to_string(size));
      const std::string expected = bytes_of(size);
      ASSERT_TRUE(client.send(request("GET", url), kept, patient()).ok()) << size;
      EXPECT_TRUE(kept.body == expected) << size << " bytes into a response that is used again";
      const auto looped = sent_on_loop(client, url);
      ASSERT_TRUE(looped.ok()) << size << ": " << looped.error().detail;
      EXPECT_TRUE(looped->body == expected) << size << " bytes in a loop";
    }
    EXPECT_EQ(server.connections(), 1) << most;
  }
}

TEST(ALongBody, arrives_whole_over_tls) {
  support::CertificateAuthority authority;
  Profile profile;
  profile.tls.ca_file = authority.ca_file();
  const support::LoopbackServer server(support::ServerTls{authority.issue_localhost()},
                                       [](ServerConnection& connection) { in_pieces(100'000)(connection, 0); });
  Client client({}, profile);
  for (const std::size_t size : sizes) {
    const std::string url = "https://localhost:" + std::to_string(server.port()) + "/" + std::to_string(size);
    const auto response = client.send(request("GET", url), patient());
    ASSERT_TRUE(response.ok()) << size << ": " << response.error().detail;
    EXPECT_TRUE(response->body == bytes_of(size)) << size;
    const auto looped = sent_on_loop(client, url);
    ASSERT_TRUE(looped.ok()) << size << ": " << looped.error().detail;
    EXPECT_TRUE(looped->body == bytes_of(size)) << size << " bytes in a loop";
  }
  EXPECT_EQ(server.connections(), 1);
}

TEST(ALongBody, with_bytes_behind_its_end_ends_the_connection) {
  for (const std::size_t size : sizes) {
    const HttpServer server([size](ServerConnection& connection, int) {
      (void)read_request(connection);
      const std::string answer = ok(bytes_of(size)) + "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nanother's";
      // The last bytes are one packet: they arrive together.
      const std::size_t cut = answer.size() - 100;
      connection.write(std::string_view(answer).substr(0, cut));
      EXPECT_TRUE(support::eventually("the peer acknowledges what was sent", [&] {
        int unacknowledged = 1;
        return ::ioctl(connection.descriptor(), SIOCOUTQ, &unacknowledged) == 0 && unacknowledged == 0;
      }));
      connection.write(std::string_view(answer).substr(cut));
      connection.read_to_end();
    });
    Client client;
    for (int count = 1; count <= 2; ++count) {
      const auto response = client.send(request("GET", server.url()), patient());
      ASSERT_TRUE(response.ok()) << response.error().detail;
      EXPECT_TRUE(response->body == bytes_of(size)) << size;
      EXPECT_EQ(server.connections(), count) << size;
    }
  }
}

TEST(ALongBody, that_ends_early_is_a_read_error) {
  const HttpServer server([](ServerConnection& connection, int) {
    (void)read_request(connection);
    connection.write("HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n" + bytes_of(500'000));
  });
  Client client;
  for (const bool loop : {false, true}) {
    const auto cut = loop ? sent_on_loop(client, server.url()) : client.send(request("GET", server.url()), patient());
    ASSERT_FALSE(cut.ok());
    EXPECT_EQ(cut.error().code, ErrorCode::read_failed);
    EXPECT_EQ(cut.error().phase, Phase::read_body);
    EXPECT_EQ(client.stats().all.total_connections, 0U);
  }
}

TEST(AppendUnset, keeps_what_was_there_and_what_is_written) {
  std::string text = "begin";
  append_unset(text, 100'000, [](char* space) -> std::size_t {
    std::fill_n(space, 3, 'x');
    return 3;
  });
  EXPECT_EQ(text, "beginxxx");
  append_unset(text, 100'000, [](char*) -> std::size_t { return 0; });
  EXPECT_EQ(text, "beginxxx");
}

}  // namespace
}  // namespace fastpool::client::test
