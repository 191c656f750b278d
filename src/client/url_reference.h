#pragma once

#include <string>
#include <string_view>

namespace fastpool::client {

/// Returns the URL that a reference means where `base` is the URL it was found under (RFC 3986 section 5.2, strict). Never fails:
/// what is not a URL comes out as none, which Origin::parse() refuses. \param base absolute.
[[nodiscard]] std::string resolve_reference(std::string_view base, std::string_view reference);

/// Percent-encodes what no request line may contain: spaces, control bytes and bytes beyond ASCII.
[[nodiscard]] std::string encode_strange_bytes(std::string_view reference);

}  // namespace fastpool::client
