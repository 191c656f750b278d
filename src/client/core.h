#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <fastpool/error.h>
#include <fastpool/origin.h>
#include <fastpool/profile.h>
#include <fastpool/settings.h>

#include "connection/connection.h"
#include "connection/dialer.h"
#include "driver/reactor.h"
#include "pool/pool.h"
#include "sync/lookup_table.h"

namespace fastpool::client {

/// Names a profile that a core knows; equal profiles have equal ids.
using ProfileId = std::uint32_t;

/// Pool, reactor, TLS contexts and endpoints of one process. The child of a fork abandons its parent's core, unlocked and
/// undestroyed, and makes its own. Any thread may call anything.
class Core final : public pool::Dialer, public driver::Reactor::Listener, public connection::HangUpWatch {
 public:
  explicit Core(const PoolSettings& settings);
  ~Core() override;

  [[nodiscard]] pool::Pool& pool() noexcept { return pool_; }

  /// The id of that profile; its TLS context is made at the first call. \returns invalid_argument for settings that OpenSSL
  /// refuses, such as an unreadable file.
  [[nodiscard]] Result<ProfileId> intern(const Profile& profile);
  /// The endpoint of (origin, profile), lock-free once it is known. Past PoolSettings::max_endpoints a passing one.
  [[nodiscard]] pool::EndpointHold endpoint(const Origin& origin, ProfileId profile);

  /// Ends everything: waits, dials, idle connections; interrupts the users of leased ones.
  void close();
  /// close(), and the reactor's thread is gone when it returns.
  void stop();

  /// Whom to tell of leases that are held longer than `leak_after`: on the reactor's thread. Before the first lease.
  void on_leak(std::function<void(const pool::Leak&)> listener) { leak_listener_ = std::move(listener); }

  void count_error(ErrorCode code) noexcept { errors_[static_cast<std::size_t>(code)].add(); }
  /// How often requests ended with that error.
  [[nodiscard]] std::uint64_t error_count(ErrorCode code) const noexcept {
    return errors_[static_cast<std::size_t>(code)].get();
  }

  /// A request was begun again on another connection; `proved_unread`: it was no replayable one, but the peer had closed
  /// before it came.
  void count_retry(bool proved_unread) noexcept {
    retried_.add();
    if (proved_unread) retried_unread_.add();
  }
  /// Requests begun again on another connection, all of them.
  [[nodiscard]] std::uint64_t retried() const noexcept { return retried_.get(); }
  /// Those of them that only the proof allowed.
  [[nodiscard]] std::uint64_t retried_unread() const noexcept { return retried_unread_.get(); }

  // pool::Dialer
  void dial(pool::Endpoint& endpoint, pool::Slot& slot, pool::DialTimes times) override;
  // driver::Reactor::Listener
  void on_hang_up(std::uint64_t token) override { pool_.on_hang_up(token); }
  void on_tick(TimePoint now) override;
  // connection::HangUpWatch
  void watch(int descriptor, std::uint64_t token) noexcept override { reactor_.watch(descriptor, token); }
  void unwatch(int descriptor) noexcept override { reactor_.unwatch(descriptor); }

 private:
  struct EndpointKey {
    Origin origin;
    ProfileId profile = 0;
    friend bool operator==(const EndpointKey&, const EndpointKey&) = default;
  };
  struct EndpointKeyHash {
    std::size_t operator()(const EndpointKey& key) const noexcept;
  };
  struct KnownProfile {
    Profile profile;
    std::shared_ptr<tls::Context>
        tls;  // made with the profile, shared by those of equal TLS settings; null if it has its engine
  };
  struct Known {
    pool::Endpoint* endpoint = nullptr;
  };

  static constexpr Duration tick_interval = std::chrono::seconds(1);

  pool::SystemClock clock_;
  driver::Reactor reactor_;
  pool::Pool pool_;
  sync::LookupTable<EndpointKey, Known, EndpointKeyHash> endpoints_;

  std::array<sync::Tally, error_code_count> errors_;
  std::function<void(const pool::Leak&)> leak_listener_;
  sync::Tally retried_;
  sync::Tally retried_unread_;

  std::mutex new_endpoints_mutex_;  // one new endpoint at a time

  std::mutex profiles_mutex_;
  std::vector<KnownProfile> profiles_;  // guarded by profiles_mutex_
};

}  // namespace fastpool::client
