#include "bindings/pool/leak_reports.h"

#include <mutex>
#include <utility>
#include <vector>

#include <Python.h>

#include "bindings/interpreter/gil.h"
#include "sync/atomics.h"

namespace fastpool::bindings {

namespace {

struct Reports {
  sync::Flag any;  // for a look without the mutex

  std::mutex mutex;
  // Guarded by mutex.
  std::vector<LeakReport> list;
  bool asked = false;    // the main thread was, and has not come yet
  bool stopped = false;  // the interpreter may go at any moment
};

// Never destroyed: the reactor may come to the very end. In a fork's child another one, since another thread may have held the
// mutex; written with no other thread there.
Reports*& reports() noexcept {
  // NOLINTNEXTLINE(bugprone-unhandled-exception-at-new): once; without memory for it nothing can go on
  static auto* current = new Reports;
  return current;
}

int on_main_thread(void*) {
  deliver_leak_reports();
  return 0;
}

/// Python code: the thread may be unwound in it at the interpreter's exit. \returns false with the error set.
bool call_reporter(PyObject* arguments) {
  UnwindingParks guard;
  PyObject* const module = PyImport_ImportModule("fast_litellm.pool.leaks");
  PyObject* const reporter = module == nullptr ? nullptr : PyObject_GetAttrString(module, "report");
  PyObject* const result = reporter == nullptr ? nullptr : PyObject_CallObject(reporter, arguments);
  Py_XDECREF(module);
  Py_XDECREF(reporter);
  Py_XDECREF(result);
  guard.over();
  return result != nullptr;
}

}  // namespace

void report_leak(LeakReport report) {
  Reports& all = *reports();
  const std::lock_guard lock(all.mutex);
  if (all.stopped) return;
  all.list.push_back(std::move(report));
  all.any.set();
  // Under the mutex, so that it is over before stop_leak_reports() returns. It may refuse: then the next one asks again.
  if (!all.asked) all.asked = Py_AddPendingCall(&on_main_thread, nullptr) == 0;
}

void deliver_leak_reports() {
  Reports& all = *reports();
  if (!all.any.get()) return;
  std::vector<LeakReport> list;
  {
    const std::lock_guard lock(all.mutex);
    list.swap(all.list);
    all.asked = false;
    all.any.clear();
  }
  for (const LeakReport& each : list) {
    PyObject* const arguments =
        Py_BuildValue("(ssds)", each.endpoint.c_str(), each.connection_id.c_str(), each.age, each.place.c_str());
    if (arguments == nullptr || !call_reporter(arguments)) PyErr_WriteUnraisable(nullptr);
    Py_XDECREF(arguments);
  }
}

void stop_leak_reports() noexcept {
  Reports& all = *reports();
  const std::lock_guard lock(all.mutex);
  all.stopped = true;
}

void renew_leak_reports() {
  reports() = new Reports;
}  // NOLINT(clang-analyzer-cplusplus.NewDeleteLeaks): the parent's is left as it is, see above

}  // namespace fastpool::bindings
