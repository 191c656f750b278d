#pragma once

#include <utility>

#include <Python.h>

namespace fastpool::bindings {

/// References to Python objects that end on a thread without the GIL, such as on the reactor's thread: they are put on a list,
/// and Python's main thread is asked to give them up between two of its instructions; the maker of a channel does it too.

/// Owns one reference. Made with the GIL; may be destroyed on any thread, under any lock: that runs no Python.
class Reference {
 public:
  Reference() noexcept = default;
  /// Takes over a new reference; null: none.
  explicit Reference(PyObject* object) noexcept : object_(object) {}
  Reference(Reference&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Reference& operator=(Reference&& other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  Reference(const Reference&) = delete;
  Reference& operator=(const Reference&) = delete;
  ~Reference();

  /// Gives it to the caller.
  [[nodiscard]] PyObject* release() noexcept { return std::exchange(object_, nullptr); }
  /// Borrowed; to be used with the GIL.
  [[nodiscard]] PyObject* get() const noexcept { return object_; }

 private:
  PyObject* object_ = nullptr;
};

/// Gives up what is on the list now. With the GIL; may run Python code (finalizers).
void give_up_dropped_references() noexcept;
/// As an exit handler of Python: from now on no thread asks the interpreter for anything, and what is dropped stays.
void stop_dropping_references() noexcept;
/// In the child of a fork: another thread may have held the list's lock.
void renew_dropped_references();

}  // namespace fastpool::bindings
