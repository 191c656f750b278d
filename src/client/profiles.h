#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>

#include <fastpool/profile.h>
#include <fastpool/result.h>

#include "connection/proxy_route.h"
#include "tls/context.h"
#include "tls/context_cache.h"

namespace fastpool::client {

/// A profile that a core knows. Equal profiles are one object while it is alive: clients hold it, and so does the target of
/// every endpoint that was made with it. Any thread may call anything.
class InternedProfile {
 public:
  using Id = std::uint64_t;

  InternedProfile(Id id, const Profile& profile, std::shared_ptr<tls::ContextCache> contexts);

  /// Its number, which the core never gives to another profile.
  [[nodiscard]] Id id() const noexcept { return id_; }
  [[nodiscard]] const Profile& profile() const noexcept { return profile_; }

  /// The TLS context, created by the first call that succeeds and shared by the profiles of equal TLS settings; null if the
  /// profile brings its own engine. Lives at least as long as this object. Errors: invalid_argument for settings that
  /// OpenSSL refuses, such as an unreadable file.
  [[nodiscard]] Result<std::shared_ptr<tls::Context>> tls() const;

  /// The way through its proxy, read by the first call that succeeds; null without a proxy. Errors: invalid_argument for a proxy
  /// that cannot be read, unsupported for one together with a Unix socket; for an `https` proxy also those of tls().
  [[nodiscard]] Result<std::shared_ptr<const connection::ProxyRoute>> proxy() const;

  /// Whether its context is to serve no further client (\see tls::Context::outgrown()).
  [[nodiscard]] bool outgrown() const;

 private:
  const Id id_;
  const Profile profile_;
  const std::shared_ptr<tls::ContextCache> contexts_;

  mutable std::mutex mutex_;
  // Guarded by mutex_.
  mutable std::shared_ptr<tls::Context> tls_;
  mutable std::shared_ptr<const connection::ProxyRoute> proxy_;
};

/// Leaves a profile of the parent's core as it is, in the child of a fork: another thread of the parent may have been in
/// the middle of changing it.
void abandon(std::shared_ptr<const InternedProfile> parents);

/// The living profiles of a core. Holds them weakly: a profile without clients and endpoints is forgotten, and an equal one
/// that comes later gets a new id. Any thread may call it.
class Profiles {
 public:
  [[nodiscard]] std::shared_ptr<const InternedProfile> intern(const Profile& profile);

 private:
  const std::shared_ptr<tls::ContextCache> contexts_ = std::make_shared<tls::ContextCache>();

  std::mutex mutex_;
  // Guarded by mutex_.
  std::unordered_multimap<std::size_t, std::weak_ptr<const InternedProfile>> known_;  // by hash
  std::size_t sweep_at_ = 64;  // forgets the dead when so many are known
  InternedProfile::Id last_id_ = 0;
};

}  // namespace fastpool::client
