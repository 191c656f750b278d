#include "cpp/curl_transfer.h"

namespace fastpool::bench {
namespace {

/// libcurl's receive buffer. Its default of 16 KiB costs more calls for a large body; more than this gains nothing here.
constexpr long kBufferSize = 128L * 1'024;

std::size_t append(char* data, std::size_t size, std::size_t count, void* to) {
  static_cast<std::string*>(to)->append(data, size * count);
  return size * count;
}

template <typename Value>
void set(CURL* handle, CURLoption option, Value value) {
  if (const CURLcode result = curl_easy_setopt(handle, option, value); result != CURLE_OK) {
    fail(curl_easy_strerror(result));
  }
}

}  // namespace

CurlTransfer::CurlTransfer(const Task& task, std::size_t index)
    : task_(task), index_(index), handle_(curl_easy_init()) {
  for (const auto& [name, value] : task.headers) {
    std::string line = name;
    line.append(": ").append(value);
    headers_.reset(curl_slist_append(headers_.release(), line.c_str()));
  }
  body_.reserve(task.response_size);
  CURL* const handle = handle_.get();
  set(handle, CURLOPT_URL, task.url.c_str());
  set(handle, CURLOPT_PRIVATE, this);
  set(handle, CURLOPT_NOSIGNAL, 1L);
  set(handle, CURLOPT_TCP_NODELAY, 1L);
  set(handle, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  set(handle, CURLOPT_HTTPHEADER, headers_.get());
  set(handle, CURLOPT_POSTFIELDS, task.body.data());  // not copied
  set(handle, CURLOPT_POSTFIELDSIZE, static_cast<long>(task.body.size()));
  set(handle, CURLOPT_WRITEFUNCTION, &append);
  set(handle, CURLOPT_WRITEDATA, &body_);
  set(handle, CURLOPT_BUFFERSIZE, kBufferSize);
  if (!task.ca_file.empty()) set(handle, CURLOPT_CAINFO, task.ca_file.c_str());
}

void CurlTransfer::check_answer(CURLcode result) const {
  if (result != CURLE_OK) fail(curl_easy_strerror(result));
  long status = 0;
  curl_easy_getinfo(handle(), CURLINFO_RESPONSE_CODE, &status);
  check(task_, static_cast<unsigned>(status), body_.size());
}

}  // namespace fastpool::bench
