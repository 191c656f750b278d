#include "driver/blocking.h"

#include <algorithm>
#include <cerrno>
#include <string>
#include <system_error>

namespace fastpool::driver {

namespace {

using connection::Connection;
using net::IoMode;
using net::IoStatus;

constexpr Duration no_limit{};

// Waits for one operation: what the socket's own timeout is to be, and whether the operation's time is over.
class OperationClock {
 public:
  OperationClock(const OptionalDuration& timeout, const Interrupt& interrupt) noexcept
      : timeout_(timeout), interrupt_(interrupt), began_(timeout ? Clock::now() : TimePoint{}) {}

  /// The same for every operation of equal timeouts, so that the socket's is set once.
  [[nodiscard]] Duration first_slice() const noexcept { return timeout_ ? slice(*timeout_) : endless_slice(); }
  /// After a wait that moved nothing, however it ended (a signal cuts it short). \returns the next slice; nothing if the
  /// time is over.
  [[nodiscard]] std::optional<Duration> next_slice() const noexcept {
    if (!timeout_) return endless_slice();
    const Duration passed = Clock::now() - began_;
    if (passed >= *timeout_) return std::nullopt;
    return slice(*timeout_ - passed);
  }

 private:
  static constexpr Duration least = std::chrono::milliseconds(1);  // zero would mean "for ever" to the kernel

  [[nodiscard]] Duration slice(Duration rest) const noexcept {
    return std::max(least, interrupt_.active() ? std::min(rest, Interrupt::poll_interval) : rest);
  }
  [[nodiscard]] Duration endless_slice() const noexcept {
    return interrupt_.active() ? Interrupt::poll_interval : no_limit;
  }

  const OptionalDuration timeout_;
  const Interrupt& interrupt_;
  const TimePoint began_;
};

Error failure(ErrorCode code, Phase phase, const net::IoResult& io, Connection& connection) {
  std::string text = connection.channel().last_error();
  if (text.empty())
    text = io.os_error != 0 ? std::generic_category().message(io.os_error) : "the connection was closed";
  return Error::make(code, phase, std::move(text), io.os_error);
}

void drop_written(std::span<iovec>& pieces, std::size_t bytes) noexcept {
  while (!pieces.empty() && bytes >= pieces.front().iov_len) {
    bytes -= pieces.front().iov_len;
    pieces = pieces.subspan(1);
  }
  if (bytes > 0) {
    pieces.front().iov_base = static_cast<char*>(pieces.front().iov_base) + bytes;
    pieces.front().iov_len -= bytes;
  }
}

}  // namespace

Result<void> Blocking::write_all(Connection& connection, std::span<iovec> pieces, std::uint64_t& written) {
  while (!pieces.empty() && pieces.front().iov_len == 0)
    pieces = pieces.subspan(1);
  while (!pieces.empty()) {
    OperationClock clock(timeouts_.write, interrupt_);
    std::optional<Duration> slice = clock.first_slice();
    for (;;) {
      connection.set_send_timeout(*slice);
      const net::IoResult io = connection.channel().write(pieces, IoMode::wait);
      if (io.status == IoStatus::ok) {
        written += io.bytes;
        drop_written(pieces, io.bytes);
        break;
      }
      if (io.status != IoStatus::want_write && io.status != IoStatus::want_read)
        return failure(ErrorCode::write_failed, Phase::write, io, connection);
      if (interrupt_()) return Error::make(ErrorCode::interrupted, Phase::write, "interrupted while writing");
      slice = clock.next_slice();
      if (!slice)
        return Error::make(ErrorCode::write_timeout, Phase::write, "the peer took no bytes within the write timeout");
    }
  }
  return {};
}

Result<Blocking::ReadOutcome> Blocking::read(Connection& connection, std::span<char> buffer) {
  OperationClock clock(timeouts_.read, interrupt_);
  std::optional<Duration> slice = clock.first_slice();
  for (;;) {
    connection.set_receive_timeout(*slice);
    const net::IoResult io = connection.channel().read(buffer, IoMode::wait);
    switch (io.status) {
      case IoStatus::ok:
        return ReadOutcome{.bytes = io.bytes};
      case IoStatus::end:
        return ReadOutcome{.end = true};
      case IoStatus::truncated:
        return ReadOutcome{.end = true, .truncated = true};
      case IoStatus::error:
        return failure(ErrorCode::read_failed, Phase::read_head, io, connection);
      case IoStatus::want_read:
      case IoStatus::want_write:
        break;
    }
    if (interrupt_()) return Error::make(ErrorCode::interrupted, Phase::read_head, "interrupted while reading");
    slice = clock.next_slice();
    if (!slice)
      return Error::make(ErrorCode::read_timeout, Phase::read_head, "the peer sent nothing within the read timeout");
  }
}

}  // namespace fastpool::driver
