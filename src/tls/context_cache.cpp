#include "tls/context_cache.h"

#include <algorithm>
#include <utility>

namespace fastpool::tls {

Result<std::shared_ptr<Context>> ContextCache::get(const TlsSettings& settings) {
  const std::lock_guard lock(mutex_);
  std::erase_if(known_, [](const KnownContext& known) { return known.context.expired(); });
  for (const KnownContext& known : known_) {
    if (known.settings != settings) continue;
    if (auto living = known.context.lock(); living != nullptr && !living->outgrown()) return living;
  }
  auto made = Context::create(settings);
  if (made) known_.push_back({settings, *made});
  return made;
}

}  // namespace fastpool::tls
