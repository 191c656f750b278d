#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <fastpool/result.h>
#include <fastpool/timeouts.h>

#include "net/socket_address.h"

namespace fastpool::net {

/// Addresses of one name with port 0, in the order in which the system prefers them (RFC 6724), each once, at least one.
using AddressList = std::vector<SocketAddress>;

/// Names an answer in the cache; 0: none, the answer was looked up just now.
using CacheEntry = std::uint64_t;

/// Called exactly once per look-up, on a resolver thread or before resolve() returns, with no lock held.
using ResolveDone = std::function<void(Result<AddressList>, CacheEntry)>;

/// Looks one name up and may block; called on resolver threads, several at a time. \returns resolve_failed otherwise.
using LookUp = std::function<Result<AddressList>(const std::string& host)>;

/// getaddrinfo for stream sockets of both families. Errors carry the text of gai_strerror; `final` if the name is unknown.
[[nodiscard]] Result<AddressList> system_look_up(const std::string& host);

/// Host names to addresses, without a wait on the caller's thread: a few threads that start on demand and end when idle, a
/// short cache of what was found, and one look-up for all who ask for the same name at the same time. Failures are not
/// cached; an answer that led nowhere is dropped by forget().
///
/// Owned by a reactor; every method may be called from any thread. Its threads are detached and share the state, so the
/// destructor never waits for a look-up that hangs. Callers of such a look-up are still called when it ends, so what they
/// capture must outlive the resolver (weak pointers); those whose look-up had not begun get pool_closed from the destructor.
/// Not usable in the child of a fork: its owner must leave it alone there.
class Resolver {
 public:
  struct Settings {
    /// Slow names hold a thread each; beyond this many they queue. Threads are cheap while they wait, so there are enough
    /// for fifty slow names to block no other look-up.
    std::size_t max_threads = 64;
    Duration thread_idle = std::chrono::seconds{10};
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
  /// \param max_age a cached answer serves if its look-up was asked for less than that ago; zero: none does.
  void resolve(const std::string& host, TimePoint now, Duration max_age, ResolveDone done);

  /// Drops that answer, if it is still the cached one: its addresses could not be connected to.
  void forget(const std::string& host, CacheEntry entry);

  /// Forgets every name; look-ups under way still answer their callers but are neither kept nor joined by new ones.
  void clear_cache();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace fastpool::net
