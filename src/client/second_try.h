#pragma once

#include <fastpool/error.h>

namespace fastpool::client {

/// Takes an attempt, and once more where other code had closed the library's descriptors and nothing was sent: the second one
/// opens new ones.
template <typename Attempt>
[[nodiscard]] auto with_second_try(Attempt attempt) {
  auto result = attempt();
  if (!result && result.error().code == ErrorCode::forked && result.error().bytes_sent == 0) [[unlikely]]
    result = attempt();
  return result;
}

}  // namespace fastpool::client
