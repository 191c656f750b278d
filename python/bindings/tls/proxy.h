#pragma once

#include <nanobind/nanobind.h>

#include <fastpool/proxy.h>

namespace fastpool::bindings {

/// _core.Proxy: how a handle's connections go through a proxy. Immutable.
struct ProxyObject {
  Proxy proxy;
  nanobind::object ssl_context;  ///< what `proxy.engine` holds weakly, or None
};

void bind_proxy(nanobind::module_& module);

}  // namespace fastpool::bindings
