#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <fastpool/headers.h>
#include <fastpool/result.h>

namespace fastpool::h1 {

/// How the body of a request is framed, read from its own headers.
enum class Framing : std::uint8_t { none, content_length, chunked };

struct EncodedHead {
  Framing framing = Framing::none;
  std::uint64_t content_length = 0;  ///< with Framing::content_length
  bool close = false;                ///< the caller asked for "Connection: close"
  bool has_host = false;
  bool upgrade = false;  ///< the caller offers another protocol ("Upgrade")
};

/// Appends "METHOD target HTTP/1.1", the headers exactly as given (order, case, duplicates), and the empty line to `out`;
/// Host alone comes first wherever it was given (RFC 9110 section 7.2), as httpx's own transport sends it.
/// Adds nothing on its own; \see complete_headers in client/. Content-Length is left out beside Transfer-Encoding: chunked
/// (RFC 9112 section 6.2), and written once where it was given several times with the same number.
/// \returns local_protocol (phase write, nothing appended) for what would break the framing or smuggle: a method that
/// is no token, a target with spaces or control bytes, a header name that is no token, a value with CR, LF or NUL,
/// a repeated Host, conflicting Content-Lengths, a repeated Transfer-Encoding or one other than chunked.
[[nodiscard]] Result<EncodedHead> encode_head(std::string& out, std::string_view method, std::string_view target,
                                              std::span<const Header> headers);

/// The parts of a head that encode_head() made. Views of it.
struct HeadParts {
  std::string_view method;
  std::string_view target;
  std::vector<Header> headers;
};
[[nodiscard]] HeadParts parts_of(std::string_view encoded);

/// Appends the size line of a chunk ("1a\r\n"); the chunk's bytes and "\r\n" follow.
void encode_chunk_size(std::string& out, std::uint64_t size);
inline constexpr std::string_view chunk_end = "\r\n";
inline constexpr std::string_view last_chunk = "0\r\n\r\n";

/// Whether the method is idempotent by definition (RFC 9110 section 9.2.2) and so replayable: GET, HEAD, OPTIONS, TRACE, PUT, DELETE.
[[nodiscard]] bool is_idempotent(std::string_view method) noexcept;

}  // namespace fastpool::h1
