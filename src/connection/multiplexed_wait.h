#pragma once

#include <fastpool/timeouts.h>

#include "connection/multiplexer.h"
#include "sync/waker.h"

namespace fastpool::connection {

/// A thread's wait for its stream. Of all threads that wait on one multiplexer, one pauses at the socket and pumps; the others sleep until
/// their streams have news, or until it is their turn to read. \see sync::BasicReaderRole
class MultiplexedWait final : private sync::Waker {
 public:
  MultiplexedWait(Multiplexer& multiplexer, MultiplexedStream& stream, Awaited awaited) noexcept;
  MultiplexedWait(const MultiplexedWait&) = delete;
  MultiplexedWait& operator=(const MultiplexedWait&) = delete;
  ~MultiplexedWait();

  /// Whether what is awaited has come.
  [[nodiscard]] bool look() noexcept;
  /// After look() said no: waits until it may say yes, or that time. May end without a reason.
  void pause(TimePoint until) noexcept;
  /// For other threads to end a pause by.
  [[nodiscard]] sync::Waker& waker() noexcept { return outside_; }

 private:
  struct Outside final : sync::Waker {
    explicit Outside(MultiplexedWait& its_wait) noexcept : wait(its_wait) {}
    void wake() noexcept override;
    MultiplexedWait& wait;
  };
  struct Socket;

  /// The multiplexer's mutex is held.
  void wake() noexcept override;

  Multiplexer& multiplexer_;
  MultiplexedStream& stream_;
  const Awaited awaited_;
  Outside outside_{*this};
  Multiplexer::ReaderRole::Wait wait_;
};

}  // namespace fastpool::connection
