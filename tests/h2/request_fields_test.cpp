#include "h2/request_fields.h"

#include <gtest/gtest.h>

namespace fastpool::h2::test {
namespace {

using Fields = std::vector<std::pair<std::string, std::string>>;

Fields fields_of(const std::vector<Header>& headers, std::string_view method = "GET") {
  const auto made = RequestFields::of({method, "https", "/", headers});
  EXPECT_TRUE(made.ok()) << made.error().detail;
  Fields fields;
  if (made.ok()) {
    for (const auto& [name, value] : made->fields())
      fields.emplace_back(name, value);
    fields.erase(fields.begin(), fields.begin() + 4);
  }
  return fields;
}

TEST(RequestFieldsTest, pseudo_header_fields_come_first_and_host_is_the_authority) {
  const std::vector<Header> headers{{"Accept", "*/*"}, {"HOST", " one.example:8443 "}};
  const auto made = RequestFields::of({"GET", "https", "/path", headers}).value();
  Fields fields;
  for (const auto& [name, value] : made.fields())
    fields.emplace_back(name, value);
  EXPECT_EQ(fields, (Fields{{":method", "GET"},
                            {":scheme", "https"},
                            {":authority", "one.example:8443"},
                            {":path", "/path"},
                            {"accept", "*/*"}}));
}

TEST(RequestFieldsTest, connection_specific_headers_are_left_out) {
  EXPECT_EQ(fields_of({{"Host", "h"},
                       {"Connection", "keep-alive"},
                       {"Keep-Alive", "timeout=5"},
                       {"Proxy-Connection", "x"},
                       {"Transfer-Encoding", "chunked"},
                       {"Upgrade", "h2c"},
                       {"HTTP2-Settings", "x"},
                       {"TE", "gzip"},
                       {"te", "Trailers"},
                       {"X-Own", "a"}}),
            (Fields{{"te", "Trailers"}, {"x-own", "a"}}));
}

TEST(RequestFieldsTest, cookies_go_in_pieces) {
  EXPECT_EQ(fields_of({{"Host", "h"}, {"Cookie", "a=1; b=2;c=3 ; "}}),
            (Fields{{"cookie", "a=1"}, {"cookie", "b=2"}, {"cookie", "c=3"}}));
}

TEST(RequestFieldsTest, a_content_length_stands_once) {
  EXPECT_EQ(fields_of({{"Host", "h"}, {"Content-Length", "5"}, {"content-length", "5"}}),
            (Fields{{"content-length", "5"}}));
  const std::vector<Header> headers{{"Host", "h"}, {"Content-Length", "5"}};
  EXPECT_EQ(RequestFields::of({"POST", "https", "/", headers})->content_length(), 5U);
}

TEST(RequestFieldsTest, what_no_peer_could_read_is_refused) {
  const auto refused = [](std::string_view method, std::string_view target, const std::vector<Header>& headers) {
    const auto made = RequestFields::of({method, "https", target, headers});
    return !made.ok() && made.error().code == ErrorCode::local_protocol;
  };
  const Header host{"Host", "h"};
  EXPECT_TRUE(refused("GET", "/", {}));
  EXPECT_TRUE(refused("GET", "/", {host, host}));
  EXPECT_TRUE(refused("GE T", "/", {host}));
  EXPECT_TRUE(refused("GET", "/a b", {host}));
  EXPECT_TRUE(refused("GET", "", {host}));
  EXPECT_TRUE(refused("GET", "/", {host, {"a b", "c"}}));
  EXPECT_TRUE(refused("GET", "/", {host, {"a", "b\r\nc"}}));
  EXPECT_TRUE(refused("GET", "/", {host, {":path", "/other"}}));
  EXPECT_TRUE(refused("GET", "/", {host, {"Content-Length", "5"}, {"Content-Length", "6"}}));
  EXPECT_TRUE(refused("GET", "/", {host, {"Content-Length", "five"}}));
  EXPECT_FALSE(refused("GET", "/", {host}));
}

}  // namespace
}  // namespace fastpool::h2::test
