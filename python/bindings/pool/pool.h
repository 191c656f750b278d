#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <nanobind/nanobind.h>

#include <fastpool/profile.h>
#include <fastpool/settings.h>

#include "bindings/pool/lease_origins.h"
#include "bindings/pool/remembered_endpoints.h"
#include "client/core_holder.h"
#include "client/handle.h"
#include "net/descriptor.h"

namespace fastpool::bindings {

/// The native half of SimpleConnectionPool. Members other than `holder` are touched with the GIL only.
class Pool {
 public:
  Pool(std::string name, const PoolSettings& settings, TlsSettings default_tls, nanobind::object default_ssl_context,
       nanobind::object error_factory, Protocols protocols);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  /// The core of this process, with what is remembered here being of that core.
  [[nodiscard]] client::Core& core() {
    if (epoch_ != net::fork_epoch()) [[unlikely]]
      adopt(holder.get());
    return *core_;
  }
  /// The endpoint of a URL under the pool's own TLS settings, after core(). ValueError for a bad one.
  [[nodiscard]] client::EndpointUse endpoint(nanobind::handle url) {
    if (const client::EndpointUse* const there = endpoints_.at_address(url.ptr())) return there->share();
    return look_up(url);
  }
  /// The same, if it was asked for lately: valid until the next call of endpoint(), or of Python.
  [[nodiscard]] const client::EndpointUse* known_endpoint(nanobind::handle url) const noexcept {
    return endpoints_.at_address(url.ptr());
  }

  /// A lease that Python knows by its id alone keeps the pool alive until it is given back. With the GIL.
  void hold_for_lease() noexcept { Py_INCREF(object_); }
  void release_for_lease() noexcept { Py_DECREF(object_); }
  /// This very object of Python's; before the first lease.
  void set_object(PyObject* object) noexcept { object_ = object; }

  /// Where the leases of core() were taken; null if the pool does not look for leaks.
  [[nodiscard]] LeaseOrigins* origins() noexcept { return origins_.get(); }

  client::CoreHolder holder;
  const std::string name;
  const TlsSettings default_tls;
  const nanobind::object default_ssl_context;  // in place of default_tls; or None
  const nanobind::object error_factory;
  const Protocols protocols;
  std::uint64_t requests = 0;

 private:
  void adopt(client::Core& now);
  void abandon_parents() noexcept;
  [[nodiscard]] client::EndpointUse look_up(nanobind::handle url);

  PyObject* object_ = nullptr;              // borrowed
  unsigned epoch_ = net::fork_epoch() - 1;  // of core_; not this process's before the first use
  client::Core* core_ = nullptr;            // that what follows belongs to
  std::unique_ptr<client::Handle> handle_;  // of the pool's own TLS settings, for callers without one; null before the
                                            // first use
  RememberedEndpoints endpoints_;           // uses of that handle
  std::unique_ptr<LeaseOrigins> origins_;
};

/// What the interpreter's exit has to stop. Touched with the GIL; after the interpreter's end, by the thread that ends the
/// process alone.
struct LivingPools {
  std::vector<Pool*> pools;
  std::vector<client::Core*> abandoned;  // of pools that were destroyed while the interpreter was finalized
};
[[nodiscard]] LivingPools& living_pools();

}  // namespace fastpool::bindings
