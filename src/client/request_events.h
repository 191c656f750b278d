#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include <fastpool/error.h>
#include <fastpool/message.h>
#include <fastpool/origin.h>
#include <fastpool/timeouts.h>

#include "client/core.h"

namespace fastpool::client {

/// Reports one request to Hooks::on_event: its begin, its retries and its one end. Without that function it holds nothing and
/// does nothing, and neither does it report in the child of a fork. One thread at a time; its core outlives it.
class RequestEvents {
 public:
  /// Reports the begin.
  void begin(Core& core, const Origin& origin, const Request& request, std::string_view target);
  /// What to call when the request begins again; null without a function to report to. Outlives moves of this object.
  [[nodiscard]] const std::function<void(const Error&)>* on_retry() const noexcept;
  [[nodiscard]] bool open() const noexcept { return request_ != nullptr; }
  /// Reports the end, the first time. \param status of the response, 0: none. \param connection its number.
  void end(int status, std::uint32_t connection, const Error* error) noexcept;

 private:
  struct Reported;
  struct Deleter {
    void operator()(Reported* reported) const noexcept;
  };
  std::unique_ptr<Reported, Deleter> request_;
};

}  // namespace fastpool::client
