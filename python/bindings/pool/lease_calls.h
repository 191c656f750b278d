#pragma once

#include <nanobind/nanobind.h>

#include "bindings/pool/pool.h"
#include "pool/slot.h"

namespace fastpool::bindings {

/// Returns the methods of Pool that are called most, for its type.
[[nodiscard]] PyMethodDef* lease_calls() noexcept;
/// Forgets a pool that is being destroyed. With the GIL.
void forget_pool(const Pool& gone) noexcept;
/// Returns the lease that an id names; none if it ended. TypeError for an id that is no str.
[[nodiscard]] pool::LeaseRef lease_of(client::Core& core, nanobind::handle id);

/// Hands a lease to Python, by its id. If that fails, the lease is ended and the exception goes on. With the GIL.
[[nodiscard]] PyObject* give_out(Pool& self, client::Core& core, pool::LeaseRef ref);

}  // namespace fastpool::bindings
