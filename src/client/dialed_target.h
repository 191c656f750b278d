#pragma once

#include <string>
#include <string_view>

#include <fastpool/origin.h>

#include "connection/dialer.h"
#include "pool/endpoint.h"

namespace fastpool::client {

/// What the connections of an endpoint are dialed to. The caller has a hold or a lease.
[[nodiscard]] inline const connection::Target& dialed_target(const pool::Endpoint& endpoint) noexcept {
  return *static_cast<const connection::Target*>(endpoint.target().get());
}

/// "scheme://host:port" of a request's origin at an endpoint. \param storage holds it where the endpoint has another name.
[[nodiscard]] inline std::string_view origin_text(const pool::Endpoint& endpoint, const Origin& origin,
                                                  std::string& storage) {
  if (dialed_target(endpoint).proxy == nullptr) [[likely]]
    return endpoint.name();
  return storage = origin.to_string();
}

/// Whether requests to that origin may use the endpoint's connections.
[[nodiscard]] inline bool leads_to(const pool::Endpoint& endpoint, const Origin& origin) {
  const connection::Target& target = dialed_target(endpoint);
  return target.forwards ? origin.scheme == Scheme::http : target.origin == origin;
}

}  // namespace fastpool::client
