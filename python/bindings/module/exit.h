#pragma once

namespace fastpool::bindings {

/// Arranges that pools and event loops are stopped when the interpreter ends. Once, at import.
void stop_at_exit();

}  // namespace fastpool::bindings
