#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <fastpool/error.h>
#include <fastpool/origin.h>
#include <fastpool/profile.h>
#include <fastpool/result.h>
#include <fastpool/timeouts.h>

#include "connection/connection.h"
#include "connection/race.h"
#include "connection/target.h"
#include "connection/tunnel.h"
#include "net/channel.h"
#include "net/descriptor.h"
#include "net/resolver.h"
#include "net/socket_address.h"
#include "tls/tls_channel.h"

namespace fastpool::connection {

/// A connected channel, ready for the first request, but for the handshake of an engine that the profile brings. The
/// socket is back in blocking mode.
struct Dialed {
  std::unique_ptr<net::Channel> channel;
  bool tls = false;
  bool tls_resumed = false;
  DialTimings timings;
  /// Of an HTTP proxy, to the request for a tunnel; complete once the channel is established. Null: no such request.
  std::shared_ptr<const h1::ResponseHead> tunnel_answer;
};

/// Called exactly once per dial, on the reactor's thread, with no lock held.
using DialDone = std::function<void(Result<Dialed>)>;

/// What a dial asks of its driver. None of these calls back into the dial before it returns.
class DialHost {
 public:
  virtual ~DialHost() = default;
  /// Looks the name up and later calls Dial::on_resolved once. \param max_age of an answer from the cache.
  virtual void resolve(const std::string& host, Duration max_age) = 0;
  /// Drops an answer from the cache, since it led nowhere.
  virtual void forget(const std::string& host, net::CacheEntry entry) = 0;
  /// From now on Dial::on_ready is called while the descriptor has one of `events` (EPOLLIN, EPOLLOUT; level-triggered), or
  /// an error or hang-up. Replaces an earlier interest. \returns 0 or an errno value.
  [[nodiscard]] virtual int set_interest(int descriptor, std::uint32_t events) = 0;
  /// Called before the descriptor is closed or handed over; harmless without an interest.
  virtual void drop_interest(int descriptor) = 0;
};

/// One dial as a state machine: look-up, race of the addresses (RFC 8305), TLS handshake, deadline. It does no waiting and
/// reads no clock: its driver calls on_* with the time, then looks at finished() and next_timer().
///
///   start -> resolving -> connecting -> handshaking -> finished
///      \________(IP address, Unix socket)___^ \____(no TLS)____^      any -> finished: error, deadline, abort()
///
/// Through a proxy, to which it connects then:
///
///   connecting -> [securing_proxy] -> tunneling -> handshaking -> finished
///
/// For a `socks5` proxy the dial resolves the origin's name first, and sends an address. If the proxy cannot reach it, the
/// dial connects to the proxy anew for the next one: tunneling -> connecting, until an address is reached or none is left.
///
/// If addresses from the cache all fail, the name may have moved: it is looked up again, once, and what is new is tried.
///
/// Owned by its driver and used by one thread; not movable, since sockets under way refer to it through the host.
class Dial {
 public:
  /// \param host outlives the dial.
  Dial(DialHost& host, std::shared_ptr<const Target> target, TimePoint deadline);
  Dial(const Dial&) = delete;
  Dial& operator=(const Dial&) = delete;
  /// Gives up silently if it has not finished.
  ~Dial();

  void start(TimePoint now);
  /// \param entry what to forget if the addresses lead nowhere; 0: they are not from the cache.
  void on_resolved(Result<net::AddressList> addresses, net::CacheEntry entry, TimePoint now);
  /// Harmless for a descriptor that is not (or no longer) of this dial.
  void on_ready(int descriptor, TimePoint now);
  /// Harmless when early.
  void on_timer(TimePoint now);
  /// Ends it with this error unless it has finished.
  void abort(Error error);

  /// Another deadline; on_timer() when it has passed.
  void set_deadline(TimePoint deadline) noexcept { deadline_ = deadline; }
  [[nodiscard]] TimePoint deadline() const noexcept { return deadline_; }

  [[nodiscard]] const Target& target() const noexcept { return *target_; }
  /// When on_timer is wanted next.
  [[nodiscard]] TimePoint next_timer() const noexcept;
  [[nodiscard]] bool finished() const noexcept { return result_.has_value(); }
  /// Once, after finished().
  [[nodiscard]] Result<Dialed> take_result() {
    return std::move(*result_);  // NOLINT(bugprone-unchecked-optional-access)
  }

 private:
  enum class Stage : std::uint8_t {
    waiting,
    resolving_origin,
    resolving,
    connecting,
    securing_proxy,
    tunneling,
    handshaking
  };
  struct Attempt {
    net::SocketAddress address;
    net::Descriptor socket;
  };

  void begin_race(std::span<const net::SocketAddress> addresses, TimePoint now);
  void advance_race(TimePoint now);
  void give_up(TimePoint now);
  void start_attempt(TimePoint now);
  void fail_attempt(const net::SocketAddress& address, int os_error, std::string_view step, TimePoint now);
  void win(Attempt attempt, TimePoint now);
  void look_up_host(TimePoint now);
  void secure_proxy(std::unique_ptr<net::Channel> channel, TimePoint now);
  void open_tunnel(std::unique_ptr<net::Channel> channel, TimePoint now);
  void step_tunnel(TimePoint now);
  void tunnel_failed(const Tunnel& tunnel, TimePoint now);
  void secure(std::unique_ptr<net::Channel> channel, TimePoint now);
  /// The peer of a handshake, and the protocols offered to it; \see tls::TlsChannel::create().
  struct TlsPeer {
    const std::string& server_name;
    std::string session_key;
    Protocols protocols;
  };
  void shake_hands(const std::shared_ptr<tls::Context>& context, std::unique_ptr<net::Channel> channel, TlsPeer peer,
                   TimePoint now);
  void step_handshake(TimePoint now);
  void hand_over(std::unique_ptr<net::Channel> channel, bool tls, bool resumed);
  /// Waits for the socket of `channel`, as its step said.
  void wait_for(const net::Channel& channel, net::IoStatus status);
  void finish(Result<Dialed> result);
  void close_sockets();
  [[nodiscard]] Error handshake_failed(Error error) const;
  [[nodiscard]] Error timeout_error(TimePoint now) const;
  [[nodiscard]] std::string target_text() const;

  DialHost& host_;
  const std::shared_ptr<const Target> target_;
  TimePoint deadline_;
  std::optional<net::SocketAddress> local_;

  Stage stage_ = Stage::waiting;
  TimePoint started_{};
  TimePoint stage_started_{};
  DialTimings timings_;

  // While connecting.
  std::vector<net::SocketAddress> addresses_;
  std::size_t next_address_ = 0;
  TimePoint next_start_{};
  TimePoint hold_until_{};  ///< no attempt before this: a Unix socket whose backlog was full gives no event
  std::vector<Attempt> attempts_;
  std::vector<FailedAttempt> failures_;
  net::CacheEntry cached_ = 0;  ///< what `addresses_` are from, until it is forgotten
  bool resolved_again_ = false;

  // For a `socks5` proxy: the origin's addresses in the order of the race, and which the proxy is asked for.
  std::vector<net::SocketAddress> origin_addresses_;
  std::size_t origin_address_ = 0;

  // Once connected: the peer, and what shakes hands with it.
  net::SocketAddress peer_;
  std::unique_ptr<tls::TlsChannel> tls_;
  std::unique_ptr<net::Channel> to_proxy_;  ///< while tunneling
  std::optional<Tunnel> tunnel_;
  std::shared_ptr<h1::ResponseHead> tunnel_answer_;
  std::uint32_t interest_ = 0;

  std::optional<Result<Dialed>> result_;
};

}  // namespace fastpool::connection
