#pragma once

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include <nanobind/nanobind.h>

#include "bindings/loop/event_loop.h"
#include "driver/loop_operation.h"

namespace fastpool::bindings {

/// An operation that Python awaits: begun by a method of the class derived from this, then awaited by one task. With the GIL.
///
/// It is awaitable, its own iterator, and towards asyncio's tasks (the C ones, Python's, uvloop's loops) as much of a future
/// as a task asks of what it awaits. So an await makes no object; and when the operation is done, the loop's turn lets the
/// task go on right there, in the task's own context, without another round of the loop (EventLoop::tell_completed). Under
/// trio it awaits a future that the EventLoop makes.
///
/// An await that ends by an exception (a cancellation, the end of a coroutine) gives the operation up. It is not Python's
/// garbage collector's: a task that waits for it is kept alive by it, as one that waits for a transport of asyncio's is, until
/// the loop is closed (LoopObject).
class Awaited : public driver::LoopOperation {
 public:
  /// \param self its Python object.
  Awaited(nanobind::handle self, std::shared_ptr<EventLoop> loop, const Timeouts& timeouts)
      : LoopOperation(loop->core, timeouts), self_(self), loop_(std::move(loop)) {}

  /// Waits for something.
  [[nodiscard]] bool pending() const noexcept { return pending_; }
  /// Waits for something, or was waited for by a task that has not been resumed yet.
  [[nodiscard]] bool in_use() const noexcept { return pending_ || given_out_ || waiting_.is_valid(); }
  /// Gives it up, whatever it waits for. A task that awaits it is not resumed.
  void abandon();
  /// Resumes the task that awaits the operation, here and now. Null, with the Python error set, if that raised.
  /// \param kept its Python object; a task that goes on may be the end of it.
  [[nodiscard]] static PyObject* tell(Awaited& operation, nanobind::object kept);

  /// Its loop calls no more: under asyncio the operation is given up, elsewhere the task that awaits it may still go on.
  static void leave_behind(Awaited& operation, nanobind::object kept) noexcept;
  /// As tell(), in the loop's next round, if there is one. asyncio; by the loop's thread. Throws Python errors.
  void tell_later();

  // As a task uses it.
  PySendResult send(PyObject* value, PyObject** given);
  [[nodiscard]] nanobind::object throw_in(PyObject* const* arguments, Py_ssize_t count);
  [[nodiscard]] nanobind::object cancel_await(nanobind::object message);
  [[nodiscard]] nanobind::object await_result() const;
  void add_done_callback(nanobind::object callback, nanobind::object context);
  [[nodiscard]] nanobind::object asyncio_loop() const { return loop_->asyncio_loop(); }
  /// None while it is not waited for: so it passes for a coroutine with `gather` and `wait_for`, not for a future.
  [[nodiscard]] PyObject* asyncio_future_blocking() const noexcept {
    return !given_out_ ? Py_None : blocking_ ? Py_True : Py_False;
  }
  void set_asyncio_future_blocking(bool blocking) noexcept { blocking_ = blocking; }

 protected:
  [[nodiscard]] nanobind::object self() const { return nanobind::borrow(self_); }
  /// Before another operation is begun: that is to be driven by this loop.
  void attend(const LoopObject& loop);

  /// Goes on with what was begun. \returns false while it waits.
  [[nodiscard]] virtual bool advance_exchange() noexcept = 0;
  virtual void give_up() noexcept = 0;
  /// Its outcome is to be this.
  virtual void fail(Error error) noexcept = 0;
  /// What the operation came to, once; throws its error.
  [[nodiscard]] virtual nanobind::object outcome() = 0;

  void begin() noexcept {
    const bool too_many = unwaited_ == most_unwaited && put_off();
    pending_ = too_many || !advance_exchange();
    unwaited_ = pending_ ? 0 : std::min(unwaited_ + 1, most_unwaited);
  }
  /// Ends it while a task awaits it; the task gets the reason as its exception.
  void stop(Error error);

  /// After so many steps that had to wait for nothing, others of the loop have their turn.
  static constexpr int most_unwaited = 16;

 private:
  void step() noexcept override;
  void orphaned() noexcept override;
  [[nodiscard]] bool awaited() const noexcept { return callback_.is_valid() || future_.is_valid(); }
  [[nodiscard]] PySendResult settle(PyObject** given);
  void end_with(Error error);
  void call_later(nanobind::handle argument);
  void drop_await();

  const nanobind::handle self_;
  std::shared_ptr<EventLoop> loop_;
  bool pending_ = false;
  bool given_out_ = false;  // the task has got this object to wait for
  bool blocking_ = false;   // and has not yet begun to
  bool cancelled_ = false;  // the task was, while it waited for this
  int unwaited_ = 0;
  nanobind::object callback_;  // the task's, and the context to call it in
  nanobind::object context_;
  nanobind::object cancel_message_;
  nanobind::object future_;  // under trio, and the iterator of its __await__()
  nanobind::object waiting_;
};

/// What of Awaited Python's interpreter and tasks use, as a type's slots.
template <typename Type>
class AwaitedSlots {
 public:
  [[nodiscard]] static const PyType_Slot* slots() noexcept {
    static const std::array<PyType_Slot, 8> all{{
        {Py_tp_new, reinterpret_cast<void*>(&refuse)},
        {Py_am_await, reinterpret_cast<void*>(&itself)},
        {Py_am_send, reinterpret_cast<void*>(&send)},
        {Py_tp_iter, reinterpret_cast<void*>(&itself)},
        {Py_tp_iternext, reinterpret_cast<void*>(&next)},
        {Py_tp_methods, methods()},
        {Py_tp_getset, attributes()},
        {0, nullptr},
    }};
    return all.data();
  }

