#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include <nanobind/nanobind.h>

#include <fastpool/origin.h>
#include <fastpool/profile.h>

#include "bindings/pool/pool.h"
#include "client/handle.h"
#include "net/descriptor.h"
#include "pool/keep_alive_limit.h"
#include "pool/lease_limit.h"

namespace fastpool::bindings {

/// What binds one handle, on top of its pool's limits; nothing: the pool's alone.
struct HandleLimits {
  std::optional<std::uint32_t> max_leases;
  std::optional<std::uint32_t> max_idle;
  OptionalDuration idle_timeout;
};

/// What a transport holds: a pool, a profile, its own limits.
class Handle {
 public:
  /// \param engines what the profile's channels are of (an ssl.SSLContext, a _core.Proxy, None); kept as long as the handle may
  /// dial.
  Handle(nanobind::object pool, Profile profile, nanobind::object engines, const HandleLimits& limits,
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
  const nanobind::object engines_;
  void renew(client::Core& core);
  [[nodiscard]] std::unique_ptr<client::Handle> make_native(
      client::Core& core, std::shared_ptr<const client::InternedProfile> profile) const;

  const client::Handle::Isolation isolation_;
  pool::AfterUse after_use_ = pool::AfterUse::close;
  unsigned epoch_ = net::fork_epoch();  // of the core that native_, limit and keep belong to
  std::unique_ptr<client::Handle> native_;
  Origin last_origin_;
};

void bind_handle(nanobind::module_& module);

}  // namespace fastpool::bindings
