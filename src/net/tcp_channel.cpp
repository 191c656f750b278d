#include "net/tcp_channel.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <utility>

#include <sys/socket.h>

#include "net/socket.h"

namespace fastpool::net {

namespace {

/// What a system call that returned -1 means for the caller, or nothing: do it again.
/// A signal shows as want_*: in IoMode::wait the caller looks at its signals then. A call that never waits has not been
/// waiting for one, so it goes on.
bool interpret(IoStatus want, IoMode mode, unsigned epoch, IoResult& result) noexcept {
  if (errno == EINTR && mode == IoMode::dont_wait) return false;
  if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) {
    result.status = want;
  } else {
    result.status = IoStatus::error;
    result.os_error = errno;
    note_socket_error(errno, epoch);
  }
  return true;
}

IoResult not_ours() noexcept {
  return {.status = IoStatus::error, .os_error = EBADF};
}

}  // namespace

TcpChannel::TcpChannel(Descriptor socket) noexcept : socket_(std::move(socket)) {}

IoResult TcpChannel::read(std::span<char> buffer, IoMode mode) noexcept {
  if (socket_.inherited()) [[unlikely]]
    return not_ours();
  const int flags = mode == IoMode::dont_wait ? MSG_DONTWAIT : 0;
  while (true) {
    const ssize_t got = ::recv(socket_.get(), buffer.data(), buffer.size(), flags);
    if (got > 0) {
      const auto bytes = static_cast<std::size_t>(got);
      return {.status = IoStatus::ok, .bytes = bytes, .emptied = bytes < buffer.size()};
    }
    if (got == 0) return {IoStatus::end, 0, 0};
    if (IoResult result; interpret(IoStatus::want_read, mode, socket_.epoch(), result)) return result;
  }
}

IoResult TcpChannel::write(std::span<const iovec> pieces, IoMode mode) noexcept {
  if (socket_.inherited()) [[unlikely]]
    return not_ours();
  const int flags = MSG_NOSIGNAL | (mode == IoMode::dont_wait ? MSG_DONTWAIT : 0);
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(pieces.data());  // sendmsg only reads it
  message.msg_iovlen = std::min<std::size_t>(pieces.size(), IOV_MAX);
  while (true) {
    const ssize_t sent = ::sendmsg(socket_.get(), &message, flags);
    if (sent >= 0) {
      written_ += static_cast<std::uint64_t>(sent);
      return {IoStatus::ok, static_cast<std::size_t>(sent), 0};
    }
    if (IoResult result; interpret(IoStatus::want_write, mode, socket_.epoch(), result)) return result;
  }
}

Liveness TcpChannel::peek() noexcept {
  return net::peek(socket_);
}

void TcpChannel::shutdown() noexcept {
  if (!socket_.inherited()) shutdown_both(socket_.get());
}

}  // namespace fastpool::net
