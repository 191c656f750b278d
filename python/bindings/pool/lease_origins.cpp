#include "bindings/pool/lease_origins.h"

#include <array>
#include <string_view>

#include <nanobind/nanobind.h>

namespace nb = nanobind;

namespace fastpool::bindings {

namespace {

constexpr std::array<std::string_view, 3> passed_over{"fast_litellm", "httpx", "httpcore"};

std::string_view view_of(PyObject* text) noexcept {
  Py_ssize_t size = 0;
  const char* const data = text != nullptr && PyUnicode_Check(text) ? PyUnicode_AsUTF8AndSize(text, &size) : nullptr;
  if (data == nullptr) {
    PyErr_Clear();  // a name that is no text
    return {};
  }
  return {data, static_cast<std::size_t>(size)};
}

bool is_ours(std::string_view module) noexcept {
  const std::string_view package = module.substr(0, module.find('.'));
  for (const std::string_view each : passed_over) {
    if (package == each) return true;
  }
  return false;
}

/// Whether the frame's code belongs to a module of those that are passed over.
bool is_ours(PyFrameObject* frame) noexcept {
  // By attribute: PyFrame_GetGlobals() is not in Python 3.10.
  const nb::object globals = nb::steal(PyObject_GetAttrString(reinterpret_cast<PyObject*>(frame), "f_globals"));
  if (!globals.is_valid() || !PyDict_Check(globals.ptr())) {
    PyErr_Clear();
    return false;
  }
  return is_ours(view_of(PyDict_GetItemString(globals.ptr(), "__name__")));
}

}  // namespace

std::string calling_place() {
  PyFrameObject* const innermost = PyEval_GetFrame();
  nb::object frame = nb::borrow(reinterpret_cast<PyObject*>(innermost));
  while (frame.is_valid()) {
    auto* const now = reinterpret_cast<PyFrameObject*>(frame.ptr());
    if (!is_ours(now)) {
      const nb::object code = nb::steal(reinterpret_cast<PyObject*>(PyFrame_GetCode(now)));
      const auto* const compiled = reinterpret_cast<PyCodeObject*>(code.ptr());
      std::string place(view_of(compiled->co_filename));
      place += ':';
      place += std::to_string(PyFrame_GetLineNumber(now));
      place += " in ";
      place += view_of(compiled->co_name);
      return place;
    }
    frame = nb::steal(reinterpret_cast<PyObject*>(PyFrame_GetBack(now)));
  }
  return {};
}

}  // namespace fastpool::bindings
