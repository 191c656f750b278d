// libcurl: the easy interface on threads, one handle each and nothing shared; the multi interface on one epoll set.

#include <curl/curl.h>

#include <array>
#include <memory>

#include "cpp/curl_multi.h"
#include "cpp/curl_transfer.h"
#include "cpp/worker.h"

namespace fastpool::bench {
namespace {

class Easy final : public Blocking {
 public:
  explicit Easy(const Task& task) : transfer_(task) {}
  void exchange() override {
    transfer_.clear();
    transfer_.check_answer(curl_easy_perform(transfer_.handle()));
  }

 private:
  CurlTransfer transfer_;
};

MakeBlocking on_threads(const Task& task) {
  curl_global_init(CURL_GLOBAL_ALL);
  return [&task] { return std::make_unique<Easy>(task); };
}

std::unique_ptr<Looping> on_epoll(const Task& task) {
  curl_global_init(CURL_GLOBAL_ALL);
  return std::make_unique<CurlMulti>(task);
}

constexpr std::array<ClientKind, 2> kClients{{
    {.name = "easy", .blocking = on_threads},
    {.name = "multi", .looping = on_epoll},
}};

}  // namespace

std::span<const ClientKind> clients() {
  return kClients;
}

std::string version() {
  const curl_version_info_data& data = *curl_version_info(CURLVERSION_NOW);
  return std::string("libcurl ") + data.version + " with " + data.ssl_version;
}

}  // namespace fastpool::bench
