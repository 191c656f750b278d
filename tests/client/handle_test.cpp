// Which endpoints a handle holds, and for how long.

#include "client/handle.h"

#include "client/client_fixture.h"

namespace fastpool::client::test {
namespace {

class HandleTest : public ::testing::Test {
 protected:
  [[nodiscard]] static Origin origin(int number) {
    return {Scheme::http, "host-" + std::to_string(number) + ".invalid", 80};
  }
  [[nodiscard]] std::size_t living() { return core_.pool().stats().endpoints.size(); }
  [[nodiscard]] Handle handle() {
    return Handle(core_, core_.intern({}), pool::AfterUse::close, Handle::Isolation::by_handle);
  }

  Core core_{PoolSettings{}};
};

TEST_F(HandleTest, one_origin_is_one_endpoint_for_all_handles) {
  Handle first = handle();
  Handle second = handle();
  const auto one = first.use(origin(1));
  EXPECT_EQ(&**one, &**first.use(origin(1)));
  EXPECT_EQ(&**one, &**second.use(origin(1)));
  EXPECT_NE(&**one, &**first.use(origin(2)));
  EXPECT_NE(&**one, &**first.use(origin(1), "other.invalid"));
  EXPECT_EQ(&**first.use(origin(1), "other.invalid"), &**second.use(origin(1), "other.invalid"));
}

TEST_F(HandleTest, an_isolated_endpoint_is_the_handles_own) {
  Handle first = handle();
  Handle second = handle();
  auto use = first.use(origin(1)).value().share();
  const pool::Endpoint* const shared = &*use;
  EXPECT_TRUE(use.isolate().value());
  EXPECT_NE(&*use, shared);
  const pool::Endpoint* const own = &*use;
  EXPECT_TRUE(use.isolate().value());
  EXPECT_EQ(&*use, own) << "it is isolated already";
  EXPECT_EQ(&**first.use(origin(1)), own);
  EXPECT_EQ(&**second.use(origin(1)), shared);
  auto other = second.use(origin(1)).value().share();
  EXPECT_TRUE(other.isolate().value());
  EXPECT_NE(&*other, own);
  EXPECT_NE(&**first.use(origin(2)), own) << "another origin";
}

TEST_F(HandleTest, two_uses_that_isolate_share_the_isolated_endpoint) {
  Handle own = handle();
  auto first = own.use(origin(1)).value().share();
  auto second = own.use(origin(1)).value().share();
  EXPECT_TRUE(first.isolate().value());
  EXPECT_TRUE(second.isolate().value());
  EXPECT_EQ(&*first, &*second);
}

TEST_F(HandleTest, closing_a_handle_releases_the_endpoints_that_are_not_in_use) {
  Handle own = handle();
  auto use = own.use(origin(1)).value().share();
  (void)own.use(origin(2));
  EXPECT_EQ(living(), 2U);
  EXPECT_EQ(own.open_uses(), 1U);
  own.close();
  EXPECT_EQ(living(), 1U);
  EXPECT_EQ(use->name(), "http://host-1.invalid:80");
  use.release();
  EXPECT_EQ(living(), 0U);
  EXPECT_EQ(own.open_uses(), 0U);
}

TEST_F(HandleTest, origins_without_connections_are_forgotten_as_others_are_added) {
  Handle own = handle();
  const auto used = own.use(origin(0));
  for (int i = 1; i < 10'000; ++i)
    ASSERT_TRUE(own.use(origin(i)).ok());
  EXPECT_LE(living(), 128U);
  EXPECT_EQ((*used)->name(), "http://host-0.invalid:80") << "an exchange uses it";
  EXPECT_EQ(&**own.use(origin(0)), &**used);
}

TEST_F(HandleTest, threads_use_isolate_and_release_at_once) {
  Handle own = handle();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 3'000; ++i) {
        const int number = (i * 7 + t) % 200;
        auto use = own.use(origin(number));
        ASSERT_TRUE(use.ok());
        ASSERT_EQ((*use)->name(), "http://host-" + std::to_string(number) + ".invalid:80");
        if (i % 16 == 0) {
          ASSERT_TRUE(use->isolate().value());
          ASSERT_EQ((*use)->name(), "http://host-" + std::to_string(number) + ".invalid:80");
        }
      }
    });
  }
  for (std::thread& thread : threads)
    thread.join();
  EXPECT_EQ(own.open_uses(), 0U);
  own.close();
  EXPECT_EQ(living(), 0U);
}

}  // namespace
}  // namespace fastpool::client::test
