// A fork beside a live TLS connection: the child sends nothing, the parent notices nothing.

#include <sys/wait.h>
#include <unistd.h>

#include "tls/tls_fixture.h"

namespace fastpool::tls {
namespace {

class Fork : public TlsTest {};

TEST_F(Fork, a_child_that_drops_its_copy_of_a_connection_does_not_disturb_the_parents) {
  const support::LoopbackServer server(localhost_, support::echo);
  auto channel = connect(make_context(trusting()), server);
  const pid_t child = ::fork();
  if (child == 0) {
    channel->say_goodbye();  // would end the parent's session, if it sent anything
    channel->shutdown();
    channel.reset();
    ::_exit(0);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(channel->peek(), net::Liveness::alive);
  write_all(*channel, "still here");
  EXPECT_EQ(read_exactly(*channel, 10), "still here");
}

}  // namespace
}  // namespace fastpool::tls
