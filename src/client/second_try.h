#pragma once

#include <fastpool/error.h>

namespace fastpool::client {

/// Takes an attempt, and once more where other code had closed the library's descriptors and nothing was sent: the second one
/// opens new ones. \param repeatable whether the attempt can be repeated: no function has produced a part of its body.
template <typename Attempt>
[[nodiscard]] auto with_second_try(bool repeatable, Attempt attempt) {
  auto result = attempt();
  if (repeatable && !result && result.error().code == ErrorCode::forked && result.error().bytes_sent == 0) [[unlikely]]
    result = attempt();
  return result;
}

}  // namespace fastpool::client
