#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <fastpool/message.h>
#include <fastpool/result.h>

namespace fastpool::client {

/// Produces the bytes of a request's body that is a file or a function, piece by piece. One thread at a time; the Body outlives
/// it.
class BodySource {
 public:
  explicit BodySource(const Body& body) noexcept : body_(body) {}

  /// How many bytes there will be; absent: not known. Errors: invalid_argument for a file that cannot be looked at.
  [[nodiscard]] Result<std::optional<std::uint64_t>> size();
  /// The next piece; empty at the end. The view lasts until the next call. Errors: what the function returns, and
  /// local_protocol for a file that is shorter than its size.
  [[nodiscard]] Result<std::string_view> next();
  /// Whether rewind() can be called.
  [[nodiscard]] bool rewindable() const noexcept;
  /// Starts again from the first byte. Errors: what the function returns.
  [[nodiscard]] Result<void> rewind();

 private:
  [[nodiscard]] Result<std::size_t> read_file(std::span<char> buffer);

  const Body& body_;
  std::uint64_t produced_ = 0;
  std::uint64_t file_size_ = 0;
  std::vector<char> buffer_;
};

}  // namespace fastpool::client
