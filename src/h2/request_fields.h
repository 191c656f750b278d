#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fastpool/headers.h>
#include <fastpool/result.h>

namespace fastpool::h2 {

/// A request's head as it is to be sent. Views.
struct RequestHead {
  std::string_view method;
  std::string_view scheme;          ///< "https"
  std::string_view target;          ///< "/path?query"
  std::span<const Header> headers;  ///< as for HTTP/1.1, `Host` among them
};

/// The fields of a request, pseudo-header fields first (RFC 9113 section 8.3.1). `Host` becomes :authority; names are in
/// lower case; connection-specific fields are left out (section 8.2.2), and so is TE but for "trailers"; cookies are split into
/// pieces, which compress better (section 8.2.3).
class RequestFields {
 public:
  /// Errors: local_protocol for a request that no HTTP/2 peer could read: a method or name that is no token, a value with CR,
  /// LF or NUL, no `Host` or several, an empty target.
  [[nodiscard]] static Result<RequestFields> of(const RequestHead& head);

  /// Valid as long as this object and what the head's views look into.
  [[nodiscard]] std::span<const Header> fields() const noexcept { return fields_; }
  /// What Content-Length says; absent: nothing.
  [[nodiscard]] std::optional<std::uint64_t> content_length() const noexcept { return content_length_; }

 private:
  std::vector<char> lower_;  // the names; views into it survive a move
  std::vector<Header> fields_;
  std::optional<std::uint64_t> content_length_;
};

}  // namespace fastpool::h2
