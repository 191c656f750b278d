#include "bindings/tls/context_factory.h"

#include <unordered_map>
#include <utility>

#include "bindings/tls/context_channel.h"

namespace nb = nanobind;

namespace fastpool::bindings {

namespace {

using KnownContexts = std::unordered_map<PyObject*, std::weak_ptr<const ContextFactory>>;

// By address. Touched with the GIL; never destroyed, as Python may be gone by then.
KnownContexts& known() {
  static auto* const all = new KnownContexts;
  return *all;
}

// Once in a while: contexts that are gone, whose address another may get.
void forget_the_gone() {
  static std::size_t next = 64;
  if (known().size() < next) return;
  std::erase_if(known(), [](const auto& each) {
    const auto factory = each.second.lock();
    return factory == nullptr || !Reference(factory->context()).get();
  });
  next = 2 * known().size() + 64;
}

}  // namespace

std::shared_ptr<const ContextFactory> ContextFactory::of(nb::handle context) {
  give_up_dropped_references();
  forget_the_gone();
  if (const auto found = known().find(context.ptr()); found != known().end()) {
    const auto factory = found->second.lock();
    if (factory && Reference(factory->context()).get() == context.ptr()) return factory;
  }
  PyObject* const weak = PyWeakref_NewRef(context.ptr(), nullptr);
  if (weak == nullptr) {
    if (PyErr_ExceptionMatches(PyExc_TypeError) == 0) throw nb::python_error();
    PyErr_Clear();
  }
  auto factory = std::make_shared<const ContextFactory>(Reference(weak != nullptr ? weak : Py_NewRef(context.ptr())),
                                                        weak != nullptr);
  known()[context.ptr()] = factory;
  return factory;
}

std::unique_ptr<net::Channel> ContextFactory::wrap(std::unique_ptr<net::Channel>&& below,
                                                   const std::string& server_name, Protocols protocols) const {
  return std::make_unique<ContextChannel>(shared_from_this(), std::move(below), server_name, protocols);
}

PyObject* ContextFactory::context() const noexcept {
  if (!weak_) return Py_NewRef(context_.get());
#if PY_VERSION_HEX >= 0x030D0000
  PyObject* context = nullptr;
  if (PyWeakref_GetRef(context_.get(), &context) < 0) PyErr_Clear();
  return context;
#else
  PyObject* const context = PyWeakref_GetObject(context_.get());
  return context == nullptr || context == Py_None ? nullptr : Py_NewRef(context);
#endif
}

}  // namespace fastpool::bindings
