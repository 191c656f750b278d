#include "h2/frame_guard.h"

#include <algorithm>

namespace fastpool::h2 {

namespace {

// Frame types (RFC 9113 section 6).
constexpr unsigned char data = 0;
constexpr unsigned char headers = 1;
constexpr unsigned char window_update = 8;
constexpr unsigned char continuation = 9;

}  // namespace

const char* FrameGuard::take(std::string_view& bytes) noexcept {
  std::string_view rest = bytes;
  while (!rest.empty()) {
    if (payload_left_ > 0) {
      const std::size_t step = std::min(payload_left_, rest.size());
      payload_left_ -= step;
      rest.remove_prefix(step);
      continue;
    }
    const std::size_t step = std::min(header_size - header_bytes_, rest.size());
    std::copy_n(rest.begin(), step, header_.begin() + static_cast<std::ptrdiff_t>(header_bytes_));
    header_bytes_ += step;
    rest.remove_prefix(step);
    if (header_bytes_ < header_size) break;
    header_bytes_ = 0;
    payload_left_ =
        static_cast<std::size_t>(header_[0]) << 16U | static_cast<std::size_t>(header_[1]) << 8U | header_[2];
    if (const char* const complaint = count()) {
      bytes.remove_suffix(rest.size());
      return complaint;
    }
  }
  return nullptr;
}

const char* FrameGuard::count() noexcept {
  const unsigned char type = header_[3];
  if (type == continuation) {
    return ++continuations_ > most_continuations ? "more than 64 CONTINUATION frames in one header block" : nullptr;
  }
  continuations_ = 0;
  if (type == headers || (type == data && payload_left_ > 0)) {
    idle_frames_ = 0;
    return nullptr;
  }
  if (type == window_update && window_updates_due_ > 0) {
    --window_updates_due_;
    return nullptr;
  }
  return ++idle_frames_ > most_idle_frames ? "more than 1000 frames in a row without any content" : nullptr;
}

}  // namespace fastpool::h2
