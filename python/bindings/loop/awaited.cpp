#include "bindings/loop/awaited.h"

#include "bindings/interpreter/errors.h"
#include "bindings/interpreter/gil.h"

namespace nb = nanobind;

namespace fastpool::bindings {

namespace {

PyObject* interned(const char* name) {
  return PyUnicode_InternFromString(name);
}

/// Python code: the thread may be unwound in it at the interpreter's exit. Null with the error set.
PyObject* call_method(nb::handle object, PyObject* name, PyObject* argument) {
  UnwindingParks guard;
  PyObject* const result = argument == nullptr ? PyObject_CallMethodNoArgs(object.ptr(), name)
                                               : PyObject_CallMethodOneArg(object.ptr(), name, argument);
  guard.over();
  return result;
}

PyObject* call(nb::handle function, nb::handle argument) {
  UnwindingParks guard;
  PyObject* const result = PyObject_CallOneArg(function.ptr(), argument.ptr());
  guard.over();
  return result;
}

PySendResult send_to(nb::handle iterator, PyObject* value, PyObject** given) {
  UnwindingParks guard;
  const PySendResult result = PyIter_Send(iterator.ptr(), value, given);
  guard.over();
  return result;
}

/// What a task is resumed with: of a future that is done it asks result() alone.
struct DoneFuture {};

PyObject* no_result(PyObject*, PyObject*) {
  return Py_NewRef(Py_None);
}

nb::handle done_future() {
  static const nb::handle future = nb::cast(new DoneFuture, nb::rv_policy::take_ownership).release();
  return future;
}

/// The three forms of a generator's throw().
void set_error(PyObject* const* arguments, Py_ssize_t count) {
  PyObject* const kind = arguments[0];
  PyObject* const value = count > 1 && arguments[1] != Py_None ? arguments[1] : nullptr;
  if (PyExceptionInstance_Check(kind)) {
    PyErr_SetObject(PyExceptionInstance_Class(kind), kind);
  } else if (PyExceptionClass_Check(kind)) {
    if (value == nullptr) {
      PyErr_SetNone(kind);
    } else {
      PyErr_SetObject(kind, value);
    }
  } else {
    PyErr_SetString(PyExc_TypeError, "exceptions must be classes or instances deriving from BaseException");
  }
}

}  // namespace

void Awaited::attend(const LoopObject& loop) {
  if (loop.loop == loop_) return;
  move_to(loop.loop->core);
  loop_ = loop.loop;
}

// ---- awaiting --------------------------------------------------------------------------------------------------------

PySendResult Awaited::send(PyObject* value, PyObject** given) {
  static PyObject* const await = interned("__await__");
  if (given_out_ && (pending_ || callback_.is_valid())) {  // and nothing of the one who waits is touched
    PyErr_SetString(PyExc_RuntimeError, "another task is awaiting this");
    return PYGEN_ERROR;
  }
  if (!waiting_.is_valid() && pending_ && !given_out_) {
    cancelled_ = false;
    if (loop_->is_asyncio()) {
      given_out_ = true;
      blocking_ = true;
      *given = Py_NewRef(self_.ptr());
      return PYGEN_NEXT;
    }
    try {
      future_ = loop_->new_future();
    } catch (nb::python_error& error) {
      error.restore();
      return PYGEN_ERROR;
    }
    waiting_ = nb::steal(call_method(future_, await, nullptr));
    if (!waiting_.is_valid()) return PYGEN_ERROR;
    value = Py_None;
  }
  if (waiting_.is_valid()) {
    const nb::object iterator = waiting_;  // it may be gone meanwhile
    const PySendResult result = send_to(iterator, value, given);
    if (result == PYGEN_NEXT) return result;
    waiting_.reset();
    if (result == PYGEN_ERROR) {
      PyObject* const error = take_exception();
      abandon();
      give_back(error);
      return result;
    }
    Py_DECREF(*given);
  }
  given_out_ = false;
  return settle(given);
}

PySendResult Awaited::settle(PyObject** given) {
  *given = nullptr;
  try {
    *given = outcome().release().ptr();
    return PYGEN_RETURN;
  } catch (nb::python_error& error) {
    error.restore();
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  }
  return PYGEN_ERROR;
}

nb::object Awaited::throw_in(PyObject* const* arguments, Py_ssize_t count) {
  static PyObject* const name = interned("throw");
  if (waiting_.is_valid()) {
    const nb::object iterator = waiting_;
    const nb::object method = nb::steal(PyObject_GetAttr(iterator.ptr(), name));
    if (!method.is_valid()) throw nb::python_error();
    UnwindingParks guard;
    PyObject* const given = PyObject_Vectorcall(method.ptr(), arguments, static_cast<std::size_t>(count), nullptr);
    guard.over();
    if (given != nullptr) return nb::steal(given);
    waiting_.reset();
    nb::python_error error;  // takes it
    abandon();
    throw error;
  }
  abandon();
  set_error(arguments, count);
  throw nb::python_error();
}

void Awaited::add_done_callback(nb::object callback, nb::object context) {
  if (callback_.is_valid()) {
    PyErr_SetString(PyExc_RuntimeError, "another task is awaiting this");
    throw nb::python_error();
  }
  if (context.is_none()) {
    context = nb::steal(PyContext_CopyCurrent());
    if (!context.is_valid()) throw nb::python_error();
  }
  callback_ = std::move(callback);
  context_ = std::move(context);
  if (!pending_) tell_later();
}

// A task that is cancelled wakes up what it waits for, which must not run here: its coroutine may be running the canceller.
nb::object Awaited::cancel_await(nb::object message) {
  if (!pending_ || cancelled_) return nb::bool_(false);
  call_later(self_);
  cancelled_ = true;
  cancel_message_ = std::move(message);
  return nb::bool_(true);
}

nb::object Awaited::await_result() const {
  if (!cancelled_) return nb::none();
  const nb::object kind = nb::module_::import_("asyncio").attr("CancelledError");
  const nb::object error = cancel_message_.is_none() ? kind() : kind(cancel_message_);
  PyErr_SetObject(kind.ptr(), error.ptr());
  throw nb::python_error();
}

// ---- its end ---------------------------------------------------------------------------------------------------------

PyObject* Awaited::tell(Awaited& operation, nb::object kept) {
  static PyObject* const done = interned("done");
  static PyObject* const set_result = interned("set_result");
  if (operation.future_.is_valid()) {
    const nb::object future = std::exchange(operation.future_, nb::object());
    const nb::object over = nb::steal(call_method(future, done, nullptr));
    if (!over.is_valid() || over.is(nb::handle(Py_True))) return nb::object(over).release().ptr();
    return call_method(future, set_result, Py_None);
  }
  if (!operation.callback_.is_valid()) return Py_NewRef(Py_None);
  PyObject* const callback = operation.callback_.release().ptr();
  PyObject* const context = operation.context_.release().ptr();
  drop(kept.release().ptr());
  PyObject* result = nullptr;
  if (PyContext_Enter(context) == 0) {
    result = call(callback, done_future());
    if (PyContext_Exit(context) < 0) Py_CLEAR(result);
  }
  PyObject* const raised = result == nullptr ? take_exception() : nullptr;  // what is dropped may run anything
  drop(callback);
  drop(context);
  if (raised != nullptr) give_back(raised);
  return result;
}

void Awaited::tell_later() {
  call_later(done_future());
}

void Awaited::call_later(nb::handle argument) {
  if (!callback_.is_valid()) return;
  loop_->call_soon(callback_, argument, context_);
  drop(callback_.release().ptr());
  drop(context_.release().ptr());
}

void Awaited::step() noexcept {
  if (!pending_ || !advance_exchange()) return;
  pending_ = false;
  if (cancelled_) {
    give_up();  // the task is resumed with its cancellation, and nothing else
  } else if (awaited()) {
    loop_->add_completed(*this, self());
  }
}

void Awaited::abandon() {
  forget();
  pending_ = false;
  give_up();
  drop_await();
}

void Awaited::end_with(Error error) {
  forget();
  pending_ = false;
  give_up();
  fail(std::move(error));
}

// Any thread may end it: the loop's own tells the task.
void Awaited::stop(Error error) {
  nb::object kept = self();
  end_with(std::move(error));
  if (!awaited()) return;
  loop_->add_completed(*this, std::move(kept));
  loop_->core->call_again();
}

void Awaited::orphaned() noexcept {
  nb::object kept = self();
  if (!loop_->is_asyncio() && awaited())
    end_with(Error::make(ErrorCode::read_failed, Phase::none, "the event loop ends"));
  leave_behind(*this, std::move(kept));
}

// A closed loop of asyncio runs no task any more.
void Awaited::leave_behind(Awaited& operation, nb::object kept) noexcept {
  if (operation.loop_->is_asyncio() || !operation.awaited()) {
    operation.abandon();
    drop(kept.release().ptr());
    return;
  }
  PyObject* const told = tell(operation, std::move(kept));
  if (told == nullptr) PyErr_WriteUnraisable(nullptr);
  drop(told);
}

void Awaited::drop_await() {
  given_out_ = false;
  cancelled_ = false;
  blocking_ = false;
  for (nb::object* const held : {&callback_, &context_, &cancel_message_, &future_, &waiting_})
    drop(held->release().ptr());
}

void bind_awaiting(nb::module_& module) {
  static std::array<PyMethodDef, 2> methods{{
      {"result", &no_result, METH_NOARGS, nullptr},
      {nullptr, nullptr, 0, nullptr},
  }};
  static const std::array<PyType_Slot, 2> slots{{{Py_tp_methods, methods.data()}, {0, nullptr}}};
  nb::class_<DoneFuture>(module, "_DoneFuture", nb::type_slots(slots.data()));
}

}  // namespace fastpool::bindings
