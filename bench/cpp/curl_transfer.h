#pragma once

#include <curl/curl.h>

#include <memory>
#include <string>

#include "cpp/worker.h"

namespace fastpool::bench {

/// One easy handle with all options set, used again for every request. The body goes into a string that keeps its capacity;
/// headers are not looked at. HTTP/1.1 also under TLS, where libcurl would choose HTTP/2.
class CurlTransfer {
 public:
  /// \param index of the request among those at once.
  explicit CurlTransfer(const Task& task, std::size_t index = 0);

  [[nodiscard]] std::size_t index() const { return index_; }
  [[nodiscard]] CURL* handle() const { return handle_.get(); }
  void clear() { body_.clear(); }
  /// Ends the program unless the transfer has succeeded.
  void check_answer(CURLcode result) const;

 private:
  struct Cleanup {
    void operator()(CURL* handle) const noexcept { curl_easy_cleanup(handle); }
    void operator()(curl_slist* list) const noexcept { curl_slist_free_all(list); }
  };

  const Task& task_;
  std::size_t index_;
  std::unique_ptr<curl_slist, Cleanup> headers_;
  std::unique_ptr<CURL, Cleanup> handle_;
  std::string body_;
};

}  // namespace fastpool::bench
