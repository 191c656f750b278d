#include "bindings/interpreter/convert.h"

#include <cmath>

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

OptionalDuration read_duration(nb::handle seconds, const char* what, bool clamp) {
  if (seconds.is_none()) return std::nullopt;
  const double value = PyFloat_AsDouble(seconds.ptr());
  if (value == -1.0 && PyErr_Occurred() != nullptr) throw nb::python_error();
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

template <typename Make>
nb::object header_pairs(const HeaderList& headers, Make make) {
  nb::object list = nb::steal(PyList_New(static_cast<Py_ssize_t>(headers.size())));
  if (!list.is_valid()) throw nb::python_error();
  for (std::size_t i = 0; i < headers.size(); ++i) {
    const Header header = headers[i];
    PyObject* const name = make(header.name);
    PyObject* const value = make(header.value);
    PyObject* const pair = name != nullptr && value != nullptr ? PyTuple_New(2) : nullptr;
    if (pair == nullptr) {
      Py_XDECREF(name);
      Py_XDECREF(value);
      throw nb::python_error();
    }
    PyTuple_SET_ITEM(pair, 0, name);
    PyTuple_SET_ITEM(pair, 1, value);
    PyList_SET_ITEM(list.ptr(), static_cast<Py_ssize_t>(i), pair);
  }
  return list;
}

}  // namespace

nb::object header_bytes(const HeaderList& headers) {
  return header_pairs(headers, [](std::string_view text) {
    return PyBytes_FromStringAndSize(text.data(), static_cast<Py_ssize_t>(text.size()));
  });
}

nb::object header_strings(const HeaderList& headers) {
  return header_pairs(headers, [](std::string_view text) {
    return PyUnicode_DecodeLatin1(text.data(), static_cast<Py_ssize_t>(text.size()), nullptr);
  });
}

}  // namespace fastpool::bindings
