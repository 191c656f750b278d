#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include <fastpool/export.h>
#include <fastpool/result.h>

namespace fastpool::inline v1 {

/// Looks a host name up. Returns its addresses as text ("192.0.2.1", "2001:db8::1", "fe80::1%eth0"), in the order in which they
/// are to be tried.
///
/// Called on the client's look-up threads, several at a time, and may block; not for hosts that are addresses. Answers are cached
/// for PoolSettings::dns_lifetime. It may still run when the client has been destroyed. Its error becomes a resolve_failed with
/// that detail, and so does an exception; Error::final: another look-up would fail too.
using Resolve = std::function<Result<std::vector<std::string>>(const std::string& host)>;

/// Looks the host up as the system does: getaddrinfo(3), /etc/hosts included. Blocks. Errors: resolve_failed.
[[nodiscard]] FASTPOOL_EXPORT Result<std::vector<std::string>> resolve_by_system(const std::string& host);

/// Returns a function that answers the hosts of the table itself (their names in lower case), and asks `otherwise` for the rest. The
/// TLS name and the Host header stay those of the URL.
///
///     fastpool::Client client({}, {}, {.resolve = fastpool::resolve_fixed({{"api.example", {"192.0.2.1"}}})});
[[nodiscard]] FASTPOOL_EXPORT Resolve resolve_fixed(std::map<std::string, std::vector<std::string>> hosts,
                                                    Resolve otherwise = resolve_by_system);

}  // namespace fastpool::inline v1
