#pragma once

#include <chrono>
#include <exception>
#include <mutex>
#include <utility>

#include <Python.h>

#include "http/interrupt.h"

namespace fastpool::bindings {

// Exit. Up to Python 3.13 a thread that wants the GIL while the interpreter is being finalized is ended by a forced unwind,
// which aborts in any noexcept frame and in any catch (...) that keeps it. So a thread that is unwound parks for ever in the
// first frame of ours that the unwind reaches. Until then nothing is different at exit: exit handlers may make requests, and
// join threads that make some. Once the interpreter is gone, and before the process's own exit handlers (OpenSSL's among
// them) run, the pools are stopped, and threads that come back from one park too.

/// Stands around a call into Python that may run code or wait for the GIL. If the thread is unwound there, it parks for
/// ever; exceptions pass. Between it and the call there must be nothing that has a destructor.
class UnwindingParks {
 public:
  UnwindingParks() noexcept : exceptions_(std::uncaught_exceptions()) {}
  UnwindingParks(const UnwindingParks&) = delete;
  UnwindingParks& operator=(const UnwindingParks&) = delete;
  ~UnwindingParks();
  /// The call has returned.
  void over() noexcept { over_ = true; }

 private:
  const int exceptions_;
  bool over_ = false;
};

/// Drops a reference, whose end may run anything. \param object a new reference, or null.
inline void drop(PyObject* object) {
  UnwindingParks guard;
  Py_XDECREF(object);
  guard.over();
}

/// Gives the GIL away for its lifetime, safely at the interpreter's exit: where retaking it would end the thread, the
/// thread parks, so no destructor beyond that runs.
///
/// On the main thread it also serves the signals: interrupt() is to be given to whatever waits; raised() says whether a
/// handler raised (then the Python error is set).
class WithoutGil {
 public:
  /// The one through which this thread has given the GIL away; null while it has the GIL.
  [[nodiscard]] static WithoutGil* current() noexcept;

  WithoutGil() noexcept;
  ~WithoutGil() { retake(); }
  WithoutGil(const WithoutGil&) = delete;
  WithoutGil& operator=(const WithoutGil&) = delete;

  /// For blocking calls. Inactive on threads other than the main one: they get no signals.
  [[nodiscard]] Interrupt interrupt() noexcept;
  [[nodiscard]] bool raised() const noexcept { return raised_; }

  /// Takes the GIL back for a moment, in the middle.
  template <typename Function>
  auto with_gil(Function function) {
    retake();
    struct Again {
      WithoutGil& self;
      ~Again() { self.release(); }
    } again{*this};
    return function();
  }

 private:
  void release() noexcept;
  void retake();
  static bool look_at_signals(void* self) noexcept;

  PyThreadState* state_ = nullptr;
  WithoutGil* outer_ = nullptr;
  bool main_thread_;
  bool raised_ = false;
};

/// Runs a function with the GIL, whether or not this thread, one of Python's, has it; if it has given it away, takes it back
/// as WithoutGil does.
template <typename Function>
auto with_gil(Function function) {
  WithoutGil* const without = WithoutGil::current();
  return without == nullptr ? function() : without->with_gil(std::move(function));
}

/// Locks a mutex whose holders may take the GIL: a thread that has it gives it away to wait. \see net::Channel::Locker
void lock_without_gil(std::mutex& mutex) noexcept;

/// Remembers which thread gets the signals: at import, whichever thread imports.
void note_main_thread();
/// In the child of a fork: the thread that forked is the main one, and the others are gone.
void begin_in_child() noexcept;
/// The interpreter is being finalized: threads other than the finalizing one may be parked inside anything. With the GIL.
[[nodiscard]] bool exiting() noexcept;
/// From now on a thread that wants the GIL back parks without touching Python.
void interpreter_is_gone() noexcept;
/// Waits until every thread that gave the GIL away is back or parked, at most that long.
void wait_for_threads(std::chrono::milliseconds at_most) noexcept;

}  // namespace fastpool::bindings
