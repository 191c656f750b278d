#pragma once

#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <poll.h>

#include "net/socket.h"
#include "net/tcp_channel.h"
#include "support/loopback_server.h"
#include "support/waiting.h"
#include "tls/tls_channel.h"

namespace fastpool::tls {

/// A certificate authority, and the settings that a client needs for servers with its certificates.
class TlsTest : public ::testing::Test {
 protected:
  [[nodiscard]] TlsSettings trusting() const {
    TlsSettings settings;
    settings.ca_file = authority_.ca_file();
    return settings;
  }

  static std::shared_ptr<Context> make_context(const TlsSettings& settings) {
    auto made = Context::create(settings);
    EXPECT_TRUE(made.ok()) << (made.ok() ? "" : made.error().detail);
    return made.ok() ? *made : nullptr;
  }

  static std::unique_ptr<TlsChannel> make_channel(const std::shared_ptr<Context>& context,
                                                  const support::LoopbackServer& server,
                                                  const std::string& name = "localhost") {
    auto made = TlsChannel::create(context, std::make_unique<net::TcpChannel>(server.connect()), name, name + ":443");
    EXPECT_TRUE(made.ok()) << (made.ok() ? "" : made.error().detail);
    return std::move(made).value();
  }

  [[nodiscard]] static ::testing::AssertionResult becomes_ready(const net::Channel& channel, int events) {
    return support::becomes_ready("the channel is ready", channel.descriptor(), events, std::chrono::seconds(10));
  }
  static void wait_for(const net::Channel& channel, net::IoStatus direction) {
    ASSERT_TRUE(becomes_ready(channel, direction == net::IoStatus::want_read ? POLLIN : POLLOUT));
  }

  static net::IoStatus run_handshake(TlsChannel& channel) {
    while (true) {
      const net::IoResult result = channel.handshake(net::IoMode::dont_wait);
      if (result.status != net::IoStatus::want_read && result.status != net::IoStatus::want_write) return result.status;
      wait_for(channel, result.status);
      if (HasFatalFailure()) return result.status;
    }
  }

  /// Returns a channel whose handshake is done.
  static std::unique_ptr<TlsChannel> connect(const std::shared_ptr<Context>& context,
                                             const support::LoopbackServer& server,
                                             const std::string& name = "localhost") {
    auto channel = make_channel(context, server, name);
    EXPECT_EQ(run_handshake(*channel), net::IoStatus::ok) << channel->handshake_error().detail;
    return channel;
  }

  /// Returns the error of a handshake that must fail.
  static Error failure_of(const TlsSettings& settings, const support::LoopbackServer& server,
                          const std::string& name = "localhost") {
    auto channel = make_channel(make_context(settings), server, name);
    EXPECT_EQ(run_handshake(*channel), net::IoStatus::error);
    return channel->handshake_error();
  }

  static void write_all(net::Channel& channel, std::string bytes) {
    std::size_t done = 0;
    while (done < bytes.size()) {
      const iovec piece{bytes.data() + done, bytes.size() - done};
      const net::IoResult result = channel.write(std::span(&piece, 1), net::IoMode::wait);
      ASSERT_EQ(result.status, net::IoStatus::ok);
      done += result.bytes;
    }
  }

  /// Reads that many bytes, or fewer if the connection ends first; `last` then says how it ended.
  static std::string read_exactly(net::Channel& channel, std::size_t size, net::IoStatus* last = nullptr) {
    std::string all(size, '\0');
    std::size_t done = 0;
    while (done < size) {
      const net::IoResult result = channel.read(std::span(all).subspan(done), net::IoMode::wait);
      if (last != nullptr) *last = result.status;
      if (result.status != net::IoStatus::ok) break;
      done += result.bytes;
    }
    all.resize(done);
    return all;
  }

  support::CertificateAuthority authority_;
  support::ServerTls localhost_{authority_.issue_localhost()};
};

}  // namespace fastpool::tls
