#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

#include <fastpool/result.h>

namespace fastpool::codings {

/// One coding of one body. Decodes as much as fits. One thread at a time.
class Codec {
 public:
  Codec() = default;
  Codec(const Codec&) = delete;
  Codec& operator=(const Codec&) = delete;
  virtual ~Codec() = default;

  /// Decodes from `input`, which it shortens by what it has taken. Returns how many bytes it has put into `output`; where that is
  /// full, there may be more without further input. Errors: remote_protocol, out_of_memory.
  [[nodiscard]] virtual Result<std::size_t> decode(std::string_view& input, std::span<char> output) = 0;
  /// Whether the coding's end has come.
  [[nodiscard]] virtual bool complete() const noexcept = 0;
};

/// Returns a codec, or null for want of memory. Each of these stands in the file of its library.
[[nodiscard]] std::unique_ptr<Codec> make_gzip();
/// "deflate" is the zlib format (RFC 9110 section 8.4.1.2); bare deflate data, which some servers send, is understood too.
[[nodiscard]] std::unique_ptr<Codec> make_deflate();
[[nodiscard]] std::unique_ptr<Codec> make_brotli();
[[nodiscard]] std::unique_ptr<Codec> make_zstd();

/// The error where memory has run out.
[[nodiscard]] Error no_memory();
/// The error of bytes that are no such coding.
[[nodiscard]] Error corrupt(std::string_view coding, std::string_view why);

}  // namespace fastpool::codings
