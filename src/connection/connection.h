#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>

#include <fastpool/event.h>
#include <fastpool/profile.h>
#include <fastpool/result.h>
#include <fastpool/timeouts.h>

#include "connection/multiplexer.h"
#include "h1/response_parser.h"
#include "net/channel.h"
#include "net/socket_address.h"
#include "pool/interfaces.h"

namespace fastpool::connection {

class Connection;

/// Reports a hang-up on an idle socket, and hears why a connection is closed. Implemented over the reactor.
class HangUpWatch {
 public:
  virtual ~HangUpWatch() = default;
  virtual void watch(int descriptor, std::uint64_t token) noexcept = 0;
  virtual void unwatch(int descriptor) noexcept = 0;
  /// \param endpoint its name.
  virtual void on_close(const Connection& connection, CloseReason reason, std::string_view endpoint) noexcept {
    (void)connection, (void)reason, (void)endpoint;
  }
};

/// A connection's place in the epoll set of an event loop, which ends with it. Destroyed by the thread that may use the connection,
/// on any thread.
class LoopRegistration {
 public:
  LoopRegistration() = default;
  LoopRegistration(const LoopRegistration&) = delete;
  LoopRegistration& operator=(const LoopRegistration&) = delete;
  virtual ~LoopRegistration() = default;
  /// \param loop known by its address.
  [[nodiscard]] virtual bool is_of(const void* loop) const noexcept = 0;
};

/// Both ends of a connection, which may be asked for even after it has gone back.
struct Addresses {
  net::SocketAddress local;
  net::SocketAddress peer;
};

/// How long the parts of a dial took; absent parts are zero.
struct DialTimings {
  Duration resolve{};
  Duration connect{};
  Duration tls_handshake{};
};

/// One channel and what is known of it, as the pool keeps it. Used by one thread at a time, the lease's holder; interrupt()
/// may come from any. An HTTP/2 connection has a multiplexer, which several threads may use. The protocol state of HTTP/1.1 lives in the
/// exchange: an idle connection holds no buffer.
class Connection final : public pool::Pooled {
 public:
  /// \param watch outlives the connection. \param dialed how long its dial took. \param number for people.
  /// \param protocols that the profile allows. \param tunnel_answer \see tunnel_answer()
  Connection(std::unique_ptr<net::Channel> channel, HangUpWatch& watch, const DialTimings& dialed = {},
             std::uint32_t number = 0, Protocols protocols = {},
             std::shared_ptr<const h1::ResponseHead> tunnel_answer = {});
  ~Connection() override;

  /// Once the channel is established: makes the multiplexer if HTTP/2 is to be spoken. Idempotent. Errors: out_of_memory.
  [[nodiscard]] Result<void> settle_protocol();
  /// Null: the connection speaks HTTP/1.1, or is not settled.
  [[nodiscard]] const std::shared_ptr<Multiplexer>& multiplexer() const noexcept { return multiplexer_; }

  [[nodiscard]] net::Channel& channel() noexcept { return *channel_; }
  [[nodiscard]] const Addresses& addresses() const noexcept { return addresses_; }
  /// To the microsecond.
  [[nodiscard]] DialTimings dial_timings() const noexcept;
  /// Once the channel is established: what an HTTP proxy answered to the request for this tunnel; null without one.
  [[nodiscard]] std::shared_ptr<const h1::ResponseHead> tunnel_answer() const noexcept {
    return tunnel_answer_ ? *tunnel_answer_ : nullptr;
  }

  [[nodiscard]] std::uint32_t number() const noexcept { return number_; }

  /// Where it waits for readiness, if an event loop used it last: it stays there until another loop or thread uses it. Of HTTP/2:
  /// \see Multiplexer::belongs_to().
  [[nodiscard]] LoopRegistration* loop_registration() const noexcept { return loop_registration_.get(); }
  void set_loop_registration(std::unique_ptr<LoopRegistration> registration) noexcept {
    loop_registration_ = std::move(registration);
  }
  void leave_event_loop() noexcept {
    if (loop_registration_) [[unlikely]]
      loop_registration_.reset();
  }

  /// Sets SO_RCVTIMEO / SO_SNDTIMEO, if that changes anything. Zero: none.
  void set_receive_timeout(Duration timeout) noexcept;
  void set_send_timeout(Duration timeout) noexcept;

  [[nodiscard]] bool check_alive() noexcept override {
    return multiplexer_ ? multiplexer_->check_alive() : channel_->peek() == net::Liveness::alive;
  }
  void interrupt() noexcept override { channel_->shutdown(); }
  void on_seated(std::uint64_t token) noexcept override { watch_.watch(channel_->descriptor(), token); }
  void end(CloseReason reason, std::string_view endpoint) noexcept override;

 private:
  std::unique_ptr<net::Channel> channel_;
  HangUpWatch& watch_;
  const Addresses addresses_;
  const std::array<std::uint32_t, 3> dialed_;  // microseconds: an idle connection is to be small
  const std::uint32_t number_;
  const Protocols protocols_;
  const std::unique_ptr<const std::shared_ptr<const h1::ResponseHead>> tunnel_answer_;  // null: none; small, as above
  Duration receive_timeout_{};
  Duration send_timeout_{};
  std::shared_ptr<Multiplexer> multiplexer_;
  std::unique_ptr<LoopRegistration> loop_registration_;  // last: it goes before the socket
};

}  // namespace fastpool::connection
