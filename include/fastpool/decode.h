#pragma once

/// \file
/// Content codings (RFC 9110 section 8.4.1): gzip, deflate, br and zstd. In a library of its own, fastpool::decode, which needs
/// zlib, brotli and zstd.

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string_view>

#include <fastpool/export.h>
#include <fastpool/message.h>
#include <fastpool/result.h>
#include <fastpool/stream.h>

namespace fastpool::inline v1 {

/// What Accept-Encoding is to say.
inline constexpr std::string_view accepted_codings = "gzip, deflate, br, zstd";

/// How far a body may grow when it is decoded: a few bytes can stand for gigabytes.
struct DecodeLimits {
  static constexpr std::uint64_t unlimited = std::numeric_limits<std::uint64_t>::max();

  std::uint64_t max_size = unlimited;                 ///< of the decoded body, in bytes
  std::uint64_t max_ratio = 200;                      ///< decoded bytes to encoded ones,
  std::uint64_t free_size = std::uint64_t{1} << 24U;  ///< counted from so many decoded bytes on
};

/// Decodes a body piece by piece. Does no I/O, and holds at most 64 KiB of decoded bytes for each coding.
///
///     auto decoder = fastpool::Decoder::make(stream->head().headers.find("content-encoding"));
///     ...
///     decoder->feed(piece);
///     for (;;) {
///       const auto decoded = decoder->next();
///       if (!decoded) return decoded.error();
///       if (decoded->empty()) break;  // feed the next piece
///       use(*decoded);
///     }
///     ...
///     if (const auto finished = decoder->finish(); !finished) return finished.error();
///
/// Move-only; one thread at a time.
class FASTPOOL_EXPORT Decoder {
 public:
  /// \param codings the value of Content-Encoding: "gzip", or several in the order in which they were applied ("gzip, br"); empty
  /// or "identity": the body is what was fed. \param limits how far it may grow. Errors: `unsupported` for another coding, or for more than five; out_of_memory.
  [[nodiscard]] static Result<Decoder> make(std::string_view codings, const DecodeLimits& limits = {});
  Decoder(Decoder&&) noexcept;
  Decoder& operator=(Decoder&&) noexcept;
  ~Decoder();

  /// Gives the next piece of the encoded body, after next() has returned empty. The view lasts until next() returns empty again.
  void feed(std::string_view piece) noexcept;
  /// Returns decoded bytes; empty: all that was fed is decoded. The view lasts until the next call. Errors, which it repeats:
  /// remote_protocol if the bytes are no such coding, body_too_large beyond a limit, out_of_memory.
  [[nodiscard]] Result<std::string_view> next();
  /// Says that the body has ended, after next() has returned empty. Errors: remote_protocol if it ends within a coding. A body
  /// without bytes, such as a response to HEAD has, is complete.
  [[nodiscard]] Result<void> finish();

 private:
  struct FASTPOOL_LOCAL State;
  explicit Decoder(std::unique_ptr<State> state) noexcept;
  std::unique_ptr<State> state_;
};

/// Decodes the response's body in place, and removes the headers that speak of the encoded body: Content-Encoding and
/// Content-Length. A response without Content-Encoding stays as it is. Errors: those of Decoder; then the response is unchanged.
[[nodiscard]] FASTPOOL_EXPORT Result<void> decode(Response& response, const DecodeLimits& limits = {});

/// The decoded body of a stream, on the calling thread. Refers to the stream, which outlives it; nothing else reads the stream
/// meanwhile. Call::max_body counts the encoded bytes.
class FASTPOOL_EXPORT DecodedStream {
 public:
  /// \param stream its head has come. \param limits how far the body may grow. Errors: those of Decoder::make().
  [[nodiscard]] static Result<DecodedStream> make(Stream& stream, const DecodeLimits& limits = {});

  /// Waits for the next piece of the decoded body; empty at its end, from then on. The view lasts until the next call. Errors:
  /// those of Stream::read() and of Decoder.
  [[nodiscard]] Result<std::string_view> read();

 private:
  DecodedStream(Stream& stream, Decoder decoder) noexcept;

  Stream* stream_;
  Decoder decoder_;
  bool ended_ = false;
};

}  // namespace fastpool::inline v1
