#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace fastpool::bench {

/// One complete request at the front of a buffer.
struct RequestView {
  std::string_view target;  ///< views into the buffer given to read_request()
  std::size_t size = 0;     ///< bytes of head and body together
};

/// What the front of a buffer holds: a request, too little of one (neither), or something this server does not speak.
struct ReadOutcome {
  std::optional<RequestView> request;
  bool refused = false;
};

/// Looks at `bytes` for one whole HTTP/1.1 request with a content-length, or without a body. Knows just enough for the
/// benchmark's clients: chunked requests are refused, names are matched without case, nothing else is checked.
[[nodiscard]] ReadOutcome read_request(std::string_view bytes);

}  // namespace fastpool::bench
