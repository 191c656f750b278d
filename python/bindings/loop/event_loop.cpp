// _core.EventLoop: the pool's side of a running event loop.

#include "bindings/loop/event_loop.h"

#include <array>
#include <optional>
#include <utility>

#include "bindings/interpreter/errors.h"
#include "bindings/interpreter/gil.h"
#include "bindings/loop/awaited.h"

namespace nb = nanobind;

namespace fastpool::bindings {

namespace {

std::shared_ptr<driver::EventLoop> made_loop() {
  auto made = driver::EventLoop::create();
  if (!made) {
    errno = made.error().os_error;
    PyErr_SetFromErrno(PyExc_OSError);
    throw nb::python_error();
  }
  return std::move(made).value();
}

/// With the GIL; and when there is none any more, by the thread that ends the process.
std::vector<std::shared_ptr<driver::EventLoop>>& living_loops() {
  static auto* const all = new std::vector<std::shared_ptr<driver::EventLoop>>;
  return *all;
}

/// Leaves the context in which the loop called us, for as long as tasks go on. Else a loop that a task nests in its own (as
/// nest_asyncio does) could not call us again: a context is entered once at a time.
class OutsideContext {
 public:
  OutsideContext() noexcept : context_(nb::borrow(PyThreadState_Get()->context)) {
    if (context_.is_valid() && PyContext_Exit(context_.ptr()) < 0) {
      PyErr_Clear();  // no task has entered it
      context_.reset();
    }
  }
  ~OutsideContext() {
    if (context_.is_valid() && PyContext_Enter(context_.ptr()) < 0) PyErr_WriteUnraisable(context_.ptr());
  }
  OutsideContext(const OutsideContext&) = delete;
  OutsideContext& operator=(const OutsideContext&) = delete;

 private:
  nb::object context_;
};

}  // namespace

EventLoop::EventLoop(nb::object loop, nb::object new_future)
    : core(made_loop()), loop_(std::move(loop)), new_future_(std::move(new_future)) {
  living_loops().push_back(core);
}

EventLoop::~EventLoop() {
  std::erase(living_loops(), core);
}

nb::object EventLoop::asyncio_loop() const {
  nb::object loop = nb::steal(PyObject_CallNoArgs(loop_.ptr()));
  if (!loop.is_valid()) throw nb::python_error();
  return loop;
}

void EventLoop::call_soon(nb::handle callback, nb::handle argument, nb::handle context) const {
  static PyObject* const name = PyUnicode_InternFromString("call_soon");
  static PyObject* const names = Py_BuildValue("(s)", "context");
  const nb::object loop = asyncio_loop();
  const std::array<PyObject*, 4> arguments{loop.ptr(), callback.ptr(), argument.ptr(), context.ptr()};
  UnwindingParks guard;
  PyObject* const handle = PyObject_VectorcallMethod(name, arguments.data(), 3, names);
  guard.over();
  if (handle == nullptr) throw nb::python_error();
  Py_DECREF(handle);
}

nb::object EventLoop::new_future() const {
  UnwindingParks guard;
  PyObject* const made = PyObject_CallNoArgs(new_future_.ptr());
  guard.over();
  if (made == nullptr) throw nb::python_error();
  return nb::steal(made);
}

void EventLoop::turn() {
  core->turn();
  tell_completed();
}

void EventLoop::end() noexcept {
  core->close();
  std::vector<Completed> untold = std::exchange(completed_, {});
  told_ = 0;
  for (Completed& one : untold) {
    if (one.kept.is_valid()) Awaited::leave_behind(*one.operation, std::move(one.kept));  // else its task was resumed
  }
}

// What a loop does with the errors of what it calls.
void EventLoop::report(PyObject* error) const noexcept {
  static PyObject* const name = PyUnicode_InternFromString("call_exception_handler");
  try {
    const nb::object loop = asyncio_loop();
    nb::dict told;
    told["message"] = "Exception in a task that was woken";
    told["exception"] = nb::borrow(error);
    UnwindingParks guard;
    PyObject* const result = PyObject_CallMethodOneArg(loop.ptr(), name, told.ptr());
    guard.over();
    if (result == nullptr) throw nb::python_error();
    Py_DECREF(result);
  } catch (nb::python_error& failed) {
    failed.discard_as_unraisable("an error in a task that was woken");
  }
}

// A task that goes on may do anything: close the loop's other operations, end this turn with SystemExit, or (where loops are
// nested) enter another turn, which then tells the rest.
void EventLoop::tell_completed() {
  if (completed_.empty()) return;
  PyObject* raised = nullptr;
  std::optional<OutsideContext> outside;
  if (is_asyncio()) outside.emplace();
  while (raised == nullptr && told_ < completed_.size()) {
    Completed next = std::move(completed_[told_++]);
    if (told_ == completed_.size()) {
      completed_.clear();
      told_ = 0;
    }
    PyObject* const told = Awaited::tell(*next.operation, std::move(next.kept));
    drop(told);
    if (told != nullptr) continue;
    PyObject* const error = take_exception();
    if (is_asyncio() && PyErr_GivenExceptionMatches(error, PyExc_Exception) != 0) {
      report(error);
      drop(error);
    } else {
      raised = error;
    }
  }
  outside.reset();
  if (raised == nullptr) return;
  put_off_the_rest();
  give_back(raised);
  throw nb::python_error();
}

// The loop ends, perhaps to run again. What it then has in its queue goes on, or goes with it when it is closed.
void EventLoop::put_off_the_rest() noexcept {
  if (!is_asyncio()) {
    if (!completed_.empty()) core->call_again();
    return;
  }
  while (told_ < completed_.size()) {
    Completed next = std::move(completed_[told_++]);
    try {
      next.operation->tell_later();
    } catch (nb::python_error& error) {
      error.discard_as_unraisable("what a task waits for");
      next.operation->abandon();
    }
    drop(next.kept.release().ptr());
  }
  completed_.clear();
  told_ = 0;
}

void cut_off_event_loops() noexcept {
  for (const auto& loop : living_loops())
    loop->cut_off();
}

void refuse_inherited(const LoopObject& loop, const nb::object& error_factory) {
  if (!loop.loop->core->inherited()) [[likely]]
    return;
  raise(Error::make(ErrorCode::forked, Phase::none, "other code has closed the descriptors of this event loop's part"),
        error_factory);
}

void bind_event_loop(nb::module_& module) {
  using namespace nb::literals;
  bind_awaiting(module);
  nb::class_<LoopObject>(module, "EventLoop", nb::is_weak_referenceable())
      .def(nb::init<nb::object, nb::object>(), "loop"_a.none(), "new_future"_a.none() = nb::none())
      .def_prop_ro("descriptor", [](const LoopObject& self) { return self.loop->core->descriptor(); })
      .def_prop_ro("inherited", [](const LoopObject& self) { return self.loop->core->inherited(); })
      .def("turn", [](const LoopObject& self) { self.loop->turn(); })
      .def("lingers", [](const LoopObject& self) { return self.loop->core->lingers(); })
      .def("close", [](const LoopObject& self) { self.loop->end(); });
}

}  // namespace fastpool::bindings
