#include <fastpool/version.h>

#define FASTPOOL_TEXT_OF(number) #number
#define FASTPOOL_VERSION_TEXT(major, minor, patch) \
  FASTPOOL_TEXT_OF(major) "." FASTPOOL_TEXT_OF(minor) "." FASTPOOL_TEXT_OF(patch)

namespace fastpool::inline v1 {

const char* version() noexcept {
  return FASTPOOL_VERSION_TEXT(FASTPOOL_VERSION_MAJOR, FASTPOOL_VERSION_MINOR, FASTPOOL_VERSION_PATCH);
}

}  // namespace fastpool::inline v1
