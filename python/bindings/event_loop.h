#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include <nanobind/nanobind.h>

#include "driver/event_loop.h"
#include "driver/loop_operation.h"

namespace fastpool::bindings {

/// The pool's side of one running event loop. Members are touched with the GIL only; turn() is what the loop calls when
/// descriptor() is readable. No Python code runs inside the core's turn: what it completed is told afterwards.
class EventLoop {
 public:
  /// \param new_future called for what is awaited: an object with `done()` and `set_result(None)`.
  /// \param loop a weak reference to what new_future takes as `loop`, so that it need not look for it; or None.
  EventLoop(nanobind::object new_future, nanobind::object loop);

  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  [[nodiscard]] int descriptor() const noexcept { return core->descriptor(); }
  void turn();
  void close();

  [[nodiscard]] nanobind::object new_future() const;
  void add_completed(nanobind::object future) { completed_.push_back(std::move(future)); }

  const std::shared_ptr<driver::EventLoop> core;

 private:
  void tell_completed();

  const nanobind::object new_future_;
  const nanobind::object loop_;
  std::vector<nanobind::object> completed_;
};

/// Something that Python awaits: begun by a method, which says whether it was done at once; else await future(), then ask
/// for the result. Cancelled by whoever stops awaiting. With the GIL.
class Awaited : public driver::LoopOperation {
 public:
  Awaited(nanobind::object loop, const Timeouts& timeouts)
      : LoopOperation(nanobind::cast<EventLoop&>(loop).core, timeouts),
        loop_object_(std::move(loop)),
        loop_(&nanobind::cast<EventLoop&>(loop_object_)) {}

  [[nodiscard]] bool pending() const noexcept { return pending_; }
  /// What to await while it is pending.
  [[nodiscard]] nanobind::object future();
  /// The loop that drives it, an EventLoop.
  [[nodiscard]] nanobind::object loop() const { return loop_object_; }
  /// Goes on under another loop: whoever awaits it there need not be where it was begun.
  void go_to(nanobind::object loop);
  /// Gives it up, whatever it waits for.
  void cancel();

 protected:
  /// Goes on with what was begun. \returns false while it waits.
  [[nodiscard]] virtual bool advance_exchange() noexcept = 0;
  virtual void give_up() noexcept = 0;

  /// \returns whether it is done at once.
  [[nodiscard]] bool begin() noexcept {
    const bool too_many = unwaited_ == most_unwaited && put_off();
    pending_ = too_many || !advance_exchange();
    unwaited_ = pending_ ? 0 : std::min(unwaited_ + 1, most_unwaited);
    return !pending_;
  }
  /// Ends it and wakes whoever awaits it: result() is to tell them why.
  void stop();

  /// After so many steps that had to wait for nothing, others of the loop have their turn.
  static constexpr int most_unwaited = 16;

 private:
  void step() noexcept override;
  void orphaned() noexcept override;

  nanobind::object loop_object_;
  EventLoop* loop_;
  bool pending_ = false;
  int unwaited_ = 0;
  nanobind::object future_;
};

/// The methods of whatever is awaited.
template <typename Type>
nanobind::class_<Type> bind_awaited(nanobind::module_& module, const char* name) {
  nanobind::class_<Type> type(module, name);
  type.def_prop_ro("pending", [](const Type& self) { return self.pending(); })
      .def_prop_ro("loop", [](const Type& self) { return self.loop(); })
      .def("go_to", [](Type& self, nanobind::object loop) { self.go_to(std::move(loop)); })
      .def("future", [](Type& self) { return self.future(); })
      .def("result", &Type::result)
      .def("cancel", [](Type& self) { self.cancel(); });
  return type;
}

/// The interpreter is gone, and with it all that the loops could do: they are woken no more.
void cut_off_event_loops() noexcept;

void bind_event_loop(nanobind::module_& module);

}  // namespace fastpool::bindings
