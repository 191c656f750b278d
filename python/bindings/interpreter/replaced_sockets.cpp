#include "bindings/interpreter/replaced_sockets.h"

#include <cstdint>

#include "bindings/interpreter/gil.h"

namespace nb = nanobind;

namespace fastpool::bindings {

namespace {

// ---- versions: equal ones mean that nothing was written between ------------------------------------------------------

#if PY_VERSION_HEX >= 0x030C0000

// With the GIL.
int watcher = -1;
std::uint64_t writes = 0;

int on_write(PyDict_WatchEvent, PyObject*, PyObject*, PyObject*) {
  ++writes;
  return 0;
}

/// \returns false if Python has no watcher left.
bool watch(PyObject* dictionary) {
  if (watcher < 0) watcher = PyDict_AddWatcher(&on_write);
  if (watcher >= 0 && PyDict_Watch(watcher, dictionary) == 0) return true;
  PyErr_Clear();
  return false;
}

std::uint64_t version_of(const PyObject*) noexcept {
  return writes;
}

#else

bool watch(PyObject*) noexcept {
  return true;
}

std::uint64_t version_of(PyObject* dictionary) noexcept {
  return reinterpret_cast<PyDictObject*>(dictionary)->ma_version_tag;
}

#endif

/// 0 while Python has given the class no version since it was last written.
unsigned version_of(const PyTypeObject* type) noexcept {
  return type->tp_version_tag;
}

// ---- what was found --------------------------------------------------------------------------------------------------

/// The module and the class that were found to be Python's own, at these versions. Both are kept for good: a new one in
/// their place could get the same address. With the GIL.
struct Found {
  PyObject* dictionary = nullptr;  // null: nothing, or not Python's own
  PyTypeObject* type = nullptr;
  std::uint64_t dictionary_version = 0;
  unsigned type_version = 0;

  [[nodiscard]] bool holds() const noexcept {
    return dictionary != nullptr && version_of(dictionary) == dictionary_version && version_of(type) == type_version;
  }
};
Found found;

// Python code: the thread may be unwound in it at the interpreter's exit.
PyObject* call(const char* function) {
  UnwindingParks guard;
  PyObject* const module = PyImport_ImportModule("fast_litellm.pool.replaced_sockets");
  PyObject* const result = module == nullptr ? nullptr : PyObject_CallMethod(module, function, nullptr);
  Py_XDECREF(module);
  guard.over();
  return result;
}

/// Asks Python, and remembers the answer if it is no.
bool look_again() {
  found.dictionary = nullptr;
  const nb::object name = nb::str("socket");
  const nb::object module = nb::steal(PyImport_GetModule(name.ptr()));
  if (!module.is_valid()) {  // it is not imported, so nothing of it is replaced
    PyErr_Clear();
    return false;
  }
  // The versions as of before the look: what is written meanwhile is seen by the next call.
  Found next;
  const nb::object type = nb::getattr(module, "socket", nb::none());
  if (PyModule_Check(module.ptr()) && PyType_Check(type.ptr()) && watch(PyModule_GetDict(module.ptr()))) {
    next.dictionary = PyModule_GetDict(module.ptr());
    next.type = reinterpret_cast<PyTypeObject*>(type.ptr());
    (void)nb::hasattr(type, "connect");  // a look-up gives the class a version
    next.dictionary_version = version_of(next.dictionary);
    next.type_version = version_of(next.type);
  }
  const nb::object answer = nb::steal(call("replaced"));
  if (!answer.is_valid()) throw nb::python_error();
  if (PyObject_IsTrue(answer.ptr()) != 0) return true;
  if (next.dictionary != nullptr && next.type_version != 0) {
    (void)Py_NewRef(next.dictionary);
    (void)Py_NewRef(reinterpret_cast<PyObject*>(next.type));
    found = next;
  }
  return false;
}

}  // namespace

bool sockets_replaced() {
  if (found.holds()) [[likely]]
    return false;
  return look_again();
}

void refuse_replaced_sockets() {
  if (!sockets_replaced()) [[likely]]
    return;
  const nb::object answer = nb::steal(call("refuse"));
  if (!answer.is_valid()) throw nb::python_error();
}

void bind_replaced_sockets(nb::module_& module) {
  module.def("sockets_replaced", &sockets_replaced);
}

}  // namespace fastpool::bindings
