#pragma once

#include <cstddef>
#include <functional>
#include <string_view>

#include <fastpool/origin.h>

namespace fastpool::client {

/// The hash of an origin, for tables.
struct OriginHash {
  [[nodiscard]] std::size_t operator()(const Origin& origin) const noexcept {
    return std::hash<std::string_view>{}(origin.host) ^ (static_cast<std::size_t>(origin.port) * 31U) ^
           static_cast<std::size_t>(origin.scheme);
  }
};

}  // namespace fastpool::client
