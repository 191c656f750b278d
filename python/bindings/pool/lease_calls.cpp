// The methods of Pool that are called most, straight on Python's calling convention: get_connection, return_connection,
// remove_connection, health_check. An idle connection taken and given back costs little more than two calls; whatever is
// rare stands in functions of its own.

#include "bindings/pool/lease_calls.h"

#include <algorithm>
#include <array>
#include <chrono>

#include "bindings/interpreter/convert.h"
#include "bindings/interpreter/errors.h"
#include "bindings/interpreter/gil.h"
#include "bindings/interpreter/replaced_sockets.h"
#include "bindings/pool/connection_id_text.h"
#include "bindings/pool/pool.h"
#include "driver/blocking.h"

namespace nb = nanobind;

namespace fastpool::bindings {

PyObject* give_out(Pool& self, client::Core& core, pool::LeaseRef ref) {
  try {
    nb::object text = nb::steal(PyUnicode_New(connection_id_size, 127));
    if (!text.is_valid()) [[unlikely]]
      throw nb::python_error();
    write_connection_id(ref.id().value, PyUnicode_1BYTE_DATA(text.ptr()));
    if (LeaseOrigins* const origins = self.origins()) [[unlikely]]
      origins->note(ref.id(), calling_place());
    self.hold_for_lease();
    return text.release().ptr();
  } catch (...) {
    pool::end_lease(core.pool(), ref, pool::Reuse::unused());
    throw;
  }
}

namespace {

/// Takes one back; false if it ended before.
bool take_back(Pool& self, client::Core& core, pool::LeaseRef ref, pool::Reuse reuse) {
  if (!pool::end_lease(core.pool(), ref, reuse)) return false;
  self.release_for_lease();  // not the last: the caller of this method has one
  if (LeaseOrigins* const origins = self.origins()) [[unlikely]]
    origins->forget(ref.id());
  return true;
}

[[noreturn]] void refuse_id(nb::handle id) {
  PyErr_Format(PyExc_TypeError, "a connection id is the str that get_connection() gave, not %s",
               Py_TYPE(id.ptr())->tp_name);
  throw nb::python_error();
}

/// What the 16 characters of a str say; false for what no id can be.
bool id_from(PyObject* text, pool::ConnectionId& id) {
  if (!PyUnicode_Check(text)) [[unlikely]]
    refuse_id(text);
#if PY_VERSION_HEX < 0x030C0000
  if (PyUnicode_READY(text) != 0) throw nb::python_error();
#endif
  return PyUnicode_IS_ASCII(text) && PyUnicode_GET_LENGTH(text) == connection_id_size &&
         read_connection_id(PyUnicode_1BYTE_DATA(text), id.value);
}

/// What the pool answered, if it did. Member by member: copied whole right after it was written in pieces, it would have to
/// come through the cache, which takes the processor longer than the look-up.
pool::LeaseRef unpacked(const std::optional<pool::LeaseRef>& ref) noexcept {
  return ref ? pool::LeaseRef{ref->slot, ref->generation} : pool::LeaseRef{};
}

/// A lease, after a wait; nothing if that took too long.
std::optional<pool::LeaseRef> lease_slowly(Pool& self, client::Core& core, pool::Endpoint& there,
                                           const OptionalDuration& wait) {
  if (core.pool().refusing()) raise(pool::Pool::closed_error(), self.error_factory);
  if (wait && *wait <= Duration{}) return std::nullopt;
  std::optional<Result<pool::LeaseRef>> leased;
  bool raised = false;
  {
    WithoutGil without_gil;
    leased.emplace(core.pool().lease(there, {wait, std::nullopt, false, without_gil.interrupt()}));
    raised = without_gil.raised();
  }
  if (raised && leased->ok()) core.pool().release(leased->value(), pool::Reuse::unused());
  if (!raised && !leased->ok() && leased->error().code == ErrorCode::pool_timeout) return std::nullopt;
  return value_or_raise(*std::move(leased), raised, self.error_factory);
}

/// A place under the origin's limit; none, if it did not become free in time.
std::optional<pool::LeaseLimit::Place> enter(Pool& self, client::Core& core, pool::LeaseLimit& limit,
                                             const OptionalDuration& wait) {
  if (auto place = limit.try_enter()) return place;
  if (core.pool().refusing()) raise(pool::Pool::closed_error(), self.error_factory);
  if (wait && *wait <= Duration{}) return std::nullopt;
  std::optional<Result<pool::LeaseLimit::Place>> entered;
  bool raised = false;
  {
    WithoutGil without_gil;
    Timeouts timeouts;
    timeouts.pool = wait;
    const Interrupt interrupt = without_gil.interrupt();
    driver::Blocking driver(timeouts, interrupt);
    entered = driver.enter(limit, core.pool());
    raised = without_gil.raised();
  }
  if (!raised && !entered->ok() && entered->error().code == ErrorCode::pool_timeout) return std::nullopt;
  return value_or_raise(*std::move(entered), raised, self.error_factory);
}

/// As get_connection(), where the origin has a limit and there is not a place and an idle connection at once.
PyObject* get_limited_slowly(Pool& self, client::Core& core, const client::EndpointUse& there, pool::LeaseLimit& limit,
                             std::optional<pool::LeaseLimit::Place> place, OptionalDuration wait) {
  if (!place) {
    const TimePoint began = Clock::now();
    place = enter(self, core, limit, wait);
    if (!place) Py_RETURN_NONE;
    if (wait) *wait -= std::min(*wait, Clock::now() - began);
  }
  pool::LeaseRef ref = unpacked(core.pool().try_lease(*there));
  if (!ref) {
    const auto leased = lease_slowly(self, core, *there, wait);
    if (!leased) Py_RETURN_NONE;
    ref = *leased;
  }
  place->keep_with(core.pool(), ref);
  return give_out(self, core, ref);
}

/// As get_connection(), where the origin has a limit. \param known the URL's endpoint; valid until the next call of Python.
PyObject* get_limited(Pool& self, client::Core& core, nb::handle url, pool::Endpoint& known, pool::LeaseLimit& limit,
                      const OptionalDuration& wait) {
  auto place = limit.try_enter();
  if (place) [[likely]] {
    if (const pool::LeaseRef ref = unpacked(core.pool().try_lease(known))) [[likely]] {
      place->keep_with(core.pool(), ref);
      return give_out(self, core, ref);
    }
  }
  const client::EndpointUse there = self.endpoint(url);
  return get_limited_slowly(self, core, there, limit, std::move(place), wait);
}

// ---- arguments -------------------------------------------------------------------------------------------------------

/// One positional argument that may also be named, and at most one more that must be.
struct Arguments {
  PyObject* first = nullptr;
  PyObject* named = nullptr;
};

bool is_named(PyObject* name, const char* expected) noexcept {
  return PyUnicode_CompareWithASCIIString(name, expected) == 0;
}

Arguments arguments_from(const char* function, PyObject* const* given, Py_ssize_t positional, PyObject* names,
                         const char* first, const char* keyword) {
  Arguments result;
  if (positional > 1) {
    PyErr_Format(PyExc_TypeError, "%s() takes 1 positional argument but %zd were given", function, positional);
    throw nb::python_error();
  }
  if (positional == 1) result.first = given[0];
  const Py_ssize_t count = names == nullptr ? 0 : PyTuple_GET_SIZE(names);
  for (Py_ssize_t i = 0; i < count; ++i) {
    PyObject* const name = PyTuple_GET_ITEM(names, i);
    PyObject* const value = given[positional + i];
    if (is_named(name, first)) {
      if (result.first != nullptr) {
        PyErr_Format(PyExc_TypeError, "%s() got multiple values for argument '%s'", function, first);
        throw nb::python_error();
      }
      result.first = value;
    } else if (keyword != nullptr && is_named(name, keyword)) {
      result.named = value;
    } else {
      PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'", function, name);
      throw nb::python_error();
    }
  }
  if (result.first == nullptr) {
    PyErr_Format(PyExc_TypeError, "%s() missing 1 required positional argument: '%s'", function, first);
    throw nb::python_error();
  }
  return result;
}

// ---- the calls -------------------------------------------------------------------------------------------------------

PyObject* get_connection(Pool& self, PyObject* const* given, Py_ssize_t positional, PyObject* names) {
  PyObject* url = nullptr;
  OptionalDuration wait = Duration{};
  if (positional == 1 && names == nullptr) [[likely]] {
    url = given[0];
  } else {
    const Arguments arguments = arguments_from("get_connection", given, positional, names, "endpoint", "timeout");
    url = arguments.first;
    if (arguments.named != nullptr) wait = duration_from(arguments.named, "timeout");
  }
  refuse_replaced_sockets();
  client::Core& core = self.core();
  // The good case has no wait in it, so the GIL stays.
  if (const client::EndpointUse* const known = self.known_endpoint(url)) [[likely]] {
    if (pool::LeaseLimit* const limit = known->limit(core.origin_limits())) [[unlikely]]
      return get_limited(self, core, url, **known, *limit, wait);
    if (const pool::LeaseRef ref = unpacked(core.pool().try_lease(**known))) [[likely]]
      return give_out(self, core, ref);
  }
  const client::EndpointUse there = self.endpoint(url);
  if (pool::LeaseLimit* const limit = there.limit(core.origin_limits())) [[unlikely]]
    return get_limited_slowly(self, core, there, *limit, std::nullopt, wait);
  if (const pool::LeaseRef ref = unpacked(core.pool().try_lease(*there))) return give_out(self, core, ref);
  const auto leased = lease_slowly(self, core, *there, wait);
  if (!leased) Py_RETURN_NONE;
  return give_out(self, core, *leased);
}

pool::LeaseRef find_lease(client::Core& core, PyObject* text) {
  pool::ConnectionId id;
  if (!id_from(text, id)) return {};
  return unpacked(core.pool().find(id));
}

PyObject* truth(bool value) noexcept {
  return Py_NewRef(value ? Py_True : Py_False);
}

/// The lease that the only argument names.
pool::LeaseRef given_lease(const char* function, client::Core& core, PyObject* const* given, Py_ssize_t positional,
                           PyObject* names) {
  PyObject* id = nullptr;
  if (positional == 1 && names == nullptr) [[likely]] {
    id = given[0];
  } else {
    id = arguments_from(function, given, positional, names, "connection_id", nullptr).first;
  }
  return find_lease(core, id);
}

PyObject* return_connection(Pool& self, PyObject* const* given, Py_ssize_t positional, PyObject* names) {
  client::Core& core = self.core();
  const pool::LeaseRef ref = given_lease("return_connection", core, given, positional, names);
  return truth(ref && take_back(self, core, ref, pool::Reuse::unused()));
}

PyObject* remove_connection(Pool& self, PyObject* const* given, Py_ssize_t positional, PyObject* names) {
  client::Core& core = self.core();
  const pool::LeaseRef ref = given_lease("remove_connection", core, given, positional, names);
  return truth(ref && take_back(self, core, ref, pool::Reuse::no()));
}

bool look_at(client::Core& core, pool::LeaseRef ref) {
  if (!core.pool().begin_stream(ref))
    return core.pool().find(ref.id()).has_value();  // busy with a request: as alive as that
  bool alive = false;
  bool raised = false;
  {
    WithoutGil without_gil;
    if (ref.slot->connected()) {
      alive = ref.slot->word.load().reusable() && ref.slot->pooled->check_alive();
    } else {
      const pool::AcquireOptions options{std::nullopt, std::chrono::seconds(5), true, without_gil.interrupt()};
      alive = core.pool().connect(ref, options).ok();
    }
    core.pool().end_stream(ref, alive ? pool::Reuse::unused() : pool::Reuse::no());
    raised = without_gil.raised();
  }
  if (raised) throw nb::python_error();
  return alive;
}

PyObject* health_check(Pool& self, PyObject* const* given, Py_ssize_t positional, PyObject* names) {
  refuse_replaced_sockets();
  client::Core& core = self.core();
  const pool::LeaseRef ref = given_lease("health_check", core, given, positional, names);
  return truth(ref && look_at(core, ref));
}

/// The pool that was called last: a program mostly has one, and asking nanobind takes two calls each time. With the GIL.
struct LastCalled {
  const PyObject* self = nullptr;
  Pool* pool = nullptr;
};
LastCalled last_called;

Pool& find_native(PyObject* self) {
  if (!nb::inst_ready(self)) {
    PyErr_SetString(PyExc_TypeError, "this pool was never initialised: its __init__ did not run to its end");
    throw nb::python_error();
  }
  last_called = {self, nb::inst_ptr<Pool>(self)};
  last_called.pool->set_object(self);
  return *last_called.pool;
}

Pool& native(PyObject* self) {
  if (last_called.self == self) [[likely]]
    return *last_called.pool;
  return find_native(self);
}

using Call = PyObject* (*)(Pool&, PyObject* const*, Py_ssize_t, PyObject*);

/// As Python calls it. Exceptions become Python's; a thread's forced unwind at the interpreter's exit is none, and passes.
template <Call call>
PyObject* from_python(PyObject* self, PyObject* const* given, Py_ssize_t positional, PyObject* names) {
  try {
    return call(native(self), given, positional, names);
  } catch (nb::python_error& error) {
    error.restore();
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
  return nullptr;
}

template <Call call>
constexpr PyMethodDef method(const char* name, const char* doc) {
  // Python's own way to store such a function: METH_FASTCALL says what it really is.
  return {name, reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&from_python<call>)),
          METH_FASTCALL | METH_KEYWORDS, doc};
}

}  // namespace

