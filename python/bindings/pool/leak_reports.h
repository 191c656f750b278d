#pragma once

#include <string>

namespace fastpool::bindings {

/// A lease that is held longer than its pool allows.
struct LeakReport {
  std::string endpoint;
  std::string connection_id;
  double age = 0;     ///< seconds
  std::string place;  ///< where it was taken; empty if that is not known
};

/// Leaks are found on the reactor's thread, which never takes the GIL. So a report is put on a list, and Python's main
/// thread is asked to deliver it to `fast_litellm.pool.leaks.report` between two of its instructions.

/// Any thread, without the GIL. Nothing is kept once the interpreter's exit handlers have run.
void report_leak(LeakReport report);
/// Delivers what is on the list now. With the GIL; runs Python code, whose exceptions go to sys.unraisablehook.
void deliver_leak_reports();
/// As an exit handler of Python: from now on no thread asks the interpreter for anything.
void stop_leak_reports() noexcept;
/// In the child of a fork: the list is the parent's.
void renew_leak_reports();

}  // namespace fastpool::bindings
