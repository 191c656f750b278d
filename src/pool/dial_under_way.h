#pragma once

#include <vector>

#include <fastpool/timeouts.h>

namespace fastpool::pool {

struct Slot;
struct Waiter;

/// A dial that was handed to the dialer and has not ended, and the callers who wait for it. Belongs to its endpoint, whose
/// mutex guards every member.
///
/// A waiter is bound to one dial at most, usually one of its own; what the dial brings goes to the head of the queue all the
/// same. The binding says whose error a failure is, whose `connect` clock runs, and which dials no caller waits for: these
/// give way to a caller at a limit.
struct DialUnderWay {
  Slot* slot = nullptr;
  TimePoint start;         ///< when it begins, or began
  TimePoint deadline;      ///< when the last of its callers, present and past, stops waiting for it
  bool for_lease = false;  ///< it is the dial of a lease that connects on first use
  bool given_up = false;   ///< a caller stopped waiting for it
  bool restarted = false;  ///< of a lease: another one takes its place when it ends
  std::vector<Waiter*> waiters{};
};

}  // namespace fastpool::pool
