#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <fastpool/origin.h>
#include <fastpool/result.h>

#include "client/core.h"
#include "client/origin_hash.h"
#include "pool/endpoint_hold.h"
#include "sync/atomics.h"

namespace fastpool::client {

class Handle;

/// An endpoint that a handle uses, and the handle's hold on it. Shared by the handle and its exchanges; the object belongs to
/// the handle and is never freed while that lives, so that a stale pointer to it can still be looked at.
class HeldEndpoint {
 public:
  HeldEndpoint(const HeldEndpoint&) = delete;
  HeldEndpoint& operator=(const HeldEndpoint&) = delete;

 private:
  friend class EndpointUse;
  friend class Handle;
  explicit HeldEndpoint(Handle& handle) noexcept : handle_(handle) {}

  Handle& handle_;
  sync::Count uses_;  ///< one of the handle while it is listed, one per EndpointUse; at 0 the hold is released
  // Written while `uses_` is 0.
  Origin origin_;
  std::string server_name_;
  bool isolated_ = false;
  pool::EndpointHold hold_;
  OriginLimits::Remembered limit_;
};

/// The right of one exchange to use an endpoint, which lives at least as long. Move-only. Must not outlive its handle. Not
/// thread-safe.
class EndpointUse {
 public:
  EndpointUse() = default;
  /// Of an endpoint that a lease of the caller's keeps.
  explicit EndpointUse(pool::Endpoint& endpoint) noexcept : endpoint_(&endpoint) {}
  EndpointUse(EndpointUse&& other) noexcept
      : held_(std::exchange(other.held_, nullptr)), endpoint_(std::exchange(other.endpoint_, nullptr)) {}
  EndpointUse& operator=(EndpointUse&& other) noexcept {
    std::swap(held_, other.held_);
    std::swap(endpoint_, other.endpoint_);
    return *this;
  }
  EndpointUse(const EndpointUse&) = delete;
  EndpointUse& operator=(const EndpointUse&) = delete;
  ~EndpointUse() { release(); }

  [[nodiscard]] explicit operator bool() const noexcept { return endpoint_ != nullptr; }
  [[nodiscard]] pool::Endpoint& operator*() const noexcept { return *endpoint_; }
  [[nodiscard]] pool::Endpoint* operator->() const noexcept { return endpoint_; }

  /// Of the requests it is for; null for a use that a lease of the caller's keeps.
  [[nodiscard]] const Origin* origin() const noexcept { return held_ != nullptr ? &held_->origin_ : nullptr; }
  /// The limit of that origin; null: it has none, or a lease of the caller's keeps the endpoint.
  [[nodiscard]] pool::LeaseLimit* limit(const OriginLimits& limits) const noexcept {
    return held_ != nullptr ? limits.find(held_->origin_, held_->limit_) : nullptr;
  }
  /// Another use of the same.
  [[nodiscard]] EndpointUse share() const noexcept;
  /// For a request that authenticates its connection: moves the handle to an isolated endpoint of the same target, and this
  /// use with it, unless the pool is the handle's own. False if the handle does not isolate, or there is none: the caller
  /// must close the connection.
  [[nodiscard]] Result<bool> isolate();
  void release() noexcept;
  /// Forgets it without releasing it (its process is the parent's).
  void detach() noexcept {
    held_ = nullptr;
    endpoint_ = nullptr;
  }

 private:
  friend class Handle;
  /// Adopts a use that was counted.
  explicit EndpointUse(HeldEndpoint& held) noexcept : held_(&held), endpoint_(&*held.hold_) {}

  HeldEndpoint* held_ = nullptr;
  pool::Endpoint* endpoint_ = nullptr;
};

/// What one transport or client holds of a core: its profile, and the endpoints that it uses, one per origin. What
/// authenticates connections (NTLM, Negotiate) is kept apart from other handles here: \see EndpointUse::isolate().
///
/// Any thread may call any method. A use of an origin that was used lately takes no lock. The number of holds is bounded by
/// the number of origins with connections: holds of others are released as new origins come.
class Handle {
 public:
  enum class Isolation : std::uint8_t {
    by_handle,  ///< other handles use the pool: connections that this one authenticates are kept apart
    by_pool,    ///< the pool is this handle's own: its connections serve nothing else anyway
    none        ///< callers that know nothing of each other share the handle: such connections serve one request
  };

  /// \param core outlives the handle. \param profile of that core's intern().
  /// \param after_use what becomes of idle connections when the last handle that uses their endpoint is closed.
  Handle(Core& core, std::shared_ptr<const InternedProfile> profile, pool::AfterUse after_use, Isolation isolation);
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  /// As close(). No use may be left.
  ~Handle();

  /// The endpoint of that origin. \param server_name replaces the profile's own, if not empty.
  /// Errors: those of Core::endpoint().
  [[nodiscard]] Result<EndpointUse> use(const Origin& origin, std::string_view server_name = {});
  /// Uses that are left.
  [[nodiscard]] std::uint32_t open_uses() const;
  /// Releases the holds; one that is in use is released with its last use.
  void close() noexcept;

 private:
  friend class EndpointUse;
  struct Key {
    Origin origin;
    std::string server_name;
    friend bool operator==(const Key&, const Key&) = default;
  };
  struct KeyHash {
    std::size_t operator()(const Key& key) const noexcept { return OriginHash{}(key.origin) ^ key.server_name.size(); }
  };
  static constexpr std::size_t recent_places = 16;
  static constexpr std::size_t first_sweep = 64;

  [[nodiscard]] Result<EndpointUse> look_up(const Origin& origin, std::string_view server_name);
  [[nodiscard]] std::shared_ptr<const InternedProfile> profile_for(std::string_view server_name);
  [[nodiscard]] HeldEndpoint& list_locked(const Key& key, pool::EndpointHold hold, bool isolated);
  [[nodiscard]] Result<EndpointUse> isolate(const HeldEndpoint& shared);
  void drop(HeldEndpoint& held) noexcept;
  void sweep_locked(std::vector<HeldEndpoint*>& dropped);

  Core& core_;
  const std::shared_ptr<const InternedProfile> profile_;
  const pool::AfterUse after_use_;
  const Isolation isolation_;

  // Hints: what they point to is pinned before it is believed.
  std::array<sync::Published<HeldEndpoint>, recent_places> recent_;

  // Guarded by mutex_, which is taken before the pool's locks.
  mutable std::mutex mutex_;
  std::vector<std::unique_ptr<HeldEndpoint>> all_;
  std::vector<HeldEndpoint*> free_;
  std::unordered_map<Key, HeldEndpoint*, KeyHash> listed_;
  std::size_t sweep_at_ = first_sweep;
};

}  // namespace fastpool::client
