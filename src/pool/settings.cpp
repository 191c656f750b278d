#include <fastpool/settings.h>

#include <sys/resource.h>

#include "pool/decisions.h"

namespace fastpool::inline v1 {

std::uint32_t default_max_connections() noexcept {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return pool::default_total({});
  return pool::default_total(limit.rlim_cur);
}

}  // namespace fastpool::inline v1
