#pragma once

/// \file
/// FASTPOOL_EXPORT marks what a shared library exports, FASTPOOL_LOCAL the private classes inside what is marked so. The
/// build defines FASTPOOL_SHARED for a shared library and for its users; a static library exports nothing from the program
/// or plug-in that it is linked into.

#if defined(FASTPOOL_SHARED) && defined(__GNUC__)
#define FASTPOOL_EXPORT __attribute__((visibility("default")))
#define FASTPOOL_LOCAL __attribute__((visibility("hidden")))
#else
#define FASTPOOL_EXPORT
#define FASTPOOL_LOCAL
#endif
