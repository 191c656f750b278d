#pragma once

#include <memory>
#include <utility>

#include <fastpool/loop.h>

#include "driver/event_loop.h"

namespace fastpool::inline v1 {

/// A loop's event loop, which its operations and the connections in its epoll set hold too.
struct Loop::State {
  explicit State(std::shared_ptr<driver::EventLoop> opened) noexcept : loop(std::move(opened)) {}
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() { loop->close(); }

  const std::shared_ptr<driver::EventLoop> loop;
};

}  // namespace fastpool::inline v1
