#pragma once

#include <functional>

#include <fastpool/event.h>
#include <fastpool/resolve.h>

namespace fastpool::inline v1 {

/// Functions of the program's own that a client calls. The client keeps a copy, also for what outlives it (streams, leases,
/// look-ups under way).
struct Hooks {
  /// Called for each Event: those of a request on a thread that works on the request, all others on any thread, several at a
  /// time, with no lock held. It must be quick, must not throw, and of the client it may call stats() alone.
  std::function<void(const Event&)> on_event = {};
  /// Replaces the system's look-up of host names. Absent: resolve_by_system().
  Resolve resolve = {};
};

}  // namespace fastpool::inline v1
