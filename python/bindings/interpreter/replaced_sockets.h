#pragma once

#include <nanobind/nanobind.h>

namespace fastpool::bindings {

// gevent and eventlet replace what `socket` holds, and guards such as pytest-socket replace `socket.socket` or its connect.
// The core's own sockets pass all of that by, so what makes connections asks first. The answer is
// fast_litellm.pool.replaced_sockets's; it is asked again only after something of the module or the class was written.

/// Whether anything of `socket` is replaced now. With the GIL; two comparisons unless something was written.
/// \throws nanobind::python_error for what Python raises.
[[nodiscard]] bool sockets_replaced();

/// Raises SocketsReplaced if anything of `socket` is replaced now. As sockets_replaced().
void refuse_replaced_sockets();

void bind_replaced_sockets(nanobind::module_& module);

}  // namespace fastpool::bindings
