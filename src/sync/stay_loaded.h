#pragma once

namespace fastpool::sync {

/// Keeps the shared object that holds this library in memory until the process ends; dlclose() of it changes nothing then.
/// Threads of the library's own may still be in a look-up (getaddrinfo cannot be interrupted), and threads of the program
/// have objects that are destroyed by code of the library when they end. Idempotent; for the program's own threads, since
/// a thread in dlopen() may wait for a helper thread with the loader's lock held.
void stay_loaded() noexcept;

}  // namespace fastpool::sync
