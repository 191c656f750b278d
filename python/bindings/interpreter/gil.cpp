#include "bindings/interpreter/gil.h"

#include <chrono>
#include <exception>
#include <thread>

#include <nanobind/nanobind.h>
#include <unistd.h>

#include "sync/atomics.h"

namespace nb = nanobind;

namespace fastpool::bindings {

namespace {

// Never destroyed: threads may be parked here when the process ends.
struct Gate {
  sync::Flag gone;      // the interpreter is
  sync::Count outside;  // threads that gave the GIL away and have not parked
  unsigned long main_thread = 0;
};

Gate& gate() noexcept {
  // NOLINTNEXTLINE(bugprone-unhandled-exception-at-new): once, at import; without memory for it nothing can go on
  static Gate* const the_gate = new Gate;
  return *the_gate;
}

thread_local WithoutGil* current_without_gil = nullptr;

[[noreturn]] void park_for_ever() noexcept {
  for (;;)
    ::pause();
}

}  // namespace

UnwindingParks::~UnwindingParks() {
  // An exception is counted, a forced unwind is not.
  if (!over_ && std::uncaught_exceptions() == exceptions_) park_for_ever();
}

WithoutGil::WithoutGil() noexcept : main_thread_(PyThread_get_thread_ident() == gate().main_thread) {
  release();
}

WithoutGil* WithoutGil::current() noexcept {
  return current_without_gil;
}

void WithoutGil::release() noexcept {
  outer_ = std::exchange(current_without_gil, this);
  gate().outside.add();
  state_ = PyEval_SaveThread();
}

void WithoutGil::retake() {
  struct Returned {
    ~Returned() { gate().outside.subtract(); }
  };
  UnwindingParks guard;
  const Returned returned;  // destroyed before the guard: what parks is outside no more
  if (!gate().gone.get()) {
    PyEval_RestoreThread(state_);
    guard.over();
    current_without_gil = outer_;
  }
}

Interrupt WithoutGil::interrupt() noexcept {
  if (!main_thread_) return {};
  return {&look_at_signals, this};
}

bool WithoutGil::look_at_signals(void* self) noexcept {
  auto& without = *static_cast<WithoutGil*>(self);
  if (without.raised_) return true;
  without.retake();
  without.raised_ = PyErr_CheckSignals() != 0;
  without.release();
  return without.raised_;
}

void lock_without_gil(std::mutex& mutex) noexcept {
  if (WithoutGil::current() != nullptr || PyGILState_Check() == 0) return mutex.lock();
  if (mutex.try_lock()) return;
  const WithoutGil without_gil;
  mutex.lock();
}

void note_main_thread() {
  gate().main_thread = nb::cast<unsigned long>(nb::module_::import_("threading").attr("main_thread")().attr("ident"));
}

void begin_in_child() noexcept {
  gate().main_thread = PyThread_get_thread_ident();
  gate().outside.subtract(gate().outside.get());
}

bool exiting() noexcept {
#if PY_VERSION_HEX >= 0x030D0000
  return Py_IsFinalizing() != 0;
#else
  return _Py_IsFinalizing() != 0;
#endif
}

void interpreter_is_gone() noexcept {
  gate().gone.set();
}

void wait_for_threads(std::chrono::milliseconds at_most) noexcept {
  // No event is worth a lock on the hot path for this: a few short naps, bounded in case a peer's kernel holds a thread.
  const auto end = std::chrono::steady_clock::now() + at_most;
  while (gate().outside.get() != 0 && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

}  // namespace fastpool::bindings
