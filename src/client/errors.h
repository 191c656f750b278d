#pragma once

#include <cstdint>

#include <fastpool/error.h>

namespace fastpool::client {

/// The error of a request for which there is no memory. Without words, which may need memory too.
[[nodiscard]] inline Error no_memory(std::uint64_t bytes_sent = 0) noexcept {
  Error error;
  error.code = ErrorCode::out_of_memory;
  error.bytes_sent = bytes_sent;
  return error;
}

}  // namespace fastpool::client
