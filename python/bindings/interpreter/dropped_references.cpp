#include "bindings/interpreter/dropped_references.h"

#include <mutex>
#include <vector>

#include "bindings/interpreter/gil.h"
#include "sync/atomics.h"

namespace fastpool::bindings {

namespace {

struct Dropped {
  sync::Flag any;  // for a look without the mutex

  std::mutex mutex;
  // Guarded by mutex.
  std::vector<PyObject*> list;
  bool asked = false;    // the main thread was, and has not come yet
  bool stopped = false;  // the interpreter may go at any moment
};

// Never destroyed: the reactor may come to the very end. In a fork's child another one, written with no other thread there.
Dropped*& dropped() noexcept {
  // NOLINTNEXTLINE(bugprone-unhandled-exception-at-new): once; without memory for it nothing can go on
  static auto* current = new Dropped;
  return current;
}

int on_main_thread(void*) {
  give_up_dropped_references();
  return 0;
}

// Finalizers may run: the thread may be unwound in one at the interpreter's exit.
void give_up(PyObject* object) noexcept {
  UnwindingParks guard;
  Py_DECREF(object);
  guard.over();
}

}  // namespace

Reference::~Reference() {
  if (object_ == nullptr) return;
  Dropped& all = *dropped();
  const std::lock_guard lock(all.mutex);
  if (all.stopped) return;
  all.list.push_back(object_);
  all.any.set();
  // It may refuse: then the next one asks again.
  if (!all.asked) all.asked = Py_AddPendingCall(&on_main_thread, nullptr) == 0;
}

void give_up_dropped_references() noexcept {
  Dropped& all = *dropped();
  if (!all.any.get()) return;
  std::vector<PyObject*> list;
  {
    const std::lock_guard lock(all.mutex);
    list.swap(all.list);
    all.asked = false;
    all.any.clear();
  }
  for (PyObject* const object : list)
    give_up(object);
}

void stop_dropping_references() noexcept {
  Dropped& all = *dropped();
  const std::lock_guard lock(all.mutex);
  all.stopped = true;
}

void renew_dropped_references() {
  dropped() = new Dropped;
}  // NOLINT(clang-analyzer-cplusplus.NewDeleteLeaks): the parent's is left as it is, see above

}  // namespace fastpool::bindings
