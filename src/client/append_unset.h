#pragma once

#include <cstddef>
#include <functional>
#include <string>

namespace fastpool::client {

/// Appends up to `room` bytes that `fill` writes: it gets the space and returns how many bytes it has written there. The space
/// has no value before, where the standard library can leave it so. `fill` does not throw.
void append_unset(std::string& text, std::size_t room, const std::function<std::size_t(char*)>& fill);

}  // namespace fastpool::client
