#pragma once

#include <curl/curl.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "cpp/curl_transfer.h"
#include "cpp/worker.h"

namespace fastpool::bench {

/// libcurl's multi interface, driven by curl_multi_socket_action() on one epoll set. The set is changed only where libcurl
/// wants other events of a socket than the set has: libcurl lets go of a socket after each response, and the next
/// request asks for the same events again.
class CurlMulti final : public Looping {
 public:
  explicit CurlMulti(const Task& task);
  ~CurlMulti() override;

  void run_until(Clock::time_point end) override;

 private:
  struct Cleanup {
    void operator()(CURLM* handle) const noexcept { curl_multi_cleanup(handle); }
  };

  static int on_socket(CURL* easy, curl_socket_t socket, int wanted, void* self, void* of_socket);
  static int on_timer(CURLM* multi, long milliseconds, void* self);
  static int on_close(void* self, curl_socket_t socket);
  void watch(curl_socket_t socket, std::uint32_t events);
  void act(curl_socket_t socket, int events);
  void begin(CurlTransfer& transfer);
  void finish_done();

  /// Of each descriptor: the events that the set has, and that libcurl wants; 0 for none.
  struct Interest {
    std::uint32_t registered = 0;
    std::uint32_t wanted = 0;
  };

  int epoll_;
  std::vector<Interest> interests_;
  std::optional<Clock::time_point> timer_;
  std::unique_ptr<CURLM, Cleanup> multi_;
  std::vector<std::unique_ptr<CurlTransfer>> transfers_;
};

}  // namespace fastpool::bench
