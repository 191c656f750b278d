// Uses the library without a network: a request to a URL that names no host fails before anything is sent.
#include <cstdio>

#include <fastpool/client.h>
#include <fastpool/version.h>

int main() {
  fastpool::Client client;
  const auto response = client.send({.url = "https:///no-host"});
  std::printf("fastpool %s\n", fastpool::version());
  return !response && response.error().code == fastpool::ErrorCode::invalid_argument ? 0 : 1;
}
