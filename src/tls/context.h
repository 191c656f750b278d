#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include <fastpool/profile.h>
#include <fastpool/result.h>

#include "net/channel.h"
#include "net/descriptor.h"

namespace fastpool::tls {

/// A TLS client context made from settings: trust anchors, client certificate, and a cache of sessions for resumption.
/// Immutable after create(), so any thread may open channels from it. Shared by every endpoint of a profile.
class Context {
 public:
  /// Built from `settings.files`, or where these are empty from what the files hold now.
  /// \returns invalid_argument naming the file for a CA bundle, certificate or key that cannot be read or does not match.
  [[nodiscard]] static Result<std::shared_ptr<Context>> create(const TlsSettings& settings);

  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  ~Context();

  /// Whether OpenSSL has found more in a CA directory than the settings' files held: then it must not be given to another
  /// client, whose directory may not have that any more.
  [[nodiscard]] bool outgrown() const;

 private:
  friend class TlsChannel;
  struct State;
  explicit Context(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace fastpool::tls
