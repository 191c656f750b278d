// _core.EventLoop: the pool's side of a running event loop.

#include "event_loop.h"

#include "errors.h"
#include "gil.h"

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

/// Python code: the thread may be unwound in it at the interpreter's exit. Null with the error set.
PyObject* call_method(nb::handle object, PyObject* name, PyObject* argument) {
  UnwindingParks guard;
  PyObject* const result = argument == nullptr ? PyObject_CallMethodNoArgs(object.ptr(), name)
                                               : PyObject_CallMethodOneArg(object.ptr(), name, argument);
  guard.over();
  return result;
}

/// With the GIL; and when there is none any more, by the thread that ends the process.
std::vector<std::shared_ptr<driver::EventLoop>>& living_loops() {
  static auto* const all = new std::vector<std::shared_ptr<driver::EventLoop>>;
  return *all;
}

PyObject* interned(const char* name) {
  return PyUnicode_InternFromString(name);
}

void complete(nb::handle future) {
  static PyObject* const done = interned("done");
  static PyObject* const set_result = interned("set_result");
  const nb::object over = nb::steal(call_method(future, done, nullptr));
  if (over.is_valid() && over.is(nb::handle(Py_True))) return;
  if (!over.is_valid() || !nb::steal(call_method(future, set_result, Py_None)).is_valid()) throw nb::python_error();
}

}  // namespace

EventLoop::EventLoop(nb::object new_future, nb::object loop)
    : core(made_loop()), new_future_(std::move(new_future)), loop_(std::move(loop)) {
  living_loops().push_back(core);
}

EventLoop::~EventLoop() {
  std::erase(living_loops(), core);
}

nb::object EventLoop::new_future() const {
  static PyObject* const names = PyTuple_Pack(1, interned("loop"));
  const nb::object loop = loop_.is_none() ? nb::object() : nb::steal(PyObject_CallNoArgs(loop_.ptr()));
  PyObject* const argument = loop.ptr();
  UnwindingParks guard;
  PyObject* const made = argument == nullptr ? PyObject_CallNoArgs(new_future_.ptr())
                                             : PyObject_Vectorcall(new_future_.ptr(), &argument, 0, names);
  guard.over();
  if (made == nullptr) throw nb::python_error();
  return nb::steal(made);
}

void EventLoop::turn() {
  core->turn();
  tell_completed();
}

// Setting a result lets nobody's code run here but the loop's own; should that raise, the others are told first.
void EventLoop::tell_completed() {
  static PyObject* const done = interned("done");
  static PyObject* const set_result = interned("set_result");
  std::vector<nb::object> completed;
  completed.swap(completed_);
  nb::object raised;
  for (nb::object& future : completed) {
    const nb::object over = nb::steal(call_method(future, done, nullptr));
    const bool cancelled = over.is_valid() && over.is(nb::handle(Py_True));
    if (over.is_valid() && (cancelled || nb::steal(call_method(future, set_result, Py_None)).is_valid())) continue;
    nb::object error = nb::steal(take_exception());
    if (!raised.is_valid()) raised = std::move(error);
  }
  if (completed_.empty()) {
    completed.clear();
    completed_.swap(completed);  // keeps its room
  }
  if (raised.is_valid()) {
    PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(raised.ptr())), raised.ptr());
    throw nb::python_error();
  }
}

void EventLoop::close() {
  core->close();
}

nb::object Awaited::future() {
  if (!future_.is_valid()) {
    future_ = loop_->new_future();
    // It may have come between: then the wait ends with the loop's next turn.
    if (!pending_) {
      nb::object over = std::move(future_);
      future_ = {};
      complete(over);
      return over;
    }
  }
  return future_;
}

void Awaited::step() noexcept {
  if (!pending_ || !advance_exchange()) return;
  pending_ = false;
  if (future_.is_valid()) loop_->add_completed(std::move(future_));
  future_ = {};
}

void Awaited::go_to(nb::object loop) {
  EventLoop& other = nb::cast<EventLoop&>(loop);
  move_to(other.core);
  const nb::object left = std::exchange(loop_object_, std::move(loop));
  const nb::object dropped = std::exchange(future_, nb::object());
  loop_ = &other;
  if (pending_) (void)begin();
}

void Awaited::cancel() {
  forget();
  pending_ = false;
  nb::object dropped = std::move(future_);  // last: its end may run anything
  future_ = {};
  give_up();
}

void Awaited::stop() {
  forget();
  pending_ = false;
  const nb::object awaited = std::move(future_);
  future_ = {};
  give_up();
  if (awaited.is_valid()) complete(awaited);
}

void Awaited::orphaned() noexcept {
  cancel();
}

void cut_off_event_loops() noexcept {
  for (const auto& loop : living_loops())
    loop->cut_off();
}

void bind_event_loop(nb::module_& module) {
  using namespace nb::literals;
  nb::class_<EventLoop>(module, "EventLoop", nb::is_weak_referenceable())
      .def(nb::init<nb::object, nb::object>(), "new_future"_a, "loop"_a.none() = nb::none())
      .def_prop_ro("descriptor", &EventLoop::descriptor)
      .def("turn", &EventLoop::turn)
      .def("close", &EventLoop::close);
}

}  // namespace fastpool::bindings
