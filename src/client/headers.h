#pragma once

#include <array>
#include <charconv>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fastpool/headers.h>

namespace fastpool::client {

/// A caller's headers and what HTTP needs beside them: Host first, if it is missing (RFC 9112 section 3.2), and
/// the framing of a body: Content-Length for one of known size, or for a method that expects one (RFC 9110 section 8.6), else
/// chunks. Holds what the views look into.
class CompletedHeaders {
 public:
  /// \param origin "scheme://host:port"; the port is left out of Host where it is the scheme's own.
  /// \param body_size absent: it is not known.
  CompletedHeaders(std::string_view origin, std::string_view method, std::vector<Header> headers,
                   std::optional<std::uint64_t> body_size)
      : headers_(std::move(headers)) {
    bool host = false;
    bool framed = false;
    for (const Header& header : headers_) {
      host = host || equals_ignoring_case(header.name, "host");
      framed = framed || equals_ignoring_case(header.name, "content-length") ||
               equals_ignoring_case(header.name, "transfer-encoding");
    }
    if (!host) headers_.insert(headers_.begin(), {"Host", host_of(origin)});
    if (!framed && !body_size) {
      headers_.push_back({"Transfer-Encoding", "chunked"});
    } else if (!framed && (*body_size > 0 || method == "POST" || method == "PUT" || method == "PATCH")) {
      const auto end = std::to_chars(length_.data(), length_.data() + length_.size(), *body_size).ptr;
      headers_.push_back(
          {"Content-Length", std::string_view(length_.data(), static_cast<std::size_t>(end - length_.data()))});
    }
  }
  CompletedHeaders(const CompletedHeaders&) = delete;
  CompletedHeaders& operator=(const CompletedHeaders&) = delete;

  [[nodiscard]] std::span<const Header> headers() const noexcept { return headers_; }

 private:
  [[nodiscard]] static std::string_view host_of(std::string_view origin) noexcept {
    for (const auto& [scheme, port] :
         {std::pair<std::string_view, std::string_view>{"https://", ":443"}, {"http://", ":80"}}) {
      if (!origin.starts_with(scheme)) continue;
      origin.remove_prefix(scheme.size());
      if (origin.ends_with(port)) origin.remove_suffix(port.size());
      break;
    }
    return origin;
  }

  std::vector<Header> headers_;
  std::array<char, 24> length_{};
};

}  // namespace fastpool::client