 private:
  static Type& of(PyObject* self) { return *nanobind::inst_ptr<Type>(self); }
  template <typename Function>
  static PyObject* guarded(Function function) {
    try {
      return function().release().ptr();
    } catch (nanobind::python_error& error) {
      error.restore();
    } catch (const std::bad_alloc&) {
      PyErr_NoMemory();
    }
    return nullptr;
  }

  static PyObject* refuse(PyTypeObject* type, PyObject*, PyObject*) {
    return PyErr_Format(PyExc_TypeError, "%s is made by what it is an operation of", type->tp_name);
  }
  static PyObject* itself(PyObject* self) { return Py_NewRef(self); }
  static PySendResult send(PyObject* self, PyObject* value, PyObject** given) { return of(self).send(value, given); }
  // From Python 3.12 on the interpreter uses these two.
  static PyObject* next(PyObject* self) { return send_value(self, Py_None); }
  static PyObject* send_value(PyObject* self, PyObject* value) {
    PyObject* given = nullptr;
    if (of(self).send(value, &given) != PYGEN_RETURN) return given;
    PyErr_SetObject(PyExc_StopIteration, given);  // a tuple or an exception cannot be what is returned
    Py_DECREF(given);
    return nullptr;
  }
  static PyObject* throw_in(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
    if (count < 1 || count > 3) {
      PyErr_SetString(PyExc_TypeError, "throw() takes an exception");
      return nullptr;
    }
    return guarded([&] { return of(self).throw_in(arguments, count); });
  }
  static PyObject* end_await(PyObject* self, PyObject*) {
    of(self).abandon();
    return Py_NewRef(Py_None);
  }
  static PyObject* cancel(PyObject* self, PyObject* const* arguments, Py_ssize_t count, PyObject* names) {
    const Py_ssize_t all = count + (names == nullptr ? 0 : PyTuple_GET_SIZE(names));  // one: msg
    return guarded([&] { return of(self).cancel_await(nanobind::borrow(all == 0 ? Py_None : arguments[0])); });
  }
  static PyObject* add_done_callback(PyObject* self, PyObject* const* arguments, Py_ssize_t count, PyObject* names) {
    const Py_ssize_t named = names == nullptr ? 0 : PyTuple_GET_SIZE(names);  // one: context
    if (count != 1 || named > 1) {
      PyErr_SetString(PyExc_TypeError, "add_done_callback(function, *, context=None)");
      return nullptr;
    }
    return guarded([&] {
      of(self).add_done_callback(nanobind::borrow(arguments[0]), nanobind::borrow(named == 0 ? Py_None : arguments[1]));
      return nanobind::none();
    });
  }
  static PyObject* result(PyObject* self, PyObject*) {
    return guarded([&] { return of(self).await_result(); });
  }
  static PyObject* get_loop(PyObject* self, PyObject*) {
    return guarded([&] { return of(self).asyncio_loop(); });
  }
  static PyObject* blocking(PyObject* self, void*) { return Py_NewRef(of(self).asyncio_future_blocking()); }
  static int set_blocking(PyObject* self, PyObject* value, void*) {
    of(self).set_asyncio_future_blocking(value == Py_True);
    return 0;
  }
  template <typename Function>
  static PyCFunction function(Function* made) {
    return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(made));
  }
  static PyMethodDef* methods() noexcept {
    static std::array<PyMethodDef, 8> all{{
        {"send", &send_value, METH_O, nullptr},
        {"throw", function(&throw_in), METH_FASTCALL, nullptr},
        {"close", &end_await, METH_NOARGS, nullptr},
        {"cancel", function(&cancel), METH_FASTCALL | METH_KEYWORDS, nullptr},
        {"add_done_callback", function(&add_done_callback), METH_FASTCALL | METH_KEYWORDS, nullptr},
        {"result", &result, METH_NOARGS, nullptr},
        {"get_loop", &get_loop, METH_NOARGS, nullptr},
        {nullptr, nullptr, 0, nullptr},
    }};
    return all.data();
  }
  static PyGetSetDef* attributes() noexcept {
    static std::array<PyGetSetDef, 2> all{{
        {"_asyncio_future_blocking", &blocking, &set_blocking, nullptr, nullptr},
        {nullptr, nullptr, nullptr, nullptr, nullptr},
    }};
    return all.data();
  }
};

/// The types that all of them need.
void bind_awaiting(nanobind::module_& module);

template <typename Type>
nanobind::class_<Type> bind_awaited(nanobind::module_& module, const char* name) {
  nanobind::class_<Type> type(module, name, nanobind::type_slots(AwaitedSlots<Type>::slots()));
  type.def_prop_ro("pending", [](const Type& self) { return self.pending(); });
  return type;
}

/// Makes one as a Python object.
template <typename Type, typename... Arguments>
std::pair<nanobind::object, Type*> make_awaited(Arguments&&... arguments) {
  static const nanobind::handle type = nanobind::type<Type>();
  nanobind::object object = nanobind::inst_alloc(type);
  Type* const made = new (nanobind::inst_ptr<Type>(object)) Type(object, std::forward<Arguments>(arguments)...);
  nanobind::inst_mark_ready(object);
  return {std::move(object), made};
}

}  // namespace fastpool::bindings
