#pragma once

#include <chrono>

#include <Python.h>

#include <fastpool/interrupt.h>

namespace fastpool::bindings {

/// Gives the GIL away for its lifetime, safely at the interpreter's exit.
///
/// Up to Python 3.13 a thread that retakes the GIL while the interpreter is being finalized is ended by a forced unwind,
/// which aborts in any noexcept frame. So, before retaking, every thread but the finalizing one looks at an exit flag and, if
/// it is set, parks for ever without touching Python. prepare_exit() sets the flag and waits until nobody is between that
/// look and the GIL.
///
/// On the main thread it also serves the signals: interrupt() is to be given to whatever waits; raised() says whether a
/// handler raised (then the Python error is set).
class WithoutGil {
 public:
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
  void retake() noexcept;
  static bool look_at_signals(void* self) noexcept;

  PyThreadState* state_ = nullptr;
  bool main_thread_;
  bool raised_ = false;
};

/// Remembers which thread gets the signals: at import, whichever thread imports.
void note_main_thread();
/// In the child of a fork: the thread that forked is the main one, and the others are gone.
void begin_in_child() noexcept;
/// From atexit, with the GIL: sets the exit flag. Whatever waits must be woken before wait_for_returning_threads().
void begin_exit() noexcept;
/// Gives the GIL away until nobody is without it in here, at most that long.
void wait_for_returning_threads(std::chrono::milliseconds at_most) noexcept;
[[nodiscard]] bool exiting() noexcept;

}  // namespace fastpool::bindings
