#include "bindings/interpreter/errors.h"

#include <string>

#include "bindings/interpreter/dropped_references.h"

namespace nb = nanobind;

namespace fastpool::bindings {

namespace {

PyObject* core_error_type = nullptr;  // owned by the module; lives as long as the process

// Python code: the thread may be unwound in it at the interpreter's exit.
PyObject* call(PyObject* callable, PyObject* const* arguments, std::size_t count) {
  UnwindingParks guard;
  PyObject* const result = PyObject_Vectorcall(callable, arguments, count, nullptr);
  guard.over();
  return result;
}

nb::str text(std::string_view view) {
  return nb::str(view.data(), view.size());
}

nb::str text_of_anything(const std::string& bytes) {
  return nb::steal<nb::str>(PyUnicode_DecodeUTF8(bytes.data(), static_cast<Py_ssize_t>(bytes.size()), "replace"));
}

}  // namespace

void bind_errors(nb::module_& module) {
  core_error_type = PyErr_NewExceptionWithDoc(
      "fast_litellm._core.CoreError",
      "Raised where no error factory was given. args: (code, phase, bytes_sent, os_error, detail).", PyExc_Exception,
      nullptr);
  if (core_error_type == nullptr) throw nb::python_error();
  module.attr("CoreError") = nb::handle(core_error_type);
}

void raise(const Error& error, nb::handle factory) {
  // What Python code below the core raised: goes on as it is if it ended the call, else tells why.
  PyObject* const cause = error.cause ? static_cast<const Reference*>(error.cause.get())->get() : nullptr;
  if (cause != nullptr && error.code == ErrorCode::interrupted) {
    PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(cause)), cause);
    throw nb::python_error();
  }
  const nb::object code = text(to_string(error.code));
  const nb::object phase = text(to_string(error.phase));
  const nb::object detail = text_of_anything(error.detail);
  nb::object exception;
  if (factory.is_valid() && !factory.is_none()) {
    const nb::object bytes_sent = nb::cast(error.bytes_sent);
    const nb::object os_error = nb::cast(error.os_error);
    PyObject* const arguments[] = {code.ptr(), phase.ptr(), bytes_sent.ptr(), os_error.ptr(), detail.ptr()};
    exception = nb::steal(call(factory.ptr(), arguments, std::size(arguments)));
    if (!exception.is_valid()) throw nb::python_error();
  } else if (error.code == ErrorCode::invalid_argument) {
    exception = nb::handle(PyExc_ValueError)(detail);
  } else {
    exception = nb::handle(core_error_type)(code, phase, error.bytes_sent, error.os_error, detail);
    exception.attr("code") = code;
    exception.attr("phase") = phase;
    exception.attr("bytes_sent") = error.bytes_sent;
    exception.attr("os_error") = error.os_error;
    exception.attr("detail") = detail;
  }
  if (cause != nullptr) PyException_SetCause(exception.ptr(), Py_NewRef(cause));
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(exception.ptr())), exception.ptr());
  throw nb::python_error();
}

PyObject* take_exception() noexcept {
#if PY_VERSION_HEX >= 0x030C0000
  return PyErr_GetRaisedException();
#else
  PyObject* type = nullptr;
  PyObject* value = nullptr;
  PyObject* traceback = nullptr;
  PyErr_Fetch(&type, &value, &traceback);
  PyErr_NormalizeException(&type, &value, &traceback);
  if (traceback != nullptr) PyException_SetTraceback(value, traceback);
  Py_XDECREF(type);
  Py_XDECREF(traceback);
  return value;
#endif
}

void give_back(PyObject* exception) noexcept {
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(exception)), exception);
  Py_DECREF(exception);
}

void raise_value_error(const Error& error) {
  PyErr_SetObject(PyExc_ValueError, text_of_anything(error.detail).ptr());
  throw nb::python_error();
}

}  // namespace fastpool::bindings
