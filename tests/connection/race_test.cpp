#include "connection/race.h"

#include <cerrno>
#include <vector>

#include <gtest/gtest.h>

namespace fastpool::connection {
namespace {

using namespace std::chrono_literals;
using net::SocketAddress;

SocketAddress ip(const char* text) {
  return *SocketAddress::from_ip(text, 443);
}

std::vector<SocketAddress> ips(std::initializer_list<const char*> texts) {
  std::vector<SocketAddress> addresses;
  for (const char* text : texts) {
    addresses.push_back(ip(text));
  }
  return addresses;
}

TEST(RaceTest, families_alternate_and_the_first_address_decides_which_begins) {
  EXPECT_EQ(interleave(ips({"::1", "::2", "::3", "1.1.1.1", "2.2.2.2"}), AF_UNSPEC),
            ips({"::1", "1.1.1.1", "::2", "2.2.2.2", "::3"}));
  EXPECT_EQ(interleave(ips({"1.1.1.1", "2.2.2.2", "::1"}), AF_UNSPEC), ips({"1.1.1.1", "::1", "2.2.2.2"}));
  EXPECT_EQ(interleave(ips({"1.1.1.1", "2.2.2.2"}), AF_UNSPEC), ips({"1.1.1.1", "2.2.2.2"}));
  EXPECT_TRUE(interleave({}, AF_UNSPEC).empty());
}

TEST(RaceTest, a_local_address_keeps_one_family_only) {
  EXPECT_EQ(interleave(ips({"::1", "1.1.1.1", "::2", "2.2.2.2"}), AF_INET), ips({"1.1.1.1", "2.2.2.2"}));
  EXPECT_EQ(interleave(ips({"1.1.1.1", "::1"}), AF_INET6), ips({"::1"}));
  EXPECT_TRUE(interleave(ips({"1.1.1.1"}), AF_INET6).empty());
}

TEST(RaceTest, the_next_attempt_starts_after_the_delay_or_when_nothing_is_under_way) {
  const TimePoint now{1h};
  EXPECT_EQ(decide({2, 0, now + 250ms}, now), RaceMove::start_next);
  EXPECT_EQ(decide({2, 1, now + 250ms}, now + 249ms), RaceMove::wait);
  EXPECT_EQ(decide({2, 1, now + 250ms}, now + 250ms), RaceMove::start_next);
  EXPECT_EQ(decide({0, 1, now}, now + 1h), RaceMove::wait);
  EXPECT_EQ(decide({0, 0, now}, now), RaceMove::give_up);
}

TEST(RaceTest, an_error_names_the_origin_and_every_address) {
  const std::vector<FailedAttempt> failures{{ip("::1"), ECONNREFUSED}, {ip("1.1.1.1"), EACCES, "bind"}};
  const Error error = race_error("https://host:443", failures);
  EXPECT_EQ(error.code, ErrorCode::connect_failed);
  EXPECT_EQ(error.phase, Phase::connect);
  EXPECT_EQ(error.detail,
            "cannot connect to https://host:443 ([::1]:443: Connection refused, 1.1.1.1:443: bind: Permission denied)");
}

TEST(RaceTest, refused_everywhere_is_final) {
  EXPECT_TRUE(race_error("o", std::vector<FailedAttempt>{{ip("1.1.1.1"), ECONNREFUSED}}).final);
  EXPECT_TRUE(
      race_error("o", std::vector<FailedAttempt>{{ip("::1"), ENETUNREACH}, {ip("1.1.1.1"), ECONNREFUSED}}).final);
  EXPECT_FALSE(race_error("o", std::vector<FailedAttempt>{{ip("1.1.1.1"), ENETUNREACH}}).final);
  EXPECT_FALSE(
      race_error("o", std::vector<FailedAttempt>{{ip("1.1.1.1"), ECONNREFUSED}, {ip("::1"), ETIMEDOUT}}).final);
  EXPECT_FALSE(
      race_error("o", std::vector<FailedAttempt>{{ip("2.2.2.2"), ECONNREFUSED}, {ip("1.1.1.1"), EADDRNOTAVAIL}}).final);
}

TEST(RaceTest, the_most_telling_errno_is_reported) {
  EXPECT_EQ(
      race_error("o", std::vector<FailedAttempt>{{ip("1.1.1.1"), ECONNREFUSED}, {ip("::1"), ENETUNREACH}}).os_error,
      ECONNREFUSED);
  EXPECT_EQ(race_error("o", std::vector<FailedAttempt>{{ip("1.1.1.1"), EMFILE}, {ip("::1"), ECONNREFUSED}}).os_error,
            EMFILE);
  EXPECT_EQ(
      race_error("o", std::vector<FailedAttempt>{{ip("1.1.1.1"), ETIMEDOUT}, {ip("2.2.2.2"), EHOSTUNREACH}}).os_error,
      EHOSTUNREACH);
}

}  // namespace
}  // namespace fastpool::connection