void forget_pool(const Pool& gone) noexcept {
  if (last_called.pool == &gone) last_called = {};
}

pool::LeaseRef lease_of(client::Core& core, nb::handle id) {
  return find_lease(core, id.ptr());
}

PyMethodDef* lease_calls() noexcept {
  static std::array<PyMethodDef, 5> methods{
      method<get_connection>(
          "get_connection",
          "get_connection($self, /, endpoint, *, timeout=0)\n--\n\n"
          "The id of a lease: an idle connection, or a slot that connects on first use. None: at the "
          "limit, and `timeout` seconds did not change that (None: waits for ever)."),
      method<return_connection>("return_connection",
                                "return_connection($self, /, connection_id)\n--\n\n"
                                "Gives the lease back. False (and nothing changes) for a stale id."),
      method<remove_connection>("remove_connection",
                                "remove_connection($self, /, connection_id)\n--\n\n"
                                "Closes the leased connection and gives its slot back. False for a stale id."),
      method<health_check>(
          "health_check",
          "health_check($self, /, connection_id)\n--\n\n"
          "Looks at the leased connection's socket; connects first if that has not happened. False for "
          "a stale id."),
      PyMethodDef{nullptr, nullptr, 0, nullptr}};
  return methods.data();
}

}  // namespace fastpool::bindings
