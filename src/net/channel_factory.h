#pragma once

#include <memory>
#include <string>

#include <fastpool/error.h>

#include "net/channel.h"
#include "net/descriptor.h"

namespace fastpool::net {

/// Makes channels of a TLS engine that is not the core's own. Part of a profile, compared by identity: connections are
/// shared only by those who have the very same factory. Any thread may call it; it lives as long as the profile.
class ChannelFactory {
 public:
  ChannelFactory() = default;
  ChannelFactory(const ChannelFactory&) = delete;
  ChannelFactory& operator=(const ChannelFactory&) = delete;
  virtual ~ChannelFactory() = default;

  /// A channel over a connected socket, its handshake still to be done (\see Channel::established()). Called by the dial, on
  /// the reactor's thread: it neither waits nor runs code of the application.
  /// \param server_name whom to name to the peer, and to verify.
  [[nodiscard]] virtual std::unique_ptr<Channel> wrap(Descriptor socket, const std::string& server_name) const = 0;
};

}  // namespace fastpool::net
