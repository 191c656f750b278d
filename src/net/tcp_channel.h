#pragma once

#include <cstdint>
#include <utility>

#include "net/channel.h"
#include "net/descriptor.h"

namespace fastpool::net {

/// Plain bytes over a connected stream socket (TCP or Unix) that is in blocking mode. Rules of ownership and threads: see
/// Channel. Never raises SIGPIPE.
class TcpChannel final : public Channel {
 public:
  explicit TcpChannel(Descriptor socket) noexcept;

  [[nodiscard]] IoResult read(std::span<char> buffer, IoMode mode) noexcept override;
  [[nodiscard]] IoResult write(std::span<const iovec> pieces, IoMode mode) noexcept override;
  [[nodiscard]] Liveness peek() noexcept override;
  void shutdown() noexcept override;
  void say_goodbye() noexcept override {}
  [[nodiscard]] int descriptor() const noexcept override { return socket_.get(); }
  [[nodiscard]] Descriptor take_socket() noexcept override { return std::move(socket_); }
  [[nodiscard]] std::uint64_t bytes_written() const noexcept override { return written_; }

 private:
  Descriptor socket_;
  std::uint64_t written_ = 0;
};

}  // namespace fastpool::net
