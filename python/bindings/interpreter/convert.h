#pragma once

#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nanobind/nanobind.h>
// Without these a std::string or std::optional would be taken for a class that is not bound.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <fastpool/headers.h>
#include <fastpool/timeouts.h>

namespace fastpool::bindings {

/// Text of a str (header text: latin-1, as HTTP has it) or bytes, as a view. The view lasts as long as the object and this.
class HeaderText {
 public:
  [[nodiscard]] std::string_view view(nanobind::handle object);
  /// Holds an object for as long as the views into it are to last.
  void keep(nanobind::object object) { kept_.push_back(std::move(object)); }

 private:
  std::vector<nanobind::object> kept_;
  std::list<std::string> encoded_;  // of the few that are not ASCII; costs nothing while empty
};

/// Headers from a sequence of pairs or a mapping, as views into it.
[[nodiscard]] std::vector<Header> headers_from(nanobind::handle headers, HeaderText& text);

/// The bytes of a body: bytes, str (as UTF-8), or any contiguous buffer, held for its lifetime.
class BodyView {
 public:
  explicit BodyView(nanobind::handle content);
  ~BodyView();
  BodyView(const BodyView&) = delete;
  BodyView& operator=(const BodyView&) = delete;
  [[nodiscard]] std::string_view view() const noexcept { return view_; }

 private:
  std::string_view view_;
  Py_buffer buffer_{};
};

/// Seconds; None for no limit. ValueError for a negative or a NaN.
[[nodiscard]] OptionalDuration duration_from(nanobind::handle seconds, const char* what);
/// The same, but a negative number is 0.
[[nodiscard]] OptionalDuration duration_or_zero(nanobind::handle seconds, const char* what);
/// A number for all four, or (connect, read, write, pool), or None.
[[nodiscard]] Timeouts timeouts_from(nanobind::handle timeout);
/// (connect, read, write, pool).
[[nodiscard]] Timeouts timeouts_from_tuple(nanobind::handle timeouts);

[[nodiscard]] nanobind::bytes bytes_of(std::string_view text);
/// [(name, value), ...] as bytes, or as str by latin-1.
[[nodiscard]] nanobind::object header_bytes(const HeaderList& headers);
[[nodiscard]] nanobind::object header_strings(const HeaderList& headers);
/// [(name, name in lower case, value), ...] as bytes: what a `Headers` of httpx keeps.
[[nodiscard]] nanobind::object header_items(const HeaderList& headers);

}  // namespace fastpool::bindings
