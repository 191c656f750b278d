#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fastpool/export.h>
#include <fastpool/headers.h>
#include <fastpool/result.h>

namespace fastpool::inline v1 {

/// The body of a request: bytes, a file, a function that produces it, or pieces that the caller writes. A value; copies
/// share what `pull` and `file` refer to.
class FASTPOOL_EXPORT Body {
 public:
  /// Fills the buffer from its start. Returns how many bytes it wrote there; 0: the body has ended. An error ends the request
  /// with that error. May block; runs on the thread that sends. An exception ends the request with `cancelled`.
  using Pull = std::function<Result<std::size_t>(std::span<char> buffer)>;
  /// Starts the source again from its first byte.
  using Rewind = std::function<Result<void>()>;

  /// How the bytes come.
  enum class Kind : std::uint8_t { bytes, file, pull, written };

  /// No body.
  Body() = default;
  /// Owns the bytes.
  Body(std::string bytes) : bytes_(std::move(bytes)) {}  // NOLINT(google-explicit-constructor): reads as assignment
  Body(const char* bytes) : Body(std::string(bytes)) {}  // NOLINT(google-explicit-constructor)
  /// Refers to bytes that outlive the request.
  [[nodiscard]] static Body view(std::string_view bytes) {
    Body body;
    body.view_ = bytes;
    return body;
  }
  /// Reads a file, by pread: the descriptor's position is not moved.
  /// \param descriptor stays the caller's, open until the request has ended. \param offset of the first byte.
  /// \param size how many bytes; absent: up to the end of the file as it is when the request begins.
  [[nodiscard]] static Body file(int descriptor, std::uint64_t offset = 0, std::optional<std::uint64_t> size = {}) {
    Body body(Kind::file);
    body.descriptor_ = descriptor;
    body.offset_ = offset;
    body.size_ = size;
    return body;
  }
  /// Asks a function for the bytes. \param size becomes Content-Length; absent: the body goes out in chunks.
  /// \param pull is called until it returns 0.
  /// \param rewind lets a request be sent again where the retry table allows it; absent: it is sent at most once.
  [[nodiscard]] static Body pull(std::optional<std::uint64_t> size, Pull pull, Rewind rewind = {}) {
    Body body(Kind::pull);
    body.size_ = size;
    body.pull_ = std::move(pull);
    body.rewind_ = std::move(rewind);
    return body;
  }
  /// The caller writes the body by Stream::write() and ends it by Stream::finish(): for Client::open() only.
  [[nodiscard]] static Body written(std::optional<std::uint64_t> size = {}) {
    Body body(Kind::written);
    body.size_ = size;
    return body;
  }

  [[nodiscard]] Kind kind() const noexcept { return kind_; }
  /// The bytes of Kind::bytes.
  [[nodiscard]] std::string_view bytes() const noexcept { return view_.data() != nullptr ? view_ : bytes_; }
  [[nodiscard]] int descriptor() const noexcept { return descriptor_; }
  [[nodiscard]] std::uint64_t offset() const noexcept { return offset_; }
  /// The size that was given, or that of the bytes.
  [[nodiscard]] std::optional<std::uint64_t> size() const noexcept {
    return kind_ == Kind::bytes ? std::optional<std::uint64_t>(bytes().size()) : size_;
  }
  [[nodiscard]] const Pull& pull_function() const noexcept { return pull_; }
  [[nodiscard]] const Rewind& rewind_function() const noexcept { return rewind_; }

 private:
  explicit Body(Kind kind) noexcept : kind_(kind) {}

  Kind kind_ = Kind::bytes;
  int descriptor_ = -1;
  std::uint64_t offset_ = 0;
  std::optional<std::uint64_t> size_;
  std::string bytes_;
  std::string_view view_;
  Pull pull_;
  Rewind rewind_;
};

/// A request. Host and the framing of a body are added where `headers` lack them; the rest goes out as given.
///
///     client.send({.method = "POST", .url = "https://host/path", .headers = {{"Content-Type", "text/plain"}}, .body = "hi"});
struct Request {
  std::string method = "GET";
  std::string url = {};  ///< "https://host[:port]/path?query"
  std::vector<std::pair<std::string, std::string>> headers = {};
  Body body = {};
  /// Replaces the URL's path and query in the request line: "host:port" for CONNECT, "*" for OPTIONS (RFC 9112 section 3.2).
  std::string target = {};
};

/// Status line and headers of a response, as they came.
struct ResponseHead {
  int status = 0;
  int version_minor = 1;  ///< of HTTP/1.x, 0 to 9
  std::string reason = {};
  HeaderList headers = {};
  int version_major = 1;  ///< 2: HTTP/2, which has no reason phrase
};

/// A whole response.
struct Response {
  int status = 0;
  std::string reason = {};
  HeaderList headers = {};
  std::string body = {};
  HeaderList trailers = {};  ///< fields behind a body in chunks (RFC 9110 section 6.5)
};

}  // namespace fastpool::inline v1
