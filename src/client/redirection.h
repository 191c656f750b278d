#pragma once

#include <string_view>

#include <fastpool/message.h>
#include <fastpool/origin.h>
#include <fastpool/redirect.h>
#include <fastpool/result.h>

namespace fastpool::client {

// The decisions about redirects, as functions of the request and its response.

/// Whether a redirect turns the request into a GET without a body (RFC 9110 section 15.4; for 301 and 302 as browsers do).
[[nodiscard]] bool becomes_get(int status, std::string_view method) noexcept;

/// Whether what authenticates a request at `from` may go to `to`: the same origin, or the same host by TLS on the schemes' own ports.
[[nodiscard]] bool shares_credentials(const Origin& from, const Origin& to) noexcept;

/// Whether the header is known to hold credentials.
[[nodiscard]] bool is_credential(std::string_view header) noexcept;

/// Turns the request into the one that the response redirects it to. Returns false, and leaves it as it is, if this redirect is
/// not to be followed; \see Redirects, whose `most` and `follow` are not looked at. Errors: remote_protocol for a Location that
/// is no http or https URL. \param request was sent, so its URL is valid.
[[nodiscard]] Result<bool> redirect(Request& request, const ResponseHead& response, const Redirects& redirects);

}  // namespace fastpool::client
