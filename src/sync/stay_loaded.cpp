#include "sync/stay_loaded.h"

#include <dlfcn.h>

#include "sync/fork_gate.h"

namespace fastpool::sync {

namespace {

bool pin() noexcept {
  Dl_info found{};
  if (::dladdr(reinterpret_cast<const void*>(&stay_loaded), &found) == 0) return false;
  // The handle is kept. For a program without shared objects of ours nothing is found, and nothing is needed.
  return ::dlopen(found.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE) != nullptr;
}

}  // namespace

void stay_loaded() noexcept {
  const ForkGate::Section no_fork;  // which would copy the first call half done
  [[maybe_unused]] static const bool pinned = pin();
}

}  // namespace fastpool::sync
