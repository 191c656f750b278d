#pragma once

#include <memory>
#include <string>
#include <utility>

#include <fastpool/error.h>
#include <fastpool/profile.h>

#include "net/channel.h"

namespace fastpool::net {

/// Makes channels of a TLS engine that is not the core's own. Part of a profile, compared by identity: connections are
/// shared only by those who have the very same factory. Any thread may call it; it lives as long as the profile.
class ChannelFactory {
 public:
  ChannelFactory() = default;
  ChannelFactory(const ChannelFactory&) = delete;
  ChannelFactory& operator=(const ChannelFactory&) = delete;
  virtual ~ChannelFactory() = default;

  /// A channel over a connected one, its handshake still to be done (\see Channel::established()). Called by the dial, on
  /// the reactor's thread: it neither waits nor runs code of the application.
  /// \param below to the peer: plain TCP, or TLS to a proxy. Stays the caller's if memory runs out (std::bad_alloc).
  /// \param server_name whom to name to the peer, and to verify. \param protocols offered by ALPN.
  [[nodiscard]] virtual std::unique_ptr<Channel> wrap(std::unique_ptr<Channel>&& below, const std::string& server_name,
                                                      Protocols protocols) const = 0;
};

/// The engine of a profile: it speaks TLS in place of the profile's settings, and the first user of a connection does the
/// handshake. The same object in every profile that is to share connections. Null: the core's own engine.
[[nodiscard]] inline const ChannelFactory* engine_of(const Profile& profile) noexcept {
  return static_cast<const ChannelFactory*>(profile.engine.get());
}
inline void set_engine(Profile& profile, std::shared_ptr<const ChannelFactory> engine) noexcept {
  profile.engine = std::move(engine);
}

}  // namespace fastpool::net
