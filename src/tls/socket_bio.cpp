#include "tls/socket_bio.h"

#include <cerrno>

#include <sys/socket.h>

#include "net/descriptor.h"

namespace fastpool::tls {

namespace {

/// Makes a system call; one that may wait for the peer holds up no fork meanwhile. OpenSSL has nothing locked in its BIO.
template <typename Call>
ssize_t call_system(const SocketIo& io, Call call) noexcept {
  if (io.epoch != net::fork_epoch()) [[unlikely]] {
    errno = EBADF;
    return -1;
  }
  if (io.mode == SocketIo::Mode::dont_wait) return call();
  const sync::ForkGate::Recess outside;
  return call();
}

SocketIo& io_of(BIO* bio) noexcept {
  return *static_cast<SocketIo*>(BIO_get_data(bio));
}

int flags_of(const SocketIo& io) noexcept {
  return MSG_NOSIGNAL | (io.mode == SocketIo::Mode::dont_wait ? MSG_DONTWAIT : 0);
}

/// After -1: true to try again at once (a signal, in a call that never waits).
bool note_failure(SocketIo& io, BIO* bio, int retry_flag) noexcept {
  if (errno == EINTR && io.mode == SocketIo::Mode::dont_wait) return true;
  if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) {
    BIO_set_flags(bio, retry_flag | BIO_FLAGS_SHOULD_RETRY);
  } else {
    io.os_error = errno;
    net::note_socket_error(errno, io.epoch);
  }
  return false;
}

net::IoMode mode_below(const SocketIo& io) noexcept {
  return io.mode == SocketIo::Mode::wait ? net::IoMode::wait : net::IoMode::dont_wait;
}

/// What a channel below said. \returns whether bytes moved.
int note_below(SocketIo& io, BIO* bio, const net::IoResult& result, std::size_t* moved) noexcept {
  switch (result.status) {
    case net::IoStatus::ok:
      *moved = result.bytes;
      return 1;
    case net::IoStatus::want_read:
      BIO_set_flags(bio, BIO_FLAGS_READ | BIO_FLAGS_SHOULD_RETRY);
      return 0;
    case net::IoStatus::want_write:
      BIO_set_flags(bio, BIO_FLAGS_WRITE | BIO_FLAGS_SHOULD_RETRY);
      return 0;
    case net::IoStatus::end:
    case net::IoStatus::truncated:  // a FIN for the TLS above, which looks for its own close_notify
      io.peer_closed = true;
      return 0;
    case net::IoStatus::error:
      break;
  }
  io.os_error = result.os_error != 0 ? result.os_error : EPROTO;
  return 0;
}

int bio_read(BIO* bio, char* buffer, std::size_t size, std::size_t* moved) noexcept {
  SocketIo& io = io_of(bio);
  BIO_clear_retry_flags(bio);
  *moved = 0;
  if (io.mode == SocketIo::Mode::buffered_only) {
    BIO_set_retry_read(bio);
    return 0;
  }
  if (io.below != nullptr) [[unlikely]]
    return note_below(io, bio, io.below->read({buffer, size}, mode_below(io)), moved);
  while (true) {
    const ssize_t got = call_system(io, [&] { return ::recv(io.descriptor, buffer, size, flags_of(io)); });
    if (got > 0) {
      *moved = static_cast<std::size_t>(got);
      return 1;
    }
    if (got == 0) {
      io.peer_closed = true;
      return 0;
    }
    if (!note_failure(io, bio, BIO_FLAGS_READ)) return 0;
  }
}

int bio_write(BIO* bio, const char* buffer, std::size_t size, std::size_t* moved) noexcept {
  SocketIo& io = io_of(bio);
  BIO_clear_retry_flags(bio);
  *moved = 0;
  if (io.mode == SocketIo::Mode::buffered_only) {
    BIO_set_retry_write(bio);
    return 0;
  }
  if (io.below != nullptr) [[unlikely]] {
    const iovec piece{const_cast<char*>(buffer), size};  // NOLINT: only read
    const int written = note_below(io, bio, io.below->write({&piece, 1}, mode_below(io)), moved);
    io.written = io.below->bytes_written();
    return written;
  }
  while (true) {
    const ssize_t sent = call_system(io, [&] { return ::send(io.descriptor, buffer, size, flags_of(io)); });
    if (sent >= 0) {
      *moved = static_cast<std::size_t>(sent);
      io.written += *moved;
      return 1;
    }
    if (!note_failure(io, bio, BIO_FLAGS_WRITE)) return 0;
  }
}

long bio_control(BIO*, int command, long, void*) noexcept {
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

BIO_METHOD* make_method() noexcept {
  BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "fastpool socket");
  if (made == nullptr) return nullptr;
  BIO_meth_set_read_ex(made, bio_read);
  BIO_meth_set_write_ex(made, bio_write);
  BIO_meth_set_ctrl(made, bio_control);
  return made;
}

}  // namespace

BioHandle make_socket_bio(SocketIo& io) noexcept {
  static BIO_METHOD* const method = make_method();  // never freed: BIOs of other threads may outlive static destruction
  if (method == nullptr) return nullptr;
  BioHandle bio(BIO_new(method));
  if (bio == nullptr) return nullptr;
  BIO_set_data(bio.get(), &io);
  BIO_set_init(bio.get(), 1);
  return bio;
}

}  // namespace fastpool::tls
