#pragma once

#include <nanobind/nanobind.h>

#include "bindings/pool/pool.h"

namespace fastpool::bindings {

/// Pool.request(): one exchange with the whole body read, blocking.
[[nodiscard]] nanobind::object request(Pool& self, nanobind::handle connection, nanobind::handle method,
                                       nanobind::handle target, nanobind::handle headers, nanobind::handle content,
                                       nanobind::handle timeout);
/// Pool.start_request(): the same, begun, to be awaited. The first argument is the Pool.
[[nodiscard]] nanobind::object start_request(nanobind::handle self, nanobind::handle loop, nanobind::handle connection,
                                             nanobind::handle method, nanobind::handle target, nanobind::handle headers,
                                             nanobind::handle content, nanobind::handle timeout);

/// Pool.start_lease(): get_connection(), begun, to be awaited. The first argument is the Pool.
[[nodiscard]] nanobind::object start_lease(nanobind::handle self, nanobind::handle loop, nanobind::handle endpoint,
                                           nanobind::handle timeout);

void bind_call(nanobind::module_& module);

}  // namespace fastpool::bindings
