#pragma once

/// \file
/// A multiplexer over a socket pair, whose other end is nghttp2's server, moved by the test's own thread.

#include <array>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <sys/socket.h>

#include <gtest/gtest.h>

#include "connection/multiplexer.h"
#include "h2/server.h"
#include "net/tcp_channel.h"
#include "support/waiting.h"

namespace fastpool::connection::test {

/// One end of a socket pair, whose calls the test may look into or replace. The test keeps a pointer to it.
class HookedChannel final : public net::Channel {
 public:
  explicit HookedChannel(net::Descriptor socket) noexcept : inner_(std::move(socket)) {}

  std::string scripted{};                ///< what read() gives before it asks the socket
  bool full = false;                     ///< write() takes nothing
  std::function<void()> during_read{};   ///< called once, by the next read(), if it is set
  std::function<void()> during_write{};  ///< the same of write()
  bool foreign = false;                  ///< it runs code of the application
  int reads = 0;

  [[nodiscard]] net::IoResult read(std::span<char> buffer, net::IoMode mode) noexcept override {
    ++reads;
    if (during_read) std::exchange(during_read, {})();
    if (scripted.empty()) return inner_.read(buffer, mode);
    const std::size_t size = scripted.copy(buffer.data(), buffer.size());
    scripted.erase(0, size);
    return {.bytes = size};
  }
  [[nodiscard]] net::IoResult write(std::span<const iovec> pieces, net::IoMode mode) noexcept override {
    if (during_write) std::exchange(during_write, {})();
    if (full) return {.status = net::IoStatus::want_write};
    return inner_.write(pieces, mode);
  }
  [[nodiscard]] net::Liveness peek() noexcept override { return inner_.peek(); }
  void shutdown() noexcept override { inner_.shutdown(); }
  void say_goodbye() noexcept override {}
  [[nodiscard]] int descriptor() const noexcept override { return inner_.descriptor(); }
  [[nodiscard]] std::uint64_t bytes_written() const noexcept override { return inner_.bytes_written(); }
  [[nodiscard]] Locker locker() const noexcept override {
    return foreign ? [](std::mutex& mutex) noexcept { mutex.lock(); } : Locker{};
  }

 private:
  net::TcpChannel inner_;
};

/// The server's end of the pair.
class Peer {
 public:
  explicit Peer(net::Descriptor socket, std::vector<nghttp2_settings_entry> settings = {})
      : server(std::move(settings)), socket_(std::move(socket)) {}

  /// Takes what the client has sent, and sends what the server has to. Never waits.
  void move() {
    receive();
    send();
  }
  void receive() {
    std::array<char, 65536> buffer{};
    for (ssize_t got = 0; (got = ::recv(socket_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT)) > 0;) {
      received.append(buffer.data(), static_cast<std::size_t>(got));
      nghttp2_session_mem_recv(server.session, reinterpret_cast<const std::uint8_t*>(buffer.data()),
                               static_cast<std::size_t>(got));
    }
  }
  void send() {
    do {
      if (unsent_.empty()) {
        const std::uint8_t* made = nullptr;
        const ssize_t size = nghttp2_session_mem_send(server.session, &made);
        if (size > 0) unsent_.assign(reinterpret_cast<const char*>(made), static_cast<std::size_t>(size));
      }
      const ssize_t sent = ::send(socket_.get(), unsent_.data(), unsent_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      unsent_.erase(0, sent > 0 ? static_cast<std::size_t>(sent) : 0);
    } while (unsent_.empty() && nghttp2_session_want_write(server.session) != 0);
  }
  /// Bytes made by hand.
  void write(std::string_view bytes) const {
    ASSERT_EQ(::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT),
              static_cast<ssize_t>(bytes.size()));
  }
  void close() { socket_.reset(); }
  [[nodiscard]] int descriptor() const noexcept { return socket_.get(); }

  h2::test::Server server;
  std::string received;  ///< all bytes of the client

 private:
  std::string unsent_;  // what the socket did not take
  net::Descriptor socket_;
};

/// Counts its wakes.
struct CountingWaker final : sync::Waker {
  void wake() noexcept override { ++wakes; }
  int wakes = 0;
};

/// Counts what it hears.
struct CountingListener final : RoomListener {
  void on_room_changed() noexcept override { ++changes; }
  int changes = 0;
};

inline std::pair<net::Descriptor, net::Descriptor> socket_pair() {
  std::array<int, 2> ends{};
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
  return {net::Descriptor(ends[0]), net::Descriptor(ends[1])};
}

class MultiplexerTest : public ::testing::Test {
 protected:
  using MadeStream = std::shared_ptr<MultiplexedStream>;

  explicit MultiplexerTest(std::vector<nghttp2_settings_entry> settings = {})
      : MultiplexerTest(socket_pair(), std::move(settings)) {}
  ~MultiplexerTest() override { multiplexer_->detach(); }

  /// Opens a request and sends its head, with the body or its begin. The stream stays until the end of the test.
  MadeStream open(std::string_view method = "GET", std::string_view body = {}, bool last = true) {
    auto stream = std::make_shared<MultiplexedStream>();
    const std::vector<Header> host{{"Host", "one.example"}};
    const auto opened = multiplexer_->open(*stream, {method, "http", "/", host}, body, last);
    EXPECT_TRUE(opened.ok() && *opened);
    multiplexer_->flush();
    const std::lock_guard lock(kept_mutex_);
    return streams_.emplace_back(std::move(stream));
  }
  /// One that outlives the streams.
  [[nodiscard]] CountingWaker& new_waker() { return wakers_.emplace_back(); }
  /// Lets both ends read and send until the server has seen the requests and the client its answers.
  void converse() {
    for (int round = 0; round < 5; ++round) {
      multiplexer_->flush();
      peer_.move();
      while (multiplexer_->pump()) {
      }
    }
  }
  [[nodiscard]] bool has_come(MultiplexedStream& stream, Awaited awaited) {
    CountingWaker waker;
    const bool come = multiplexer_->look(stream, awaited, waker);
    multiplexer_->forget_waker(stream);
    return come;
  }
  [[nodiscard]] std::string taken(MultiplexedStream& stream) {
    std::string piece;
    if (multiplexer_->take_body(stream, piece).credits) multiplexer_->flush();
    return piece;
  }

  std::unique_ptr<HookedChannel> channel_;
  Peer peer_;
  std::shared_ptr<Multiplexer> multiplexer_;

 private:
  std::mutex kept_mutex_;
  std::deque<MadeStream> streams_;
  std::deque<CountingWaker> wakers_;
  MultiplexerTest(std::pair<net::Descriptor, net::Descriptor> ends, std::vector<nghttp2_settings_entry> settings)
      : channel_(std::make_unique<HookedChannel>(std::move(ends.first))),
        peer_(std::move(ends.second), std::move(settings)),
        multiplexer_(Multiplexer::create(*channel_).value()) {}
};

}  // namespace fastpool::connection::test
