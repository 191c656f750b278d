#include "client/redirection.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include <fastpool/headers.h>

#include "client/body_source.h"
#include "client/url_reference.h"

namespace fastpool::client {

namespace {

constexpr std::array<std::string_view, 12> credentials = {"authorization", "cookie", "cookie2", "proxy-authorization",
                                                          // Keys of APIs, which are credentials by convention alone.
                                                          "x-api-key", "api-key", "x-goog-api-key",
                                                          "ocp-apim-subscription-key", "x-auth-token", "x-access-token",
                                                          "private-token", "x-amz-security-token"};

// What describes a body, or is of use with one alone, beside Content-*.
constexpr std::array<std::string_view, 6> of_bodies = {"transfer-encoding", "trailer",    "expect", "digest",
                                                       "last-modified",     "repr-digest"};

template <std::size_t size>
bool is_one_of(std::string_view name, const std::array<std::string_view, size>& names) noexcept {
  return std::any_of(names.begin(), names.end(),
                     [name](std::string_view one) { return equals_ignoring_case(name, one); });
}

bool describes_body(std::string_view name) noexcept {
  constexpr std::string_view content = "content-";
  return equals_ignoring_case(name.substr(0, content.size()), content) || is_one_of(name, of_bodies);
}

bool can_start_again(const Body& body) noexcept {
  return body.kind() == Body::Kind::bytes || BodySource(body).rewindable();
}

bool is_redirect(int status) noexcept {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

}  // namespace

bool becomes_get(int status, std::string_view method) noexcept {
  if (status == 303) return method != "GET" && method != "HEAD";
  return (status == 301 || status == 302) && method == "POST";
}

bool shares_credentials(const Origin& from, const Origin& to) noexcept {
  if (from == to) return true;
  return from.host == to.host && from.scheme == Scheme::http && from.port == default_port(Scheme::http) &&
         to.scheme == Scheme::https && to.port == default_port(Scheme::https);
}

bool is_credential(std::string_view header) noexcept {
  return is_one_of(header, credentials);
}

Result<bool> redirect(Request& request, const ResponseHead& response, const Redirects& redirects) {
  const std::string_view location = response.headers.find("location");
  if (!is_redirect(response.status) || location.empty() || request.method == "CONNECT") return false;
  const bool as_get = becomes_get(response.status, request.method);
  if (!as_get && !can_start_again(request.body)) return false;

  auto from = Origin::parse(request.url);
  if (!from) return std::move(from).error();
  std::string url = resolve_reference(request.url, encode_strange_bytes(location));
  auto to = Origin::parse(url);
  if (!to) {  // the words are about the origin alone: path and query may hold secrets
    return Error::make(ErrorCode::remote_protocol, Phase::read_head,
                       from->to_string() + " answered " + std::to_string(response.status) +
                           " with a Location that cannot be followed: " + to.error().detail);
  }
  if (from->scheme == Scheme::https && to->scheme == Scheme::http && !redirects.downgrade) return false;

  if (url.find('#') == std::string::npos) {
    if (const std::size_t fragment = request.url.find('#'); fragment != std::string::npos)
      url.append(request.url, fragment);
  }
  request.url = std::move(url);
  request.target.clear();
  const bool elsewhere = *from != *to;
  const bool strip = !shares_credentials(*from, *to);
  std::erase_if(request.headers, [&](const auto& header) {
    const std::string_view name = header.first;
    return (as_get && describes_body(name)) || (elsewhere && equals_ignoring_case(name, "host")) ||
           (strip && is_credential(name));
  });
  if (as_get) {
    request.method = "GET";
    request.body = {};
  }
  return true;
}

}  // namespace fastpool::client
