#include <array>
#include <chrono>

#include "bindings.h"
#include "call.h"
#include "connection_id_text.h"
#include "context_factory.h"
#include "convert.h"
#include "errors.h"
#include "event_loop.h"
#include "gil.h"
#include "leak_reports.h"
#include "replaced_sockets.h"

namespace nb = nanobind;

namespace fastpool::bindings {

namespace {

std::uint32_t limit_from(nb::handle value, std::uint32_t standard, const char* what) {
  if (value.is_none()) return PoolSettings::unlimited;
  const long long number = PyLong_AsLongLong(value.ptr());
  if (number == -1 && PyErr_Occurred() != nullptr) throw nb::python_error();
  if (number < 0) {
    PyErr_Format(PyExc_ValueError, "%s must not be negative, not %lld", what, number);
    throw nb::python_error();
  }
  if (number == 0 && standard != 0) return standard;
  return number >= PoolSettings::unlimited ? PoolSettings::unlimited : static_cast<std::uint32_t>(number);
}

std::size_t cleanup(Pool& self) {
  deliver_leak_reports();
  client::Core& core = self.core();
  WithoutGil without_gil;
  return core.pool().cleanup();
}

std::uint32_t warm(Pool& self, nb::handle endpoint, std::uint32_t count, nb::handle timeout) {
  refuse_replaced_sockets();
  client::Core& core = self.core();
  const client::EndpointUse there = self.endpoint(endpoint);
  const OptionalDuration wait = duration_from(timeout, "timeout");
  std::optional<Result<std::uint32_t>> warmed;
  bool raised = false;
  {
    WithoutGil without_gil;
    warmed.emplace(core.pool().warm(*there, count, {wait, wait, false, without_gil.interrupt()}));
    raised = without_gil.raised();
  }
  return value_or_raise(*std::move(warmed), raised, self.error_factory);
}

bool drain(Pool& self, nb::handle timeout) {
  const OptionalDuration patience = duration_from(timeout, "timeout");
  client::Core& core = self.core();
  std::optional<Result<bool>> drained;
  bool raised = false;
  {
    WithoutGil without_gil;
    drained.emplace(core.pool().drain(patience, without_gil.interrupt()));
    raised = without_gil.raised();
  }
  if (!raised) deliver_leak_reports();
  return value_or_raise(*std::move(drained), raised, self.error_factory);
}

void close(Pool& self) {
  client::Core& core = self.core();
  WithoutGil without_gil;
  core.close();
}

// What is stopped when the interpreter is gone. Touched with the GIL, and then by no other thread.
struct Living {
  std::vector<Pool*> pools;
  std::vector<client::Core*> abandoned;  // of pools that were destroyed while the interpreter was finalized
};

Living& living() {
  static auto* const all = new Living;
  return *all;
}

// Called by the interpreter when it is gone, before the process's own exit handlers.
void stop_everything() {
  interpreter_is_gone();
  cut_off_event_loops();  // before the sockets' ends could wake a loop whose thread would then look for the interpreter
  for (Pool* each : living().pools)
    each->holder.get().stop();
  for (client::Core* each : living().abandoned)
    each->stop();
  wait_for_threads(std::chrono::seconds(2));
}

}  // namespace

Pool::Pool(std::string pool_name, const PoolSettings& settings, TlsSettings tls, nb::object ssl_context,
           nb::object factory)
    : holder(settings),
      name(std::move(pool_name)),
      default_tls(std::move(tls)),
      default_ssl_context(std::move(ssl_context)),
      error_factory(std::move(factory)) {
  living().pools.push_back(this);
}

Pool::~Pool() {
  forget_pool(*this);
  std::erase(living().pools, this);
  if (exiting()) {
    living().abandoned.push_back(&holder.get());
    holder.abandon();  // threads may be parked inside
    endpoints_.abandon();
    (void)handle_.release();
    (void)origins_.release();
    return;
  }
  if (epoch_ != net::fork_epoch()) abandon_parents();
  endpoints_.clear();
  handle_.reset();
  // The reactor is joined; it never needs the GIL, but others need not wait for it.
  WithoutGil without_gil;
  holder.get().stop();
}

// What was remembered belongs to the core of a fork's parent, if to any.
void Pool::abandon_parents() noexcept {
  endpoints_.detach();
  (void)handle_.release();
}

// At the first use, and in the child of a fork.
void Pool::adopt(client::Core& now) {
  abandon_parents();
  Profile of_pool;
  of_pool.tls = default_tls;
  if (!default_ssl_context.is_none()) of_pool.channels = ContextFactory::of(default_ssl_context);
  handle_ =
      std::make_unique<client::Handle>(now, now.intern(of_pool), pool::AfterUse::keep, client::Handle::Isolation::none);
  if (holder.settings().leak_after) {
    // The parent's, if there is one, is left to its core, whose locks may be held. No lease of this core is open yet.
    auto fresh = std::make_unique<LeaseOrigins>();
    now.on_leak([&origins = *fresh](const pool::Leak& leak) {
      report_leak({leak.endpoint, connection_id_text(leak.id.value), std::chrono::duration<double>(leak.age).count(),
                   origins.of(leak.id)});
    });
    (void)origins_.release();
    origins_ = std::move(fresh);
  }
  core_ = &now;
  epoch_ = net::fork_epoch();
}

client::EndpointUse Pool::look_up(nb::handle url) {
  if (!PyUnicode_Check(url.ptr())) {
    PyErr_Format(PyExc_TypeError, "an endpoint is a URL (str) like 'https://host:port', not %s",
                 Py_TYPE(url.ptr())->tp_name);
    throw nb::python_error();
  }
  // A subclass of str could hash and compare by Python code: it is read each time, and never kept.
  const bool exactly = PyUnicode_CheckExact(url.ptr()) != 0;
  if (const client::EndpointUse* const there = exactly ? endpoints_.find(url.ptr()) : nullptr) return there->share();

  Py_ssize_t size = 0;
  const char* const text = PyUnicode_AsUTF8AndSize(url.ptr(), &size);
  if (text == nullptr) throw nb::python_error();
  auto origin = Origin::parse({text, static_cast<std::size_t>(size)});
  if (!origin) raise_value_error(origin.error());
  auto there = handle_->use(*origin);
  if (!there) raise_value_error(there.error());
  if (exactly) endpoints_.add(url.ptr(), there->share());
  return std::move(there).value();
}

void bind_pool(nb::module_& module) {
  using namespace nb::literals;
  std::array<PyType_Slot, 2> slots{{{Py_tp_methods, pool_calls()}, {0, nullptr}}};
  nb::class_<Pool>(module, "Pool", nb::is_weak_referenceable(), nb::dynamic_attr(), nb::type_slots(slots.data()))
      .def(
          "__init__",
          [](Pool* self, std::string name, nb::handle per_endpoint, nb::handle total, nb::handle idle,
             nb::handle idle_timeout, nb::handle lifetime, nb::handle leak_after, nb::handle dns_lifetime,
             std::optional<TlsSettings> tls, nb::object ssl_context, nb::object factory) {
            PoolSettings settings;
            settings.max_connections_per_endpoint =
                limit_from(per_endpoint, settings.max_connections_per_endpoint, "max_connections_per_endpoint");
            settings.max_connections = limit_from(total, settings.max_connections, "max_connections");
            settings.max_idle_connections = limit_from(idle, 0, "max_idle_connections");
            settings.idle_timeout = duration_from(idle_timeout, "idle_timeout");
            settings.max_lifetime = duration_from(lifetime, "max_lifetime");
            settings.leak_after = duration_from(leak_after, "leak_after");
            settings.dns_lifetime = duration_from(dns_lifetime, "dns_lifetime").value_or(settings.dns_lifetime);
            if (!ssl_context.is_none()) tls.reset();  // the context knows
            new (self) Pool(std::move(name), settings, std::move(tls).value_or(TlsSettings{}), std::move(ssl_context),
                            std::move(factory));
          },
          "name"_a, nb::kw_only(), "max_connections_per_endpoint"_a.none() = nb::none(), "max_connections"_a.none() = 0,
          "max_idle_connections"_a.none() = nb::none(), "idle_timeout"_a.none() = 120.0,
          "max_lifetime"_a.none() = 3600.0, "leak_after"_a.none() = nb::none(), "dns_lifetime"_a = 5.0,
          "default_tls"_a.none() = nb::none(), "default_ssl_context"_a.none() = nb::none(),
          "error_factory"_a.none() = nb::none())
      .def_prop_ro("name", [](const Pool& self) { return self.name; })
      .def("cleanup", &cleanup)
      .def("get_stats", &get_stats)
      .def("request", &request, "connection"_a, "method"_a, "target"_a, nb::kw_only(), "headers"_a.none() = nb::none(),
           "content"_a.none() = nb::none(), "timeout"_a.none() = 5.0)
      .def("start_lease", &start_lease, "loop"_a, "endpoint"_a, "timeout"_a.none())
      .def("start_request", &start_request, "loop"_a, "connection"_a, "method"_a, "target"_a, "headers"_a.none(),
           "content"_a.none(), "timeout"_a.none())
      .def("warm", &warm, "endpoint"_a, "count"_a, nb::kw_only(), "timeout"_a.none() = 60.0)
      .def("open_leases", [](Pool& self) { return self.core().pool().stats().all.active_connections; })
      .def("drain", &drain, "timeout"_a.none() = 30.0)
      .def("close", &close)
      .def_prop_ro("closed", [](Pool& self) { return self.core().pool().closed(); });
  Py_AtExit(&stop_everything);
  module.def("fork_epoch", &net::fork_epoch);
}

}  // namespace fastpool::bindings
