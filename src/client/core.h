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
#include <fastpool/hooks.h>
#include <fastpool/origin.h>
#include <fastpool/profile.h>
#include <fastpool/result.h>
#include <fastpool/settings.h>

#include "client/origin_limits.h"
#include "client/profiles.h"
#include "connection/connection.h"
#include "connection/dialer.h"
#include "driver/reactor.h"
#include "pool/pool.h"

namespace fastpool::client {

/// Pool, reactor, TLS contexts and endpoints of one process. The child of a fork abandons its parent's core, unlocked and
/// undestroyed, and makes its own. Any thread may call anything.
class Core final : public pool::Dialer, public driver::Reactor::Listener, public connection::HangUpWatch {
 public:
  /// \param hooks null: none.
  explicit Core(const PoolSettings& settings, std::shared_ptr<const Hooks> hooks = nullptr);
  ~Core() override;

  [[nodiscard]] pool::Pool& pool() noexcept { return pool_; }

  /// The profile as this core knows it. Takes a lock: for once per client and process. Its TLS context is created at the
  /// first https endpoint, or when asked for (InternedProfile::tls()).
  [[nodiscard]] std::shared_ptr<const InternedProfile> intern(const Profile& profile) {
    return profiles_.intern(profile);
  }
  /// The endpoint of (origin, profile), shared by all that ask for it. Takes a lock: for once per handle and origin.
  /// \param profile of this core's intern(); the endpoint's target holds it.
  /// \returns invalid_argument for a new https endpoint whose TLS settings OpenSSL refuses, such as an unreadable file.
  [[nodiscard]] Result<pool::EndpointHold> endpoint(const Origin& origin,
                                                    const std::shared_ptr<const InternedProfile>& profile,
                                                    pool::AfterUse after_use);
  /// A new endpoint of (origin, profile) that no other call finds: its connections serve this holder alone, and are closed
  /// with the hold. Errors as of endpoint().
  [[nodiscard]] Result<pool::EndpointHold> isolated_endpoint(const Origin& origin,
                                                             const std::shared_ptr<const InternedProfile>& profile);

  /// The limits on single origins.
  [[nodiscard]] OriginLimits& origin_limits() noexcept { return origin_limits_; }
  [[nodiscard]] const OriginLimits& origin_limits() const noexcept { return origin_limits_; }

  /// Ends everything: waits, dials, idle connections; interrupts the users of leased ones.
  void close();
  /// close(), and the reactor's thread is gone when it returns.
  void stop();

  /// Whom to tell of leases that are held longer than `leak_after`: on the reactor's thread. Before the first lease.
  void on_leak(std::function<void(const pool::Leak&)> listener) { leak_listener_ = std::move(listener); }

  /// Whether report() calls a function.
  [[nodiscard]] bool reports() const noexcept { return hooks_ && hooks_->on_event; }
  /// Calls Hooks::on_event, if there is one. With no lock held.
  void report(const Event& event) const noexcept {
    if (reports()) hooks_->on_event(event);
  }
  [[nodiscard]] std::uint64_t next_request_number() noexcept { return requests_.next(); }

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

  /// The channel of this connection is established: it knows its protocol from here on. By its user.
  void settle(connection::Connection& connection) noexcept;

  struct Http2Counts {
    std::uint64_t connections = 0;   ///< open
    std::uint64_t open_streams = 0;  ///< on these
    std::uint64_t streams = 0;       ///< opened, in all
  };
  [[nodiscard]] Http2Counts http2_counts();
  void count_stream() noexcept { streams_.add(); }

  // pool::Dialer
  void dial(pool::Endpoint& endpoint, pool::Slot& slot, pool::DialTimes times) override;
  void maintain_at(TimePoint when) override { reactor_.tick_at(when); }
  void hurry(pool::Slot& slot) noexcept override { reactor_.hurry(&slot); }
  // driver::Reactor::Listener
  void on_hang_up(std::uint64_t token) override { pool_.on_hang_up(token); }
  void on_tick(TimePoint now) override;
  void on_loss() override { pool_.close(); }
  [[nodiscard]] TimePoint dial_deadline(const void* key, TimePoint) override {
    return pool_.dial_deadline(*static_cast<const pool::Slot*>(key));
  }
  // connection::HangUpWatch
  void watch(int descriptor, std::uint64_t token) noexcept override { reactor_.watch(descriptor, token); }
  void unwatch(int descriptor) noexcept override { reactor_.unwatch(descriptor); }
  void on_close(const connection::Connection& connection, CloseReason reason,
                std::string_view endpoint) noexcept override;

 private:
  /// Keeps the profile alive, and its id with it, as long as an endpoint has it.
  struct InternedTarget : connection::Target {
    std::shared_ptr<const InternedProfile> interned;
  };
  [[nodiscard]] Result<pool::EndpointHold> add_endpoint(const Origin& origin,
                                                        const std::shared_ptr<const InternedProfile>& profile,
                                                        std::string key, pool::AfterUse after_use);

  void stand_by(TimePoint now);
  [[nodiscard]] std::vector<std::shared_ptr<connection::Multiplexer>> living_multiplexers();

  static constexpr Duration tick_interval = std::chrono::seconds(1);

  [[nodiscard]] std::unique_ptr<pool::Pooled> connected(const connection::Target& target, TimePoint began,
                                                        connection::Dialed dialed);
  [[nodiscard]] Error not_connected(const connection::Target& target, TimePoint began, Error error);

  const std::shared_ptr<const Hooks> hooks_;
  sync::Serial requests_;
  sync::Serial connections_;
  pool::SystemClock clock_;
  driver::Reactor reactor_;
  pool::Pool pool_;

  std::array<sync::Tally, error_code_count> errors_;
  std::function<void(const pool::Leak&)> leak_listener_;
  sync::Tally retried_;
  sync::Tally retried_unread_;
  sync::Tally streams_;

  Profiles profiles_;           // has a lock of its own
  OriginLimits origin_limits_;  // so has this

  // Guarded by multiplexers_mutex_.
  std::mutex multiplexers_mutex_;
  std::vector<std::weak_ptr<connection::Multiplexer>> multiplexers_;  // of living connections
};

}  // namespace fastpool::client
