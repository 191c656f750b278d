#pragma once

#include <nanobind/nanobind.h>

namespace fastpool::bindings {

/// Binds _core.TlsSettings and _core.TlsFiles.
void bind_tls_settings(nanobind::module_& module);

}  // namespace fastpool::bindings
