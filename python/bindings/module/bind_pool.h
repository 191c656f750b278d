#pragma once

#include <nanobind/nanobind.h>

namespace fastpool::bindings {

/// Binds _core.Pool, with the methods that need an exchange or an event loop.
void bind_pool(nanobind::module_& module);

}  // namespace fastpool::bindings
