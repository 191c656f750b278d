#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <utility>

#include <Python.h>

#include "client/handle.h"

namespace fastpool::bindings {

/// The endpoints of URLs that Python asked for lately: at least the last 1,024, at most twice as many. Looked up first by the
/// string's address, in a small direct-mapped table; then by its own cached hash and its value. Both tables own references
/// to their strings, or an address could come to mean another string. With the GIL only.
///
/// Two generations: what is found moves to the young one; when that is full it becomes the old one, whose entries are
/// forgotten. A forgotten URL is parsed again; its endpoint stays as long as it has connections.
class RememberedEndpoints {
 public:
  RememberedEndpoints() = default;
  RememberedEndpoints(const RememberedEndpoints&) = delete;
  RememberedEndpoints& operator=(const RememberedEndpoints&) = delete;
  /// Call clear() or abandon() first.
  ~RememberedEndpoints() = default;

  /// \returns nullptr for another string than those of the last calls. Valid until the next add() or find().
  [[nodiscard]] const client::EndpointUse* at_address(PyObject* url) const noexcept {
    const Recent& there = recent_[place_of(url)];
    return there.url == url ? there.use : nullptr;
  }
  /// \param url a str exactly: a subclass could hash and compare by Python code.
  [[nodiscard]] const client::EndpointUse* find(PyObject* url) {
    auto found = young_.find(url);
    if (found == young_.end()) {
      const auto old = old_.find(url);
      if (old == old_.end()) return nullptr;
      found = young_.insert(old_.extract(old)).position;
      make_room();
    }
    note_address(url, &found->second);
    return &found->second;
  }
  void add(PyObject* url, client::EndpointUse use) {
    if (PyUnicode_GET_LENGTH(url) > longest) return;
    const auto added = young_.emplace(url, std::move(use)).first;
    Py_INCREF(url);
    make_room();
    note_address(url, &added->second);
  }
  void clear() noexcept {
    forget(young_);
    forget(old_);
  }
  /// Forgets all without releasing an endpoint (they are of a fork's parent).
  void detach() noexcept {
    detach_uses();
    clear();
  }
  /// The same where Python is gone too.
  void abandon() noexcept { detach_uses(); }

 private:
  struct Recent {
    PyObject* url = nullptr;
    const client::EndpointUse* use = nullptr;
  };
  struct HashOfStr {
    std::size_t operator()(PyObject* text) const noexcept { return static_cast<std::size_t>(PyObject_Hash(text)); }
  };
  struct SameStr {
    bool operator()(PyObject* left, PyObject* right) const noexcept {
      return left == right || PyUnicode_Compare(left, right) == 0;
    }
  };
  using Uses = std::unordered_map<PyObject*, client::EndpointUse, HashOfStr, SameStr>;
  static constexpr std::size_t most_young = 1024;
  static constexpr Py_ssize_t longest = 1024;  // characters of a URL that is kept
  static constexpr std::size_t places = 256;

  // Objects are aligned to 16 bytes, and strings of one length often lie at equal distances.
  [[nodiscard]] static std::size_t place_of(const PyObject* url) noexcept {
    const auto address = reinterpret_cast<std::uintptr_t>(url);
    return (address >> 4U ^ address >> 12U) % places;
  }
  void note_address(PyObject* url, const client::EndpointUse* use) noexcept {
    if (PyUnicode_GET_LENGTH(url) > longest) return;
    Recent& there = recent_[place_of(url)];
    PyObject* const earlier = there.url;
    Py_INCREF(url);
    there = {url, use};
    Py_XDECREF(earlier);  // a str exactly: its end runs no Python code
  }
  // Moves entries of the map, and not the entries themselves: pointers to the young ones stay good.
  void make_room() {
    if (young_.size() <= most_young) return;
    forget(old_);
    old_.swap(young_);
  }
  void forget(Uses& uses) noexcept {
    for (Recent& each : recent_) {
      if (each.use == nullptr) continue;
      const auto known = uses.find(each.url);
      if (known == uses.end() || &known->second != each.use) continue;
      Py_DECREF(each.url);
      each = {};
    }
    for (const auto& [url, use] : uses)
      Py_DECREF(url);
    uses.clear();
  }
  void detach_uses() noexcept {
    for (Uses* uses : {&young_, &old_}) {
      for (auto& entry : *uses)
        entry.second.detach();
    }
  }

  std::array<Recent, places> recent_;
  Uses young_;
  Uses old_;
};

}  // namespace fastpool::bindings
