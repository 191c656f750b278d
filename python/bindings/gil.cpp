#include "gil.h"

#include <chrono>
#include <thread>

#include <nanobind/nanobind.h>
#include <unistd.h>

#include "sync/atomics.h"

namespace nb = nanobind;

namespace fastpool::bindings {

namespace {

// Two sides of one question: a returning thread counts itself and then looks at the flag; prepare_exit sets the flag and
// then looks at the count. Both seq_cst. Never destroyed: threads may be parked here when the process ends.
struct Gate {
  sync::Flag exiting;
  sync::Count outside;  // threads that gave the GIL away and have not parked
  unsigned long main_thread = 0;
  unsigned long exiting_thread = 0;
};

Gate& gate() noexcept {
  static Gate* const the_gate = new Gate;
  return *the_gate;
}

[[noreturn]] void park_for_ever() noexcept {
  for (;;) ::pause();
}

}  // namespace

WithoutGil::WithoutGil() noexcept : main_thread_(PyThread_get_thread_ident() == gate().main_thread) { release(); }

void WithoutGil::release() noexcept {
  gate().outside.add();
  state_ = PyEval_SaveThread();
}

void WithoutGil::retake() noexcept {
  Gate& g = gate();
  if (g.exiting.get() && PyThread_get_thread_ident() != g.exiting_thread) {
    g.outside.subtract();
    park_for_ever();
  }
  PyEval_RestoreThread(state_);
  g.outside.subtract();
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

void note_main_thread() {
  gate().main_thread = nb::cast<unsigned long>(nb::module_::import_("threading").attr("main_thread")().attr("ident"));
}

void begin_in_child() noexcept {
  gate().main_thread = PyThread_get_thread_ident();
  gate().outside.subtract(gate().outside.get());
}

void begin_exit() noexcept {
  gate().exiting_thread = PyThread_get_thread_ident();
  gate().exiting.set();
}

bool exiting() noexcept { return gate().exiting.get(); }

void wait_for_returning_threads(std::chrono::milliseconds at_most) noexcept {
  PyThreadState* const state = PyEval_SaveThread();
  // No event is worth a lock on the hot path for this: a few short naps, bounded in case a peer's kernel holds somebody.
  const auto end = std::chrono::steady_clock::now() + at_most;
  while (gate().outside.get() != 0 && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  PyEval_RestoreThread(state);
}

}  // namespace fastpool::bindings
