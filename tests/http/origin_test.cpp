#include <fastpool/origin.h>

#include <gtest/gtest.h>

#include <string>

namespace fastpool {
namespace {

Origin parsed(std::string_view url) {
  Result<Origin> origin = Origin::parse(url);
  EXPECT_TRUE(origin.ok()) << url << ": " << (origin.ok() ? "" : origin.error().detail);
  return origin.ok() ? std::move(origin).value() : Origin{};
}

std::string refusal(std::string_view url) {
  const Result<Origin> origin = Origin::parse(url);
  if (origin.ok()) return "accepted as " + origin.value().to_string();
  EXPECT_EQ(origin.error().code, ErrorCode::invalid_argument);
  return origin.error().detail;
}

TEST(AnOrigin, HasTheSchemesOwnPortUnlessOneIsGiven) {
  EXPECT_EQ(parsed("https://example.com").port, 443);
  EXPECT_EQ(parsed("http://example.com").port, 80);
  EXPECT_EQ(parsed("https://example.com:8443").port, 8443);
  EXPECT_EQ(parsed("https://example.com:").port, 443);
  EXPECT_EQ(parsed("https://example.com:00443").port, 443);
  EXPECT_EQ(parsed("http://example.com:65535").port, 65535);
}

TEST(AnOrigin, ComparesWithoutTheCaseOfSchemeAndHost) {
  EXPECT_EQ(parsed("HTTPS://Example.COM/Path"), parsed("https://example.com:443"));
  EXPECT_NE(parsed("https://example.com"), parsed("http://example.com"));
  EXPECT_NE(parsed("https://example.com"), parsed("https://example.com:444"));
}

TEST(AnOrigin, IgnoresWhatFollowsTheAuthority) {
  for (const char* url : {"https://host/", "https://host/a@b:c", "https://host?user@x=1", "https://host#a:b@c",
                          "https://host/a b/\xc3\xa9", "https://host/http://other"}) {
    EXPECT_EQ(parsed(url).to_string(), "https://host:443") << url;
  }
}

TEST(AnOrigin, ReadsIpv6AddressesInAnySpellingAsOne) {
  EXPECT_EQ(parsed("http://[::1]:8080/v1").host, "::1");
  EXPECT_EQ(parsed("http://[::1]:8080/v1").port, 8080);
  EXPECT_EQ(parsed("https://[2001:DB8:0:0:0:0:0:1]"), parsed("https://[2001:db8::1]:443"));
  EXPECT_EQ(parsed("https://[2001:db8::1]").to_string(), "https://[2001:db8::1]:443");
  EXPECT_EQ(parsed("https://[2001:db8::1]:444").host_header(), "[2001:db8::1]:444");
  EXPECT_EQ(parsed("https://[2001:db8::1]").host_header(), "[2001:db8::1]");
}

TEST(AnOrigin, WritesItsPortAlwaysAndTheHostHeaderOnlyWhenNeeded) {
  EXPECT_EQ(parsed("http://127.0.0.1:80").to_string(), "http://127.0.0.1:80");
  EXPECT_EQ(parsed("http://127.0.0.1:80").host_header(), "127.0.0.1");
  EXPECT_EQ(parsed("http://127.0.0.1:443").host_header(), "127.0.0.1:443");
  EXPECT_EQ(parsed("https://host:443").host_header(), "host");
}

TEST(AnOrigin, LeavesOddNamesToTheResolver) {
  const std::string label(64, 'a');
  EXPECT_EQ(parsed("https://" + label + ".example").host, label + ".example");
  EXPECT_EQ(parsed("http://my_service.local.").host, "my_service.local.");
  EXPECT_EQ(parsed("http://a..b").host, "a..b");
}

TEST(AUrlWithoutAKnownScheme, IsRefused) {
  for (const char* url : {"", "example.com", "//example.com", "://example.com", "example.com:443",
                          "example.com/https://other", "http:/example.com", "http:example.com"}) {
    EXPECT_EQ(refusal(url), R"(the URL has no scheme: it must begin with "https://" or "http://")") << url;
  }
  for (const char* url : {"ftp://example.com", "unix:///tmp/socket", " https://example.com", "http+unix://x"}) {
    const std::string detail = refusal(url);
    EXPECT_TRUE(detail == R"(the scheme of the URL is neither "https" nor "http")") << url << ": " << detail;
  }
}

TEST(AUrlWithoutAHost, IsRefused) {
  for (const char* url : {"https://", "https:///path", "https://:443", "https://?q", "https://[]", "https://[]:1"}) {
    EXPECT_EQ(refusal(url), "the URL has no host") << url;
  }
}

TEST(UserInfo, IsRefusedAndNotRepeatedInTheMessage) {
  const std::string detail = refusal("https://someone:hunter2@example.com/");
  EXPECT_NE(detail.find("user info"), std::string::npos);
  EXPECT_EQ(detail.find("hunter2"), std::string::npos);
  EXPECT_NE(refusal("https://@example.com").find("user info"), std::string::npos);
}

TEST(AnInvalidPort, IsRefused) {
  EXPECT_EQ(refusal("https://host:0"), "the port \"0\" of the URL is not within 1 to 65535");
  EXPECT_EQ(refusal("https://host:65536"), "the port \"65536\" of the URL is not within 1 to 65535");
  EXPECT_EQ(refusal("https://host:99999999999999999999"),
            "the port \"99999999999999999999\" of the URL is not within 1 to 65535");
  EXPECT_EQ(refusal("https://host:-1"), "the port \"-1\" of the URL is not a number");
  EXPECT_EQ(refusal("https://host:+1"), "the port \"+1\" of the URL is not a number");
  EXPECT_EQ(refusal("https://host:https"), "the port \"https\" of the URL is not a number");
  EXPECT_EQ(refusal("https://[::1]:x"), "the port \"x\" of the URL is not a number");
}

TEST(AHostThatCouldSplitAHostHeader, IsRefused) {
  EXPECT_EQ(refusal("https://ho st"), "the host of the URL contains a space");
  EXPECT_EQ(refusal("https://host "), "the host of the URL contains a space");
  EXPECT_EQ(refusal("https://host\r\nX: y"), "the host of the URL contains a control byte");
  EXPECT_EQ(refusal(std::string_view("https://ho\0st", 13)), "the host of the URL contains a control byte");
  EXPECT_EQ(refusal("https://host\x7f"), "the host of the URL contains a control byte");
  EXPECT_EQ(refusal("https://host\\path"), "the host \"host\\path\" contains \"\\\", which no host name may");
  EXPECT_EQ(refusal("https://a%2fb"), "the host \"a%2fb\" contains \"%\", which no host name may");
  EXPECT_EQ(refusal("https://a,b"), "the host \"a,b\" contains \",\", which no host name may");
}

TEST(AHostThatIsNotAscii, IsRefusedWithARemedy) {
  EXPECT_EQ(refusal("https://b\xc3\xbc"
                    "cher.example"),
            "the host of the URL is not ASCII: give the host in its ASCII (punycode) form");
  EXPECT_EQ(parsed("https://xn--bcher-kva.example").host, "xn--bcher-kva.example");
}

TEST(AnInvalidIpv6Address, IsRefused) {
  EXPECT_EQ(refusal("https://[::1"), "the IPv6 address of the URL has no closing bracket");
  EXPECT_EQ(refusal("https://[::1]x"), "the URL has \"x\" behind its IPv6 address, where only a port may stand");
  EXPECT_EQ(refusal("https://[1::2::3]"), "the host \"1::2::3\" is not an IPv6 address");
  EXPECT_EQ(refusal("https://[127.0.0.1]"), "the host \"127.0.0.1\" is not an IPv6 address");
  EXPECT_EQ(refusal("https://[fe80::1%25eth0]"), "an IPv6 zone in the host \"fe80::1%25eth0\" is not supported");
  EXPECT_NE(refusal("https://::1/").find("stands in brackets"), std::string::npos);
}

}  // namespace
}  // namespace fastpool
