#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <fastpool/origin.h>
#include <fastpool/profile.h>

#include "client/core_holder.h"
#include "client/exchange.h"
#include "client/handle.h"
#include "lease_origins.h"
#include "net/descriptor.h"
#include "pool/keep_alive_limit.h"
#include "pool/lease_limit.h"
#include "remembered_endpoints.h"

namespace fastpool::bindings {

/// The native half of SimpleConnectionPool. Members other than `holder` are touched with the GIL only.
class Pool {
 public:
  Pool(std::string name, const PoolSettings& settings, TlsSettings default_tls, nanobind::object default_ssl_context,
       nanobind::object error_factory);
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
  [[nodiscard]] pool::Endpoint* known_endpoint(nanobind::handle url) const noexcept {
    const client::EndpointUse* const there = endpoints_.at_address(url.ptr());
    return there != nullptr ? &**there : nullptr;
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

/// What binds one handle, on top of its pool's limits; nothing: the pool's alone.
struct HandleLimits {
  std::optional<std::uint32_t> max_leases;
  std::optional<std::uint32_t> max_idle;
  OptionalDuration idle_timeout;
};

/// What a transport holds: a pool, a profile, its own limits.
class Handle {
 public:
  /// \param ssl_context what the profile's channels are of, or None; kept as long as the handle may dial.
  Handle(nanobind::object pool, Profile profile, nanobind::object ssl_context, const HandleLimits& limits,
         int connect_retries, bool owns_pool, nanobind::object error_factory);
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle();

  [[nodiscard]] Result<client::EndpointUse> endpoint(client::Core& core, Scheme scheme, std::string_view host,
                                                     std::uint16_t port, std::optional<std::string_view> server_name);
  /// Exchanges that have not ended.
  [[nodiscard]] std::uint32_t open_leases() const;
  /// Idle connections stay for the pool's idle timeout when this handle is closed. Before the first request.
  void keep_connections();

  /// Refuses new requests, ends the waits at its limit with pool_closed, and releases its endpoints. Idempotent.
  void close() noexcept;

  const nanobind::object pool_object;
  Pool& pool;
  const nanobind::object error_factory;
  const int connect_retries;
  std::uint64_t requests = 0;  // with the GIL
  const HandleLimits limits;
  std::unique_ptr<pool::LeaseLimit> limit;  // null: none but the pool's
  pool::KeepAliveLimit::Ref keep;           // null: the same
  bool closed = false;                      // with the GIL

 private:
  [[nodiscard]] std::optional<Error> prepare(client::Core& core);
  void make_limits();

  Profile profile_;  // with its files read
  const nanobind::object ssl_context_;
  void renew(client::Core& core);
  [[nodiscard]] std::unique_ptr<client::Handle> make_native(
      client::Core& core, std::shared_ptr<const client::InternedProfile> profile) const;

  const client::Handle::Isolation isolation_;
  pool::AfterUse after_use_ = pool::AfterUse::close;
  unsigned epoch_ = net::fork_epoch();  // of the core that native_, limit and keep belong to
  std::unique_ptr<client::Handle> native_;
  Origin last_origin_;
};

/// The methods of Pool that are called most, for its type.
[[nodiscard]] PyMethodDef* pool_calls() noexcept;
/// That pool is being destroyed.
void forget_pool(const Pool& gone) noexcept;
/// The lease that an id names; none if it ended. TypeError for what is no str.
[[nodiscard]] pool::LeaseRef lease_of(client::Core& core, nanobind::handle id);

/// Pool.get_stats().
[[nodiscard]] nanobind::dict get_stats(Pool& self);

void bind_pool(nanobind::module_& module);
void bind_response(nanobind::module_& module);
void bind_tls_settings(nanobind::module_& module);
void bind_handle(nanobind::module_& module);

/// A whole response, as Pool.request() gives it.
class Response {
 public:
  Response(h1::ResponseHead&& head, nanobind::object body) : head_(std::move(head)), content(std::move(body)) {}
  [[nodiscard]] const h1::ResponseHead& head() const noexcept { return head_; }

 private:
  h1::ResponseHead head_;

 public:
  const nanobind::object content;
};

}  // namespace fastpool::bindings
