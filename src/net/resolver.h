#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <fastpool/error.h>
#include <fastpool/timeouts.h>

#include "net/socket_address.h"

namespace fastpool::net {

/// Addresses of one name with port 0, in the order in which the system prefers them (RFC 6724), each once, at least one.
using AddressList = std::vector<SocketAddress>;

/// Called exactly once per look-up, on a resolver thread or before resolve() returns, with no lock held.
using ResolveDone = std::function<void(Result<AddressList>)>;

/// Looks one name up and may block; called on resolver threads, several at a time. \returns resolve_failed otherwise.
using LookUp = std::function<Result<AddressList>(const std::string& host)>;

/// getaddrinfo for stream sockets of both families. Errors carry the text of gai_strerror; `final` if the name is unknown.
[[nodiscard]] Result<AddressList> system_look_up(const std::string& host);

/// Host names to addresses, without a wait on the caller's thread: a few threads that start on demand and end when idle, a
/// cache of what was found, and one look-up for all who ask for the same name at the same time. Failures are not cached.
///
/// Owned by a reactor; every method may be called from any thread. Its threads are detached and share the state, so the
/// destructor never waits for a look-up that hangs. Callers of such a look-up are still called when it ends, so what they
/// capture must outlive the resolver (weak pointers); those whose look-up had not begun get pool_closed from the destructor.
/// Not usable in the child of a fork: its owner must leave it alone there.
class Resolver {
 public:
  struct Settings {
    /// Slow names hold a thread each; beyond this many they queue. Threads are cheap while they wait, so there are enough
    /// for fifty slow names to block nobody else.
    std::size_t max_threads = 64;
    Duration thread_idle = std::chrono::seconds{10};
    /// Counted from the moment at which the look-up was asked for.
    Duration cache_lifetime = std::chrono::seconds{300};
    std::size_t cache_names = 1024;
  };

  Resolver();
  explicit Resolver(LookUp look_up);
  Resolver(LookUp look_up, Settings settings);
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;
  ~Resolver();

  /// Finds the addresses of a host. Numeric and cached ones, and names that no resolver can take (RFC 1035 section 2.3.4),
  /// are answered before it returns. Errors: resolve_failed.
  void resolve(const std::string& host, TimePoint now, ResolveDone done);

  /// Forgets every name; look-ups under way still answer their callers but are neither kept nor joined by new ones.
  void clear_cache();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace fastpool::net
