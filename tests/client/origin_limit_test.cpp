// The limit on the requests and leases to one origin: Client::set_max_leases().

#include <optional>
#include <string>
#include <vector>

#include "client/http2_fixture.h"
#include "support/child_process.h"

namespace fastpool::client::test {
namespace {

class OriginLimit : public Http2WayTest {
 protected:
  /// The handler outlives the server, which outlives the client.
  Held held_;
  Http2Server server_{held_.handler()};
  Client client_{{}, over_http2()};

  void limit(std::optional<std::uint32_t> most, OptionalDuration valid_for = {}) {
    ASSERT_TRUE(client_.set_max_leases(server_.url(), most, valid_for).ok());
  }
  [[nodiscard]] OriginUsage usage() const { return client_.usage(server_.url()).value(); }
  [[nodiscard]] ::testing::AssertionResult comes_to(std::uint32_t leased, std::uint32_t waiting) const {
    return eventually(std::to_string(leased) + " requests are under way and " + std::to_string(waiting) + " wait",
                      [&] { return usage().leased == leased && usage().waiting == waiting; });
  }
  static void answer(const std::vector<Http2Request>& requests) {
    for (const Http2Request& each : requests)
      each.answer(200, each.path);
  }
  static void expect_own_answers(const std::vector<Result<Response>>& results) {
    for (std::size_t number = 0; number < results.size(); ++number) {
      ASSERT_TRUE(results[number].ok()) << results[number].error().detail;
      EXPECT_EQ(results[number]->body, "/" + std::to_string(number));
    }
  }
  [[nodiscard]] static Call waits_for_at_most(Duration time) {
    Call call = patient();
    call.timeouts.pool = time;
    return call;
  }
};

INSTANTIATE_TEST_SUITE_P(Ways, OriginLimit, ::testing::Values(Way::blocking, Way::loop, Way::coroutine),
                         [](const auto& way) { return name_of(way.param); });

TEST_P(OriginLimit, bounds_the_requests_under_way) {
  limit(3);
  Sending sending(GetParam(), client_, numbered(server_, 10));
  ASSERT_TRUE(comes_to(3, 7));
  ASSERT_TRUE(held_.become(3));  // before the first is answered, and gives its place to another
  for (int answered = 0; answered < 10;) {
    const auto some = held_.take(1);
    answered += static_cast<int>(some.size());
    answer(some);
  }
  expect_own_answers(sending.results());
  EXPECT_EQ(server_.most_open_streams(), 3);
  EXPECT_TRUE(comes_to(0, 0));
}

TEST_P(OriginLimit, a_lower_limit_lets_none_in_until_enough_have_ended) {
  limit(4);
  Sending sending(GetParam(), client_, numbered(server_, 6));
  ASSERT_TRUE(held_.become(4));
  limit(1);
  auto first = held_.take(4);
  const Http2Request last = first.back();
  first.pop_back();
  answer(first);
  ASSERT_TRUE(comes_to(1, 2));
  EXPECT_EQ(held_.size(), 0U);
  answer({last});
  answer(held_.take(1));
  answer(held_.take(1));
  expect_own_answers(sending.results());
  EXPECT_EQ(server_.most_open_streams(), 4);
}

TEST_P(OriginLimit, a_higher_limit_lets_in_those_that_wait) {
  limit(0);
  Sending sending(GetParam(), client_, numbered(server_, 5));
  ASSERT_TRUE(comes_to(0, 5));
  limit(2);
  ASSERT_TRUE(comes_to(2, 3));
  limit(std::nullopt);
  answer(held_.take(5));
  expect_own_answers(sending.results());
  EXPECT_EQ(server_.most_open_streams(), 5);
}

TEST_P(OriginLimit, a_request_that_waits_in_vain_ends_at_the_pool_timeout) {
  limit(0);
  const auto late =
      send_all(GetParam(), client_, numbered(server_, 1), waits_for_at_most(std::chrono::milliseconds(20)));
  ASSERT_FALSE(late[0].ok());
  EXPECT_EQ(late[0].error().code, ErrorCode::pool_timeout);
  EXPECT_NE(late[0].error().detail.find("limit on leases of this origin"), std::string::npos) << late[0].error().detail;
  EXPECT_EQ(usage().waiting, 0U);
  EXPECT_EQ(held_.size(), 0U);
}

TEST_P(OriginLimit, nothing_begins_after_the_time_of_the_limit_until_it_is_set_again) {
  limit(8, Duration::zero());
  Sending sending(GetParam(), client_, numbered(server_, 3));
  ASSERT_TRUE(comes_to(0, 3));
  ASSERT_TRUE(client_.set_max_leases_until(server_.url(), 8, Duration::zero()).ok());  // when the machine was started
  ASSERT_TRUE(comes_to(0, 3));
  limit(8, std::chrono::hours(1));
  answer(held_.take(3));
  expect_own_answers(sending.results());
}

TEST_P(OriginLimit, a_request_given_up_takes_no_place_with_it) {
  limit(1);
  Sending sending(GetParam(), client_, numbered(server_, 1));
  ASSERT_TRUE(comes_to(1, 0));
  const auto late =
      send_all(GetParam(), client_, {request("GET", server_.url("/late")), request("GET", server_.url("/later"))},
               waits_for_at_most(std::chrono::milliseconds(20)));
  for (const auto& each : late)
    EXPECT_EQ(each.error_or({}).code, ErrorCode::pool_timeout);
  answer(held_.take(1));
  expect_own_answers(sending.results());
  Sending next(GetParam(), client_, numbered(server_, 1));
  answer(held_.take(1));
  expect_own_answers(next.results());
}

TEST_P(OriginLimit, close_ends_those_that_wait) {
  limit(0);
  Sending sending(GetParam(), client_, numbered(server_, 2));
  ASSERT_TRUE(comes_to(0, 2));
  client_.close();
  for (const auto& each : sending.results())
    EXPECT_EQ(each.error_or({}).code, ErrorCode::pool_closed);
}

TEST(OriginLimitOfHttp1, counts_requests_of_all_profiles_and_leases) {
  const HttpServer server;
  Client client;
  ASSERT_TRUE(client.set_max_leases(server.url(), 1).ok());
  auto lease = client.lease(server.url(), patient());
  ASSERT_TRUE(lease.ok()) << lease.error().detail;
  Profile other;
  other.protocols = {.http1 = true, .http2 = true};
  Call call = patient();
  call.timeouts.pool = std::chrono::milliseconds(20);
  call.profile = &other;
  EXPECT_EQ(client.send(request("GET", server.url()), call).error_or({}).code, ErrorCode::pool_timeout);
  EXPECT_EQ(client.lease(server.url(), call).error_or({}).code, ErrorCode::pool_timeout);
  EXPECT_TRUE(lease->send(request("GET", server.url()), patient()).ok()) << "the lease has the place";
  EXPECT_EQ(client.usage(server.url())->leased, 1U);
  lease = Error{};
  call.timeouts.pool = patient().timeouts.pool;
  EXPECT_TRUE(client.send(request("GET", server.url()), call).ok());
  EXPECT_EQ(client.usage(server.url())->leased, 0U);
}

TEST(OriginLimitOfHttp1, other_origins_go_on) {
  const HttpServer limited;
  const HttpServer free;
  Client client;
  ASSERT_TRUE(client.set_max_leases(limited.url(), 0).ok());
  EXPECT_TRUE(client.send(request("GET", free.url()), patient()).ok());
  EXPECT_EQ(client.usage(free.url())->leased, 0U);
}

TEST(OriginLimitOfHttp1, an_address_without_a_scheme_is_refused) {
  Client client;
  EXPECT_EQ(client.set_max_leases("example.org", 1).error_or({}).code, ErrorCode::invalid_argument);
  EXPECT_EQ(client.usage("example.org").error_or({}).code, ErrorCode::invalid_argument);
}

TEST(OriginLimitOfHttp1, the_child_of_a_fork_begins_with_none) {
  const HttpServer server;
  Client client;
  ASSERT_TRUE(client.set_max_leases(server.url(), 5).ok());
  ASSERT_TRUE(client.send(request("GET", server.url()), patient()).ok());
  if (!support::threads_after_fork)
    GTEST_SKIP() << "case: needs a thread in the child, which ThreadSanitizer does not start";
  EXPECT_EQ(support::in_child([&] {
              Call call = patient();
              call.timeouts.pool = std::chrono::milliseconds(20);
              if (client.send(request("GET", server.url()), call).error_or({}).code != ErrorCode::pool_timeout)
                return 1;
              if (!client.set_max_leases(server.url(), 1).ok()) return 2;
              return client.send(request("GET", server.url()), patient()).ok() ? 0 : 3;
            }),
            0);
  EXPECT_TRUE(client.send(request("GET", server.url()), patient()).ok());
}

TEST(OriginLimitOfHttp1, the_child_of_a_fork_has_no_limit_that_was_lifted_before) {
  if (!support::threads_after_fork)
    GTEST_SKIP() << "case: needs a thread in the child, which ThreadSanitizer does not start";
  const HttpServer server;
  Client client;
  ASSERT_TRUE(client.set_max_leases(server.url(), 5).ok());
  ASSERT_TRUE(client.set_max_leases(server.url(), std::nullopt).ok());
  EXPECT_EQ(support::in_child([&] { return client.send(request("GET", server.url()), patient()).ok() ? 0 : 1; }), 0);
}

}  // namespace
}  // namespace fastpool::client::test
