#include "bindings/module/exit.h"

#include <chrono>

#include <Python.h>

#include "bindings/interpreter/gil.h"
#include "bindings/loop/event_loop.h"
#include "bindings/pool/pool.h"

namespace fastpool::bindings {

namespace {

// Called by the interpreter when it is gone, before the process's own exit handlers.
void stop_everything() {
  interpreter_is_gone();
  cut_off_event_loops();  // before the sockets' ends could wake a loop whose thread would then look for the interpreter
  for (Pool* each : living_pools().pools)
    each->holder.get().stop();
  for (client::Core* each : living_pools().abandoned)
    each->stop();
  wait_for_threads(std::chrono::seconds(2));
}

}  // namespace

void stop_at_exit() {
  Py_AtExit(&stop_everything);
}

}  // namespace fastpool::bindings
