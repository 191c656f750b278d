#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <unordered_map>

#include <Python.h>

#include "pool/endpoint.h"

namespace fastpool::bindings {

/// Which endpoint a URL of Python's means, for those that were asked for before. First by the string's address, in a small
/// direct-mapped table; then by its own cached hash and its value. Both own references to their strings, or an address could
/// come to mean another one. With the GIL only.
class RememberedEndpoints {
 public:
  RememberedEndpoints() = default;
  RememberedEndpoints(const RememberedEndpoints&) = delete;
  RememberedEndpoints& operator=(const RememberedEndpoints&) = delete;
  /// Call clear() first, if Python is still there.
  ~RememberedEndpoints() = default;

  /// \returns nullptr for another string than those of the last calls.
  [[nodiscard]] pool::Endpoint* at_address(PyObject* url) const noexcept {
    const Recent& there = recent_[place_of(url)];
    return there.url == url ? there.endpoint : nullptr;
  }
  /// \param url a str exactly: a subclass could hash and compare by Python code.
  [[nodiscard]] pool::Endpoint* find(PyObject* url) {
    const auto found = known_.find(url);
    if (found == known_.end()) return nullptr;
    note_address(url, found->second);
    return found->second;
  }
  void add(PyObject* url, pool::Endpoint& endpoint) {
    if (known_.size() >= most || PyUnicode_GET_LENGTH(url) > longest) return;
    known_.emplace(url, &endpoint);
    Py_INCREF(url);
    note_address(url, &endpoint);
  }
  void clear() noexcept {
    for (const auto& [url, endpoint] : known_)
      Py_DECREF(url);
    known_.clear();
    for (Recent& each : recent_) {
      Py_XDECREF(each.url);
      each = {};
    }
  }

 private:
  struct Recent {
    PyObject* url = nullptr;
    pool::Endpoint* endpoint = nullptr;
  };
  struct HashOfStr {
    std::size_t operator()(PyObject* text) const noexcept { return static_cast<std::size_t>(PyObject_Hash(text)); }
  };
  struct SameStr {
    bool operator()(PyObject* left, PyObject* right) const noexcept {
      return left == right || PyUnicode_Compare(left, right) == 0;
    }
  };
  static constexpr std::size_t most = 4096;
  static constexpr Py_ssize_t longest = 1024;  // characters of a URL that is kept
  static constexpr std::size_t places = 256;

  // Objects are aligned to 16 bytes, and strings of one length often lie at equal distances.
  [[nodiscard]] static std::size_t place_of(const PyObject* url) noexcept {
    const auto address = reinterpret_cast<std::uintptr_t>(url);
    return (address >> 4U ^ address >> 12U) % places;
  }
  void note_address(PyObject* url, pool::Endpoint* endpoint) noexcept {
    if (PyUnicode_GET_LENGTH(url) > longest) return;
    Recent& there = recent_[place_of(url)];
    PyObject* const earlier = there.url;
    Py_INCREF(url);
    there = {url, endpoint};
    Py_XDECREF(earlier);  // a str exactly: runs nothing of anybody's
  }

  std::array<Recent, places> recent_;
  std::unordered_map<PyObject*, pool::Endpoint*, HashOfStr, SameStr> known_;
};

}  // namespace fastpool::bindings
