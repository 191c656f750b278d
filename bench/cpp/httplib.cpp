// cpp-httplib: one Client per thread, with keep-alive and without Nagle's algorithm.

#include <httplib.h>

#include <array>
#include <memory>

#include "cpp/worker.h"

namespace fastpool::bench {
namespace {

class OnThread final : public Blocking {
 public:
  explicit OnThread(const Task& task) : task_(task), client_(task.url.substr(0, task.url.size() - task.target.size())) {
    client_.set_keep_alive(true);
    client_.set_tcp_nodelay(true);
    client_.set_decompress(false);
    if (!task.ca_file.empty()) client_.set_ca_cert_path(task.ca_file);
    for (const auto& [name, value] : task.headers) {
      if (name == "content-type") {
        content_type_ = value;
      } else {
        headers_.emplace(name, value);
      }
    }
  }

  void exchange() override {
    const auto result = client_.Post(task_.target, headers_, task_.body.data(), task_.body.size(), content_type_);
    if (!result) fail(httplib::to_string(result.error()));
    check(task_, static_cast<unsigned>(result->status), result->body.size());
  }

 private:
  const Task& task_;
  httplib::Client client_;
  httplib::Headers headers_;
  std::string content_type_;
};

MakeBlocking on_threads(const Task& task) {
  return [&task] { return std::make_unique<OnThread>(task); };
}

constexpr std::array<ClientKind, 1> kClients{{{.name = "httplib", .blocking = on_threads}}};

}  // namespace

std::span<const ClientKind> clients() {
  return kClients;
}

std::string version() {
  return "cpp-httplib " CPPHTTPLIB_VERSION;
}

}  // namespace fastpool::bench
