#pragma once

#include <utility>

namespace fastpool::net {

/// Owns one file descriptor of the library: socket, epoll, eventfd. Every live one is noted in a process-wide bitmap, so
/// that the child of a fork can close what it inherited (\see install_fork_handler) without touching any lock or
/// object of the parent. The note is made after the descriptor exists and erased before it is closed, so that a number
/// that belongs to other code is never closed. One that was inherited by a fork closes nothing: the handler has
/// already done it, and the number may belong to another descriptor by now.
class Descriptor {
 public:
  Descriptor() noexcept = default;
  /// Takes ownership of `number` (-1: none).
  explicit Descriptor(int number) noexcept;
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)), epoch_(other.epoch_) {}
  Descriptor& operator=(Descriptor&& other) noexcept;
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { reset(); }

  [[nodiscard]] int get() const noexcept { return number_; }
  [[nodiscard]] bool valid() const noexcept { return number_ >= 0; }
  /// Whether it is of an earlier epoch, opened before a fork or a loss: then get() is not ours to use.
  [[nodiscard]] bool inherited() const noexcept;
  void reset() noexcept;
  /// fork_epoch() when it was opened.
  [[nodiscard]] unsigned epoch() const noexcept { return epoch_; }

 private:
  int number_ = -1;
  unsigned epoch_ = 0;  ///< fork_epoch() when it was opened
};

/// Counts the forks that led to this process, and the losses of its descriptors; a change tells an object that its descriptors
/// are not ours to use any more. Lock-free.
[[nodiscard]] unsigned fork_epoch() noexcept;

/// Whether other code has closed the library's descriptors (`os.closerange` in a program that becomes a daemon). Then a new
/// epoch begins, as in the child of a fork: descriptors from before are neither used nor closed, since their numbers may
/// belong to the application by now. Costs one system call, on a file of the library's own that nothing else names.
[[nodiscard]] bool descriptors_lost() noexcept;
/// The same after a system call on a socket of the library's has failed: EBADF and ENOTSOCK mean that the number is not ours.
void note_socket_error(int os_error, unsigned epoch) noexcept;
/// Installs, once, the fork handlers: a fork waits for those inside sync::ForkGate, and in the child they close the inherited
/// descriptors (plain close: no bytes, no epoll_ctl) and advance fork_epoch(). Called by whatever opens the first
/// descriptor or calls OpenSSL first.
void install_fork_handler() noexcept;

}  // namespace fastpool::net
