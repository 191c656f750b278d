// fast_litellm._core: the native pool.

#include <nanobind/nanobind.h>

#include "bindings/exchange/call.h"
#include "bindings/exchange/exchange.h"
#include "bindings/exchange/handle.h"
#include "bindings/exchange/response.h"
#include "bindings/interpreter/dropped_references.h"
#include "bindings/interpreter/errors.h"
#include "bindings/interpreter/gil.h"
#include "bindings/interpreter/replaced_sockets.h"
#include "bindings/loop/event_loop.h"
#include "bindings/module/bind_pool.h"
#include "bindings/module/exit.h"
#include "bindings/pool/leak_reports.h"
#include "bindings/tls/proxy.h"
#include "bindings/tls/tls_settings.h"
#include "net/descriptor.h"

namespace nb = nanobind;
using namespace fastpool::bindings;

NB_MODULE(_core, module) {
  module.doc() =
      "The native pool. Everything here releases the GIL around I/O and waits; any thread may call any method.";
  // What is alive at exit is alive on purpose: threads may be parked inside it.
  nb::set_leak_warnings(false);
  fastpool::net::install_fork_handler();
  note_main_thread();

  bind_errors(module);
  bind_replaced_sockets(module);
  bind_pool(module);
  bind_response(module);
  bind_tls_settings(module);
  bind_proxy(module);
  bind_handle(module);
  bind_exchange(module);
  bind_event_loop(module);
  bind_async_exchange(module);
  bind_call(module);
  module.def("fork_epoch", &fastpool::net::fork_epoch);
  stop_at_exit();

  nb::dict hooks;
  hooks["after_in_child"] = nb::cpp_function([] {
    begin_in_child();
    renew_leak_reports();
    renew_dropped_references();
  });
  nb::module_::import_("os").attr("register_at_fork")(**hooks);
  nb::module_::import_("atexit").attr("register")(nb::cpp_function([] {
    stop_leak_reports();
    stop_dropping_references();
  }));
}
