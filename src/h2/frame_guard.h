#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace fastpool::h2 {

/// Watches the frames of a peer for floods: frames that cost the receiver and bring no response further (RFC 9113 section
/// 10.5; CVE-2019-9511 to 9518, CVE-2023-44487, CVE-2024-24549). It reads frame headers alone, and counts between two frames that
/// do bring one further: a DATA frame with content, or HEADERS.
class FrameGuard {
 public:
  /// PING, SETTINGS, RST_STREAM, PRIORITY, WINDOW_UPDATE, empty DATA and unknown frames in a row.
  static constexpr unsigned most_idle_frames = 1000;
  /// CONTINUATION frames behind one HEADERS frame.
  static constexpr unsigned most_continuations = 64;

  /// Reads on in the bytes of the peer, in pieces of any size. \returns what is wrong, for people; null: nothing. Then `bytes` is
  /// cut: behind it is the payload of the frame that was one too many.
  [[nodiscard]] const char* take(std::string_view& bytes) noexcept;
  /// A DATA frame was sent, which a peer may answer with a WINDOW_UPDATE of the stream and one of the connection, as nginx does.
  void note_data_sent() noexcept { window_updates_due_ += 2; }
  /// How many of the bytes that were taken last are the begin of a frame header, whose rest is to come.
  [[nodiscard]] std::size_t partial_header() const noexcept { return header_bytes_; }

  static constexpr std::size_t header_size = 9;

 private:
  [[nodiscard]] const char* count() noexcept;

  std::array<unsigned char, header_size> header_{};
  std::size_t header_bytes_ = 0;  // of header_ that are there
  std::size_t payload_left_ = 0;  // of the frame under way
  unsigned idle_frames_ = 0;
  std::size_t window_updates_due_ = 0;
  unsigned continuations_ = 0;
};

}  // namespace fastpool::h2
