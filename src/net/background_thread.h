#pragma once

#include <functional>
#include <optional>
#include <thread>

namespace fastpool::net {

/// Starts a thread of the library's own, with every signal blocked from its first instruction on: signals are for the
/// threads of the program. \param name shown by debuggers; the kernel keeps 15 bytes of it.
/// \returns nothing if the system has no room for another thread.
[[nodiscard]] std::optional<std::thread> start_background_thread(const char* name, std::function<void()> body);

}  // namespace fastpool::net
