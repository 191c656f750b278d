// Requests that run out of memory. This file replaces the program's operator new.

#include <cstdlib>
#include <limits>
#include <new>

#include "client/client_fixture.h"

namespace {

// Limits on this thread's allocations: how many more succeed, and how large they may be.
thread_local long allowed = std::numeric_limits<long>::max();
thread_local std::size_t largest = std::numeric_limits<std::size_t>::max();

bool refused(std::size_t size) noexcept {
  return size > largest || (allowed != std::numeric_limits<long>::max() && allowed-- <= 0);
}

class Scarcity {
 public:
  explicit Scarcity(long allocations, std::size_t bytes = std::numeric_limits<std::size_t>::max()) noexcept {
    allowed = allocations;
    largest = bytes;
  }
  Scarcity(const Scarcity&) = delete;
  Scarcity& operator=(const Scarcity&) = delete;
  ~Scarcity() {
    allowed = std::numeric_limits<long>::max();
    largest = std::numeric_limits<std::size_t>::max();
  }
};

}  // namespace

// Not inlined: GCC would warn that malloc and delete do not match.
// NOLINTBEGIN: as the language has them
[[gnu::noinline]] void* operator new(std::size_t size) {
  if (void* const memory = refused(size) ? nullptr : std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return refused(size) ? nullptr : std::malloc(size == 0 ? 1 : size);
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
// NOLINTEND

namespace fastpool::client::test {
namespace {

constexpr long plenty = std::numeric_limits<long>::max();

TEST(WithoutMemory, a_body_that_is_too_large_is_an_error_and_the_client_still_works) {
  std::atomic<int> posts{0};
  const HttpServer server([&](ServerConnection& connection, int) {
    while (const Seen seen = read_request(connection)) {
      if (seen.head.starts_with("POST")) ++posts;
      connection.write(ok(std::string(seen.head.starts_with("POST") ? 8U << 20U : 5U, 'x')));
    }
  });
  Client client;
  const Request post = request("POST", server.url(), "paid for");
  const auto failed = [&] {
    const Scarcity scarcity(plenty, 1U << 20U);
    return client.send(post, patient());
  }();
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code, ErrorCode::out_of_memory);
  EXPECT_GT(failed.error().bytes_sent, 0U);
  EXPECT_EQ(client.stats().all.total_connections, 0U);
  EXPECT_TRUE(client.send(request("GET", server.url()), patient()).ok());
  EXPECT_EQ(posts, 1);
}

TEST(WithoutMemory, whichever_allocation_of_a_request_on_a_kept_connection_fails_it_ends_in_an_error) {
  const HttpServer server([](ServerConnection& connection, int) {
    while (read_request(connection)) {
      connection.write("HTTP/1.1 200 A reason beyond any small string\r\nX-Long: " + std::string(600, 'y') +
                       "\r\nTransfer-Encoding: chunked\r\n\r\n");
      for (int piece = 0; piece < 3; ++piece)
        connection.write("400\r\n" + std::string(1024, 'x') + "\r\n");
      connection.write("0\r\n\r\n");
    }
  });
  Client client;
  const Request asked = request("GET", server.url("/path"));
  int failures = 0;
  for (long allocations = 0;; ++allocations) {
    ASSERT_LT(allocations, 1000);
    ASSERT_TRUE(client.send(asked, patient()).ok()) << "after " << allocations;  // so that a connection is idle
    const auto response = [&] {
      const Scarcity scarcity(allocations);
      return client.send(asked, patient());
    }();
    const PoolStats stats = client.stats();
    EXPECT_EQ(stats.all.idle_connections, stats.all.total_connections) << "after " << allocations;
    if (response.ok()) break;
    ++failures;
    EXPECT_EQ(response.error().code, ErrorCode::out_of_memory) << "after " << allocations;
  }
  EXPECT_GT(failures, 5);
  EXPECT_TRUE(client.send(request("GET", server.url()), patient()).ok());
}

}  // namespace
}  // namespace fastpool::client::test
