// _core.Pool: its constructor, and the methods that are not among its lease calls.

#include "bindings/module/bind_pool.h"

#include <array>
#include <optional>
#include <string>
#include <utility>

#include "bindings/exchange/call.h"
#include "bindings/interpreter/convert.h"
#include "bindings/interpreter/errors.h"
#include "bindings/interpreter/gil.h"
#include "bindings/interpreter/replaced_sockets.h"
#include "bindings/pool/leak_reports.h"
#include "bindings/pool/lease_calls.h"
#include "bindings/pool/pool.h"
#include "bindings/pool/pool_settings.h"
#include "bindings/pool/statistics.h"

namespace nb = nanobind;

namespace fastpool::bindings {

namespace {

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

void set_max_leases(Pool& self, nb::handle origin, std::optional<std::uint32_t> most, nb::handle valid_for,
                    nb::handle valid_until) {
  if (!valid_for.is_none() && !valid_until.is_none()) throw nb::value_error("valid_for or valid_until, not both");
  const OptionalDuration time = duration_from(valid_until, "valid_until");
  const Duration until = time ? *time : pool::boot_time_after(duration_from(valid_for, "valid_for"));
  client::Core& core = self.core();
  const client::EndpointUse there = self.endpoint(origin);
  WithoutGil without_gil;
  core.origin_limits().allot(*there.origin(), most, until);
}

nb::tuple usage(Pool& self, nb::handle origin) {
  client::Core& core = self.core();
  const client::EndpointUse there = self.endpoint(origin);
  const pool::LeaseLimit::Usage usage = core.origin_limits().usage(*there.origin());
  return nb::make_tuple(usage.leased, usage.waiting);
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

}  // namespace

void bind_pool(nb::module_& module) {
  using namespace nb::literals;
  std::array<PyType_Slot, 2> slots{{{Py_tp_methods, lease_calls()}, {0, nullptr}}};
  nb::class_<Pool>(module, "Pool", nb::is_weak_referenceable(), nb::dynamic_attr(), nb::type_slots(slots.data()))
      .def(
          "__init__",
          [](Pool* self, std::string name, std::optional<TlsSettings> tls, nb::object ssl_context, nb::object factory,
             bool http1, bool http2, nb::kwargs settings) {
            if (!ssl_context.is_none()) tls.reset();  // the context knows
            new (self)
                Pool(std::move(name), pool_settings_from(std::move(settings)), std::move(tls).value_or(TlsSettings{}),
                     std::move(ssl_context), std::move(factory), {.http1 = http1, .http2 = http2});
          },
          "name"_a, nb::kw_only(), "default_tls"_a.none() = nb::none(), "default_ssl_context"_a.none() = nb::none(),
          "error_factory"_a.none() = nb::none(), "http1"_a = true, "http2"_a = false, "settings"_a)
      .def_prop_ro("name", [](const Pool& self) { return self.name; })
      .def_prop_ro("settings", [](const Pool& self) { return dict_of(self.holder.settings()); })
      .def("cleanup", &cleanup)
      .def("get_stats", &get_stats)
      .def("request", &request, "connection"_a, "method"_a, "target"_a, nb::kw_only(), "headers"_a.none() = nb::none(),
           "content"_a.none() = nb::none(), "timeout"_a.none() = 5.0)
      .def("start_lease", &start_lease, "loop"_a, "endpoint"_a, "timeout"_a.none())
      .def("start_request", &start_request, "loop"_a, "connection"_a, "method"_a, "target"_a, "headers"_a.none(),
           "content"_a.none(), "timeout"_a.none())
      .def("warm", &warm, "endpoint"_a, "count"_a, nb::kw_only(), "timeout"_a.none() = 60.0)
      .def("open_leases", [](Pool& self) { return self.core().pool().stats().all.active_connections; })
      .def("set_max_leases", &set_max_leases, "origin"_a, "n"_a.none(), nb::kw_only(),
           "valid_for"_a.none() = nb::none(), "valid_until"_a.none() = nb::none())
      .def("usage", &usage, "origin"_a)
      .def("drain", &drain, "timeout"_a.none() = 30.0)
      .def("close", &close)
      .def_prop_ro("closed", [](Pool& self) { return self.core().pool().closed(); });
}

}  // namespace fastpool::bindings
