#pragma once

/// \file
/// Requests that follow redirects (RFC 9110 section 15.4).

#include <functional>

#include <fastpool/call.h>
#include <fastpool/client.h>
#include <fastpool/export.h>
#include <fastpool/message.h>
#include <fastpool/result.h>
#include <fastpool/stream.h>

namespace fastpool::inline v1 {

/// Which redirects a request follows: 301, 302, 303, 307 and 308 with a Location.
///
///     const auto response = fastpool::send(client, {.url = "http://example.org/"}, fastpool::Redirects{.most = 5});
///
/// The next request is the one before with these changes:
/// - A POST becomes a GET after 301 and 302, any method but HEAD after 303. The body then stays behind, and with it `Content-*`,
///   `Transfer-Encoding`, `Expect` and the like. Else method and body are kept; a file and a function that can start again are
///   sent from their first byte.
/// - At another origin `Host` is left out, and so are credentials: Authorization, Cookie, Proxy-Authorization, and the headers
///   that commonly hold API keys (X-Api-Key, Api-Key, X-Goog-Api-Key, X-Auth-Token, ...). They do not come back when a later redirect
///   leads to the first origin. The step from http to https on the same host, from port 80 to 443, keeps credentials.
/// - Request::target is left out; the fragment of the URL is inherited.
///
/// A redirect that is not to be followed is the result, as any other response: one without a Location; from https to http, unless
/// `downgrade`; one that would send a body again that cannot start again; an answer to CONNECT; what `follow` refuses.
struct Redirects {
  /// How many are followed, as in browsers; curl's 50 and Go's 10 are as good. One more is an error. 0: any is.
  int most = 20;
  /// Follows from https to http too: anybody on the way can read the next request, and forge its response.
  bool downgrade = false;
  /// Called before each redirect is followed, with the head of the response and the next request, which it may change: give
  /// it credentials, or take some away. Returns whether to follow. Empty: always. An exception ends the request with `cancelled`.
  std::function<bool(const ResponseHead& response, Request& next)> follow = {};
};

/// Sends the request, follows redirects, and reads the last response; \see Client::send(). Call::total bounds all of it, the
/// other limits each request. Errors beside those of Client::send(): remote_protocol for more redirects than `most`, and for a
/// Location that is no http or https URL. `bytes_sent` of an error counts all requests.
///
/// This is a function beside Client, as those of loop.h and coroutine.h are, whose first argument is a Loop: a request of the
/// client's own never goes anywhere but where it was sent.
[[nodiscard]] FASTPOOL_EXPORT Result<Response> send(Client& client, Request request, const Redirects& redirects,
                                                    const Call& call = {});
/// The same up to the head of the last response; \see Client::open(). Bodies of the responses before are not waited for.
/// A request with a body that is written follows no redirect: its response comes after Stream::finish().
[[nodiscard]] FASTPOOL_EXPORT Result<Stream> open(Client& client, Request request, const Redirects& redirects,
                                                  const Call& call = {});

}  // namespace fastpool::inline v1
