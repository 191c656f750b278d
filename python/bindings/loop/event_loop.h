#pragma once

#include <memory>
#include <vector>

#include <nanobind/nanobind.h>

#include "driver/event_loop.h"

namespace fastpool::bindings {

class Awaited;

/// The pool's side of one running event loop. Members are touched with the GIL only. No Python code runs inside the core's
/// turn: tasks whose operations are done are resumed afterwards.
class EventLoop {
 public:
  /// \param loop asyncio's and its kin's: a weak reference to the loop. None for others, and then
  /// \param new_future is called for what is awaited: an awaitable with `done()` and `set_result(None)`.
  EventLoop(nanobind::object loop, nanobind::object new_future);
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  /// What the loop calls when descriptor() is readable. A task that is resumed runs inside it.
  void turn();
  /// The loop calls no more: operations that wait are given up, and so are those whose tasks were not resumed yet. Idempotent.
  void end() noexcept;

  [[nodiscard]] bool is_asyncio() const noexcept { return !loop_.is_none(); }
  [[nodiscard]] nanobind::object asyncio_loop() const;
  void call_soon(nanobind::handle callback, nanobind::handle argument, nanobind::handle context) const;
  [[nodiscard]] nanobind::object new_future() const;
  /// A task awaits it, and is to be resumed. \param object its Python object.
  void add_completed(Awaited& operation, nanobind::object object) {
    completed_.push_back({std::move(object), &operation});
  }

  const std::shared_ptr<driver::EventLoop> core;

 private:
  struct Completed {
    nanobind::object kept;
    Awaited* operation;
  };

  void tell_completed();
  void put_off_the_rest() noexcept;
  void report(PyObject* error) const noexcept;

  const nanobind::object loop_;
  const nanobind::object new_future_;
  std::vector<Completed> completed_;
  std::size_t told_ = 0;  // so many of them
};

/// The same as Python has it. Its owner is the loop, which calls turn(), and no other holds it for long: a loop that is closed
/// drops what it watches, so with this object ends what waits in the loop.
struct LoopObject {
  LoopObject(nanobind::object asyncio_loop, nanobind::object new_future)
      : loop(std::make_shared<EventLoop>(std::move(asyncio_loop), std::move(new_future))) {}
  ~LoopObject() { loop->end(); }
  LoopObject(const LoopObject&) = delete;
  LoopObject& operator=(const LoopObject&) = delete;

  const std::shared_ptr<EventLoop> loop;
};

/// Raises `forked` for a loop's core of an earlier epoch: the caller makes another one.
void refuse_inherited(const LoopObject& loop, const nanobind::object& error_factory);

/// The interpreter is gone, and with it all that the loops could do: they are woken no more.
void cut_off_event_loops() noexcept;

void bind_event_loop(nanobind::module_& module);

}  // namespace fastpool::bindings
