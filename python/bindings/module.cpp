// fast_litellm._core: the native pool.

#include <nanobind/nanobind.h>

#include "bindings.h"
#include "call.h"
#include "dropped_references.h"
#include "errors.h"
#include "event_loop.h"
#include "exchange.h"
#include "gil.h"
#include "leak_reports.h"
#include "net/descriptor.h"
#include "replaced_sockets.h"

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
  bind_handle(module);
  bind_exchange(module);
  bind_event_loop(module);
  bind_async_exchange(module);
  bind_call(module);

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
