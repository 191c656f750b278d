#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include <fastpool/result.h>
#include <fastpool/timeouts.h>

#include "driver/cancellation.h"
#include "driver/driver.h"
#include "http/interrupt.h"
#include "pool/acquisition.h"

namespace fastpool::driver {

/// The blocking driver: the caller's thread waits in the kernel, in the very call that moves the bytes, bounded by
/// SO_RCVTIMEO / SO_SNDTIMEO. Where signals matter (an active Interrupt) it waits in slices of Interrupt::poll_interval.
/// Never says pending. A value, made per call; used by one thread.
class Blocking final : public Driver {
 public:
  /// \param cancellation ends the wait for a connection within Interrupt::poll_interval; what waits on a connection is ended
  ///        at once, by that connection's shutdown. Null: none.
  Blocking(const Timeouts& timeouts, const Interrupt& interrupt, Cancellation* cancellation = nullptr) noexcept
      : timeouts_(timeouts), interrupt_(interrupt), cancellation_(cancellation) {}

  [[nodiscard]] const Timeouts& timeouts() const noexcept override { return timeouts_; }
  [[nodiscard]] std::optional<Result<pool::LeaseLimit::Place>> enter(pool::LeaseLimit& limit,
                                                                     pool::Pool& pool) override;
  [[nodiscard]] std::optional<Result<pool::Lease>> acquire(pool::Pool& pool, pool::Endpoint& endpoint,
                                                           Attempt attempt) override;
  [[nodiscard]] std::optional<Result<void>> connect(pool::Pool& pool, pool::LeaseRef lease, Attempt attempt) override;
  [[nodiscard]] std::optional<Result<void>> handshake(connection::Connection& connection) override;
  [[nodiscard]] Result<Written> write(connection::Connection& connection, std::span<iovec>& pieces,
                                      std::uint64_t& written, bool heed) override;
  [[nodiscard]] Result<ReadOutcome> read(connection::Connection& connection, std::span<char> buffer) override;
  [[nodiscard]] Result<ReadOutcome> read_arrived(connection::Connection& connection, std::span<char> buffer) override;
  [[nodiscard]] std::optional<bool> wait_for_hang_up(connection::Connection& connection, bool or_readable,
                                                     Duration at_most) override;
  [[nodiscard]] std::optional<Result<connection::Home::Admission>> admit(connection::Homes& homes, pool::Pool& pool,
                                                                         pool::Endpoint& endpoint,
                                                                         Attempt attempt) override;
  [[nodiscard]] connection::Home& home_in(connection::Homes& homes) override { return homes.of_threads(); }
  void flush(connection::Connection& connection) override { connection.multiplexer()->flush(); }
  [[nodiscard]] Result<bool> await(connection::Connection& connection,
                                   const std::shared_ptr<connection::MultiplexedStream>& stream,
                                   connection::Awaited awaited, const OptionalDuration& patience) override;

 private:
  /// Whether to give up the wait for a connection.
  [[nodiscard]] Interrupt while_acquiring() noexcept;
  [[nodiscard]] pool::AcquireOptions options(OptionalDuration pool_timeout, Attempt attempt) noexcept;

  const Timeouts& timeouts_;
  const Interrupt& interrupt_;
  Cancellation* const cancellation_;
};

}  // namespace fastpool::driver
