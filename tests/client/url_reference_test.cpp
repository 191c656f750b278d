// References under a base URL: the examples of RFC 3986 section 5.4, and what servers put into Location.

#include "client/url_reference.h"

#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <fastpool/origin.h>

namespace fastpool::client::test {
namespace {

using Rows = std::vector<std::pair<std::string_view, std::string_view>>;

void expect_resolved(std::string_view base, const Rows& rows) {
  for (const auto& [reference, url] : rows)
    EXPECT_EQ(resolve_reference(base, reference), url) << "\"" << reference << "\" under " << base;
}

TEST(UrlReference, resolves_the_normal_examples_of_the_rfc) {
  expect_resolved("http://a/b/c/d;p?q", {{"g:h", "g:h"},
                                         {"g", "http://a/b/c/g"},
                                         {"./g", "http://a/b/c/g"},
                                         {"g/", "http://a/b/c/g/"},
                                         {"/g", "http://a/g"},
                                         {"//g", "http://g"},
                                         {"?y", "http://a/b/c/d;p?y"},
                                         {"g?y", "http://a/b/c/g?y"},
                                         {"#s", "http://a/b/c/d;p?q#s"},
                                         {"g#s", "http://a/b/c/g#s"},
                                         {"g?y#s", "http://a/b/c/g?y#s"},
                                         {";x", "http://a/b/c/;x"},
                                         {"g;x", "http://a/b/c/g;x"},
                                         {"g;x?y#s", "http://a/b/c/g;x?y#s"},
                                         {"", "http://a/b/c/d;p?q"},
                                         {".", "http://a/b/c/"},
                                         {"./", "http://a/b/c/"},
                                         {"..", "http://a/b/"},
                                         {"../", "http://a/b/"},
                                         {"../g", "http://a/b/g"},
                                         {"../..", "http://a/"},
                                         {"../../", "http://a/"},
                                         {"../../g", "http://a/g"}});
}

TEST(UrlReference, resolves_the_abnormal_examples_of_the_rfc) {
  expect_resolved("http://a/b/c/d;p?q", {{"../../../g", "http://a/g"},
                                         {"../../../../g", "http://a/g"},
                                         {"/./g", "http://a/g"},
                                         {"/../g", "http://a/g"},
                                         {"g.", "http://a/b/c/g."},
                                         {".g", "http://a/b/c/.g"},
                                         {"g..", "http://a/b/c/g.."},
                                         {"..g", "http://a/b/c/..g"},
                                         {"./../g", "http://a/b/g"},
                                         {"./g/.", "http://a/b/c/g/"},
                                         {"g/./h", "http://a/b/c/g/h"},
                                         {"g/../h", "http://a/b/c/h"},
                                         {"g;x=1/./y", "http://a/b/c/g;x=1/y"},
                                         {"g;x=1/../y", "http://a/b/c/y"},
                                         {"g?y/./x", "http://a/b/c/g?y/./x"},
                                         {"g?y/../x", "http://a/b/c/g?y/../x"},
                                         {"g#s/./x", "http://a/b/c/g#s/./x"},
                                         {"g#s/../x", "http://a/b/c/g#s/../x"},
                                         {"http:g", "http:g"}});
}

TEST(UrlReference, resolves_what_servers_send) {
  expect_resolved("http://a", {{"g", "http://a/g"}, {"?y", "http://a?y"}, {"..", "http://a/"}, {"", "http://a"}});
  expect_resolved("http://a?q", {{"g", "http://a/g"}, {"#s", "http://a?q#s"}});
  expect_resolved("http://a/b/c#old", {{"", "http://a/b/c"}, {"d", "http://a/b/d"}});
  expect_resolved("http://a/b?x=/c/d", {{"g", "http://a/g"}});
  expect_resolved("https://[::1]:8443/b", {{"//h:1/x", "https://h:1/x"}, {"/x", "https://[::1]:8443/x"}});
  expect_resolved("http://a/b", {{"https://h/x/../y?u=http://z/../#f", "https://h/y?u=http://z/../#f"},
                                 {"./c:d", "http://a/c:d"},
                                 {"/c//d", "http://a/c//d"},
                                 {"/c//..", "http://a/c/"},
                                 {"?u=http://z", "http://a/b?u=http://z"},
                                 {"\\\\h\\x", "http://a/\\\\h\\x"}});
}

TEST(UrlReference, without_a_host_is_no_url) {
  for (const std::string_view reference :
       {"http:g", "https:/x", "https:///x", "mailto:a@b", "javascript:alert(1)", "//", "http://"})
    EXPECT_FALSE(Origin::parse(resolve_reference("http://a/b", reference)).ok()) << reference;
}

TEST(UrlReference, has_bytes_that_no_request_line_may_contain_encoded) {
  EXPECT_EQ(encode_strange_bytes("/a b?c=\xC3\xA9#d\te\x7f"), "/a%20b?c=%C3%A9#d%09e%7F");
  EXPECT_EQ(encode_strange_bytes("/a%20b+!~\"<>"), "/a%20b+!~\"<>");
}

}  // namespace
}  // namespace fastpool::client::test
