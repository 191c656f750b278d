#pragma once

/// \file
/// The task as fastpool takes it; shared by the program over Loop and the one over Asio.

#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <string>

#include <fastpool/client.h>

#include "cpp/worker.h"

namespace fastpool::bench {

/// The body is a view into the task.
[[nodiscard]] inline Request request_of(const Task& task) {
  return {.method = "POST", .url = task.url, .headers = task.headers, .body = Body::view(task.body)};
}

[[nodiscard]] inline Profile profile_of(const Task& task) {
  Profile profile;
  profile.tls.ca_file = task.ca_file;
  profile.protocols = {.http1 = !task.http2, .http2 = task.http2};
  return profile;
}

/// The default, but for the timeouts of a burst of first connections on a busy core.
[[nodiscard]] inline Call call_of() {
  Call call;
  call.timeouts.connect = call.timeouts.pool = std::chrono::seconds(30);
  return call;
}

/// Ends the program unless the response is there and right.
template <typename Answer>
void check(const Task& task, const Result<Answer>& response) {
  if (!response) {
    fail(response.error().detail);
  }
  check(task, static_cast<unsigned>(response->status), response->body.size());
}

/// Opens a connection for each of the task's requests at once. Else the first requests would be served by the first few
/// connections while the others are dialed, and some of the dials would still be under way in the measurement. Over HTTP/2
/// makes one request: its response comes after the server's SETTINGS, so from then on one connection serves them all.
inline void open_connections(const Task& task, Client& client, const Call& call) {
  if (task.http2) return check(task, client.send(request_of(task), call));
  const auto width = static_cast<std::uint32_t>(task.width);
  for (const std::uint32_t count : {width, std::uint32_t{0}}) {  // none is kept idle from then on
    if (const auto idle = client.warm(task.url, count, call); !idle) {
      fail(idle.error().detail);
    }
  }
}

}  // namespace fastpool::bench
