#pragma once

/// \file
/// FASTPOOL_EXPORT marks what a shared library exports. The build defines FASTPOOL_SHARED for a shared library and for its
/// users; a static library exports nothing from the program or plug-in that it is linked into.

#if defined(FASTPOOL_SHARED) && defined(__GNUC__)
#define FASTPOOL_EXPORT __attribute__((visibility("default")))
#else
#define FASTPOOL_EXPORT
#endif
