#pragma once

#include <cstddef>
#include <deque>
#include <list>
#include <mutex>
#include <string>
#include <unordered_map>

#include "tls/openssl.h"

namespace fastpool::tls {

/// Sessions of earlier connections, to resume from. One per Context, so what is in it was verified under that context's
/// settings. Bounded: of the keys the one unused for longest goes first, of a key's sessions the oldest.
/// Any thread may call it (OpenSSL hands out tickets in the middle of a read); a mutex is enough, as this is the way of a
/// handshake, never that of a request on a live connection.
class SessionCache {
 public:
  static constexpr std::size_t max_keys = 1024;
  static constexpr std::size_t max_sessions_per_key = 8;

  void store(const std::string& key, SessionHandle session);

  /// The newest session of the key that has not expired; null if there is none. A TLS 1.3 session leaves the cache: a
  /// ticket used twice lets an observer link the two connections (RFC 8446 appendix C.4). Older ones stay for others.
  /// \param now seconds since the epoch, as OpenSSL dates sessions.
  [[nodiscard]] SessionHandle take(const std::string& key, long now);

  [[nodiscard]] std::size_t size() const;  ///< sessions, of all keys

 private:
  struct Entry {
    std::string key;
    std::deque<SessionHandle> sessions;  ///< newest last
  };
  using Entries = std::list<Entry>;

  mutable std::mutex mutex_;
  // guarded by mutex_
  Entries entries_;  ///< the key used last stands first
  std::unordered_map<std::string, Entries::iterator> index_;
};

}  // namespace fastpool::tls
