#pragma once

/// \file
/// The version of the headers, as macros, and of the library, as a function. CMakeLists.txt reads it from here.

#include <fastpool/export.h>

#define FASTPOOL_VERSION_MAJOR 0
#define FASTPOOL_VERSION_MINOR 1
#define FASTPOOL_VERSION_PATCH 0

namespace fastpool::inline v1 {

/// Returns the version of the library that the program runs with, "major.minor.patch". It differs from the macros if the
/// program was compiled with the headers of another version.
[[nodiscard]] FASTPOOL_EXPORT const char* version() noexcept;

}  // namespace fastpool::inline v1
