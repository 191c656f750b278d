#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <fastpool/error.h>
#include <fastpool/export.h>
#include <fastpool/timeouts.h>

namespace fastpool::inline v1 {

/// Why a connection was closed.
enum class CloseReason : std::uint8_t {
  not_reusable,  ///< nothing can follow on it: its request failed or ended early, the server announced the close, the protocol
                 ///< was switched, its lease was discarded, or a look before its next request found it unusable
  peer_closed,   ///< the server closed it while it was idle, or behind a response
  idle_timeout,  ///< idle for PoolSettings::idle_timeout, or for as long as the server keeps it (Keep-Alive: timeout=N)
  lifetime,      ///< older than PoolSettings::max_lifetime
  limit,         ///< gave way to another connection at a limit, idle connections included
  unused,        ///< nothing can reach its endpoint any more
  pool_closed    ///< Client::close(), Client::drain(), or the client's end
};

inline constexpr std::size_t close_reason_count = static_cast<std::size_t>(CloseReason::pool_closed) + 1;

[[nodiscard]] FASTPOOL_EXPORT std::string_view to_string(CloseReason reason) noexcept;

/// What Hooks::on_event is called with. Which members have a meaning follows from `kind`; the others keep their defaults. Views
/// and the pointer are valid during the call.
struct Event {
  enum class Kind : std::uint8_t {
    request_begin,  ///< `request`, `method`, `target`. A request that is refused for its arguments has no events
    request_end,  ///< `request`, `method`, `target`, `status`, `connection`, `took`, and `error` if it failed. Of a response that
                  ///< was not read to its end: `error` is `cancelled`
    retry,       ///< `request`, `method`, `target`; it begins again on another connection, because of `error`
    dial_begin,  ///< one attempt to connect: look-up, connect and TLS handshake
    dial_end,    ///< `took`, and either `connection` or `error`
    close,       ///< `connection`, `reason`
    leak         ///< a lease has been held longer than PoolSettings::leak_after: `took`
  };

  Kind kind = Kind::request_begin;
  std::string_view origin{};     ///< "https://example.org:443"
  std::uint64_t request = 0;     ///< numbers the client's requests, from 1
  std::uint64_t connection = 0;  ///< numbers the client's connections, from 1; 0: none
  std::string_view method{};
  std::string_view target{};  ///< path and query, which may carry secrets
  int status = 0;             ///< 0: no response
  Duration took{};            ///< since the begin
  CloseReason reason = CloseReason::not_reusable;
  const Error* error = nullptr;
};

[[nodiscard]] FASTPOOL_EXPORT std::string_view to_string(Event::Kind kind) noexcept;

}  // namespace fastpool::inline v1
