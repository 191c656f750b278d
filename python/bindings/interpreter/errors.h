#pragma once

#include <nanobind/nanobind.h>

#include <fastpool/error.h>
#include <fastpool/result.h>

#include "bindings/interpreter/gil.h"

namespace fastpool::bindings {

/// Makes `_core.CoreError`.
void bind_errors(nanobind::module_& module);

/// Throws what `factory(code, phase, bytes_sent, os_error, detail)` makes of the error; without a factory a CoreError, or a
/// ValueError for invalid_argument. With the GIL.
[[noreturn]] void raise(const Error& error, nanobind::handle factory);
/// ValueError with the error's own words.
[[noreturn]] void raise_value_error(const Error& error);

/// Takes the Python error that is set; owned by the caller.
[[nodiscard]] PyObject* take_exception() noexcept;
/// Sets it again. \param exception what take_exception() gave; is the callee's from here on.
void give_back(PyObject* exception) noexcept;

/// After a call that gave the GIL away: a signal handler's exception goes first, then the error. Else the value.
template <typename T>
T value_or_raise(Result<T> result, bool signal_raised, nanobind::handle factory) {
  if (signal_raised) throw nanobind::python_error();
  if (!result) raise(result.error(), factory);
  if constexpr (!std::is_void_v<T>) return std::move(result).value();
}

}  // namespace fastpool::bindings
