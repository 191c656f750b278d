#include "tls/session_cache.h"

#include <ctime>
#include <utility>

namespace fastpool::tls {

namespace {

/// Seconds since the epoch when the server issued the session.
std::time_t issued_at(const SSL_SESSION* session) noexcept {
#if OPENSSL_VERSION_NUMBER >= 0x30300000L  // 3.3 added the function whose predecessor 3.4 deprecates
  return SSL_SESSION_get_time_ex(session);
#else
  return SSL_SESSION_get_time(session);
#endif
}

bool usable(SSL_SESSION* session, std::time_t now) noexcept {
  return SSL_SESSION_is_resumable(session) == 1 && now < issued_at(session) + SSL_SESSION_get_timeout(session);
}

bool single_use(const SSL_SESSION* session) noexcept {
  return SSL_SESSION_get_protocol_version(session) >= TLS1_3_VERSION;
}

}  // namespace

void SessionCache::store(const std::string& key, SessionHandle session) {
  const std::lock_guard lock(mutex_);
  auto found = index_.find(key);
  if (found == index_.end()) {
    if (entries_.size() >= max_keys) {
      index_.erase(entries_.back().key);
      entries_.pop_back();
    }
    entries_.push_front({key, {}});
    found = index_.emplace(key, entries_.begin()).first;
  } else {
    entries_.splice(entries_.begin(), entries_, found->second);
  }
  auto& sessions = found->second->sessions;
  if (!single_use(session.get()))
    sessions.clear();  // a TLS 1.2 session serves any number of connections: one is enough
  sessions.push_back(std::move(session));
  if (sessions.size() > max_sessions_per_key) sessions.pop_front();
}

SessionHandle SessionCache::take(const std::string& key, long now) {
  const std::lock_guard lock(mutex_);
  const auto found = index_.find(key);
  if (found == index_.end()) return nullptr;
  auto& sessions = found->second->sessions;
  while (!sessions.empty()) {
    SessionHandle newest = std::move(sessions.back());
    sessions.pop_back();
    if (!usable(newest.get(), now)) continue;
    if (!single_use(newest.get())) {
      SSL_SESSION_up_ref(newest.get());
      sessions.emplace_back(newest.get());
    }
    entries_.splice(entries_.begin(), entries_, found->second);
    return newest;
  }
  entries_.erase(found->second);
  index_.erase(found);
  return nullptr;
}

std::size_t SessionCache::size() const {
  const std::lock_guard lock(mutex_);
  std::size_t total = 0;
  for (const Entry& entry : entries_)
    total += entry.sessions.size();
  return total;
}

}  // namespace fastpool::tls
