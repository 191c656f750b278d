#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <fastpool/headers.h>

namespace fastpool::h1 {

/// Decodes a body in chunks (RFC 9112 section 7.1), one structural element per call:
///
///     size line --> data --> CRLF --> size line ...
///     size line of 0 --> trailers, line by line --> done
///
/// As lenient as h11 where the meaning is clear: spaces behind a chunk size, and trailers that end in LF alone, which
/// leave the connection unusable (doubtful()). Stricter where two readers could disagree: a chunk extension that is
/// malformed or holds a control byte, a size over 64 bits, a size line that ends in LF. Trailers are checked, and reported
/// apart: a trailer must never pass for a header.
///
/// Owned by ResponseParser, used under it on one thread. Never copies: piece() looks into the input.
class ChunkReader {
 public:
  static constexpr std::size_t max_line_bytes = 16UL * 1024;  ///< the size of one chunk with its extensions

  struct Outcome {
    std::size_t consumed = 0;
    bool need_more = false;           ///< the rest must be presented again, followed by more
    const char* complaint = nullptr;  ///< what is wrong with the body, or null
    Header trailer = {};  ///< the trailer that was read; into the input. Without a name: none, or a continuation
  };
  /// Only while !is_done().
  [[nodiscard]] Outcome read(std::string_view bytes);

  /// The data in what read() consumed; empty for everything but data.
  [[nodiscard]] std::string_view piece() const noexcept { return piece_; }
  [[nodiscard]] bool is_done() const noexcept { return state_ == State::done; }
  /// Whether the last chunk was seen: what follows are trailers.
  [[nodiscard]] bool in_trailers() const noexcept { return state_ == State::trailers || is_done(); }
  /// Whether the end of the body could be read differently: the connection must end with it.
  [[nodiscard]] bool doubtful() const noexcept { return doubtful_; }

 private:
  enum class State : std::uint8_t { size_line, data, data_end, trailers, done };

  [[nodiscard]] Outcome read_size_line(std::string_view bytes);
  [[nodiscard]] Outcome read_data(std::string_view bytes);
  [[nodiscard]] Outcome read_data_end(std::string_view bytes);
  [[nodiscard]] Outcome read_trailer(std::string_view bytes);

  std::string_view piece_;
  std::uint64_t missing_ = 0;  // bytes of the chunk
  std::size_t scanned_ = 0;    // bytes of the waiting trailer already searched for its end
  State state_ = State::size_line;
  bool trailer_seen_ = false;  // so a line may continue it
  bool doubtful_ = false;
};

}  // namespace fastpool::h1
