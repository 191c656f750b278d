// A fork with a live TLS connection: the child sends nothing, and the parent is not affected. A fork while threads are inside
// OpenSSL, which locks state of the whole process: no lock is held in the child.

#include <array>
#include <atomic>
#include <thread>
#include <vector>

#include <sys/socket.h>
#include <unistd.h>

#include "net/tcp_channel.h"
#include "support/child_process.h"
#include "tls/tls_fixture.h"

namespace fastpool::tls {
namespace {

class Fork : public TlsTest {};

TEST_F(Fork, a_child_that_drops_its_copy_of_a_connection_does_not_disturb_the_parents) {
  const support::LoopbackServer server(localhost_, support::echo);
  auto channel = connect(make_context(trusting()), server);
  EXPECT_EQ(support::in_child([&] {
              channel->say_goodbye();  // would end the parent's session, if it sent anything
              channel->shutdown();
              channel.reset();
              return 0;
            }),
            0);
  EXPECT_EQ(channel->peek(), net::Liveness::alive);
  write_all(*channel, "still here");
  EXPECT_EQ(read_exactly(*channel, 10), "still here");
}

/// Makes a context and a channel, and writes the first message of its handshake. \returns whether that succeeded.
bool begin_handshake(const TlsSettings& settings) {
  auto context = Context::create(settings);
  if (!context) return false;
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) return false;
  const net::Descriptor peer(ends[0]);
  auto channel = TlsChannel::create(*context, std::make_unique<net::TcpChannel>(net::Descriptor(ends[1])), "localhost",
                                    "localhost:443");
  return channel.ok() && (*channel)->handshake(net::IoMode::dont_wait).status == net::IoStatus::want_read;
}

TEST_F(Fork, threads_inside_openssl_leave_nothing_locked_in_the_child) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "case: the sanitizer's own allocator may be locked at the fork: the child then hangs in its malloc";
#endif
  const TlsSettings settings = trusting();
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int each = 0; each < 3; ++each) {
    threads.emplace_back([&] {
      while (!stop) {
        std::thread([&] { EXPECT_TRUE(begin_handshake(settings)); }).join();  // OpenSSL locks at a thread's end too
      }
    });
  }
  int status = 0;
  for (int round = 0; round < 300 && status == 0; ++round)
    status = support::in_child([&] { return begin_handshake(settings) ? 0 : 1; });
  EXPECT_EQ(status, 0);
  stop = true;
  for (std::thread& thread : threads)
    thread.join();
}

}  // namespace
}  // namespace fastpool::tls
