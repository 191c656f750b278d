#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include <fastpool/error.h>
#include <fastpool/origin.h>
#include <fastpool/profile.h>
#include <fastpool/timeouts.h>

#include "net/channel.h"
#include "tls/context.h"

namespace fastpool::connection {

/// What a dial is to reach. Immutable and shared by all dials of one endpoint.
struct Target {
  Origin origin;
  Profile profile;
  std::shared_ptr<tls::Context> tls;  ///< null for http
};

/// How long the parts of a dial took; absent parts are zero.
struct DialTimings {
  Duration resolve{};
  Duration connect{};
  Duration tls_handshake{};
};

/// A connected channel, ready for the first request. The socket is back in blocking mode.
struct Dialed {
  std::unique_ptr<net::Channel> channel;
  bool tls = false;
  bool tls_resumed = false;
  DialTimings timings;
};

/// Called exactly once per dial, on the reactor's thread, with no lock held.
using DialDone = std::function<void(Result<Dialed>)>;

}  // namespace fastpool::connection
