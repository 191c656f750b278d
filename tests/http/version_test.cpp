#include <string>

#include <fastpool/version.h>

#include <gtest/gtest.h>

namespace fastpool {
namespace {

TEST(Version, the_library_has_the_version_of_its_headers) {
  EXPECT_EQ(version(), std::to_string(FASTPOOL_VERSION_MAJOR) + '.' + std::to_string(FASTPOOL_VERSION_MINOR) + '.' +
                           std::to_string(FASTPOOL_VERSION_PATCH));
}

}  // namespace
}  // namespace fastpool
