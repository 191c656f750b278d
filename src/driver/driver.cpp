#include "driver/driver.h"

#include <cerrno>
#include <string>
#include <system_error>
#include <utility>

namespace fastpool::driver {

using connection::Connection;
using net::IoStatus;

Error failure(ErrorCode code, Phase phase, const net::IoResult& io, Connection& connection) {
  std::string text = connection.channel().last_error();
  if (text.empty())
    text = io.os_error != 0 ? std::generic_category().message(io.os_error) : "the connection was closed";
  // Code of the application that the channel runs raised: no failure of the peer's.
  if (io.os_error == ECANCELED) code = ErrorCode::interrupted;
  Error error = Error::make(code, phase, std::move(text), io.os_error);
  error.cause = connection.channel().last_cause();
  return error;
}

std::optional<Result<Driver::ReadOutcome>> read_outcome(const net::IoResult& io, Connection& connection) {
  switch (io.status) {
    case IoStatus::ok:
      return Driver::ReadOutcome{.bytes = io.bytes};
    case IoStatus::end:
      return Driver::ReadOutcome{.end = true};
    case IoStatus::truncated:
      return Driver::ReadOutcome{.end = true, .truncated = true};
    case IoStatus::error:
      return failure(ErrorCode::read_failed, Phase::read_head, io, connection);
    case IoStatus::want_read:
    case IoStatus::want_write:
      break;
  }
  return std::nullopt;
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

Error Driver::late(Error timed_out) const {
  return overdue() ? total_timed_out(timed_out.phase) : timed_out;
}

Error total_timed_out(Phase phase) {
  return Error::make(ErrorCode::total_timeout, phase, "the request took longer than its total timeout");
}

Error read_timed_out() {
  return Error::make(ErrorCode::read_timeout, Phase::read_head, "the peer sent nothing within the read timeout");
}

Error write_timed_out() {
  return Error::make(ErrorCode::write_timeout, Phase::write, "the peer took no bytes within the write timeout");
}

Error await_timed_out(connection::Awaited awaited) {
  const bool sends = awaited == connection::Awaited::sent || awaited == connection::Awaited::rest_sent;
  return sends ? write_timed_out() : read_timed_out();
}

Error handshake_timed_out() {
  return Error::make(ErrorCode::connect_timeout, Phase::tls_handshake,
                     "the TLS handshake was not done within the connect timeout");
}

}  // namespace fastpool::driver
