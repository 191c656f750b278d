#pragma once

#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include <nanobind/nanobind.h>

#include "bindings/interpreter/gil.h"
#include "sync/thread_owned.h"

namespace fastpool::bindings {

/// Gathers a body into one Python bytes object without a second copy of a large one: what is small waits in a buffer and
/// is copied once; what is large goes straight into the object, which is sized beforehand or grown in place. append() may be
/// called without the GIL and takes it only to make or grow the object.
class BytesBuilder {
 public:
  /// \param without_gil null: append() is called with the GIL.
  explicit BytesBuilder(WithoutGil* without_gil) noexcept : without_gil_(without_gil) {
    small_.swap(spare());
    small_.clear();
  }
  BytesBuilder(const BytesBuilder&) = delete;
  BytesBuilder& operator=(const BytesBuilder&) = delete;
  /// With the GIL.
  ~BytesBuilder() {
    Py_XDECREF(object_);
    small_.swap(spare());
  }

  /// \param expected the whole size if it is known, else 0. \returns false if memory ran out (the Python error is set).
  [[nodiscard]] bool append(const std::vector<std::string_view>& pieces, std::size_t expected) {
    for (const std::string_view piece : pieces) {
      if (object_ == nullptr && size_ + piece.size() <= small_limit) {
        small_.append(piece);
      } else {
        if (!make_room(size_ + piece.size(), expected)) return false;
        std::memcpy(PyBytes_AS_STRING(object_) + size_, piece.data(), piece.size());
      }
      size_ += piece.size();
    }
    return true;
  }

  /// With the GIL.
  [[nodiscard]] nanobind::object finish() {
    if (object_ == nullptr) return nanobind::bytes(small_.data(), size_);
    if (capacity_ != size_ && _PyBytes_Resize(&object_, static_cast<Py_ssize_t>(size_)) != 0)
      throw nanobind::python_error();
    return nanobind::steal(std::exchange(object_, nullptr));
  }

 private:
  static constexpr std::size_t small_limit = 64UL * 1024;

  // Taken out of the thread while in use: a signal handler may make a request on this thread in between.
  static std::string& spare() {
    struct Tag {};
    return sync::ThreadOwned<std::string, Tag>::get();
  }

  bool make_room(std::size_t wanted, std::size_t expected) {
    if (object_ != nullptr && wanted <= capacity_) return true;
    const auto grow = [&] {
      const std::size_t capacity = std::max({wanted, expected, object_ == nullptr ? 0 : capacity_ + capacity_ / 2});
      if (object_ == nullptr) {
        object_ = PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(capacity));
        if (object_ != nullptr) std::memcpy(PyBytes_AS_STRING(object_), small_.data(), size_);
      } else {
        _PyBytes_Resize(&object_, static_cast<Py_ssize_t>(capacity));
      }
      capacity_ = object_ == nullptr ? 0 : capacity;
      return object_ != nullptr;
    };
    return without_gil_ == nullptr ? grow() : without_gil_->with_gil(grow);
  }

  WithoutGil* without_gil_;
  std::string small_;
  PyObject* object_ = nullptr;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

}  // namespace fastpool::bindings
