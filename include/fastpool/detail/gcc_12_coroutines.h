#pragma once

/// \file
/// Defines FASTPOOL_GCC_12_COROUTINES for compilers that destroy a temporary twice that is initialised as an aggregate within a
/// co_await expression: GCC 12 and earlier.

#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 13
#define FASTPOOL_GCC_12_COROUTINES 1
#endif
