#pragma once

#include <nanobind/nanobind.h>

#include "bindings/pool/pool.h"

namespace fastpool::bindings {

/// Returns what Pool.get_stats() gives: the core's counters and the pool's limits. With the GIL.
[[nodiscard]] nanobind::dict get_stats(Pool& self);

}  // namespace fastpool::bindings
