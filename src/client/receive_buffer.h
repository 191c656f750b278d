#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "sync/thread_owned.h"

namespace fastpool::client {

inline constexpr std::size_t receive_buffer_size = 64UL * 1024;

// One receive buffer per thread: an exchange holds none, so an idle or slow one costs nothing. What was read lies in it
// until this thread reads again.
inline std::vector<char>& thread_buffer() {
  struct Tag {};
  return sync::ThreadOwned<std::vector<char>, Tag>::get();
}

// Takes the buffer out of the thread for the time of a wait: a signal handler may make requests of its own on this thread,
// and then finds another.
class ReceiveBuffer {
 public:
  explicit ReceiveBuffer(std::string_view kept) : bytes_(std::exchange(thread_buffer(), {})), kept_(kept.size()) {
    const std::size_t wanted = kept_ + receive_buffer_size / 2;
    if (bytes_.size() < wanted || bytes_.size() > 8 * receive_buffer_size) {
      bytes_ = {};
      bytes_.resize(std::max(wanted, receive_buffer_size));
    }
    if (kept_ != 0) std::memcpy(bytes_.data(), kept.data(), kept_);
  }
  [[nodiscard]] std::span<char> space() noexcept { return std::span(bytes_).subspan(kept_); }
  /// Puts it back. \returns what it holds, `received` new bytes included; valid until this thread reads again.
  [[nodiscard]] std::string_view put_back(std::size_t received) noexcept {
    thread_buffer().swap(bytes_);
    return {thread_buffer().data(), kept_ + received};
  }

 private:
  std::vector<char> bytes_;
  std::size_t kept_;
};

}  // namespace fastpool::client
