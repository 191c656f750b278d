// Profiles and their TLS contexts: shared while they are in use, forgotten after that.

#include "client/profiles.h"

#include <filesystem>
#include <memory>
#include <set>

#include "client/client_fixture.h"
#include "support/certificates.h"

namespace fastpool::client::test {
namespace {

Profile named(std::string server_name) {
  Profile profile;
  profile.server_name = std::move(server_name);
  return profile;
}

TEST(Profiles, equal_profiles_are_one_while_one_of_their_users_lives) {
  Profiles profiles;
  const auto first = profiles.intern(named("a.example"));
  EXPECT_EQ(profiles.intern(named("a.example")), first);
  EXPECT_NE(profiles.intern(named("b.example"))->id(), first->id());
}

TEST(Profiles, an_id_is_never_reused) {
  Profiles profiles;
  std::set<InternedProfile::Id> ids;
  for (int i = 0; i < 1000; ++i)  // each is forgotten at once
    EXPECT_TRUE(ids.insert(profiles.intern(named("a.example"))->id()).second);
}

TEST(Profiles, profiles_of_equal_tls_settings_share_a_context_that_ends_with_the_last_of_them) {
  support::CertificateAuthority authority;
  Profiles profiles;
  Profile plain;
  plain.tls.ca_file = authority.ca_file();
  Profile bound = plain;
  bound.local_address = "127.0.0.1";
  auto first = profiles.intern(plain);
  auto second = profiles.intern(bound);
  std::weak_ptr<tls::Context> context = *first->tls();
  EXPECT_EQ(*second->tls(), context.lock());
  first.reset();
  EXPECT_FALSE(context.expired());
  second.reset();
  EXPECT_TRUE(context.expired());
}

TEST(Profiles, a_context_that_could_not_be_created_is_tried_again) {
  support::CertificateAuthority authority;
  support::TemporaryDirectory directory;
  Profile profile;
  profile.tls.ca_file = directory.path("ca.pem");
  Profiles profiles;
  const auto interned = profiles.intern(profile);
  EXPECT_EQ(interned->tls().error().code, ErrorCode::invalid_argument);
  std::filesystem::copy_file(authority.ca_file(), directory.path("ca.pem"));
  EXPECT_TRUE(interned->tls().ok());
}

TEST(Profiles, an_endpoint_keeps_its_profile_for_the_client_that_comes_next) {
  const HttpServer server;
  Core core({});
  auto client = core.intern(named("a.example"));
  const auto id = client->id();
  const auto endpoint = core.endpoint(*Origin::parse(server.url()), client, pool::AfterUse::keep);
  ASSERT_TRUE(endpoint.ok());
  client.reset();
  const auto next = core.intern(named("a.example"));
  EXPECT_EQ(next->id(), id);
  EXPECT_EQ(&**core.endpoint(*Origin::parse(server.url()), next, pool::AfterUse::keep), &**endpoint);
}

TEST(ClientProfile, plain_http_needs_no_tls_settings_and_https_reports_bad_ones) {
  const HttpServer server;
  Profile profile;
  profile.tls.ca_file = "/nowhere/ca.pem";
  Client client({}, profile);
  const auto plain = client.send(request("GET", server.url()), patient());
  ASSERT_TRUE(plain.ok()) << plain.error().detail;
  EXPECT_EQ(plain->body, "hello");
  const auto secure = client.send(request("GET", "https://127.0.0.1:1/"), patient());
  ASSERT_FALSE(secure.ok());
  EXPECT_EQ(secure.error().code, ErrorCode::invalid_argument);
  EXPECT_NE(secure.error().detail.find("/nowhere/ca.pem"), std::string::npos) << secure.error().detail;
}

}  // namespace
}  // namespace fastpool::client::test
