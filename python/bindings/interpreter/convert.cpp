#include "bindings/interpreter/convert.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string_view>

namespace nb = nanobind;

namespace fastpool::bindings {

std::string_view HeaderText::view(nb::handle object) {
  if (PyBytes_Check(object.ptr()))
    return {PyBytes_AS_STRING(object.ptr()), static_cast<std::size_t>(PyBytes_GET_SIZE(object.ptr()))};
  if (!PyUnicode_Check(object.ptr())) throw nb::type_error("header names and values are str or bytes");
  if (PyUnicode_IS_ASCII(object.ptr())) {
    Py_ssize_t size = 0;
    const char* data = PyUnicode_AsUTF8AndSize(object.ptr(), &size);
    if (data == nullptr) throw nb::python_error();
    return {data, static_cast<std::size_t>(size)};
  }
  const nb::object latin = nb::steal(PyUnicode_AsLatin1String(object.ptr()));
  if (!latin.is_valid()) throw nb::python_error();
  return encoded_.emplace_back(PyBytes_AS_STRING(latin.ptr()), static_cast<std::size_t>(PyBytes_GET_SIZE(latin.ptr())));
}

std::vector<Header> headers_from(nb::handle headers, HeaderText& text) {
  std::vector<Header> result;
  if (headers.is_none()) return result;
  const auto add_pair = [&](nb::handle pair) {
    if (!PyTuple_Check(pair.ptr()) || PyTuple_GET_SIZE(pair.ptr()) != 2) {
      if (!PyList_Check(pair.ptr()) || PyList_GET_SIZE(pair.ptr()) != 2)
        throw nb::type_error("headers are pairs of a name and a value");
      result.push_back({text.view(PyList_GET_ITEM(pair.ptr(), 0)), text.view(PyList_GET_ITEM(pair.ptr(), 1))});
      return;
    }
    result.push_back({text.view(PyTuple_GET_ITEM(pair.ptr(), 0)), text.view(PyTuple_GET_ITEM(pair.ptr(), 1))});
  };
  nb::object listed;
  if (!PyList_Check(headers.ptr()) && !PyDict_Check(headers.ptr())) {
    // An iterator's pairs would die behind it: gathered first, and kept as long as the views.
    listed = nb::steal(PySequence_List(headers.ptr()));
    if (!listed.is_valid()) throw nb::python_error();
    text.keep(listed);
    headers = listed;
  }
  if (PyList_Check(headers.ptr())) {
    const Py_ssize_t size = PyList_GET_SIZE(headers.ptr());
    result.reserve(static_cast<std::size_t>(size) + 2);
    for (Py_ssize_t i = 0; i < size && i < PyList_GET_SIZE(headers.ptr()); ++i)
      add_pair(PyList_GET_ITEM(headers.ptr(), i));
  } else {
    PyObject* name = nullptr;
    PyObject* value = nullptr;
    Py_ssize_t position = 0;
    while (PyDict_Next(headers.ptr(), &position, &name, &value) != 0)
      result.push_back({text.view(name), text.view(value)});
  }
  return result;
}

BodyView::BodyView(nb::handle content) {
  PyObject* const object = content.ptr();
  if (content.is_none()) return;
  if (PyBytes_Check(object)) {
    view_ = {PyBytes_AS_STRING(object), static_cast<std::size_t>(PyBytes_GET_SIZE(object))};
  } else if (PyUnicode_Check(object)) {
    Py_ssize_t size = 0;
    const char* data = PyUnicode_AsUTF8AndSize(object, &size);
    if (data == nullptr) throw nb::python_error();
    view_ = {data, static_cast<std::size_t>(size)};
  } else {
    if (PyObject_GetBuffer(object, &buffer_, PyBUF_SIMPLE) != 0) throw nb::python_error();
    view_ = {static_cast<const char*>(buffer_.buf), static_cast<std::size_t>(buffer_.len)};
  }
}

BodyView::~BodyView() {
  if (buffer_.obj != nullptr) PyBuffer_Release(&buffer_);
}

namespace {

/// Returns a number as a double; an int beyond a double's range is infinite. Throws Python errors.
double number_from(nb::handle object) {
  const double value = PyFloat_AsDouble(object.ptr());
  if (value != -1.0 || PyErr_Occurred() == nullptr) return value;
  if (!PyLong_Check(object.ptr()) || PyErr_ExceptionMatches(PyExc_OverflowError) == 0) throw nb::python_error();
  PyErr_Clear();
  int sign = 0;
  (void)PyLong_AsLongLongAndOverflow(object.ptr(), &sign);
  return sign * std::numeric_limits<double>::infinity();
}

OptionalDuration read_duration(nb::handle seconds, const char* what, bool clamp) {
  if (seconds.is_none()) return std::nullopt;
  const double value = number_from(seconds);
  if (value < 0 && clamp) return Duration::zero();
  if (std::isnan(value) || value < 0) {
    PyErr_Format(PyExc_ValueError, "%s must be None or a number of seconds >= 0, not %R", what, seconds.ptr());
    throw nb::python_error();
  }
  // Beyond a century it is for ever, and the clock's arithmetic stays within its range.
  if (value > 3e9) return std::nullopt;
  return Duration(static_cast<Duration::rep>(value * 1e9));
}

}  // namespace

OptionalDuration duration_from(nb::handle seconds, const char* what) {
  return read_duration(seconds, what, false);
}

OptionalDuration duration_or_zero(nb::handle seconds, const char* what) {
  return read_duration(seconds, what, true);
}

Timeouts timeouts_from_tuple(nb::handle timeouts) {
  if (!PyTuple_Check(timeouts.ptr()) || PyTuple_GET_SIZE(timeouts.ptr()) != 4)
    throw nb::type_error("timeouts are a tuple (connect, read, write, pool)");
  return {duration_or_zero(PyTuple_GET_ITEM(timeouts.ptr(), 0), "the connect timeout"),
          duration_or_zero(PyTuple_GET_ITEM(timeouts.ptr(), 1), "the read timeout"),
          duration_or_zero(PyTuple_GET_ITEM(timeouts.ptr(), 2), "the write timeout"),
          duration_or_zero(PyTuple_GET_ITEM(timeouts.ptr(), 3), "the pool timeout")};
}

Timeouts timeouts_from(nb::handle timeout) {
  if (PyTuple_Check(timeout.ptr())) return timeouts_from_tuple(timeout);
  const OptionalDuration all = duration_from(timeout, "timeout");
  return {all, all, all, all};
}

nb::bytes bytes_of(std::string_view text) {
  return nb::bytes(text.data(), text.size());
}

namespace {

PyObject* new_bytes(std::string_view text) noexcept {
  return PyBytes_FromStringAndSize(text.data(), static_cast<Py_ssize_t>(text.size()));
}

/// Returns a new reference: `name` itself if it has no capital letter. \param name bytes.
PyObject* new_lower_case(PyObject* name) {
  const std::string_view text(PyBytes_AS_STRING(name), static_cast<std::size_t>(PyBytes_GET_SIZE(name)));
  const auto is_capital = [](char byte) { return byte >= 'A' && byte <= 'Z'; };
  if (std::ranges::none_of(text, is_capital)) return Py_NewRef(name);
  // Without initial bytes: for those of length one, CPython returns an object that the whole interpreter shares.
  PyObject* const lower = PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(text.size()));
  if (lower == nullptr) return nullptr;
  std::ranges::transform(text, PyBytes_AS_STRING(lower),
                         [&](char byte) { return is_capital(byte) ? static_cast<char>(byte - 'A' + 'a') : byte; });
  return lower;
}

/// \param make_item a new reference to a header's tuple; null with a Python error set.
template <typename MakeItem>
nb::object header_list(const HeaderList& headers, MakeItem make_item) {
  nb::object list = nb::steal(PyList_New(static_cast<Py_ssize_t>(headers.size())));
  if (!list.is_valid()) throw nb::python_error();
  for (std::size_t i = 0; i < headers.size(); ++i) {
    PyObject* const item = make_item(headers[i]);
    if (item == nullptr) throw nb::python_error();
    PyList_SET_ITEM(list.ptr(), static_cast<Py_ssize_t>(i), item);
  }
  return list;
}

/// Takes the references over; null if one of them is.
template <typename... Parts>
PyObject* new_tuple(Parts... parts) noexcept {
  PyObject* const tuple = ((parts != nullptr) && ...) ? PyTuple_New(sizeof...(parts)) : nullptr;
  if (tuple == nullptr) {
    (Py_XDECREF(parts), ...);
    return nullptr;
  }
  Py_ssize_t index = 0;
  ((PyTuple_SET_ITEM(tuple, index, parts), ++index), ...);
  return tuple;
}

}  // namespace

nb::object header_bytes(const HeaderList& headers) {
  return header_list(headers,
                     [](const Header& header) { return new_tuple(new_bytes(header.name), new_bytes(header.value)); });
}

nb::object header_strings(const HeaderList& headers) {
  const auto text_of = [](std::string_view text) {
    return PyUnicode_DecodeLatin1(text.data(), static_cast<Py_ssize_t>(text.size()), nullptr);
  };
  return header_list(headers,
                     [&](const Header& header) { return new_tuple(text_of(header.name), text_of(header.value)); });
}

nb::object header_items(const HeaderList& headers) {
  return header_list(headers, [](const Header& header) {
    PyObject* const name = new_bytes(header.name);
    PyObject* const lower = name != nullptr ? new_lower_case(name) : nullptr;
    return new_tuple(name, lower, new_bytes(header.value));
  });
}

}  // namespace fastpool::bindings
