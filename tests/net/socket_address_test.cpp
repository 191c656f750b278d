#include "net/socket_address.h"

#include <string>
#include <utility>

#include <gtest/gtest.h>

namespace fastpool::net {
namespace {

TEST(SocketAddress, reads_and_writes_ip_addresses) {
  EXPECT_EQ(SocketAddress::from_ip("192.0.2.1", 443)->to_string(), "192.0.2.1:443");
  EXPECT_EQ(SocketAddress::from_ip("2001:DB8::1", 80)->to_string(), "[2001:db8::1]:80");
  EXPECT_EQ(SocketAddress::from_ip("::1", 80)->family(), AF_INET6);
  EXPECT_EQ(SocketAddress::from_ip("fe80::1%1", 80)->to_string(), "[fe80::1%1]:80");
}

TEST(SocketAddress, refuses_what_is_no_ip_address) {
  for (const std::string& text :
       {std::string(), std::string("localhost"), std::string("[::1]"), std::string("1.2.3"), std::string("1.2.3.4:80"),
        std::string("256.1.1.1"), std::string("::1%nowhere"), std::string("1.2.3.4\0x", 9), std::string(500, '1')}) {
    EXPECT_FALSE(SocketAddress::from_ip(text, 80).has_value()) << text;
  }
}

TEST(SocketAddress, takes_paths_up_to_the_systems_length) {
  EXPECT_EQ(SocketAddress::from_unix_path("/run/some.sock")->to_string(), "unix:/run/some.sock");
  EXPECT_TRUE(SocketAddress::from_unix_path(std::string(107, 'p')).has_value());
  EXPECT_FALSE(SocketAddress::from_unix_path(std::string(108, 'p')).has_value());
  EXPECT_FALSE(SocketAddress::from_unix_path("").has_value());
  EXPECT_FALSE(SocketAddress::from_unix_path(std::string_view("/a\0b", 4)).has_value());
  const std::string abstract("\0a\0b", 4);
  EXPECT_EQ(SocketAddress::from_unix_path(abstract)->unix_path(), abstract);
  EXPECT_EQ(SocketAddress::from_unix_path(abstract)->to_string(), "unix:@a@b");
  EXPECT_TRUE(SocketAddress::from_unix_path('\0' + std::string(107, 'p')).has_value());
  EXPECT_FALSE(SocketAddress::from_unix_path('\0' + std::string(108, 'p')).has_value());
  EXPECT_EQ(SocketAddress::from_unix_path("/run/some.sock")->unix_path(), "/run/some.sock");
  EXPECT_EQ(SocketAddress::from_ip("127.0.0.1", 80)->unix_path(), "");
}

TEST(SocketAddress, changes_its_port_and_compares_as_a_value) {
  const auto address = *SocketAddress::from_ip("192.0.2.1", 443);
  EXPECT_EQ(address.with_port(80), *SocketAddress::from_ip("192.0.2.1", 80));
  EXPECT_FALSE(address == address.with_port(80));
  EXPECT_EQ(SocketAddress(address.data(), address.size()), address);
  EXPECT_EQ(SocketAddress().to_string(), "unspecified");
}

TEST(SocketAddress, is_small_whatever_it_names_and_copied_whole) {
  EXPECT_LE(sizeof(SocketAddress), 32U);
  for (const auto& original : {*SocketAddress::from_ip("fe80::1%1", 80), *SocketAddress::from_unix_path("/s"),
                               *SocketAddress::from_unix_path(std::string(107, 'p'))}) {
    SocketAddress copy = original;
    EXPECT_EQ(copy, original);
    SocketAddress moved = std::move(copy);
    EXPECT_EQ(moved, original);
    copy = moved;
    moved = SocketAddress();
    EXPECT_EQ(copy, original) << "a copy is its own";
    EXPECT_EQ(copy.to_string(), original.to_string());
    EXPECT_EQ(moved.family(), AF_UNSPEC);
  }
}

TEST(SocketAddress, tells_addresses_from_names) {
  EXPECT_TRUE(is_ip_address("127.0.0.1"));
  EXPECT_TRUE(is_ip_address("fe80::1%eth7"));
  EXPECT_FALSE(is_ip_address("127.0.0.1.example"));
  EXPECT_FALSE(is_ip_address(""));
}

}  // namespace
}  // namespace fastpool::net
