#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include <fastpool/profile.h>
#include <fastpool/result.h>

#include "tls/context.h"

namespace fastpool::tls {

/// The living contexts by their settings: equal settings share one context, and with it trust anchors and sessions. Holds
/// them weakly, so a context ends with the last client and endpoint that uses it. Any thread may call it.
class ContextCache {
 public:
  /// The context of these settings, created if none is alive. Errors: as Context::create(); they are not remembered.
  [[nodiscard]] Result<std::shared_ptr<Context>> get(const TlsSettings& settings);

 private:
  struct KnownContext {
    TlsSettings settings;
    std::weak_ptr<Context> context;
  };

  std::mutex mutex_;
  std::vector<KnownContext> known_;  // guarded by mutex_
};

}  // namespace fastpool::tls
