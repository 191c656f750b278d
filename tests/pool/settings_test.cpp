// The table of settings lists every member of the struct.

#include <set>
#include <string>
#include <type_traits>

#include <gtest/gtest.h>

#include <fastpool/settings.h>

namespace fastpool {
namespace {

TEST(Settings, every_member_is_listed_in_the_table_once) {
  PoolSettings settings;
  auto& [per_endpoint, total, idle, dials, idle_timeout, lifetime, dial_timeout, dns_lifetime, leak_after] = settings;
  const std::set<const void*> members{&per_endpoint, &total,        &idle,         &dials,     &idle_timeout,
                                      &lifetime,     &dial_timeout, &dns_lifetime, &leak_after};
  std::multiset<const void*> listed;
  std::set<std::string> names;
  for_each_setting(settings, [&](const char* name, auto& member, std::uint32_t) {
    listed.insert(&member);
    names.insert(name);
  });
  EXPECT_EQ(listed, std::multiset<const void*>(members.begin(), members.end()));
  EXPECT_EQ(names.size(), members.size());
}

TEST(Settings, a_default_is_never_below_the_least_value) {
  const PoolSettings settings;
  for_each_setting(settings, [](const char* name, const auto& member, std::uint32_t least) {
    if constexpr (std::is_same_v<decltype(member), const std::uint32_t&>) {
      EXPECT_GE(member, least) << name;
    } else {
      EXPECT_EQ(least, 0U) << name;
    }
  });
}

}  // namespace
}  // namespace fastpool
