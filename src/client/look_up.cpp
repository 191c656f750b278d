#include "client/look_up.h"

#include <exception>
#include <utility>

#include "net/socket_address.h"

namespace fastpool::inline v1 {

Result<std::vector<std::string>> resolve_by_system(const std::string& host) {
  auto found = net::system_look_up(host);
  if (!found) return std::move(found).error();
  std::vector<std::string> addresses;
  for (const net::SocketAddress& address : *found)
    addresses.push_back(address.ip());
  return addresses;
}

Resolve resolve_fixed(std::map<std::string, std::vector<std::string>> hosts, Resolve otherwise) {
  return [hosts = std::move(hosts),
          otherwise = std::move(otherwise)](const std::string& host) -> Result<std::vector<std::string>> {
    const auto known = hosts.find(host);
    return known != hosts.end() ? known->second : otherwise(host);
  };
}

}  // namespace fastpool::inline v1

namespace fastpool::client {

namespace {

Error failed(const std::string& host, const std::string& why) {
  return Error::make(ErrorCode::resolve_failed, Phase::resolve, "cannot resolve '" + host + "': " + why);
}

Result<net::AddressList> parsed(const std::string& host, const std::vector<std::string>& texts) {
  net::AddressList addresses;
  for (const std::string& text : texts) {
    const auto address = net::SocketAddress::from_ip(text, 0);
    if (!address) return failed(host, "the resolve function returned '" + text + "', which is no IP address");
    addresses.push_back(*address);
  }
  if (addresses.empty()) return failed(host, "the resolve function returned no address");
  return addresses;
}

}  // namespace

net::LookUp look_up_by(Resolve resolve) {
  return [resolve = std::move(resolve)](const std::string& host) -> Result<net::AddressList> {
    try {
      auto found = resolve(host);
      if (found) return parsed(host, *found);
      Error error = std::move(found).error();
      error.code = ErrorCode::resolve_failed;
      error.phase = Phase::resolve;
      return error;
    } catch (const std::exception& raised) {
      return failed(host, std::string("the resolve function threw: ") + raised.what());
    }
  };
}

}  // namespace fastpool::client
