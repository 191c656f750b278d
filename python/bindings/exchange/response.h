#pragma once

#include <utility>

#include <nanobind/nanobind.h>

#include "client/exchange.h"

namespace fastpool::bindings {

/// A whole response, as Pool.request() gives it.
class Response {
 public:
  Response(h1::ResponseHead&& head, nanobind::object body) : head_(std::move(head)), content(std::move(body)) {}
  [[nodiscard]] const h1::ResponseHead& head() const noexcept { return head_; }

 private:
  h1::ResponseHead head_;

 public:
  const nanobind::object content;
};

void bind_response(nanobind::module_& module);

}  // namespace fastpool::bindings
