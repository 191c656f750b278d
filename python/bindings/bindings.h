#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <fastpool/origin.h>
#include <fastpool/profile.h>

#include "client/core_holder.h"
#include "client/exchange.h"
#include "client/lease_limit.h"

namespace fastpool::bindings {

/// The native half of SimpleConnectionPool. Members other than `core` are touched with the GIL only.
class Pool {
 public:
  Pool(std::string name, const PoolSettings& settings, TlsSettings default_tls, nanobind::object error_factory);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  /// The endpoint of a URL under the pool's own TLS settings; looked up by the string's own hash, then by value.
  /// ValueError for a bad one.
  [[nodiscard]] pool::Endpoint& endpoint(nanobind::handle url);

  client::CoreHolder core;
  const std::string name;
  const TlsSettings default_tls;
  const nanobind::object error_factory;
  std::uint64_t requests = 0;

 private:
  struct HashOfStr {
    std::size_t operator()(PyObject* text) const noexcept { return static_cast<std::size_t>(PyObject_Hash(text)); }
  };
  struct SameStr {
    bool operator()(PyObject* left, PyObject* right) const noexcept {
      return left == right || PyUnicode_Compare(left, right) == 0;
    }
  };
  static constexpr std::size_t max_remembered = 4096;

  client::Core* remembered_of_ = nullptr;  // the core that the endpoints belong to
  std::unordered_map<PyObject*, pool::Endpoint*, HashOfStr, SameStr> remembered_;  // owns a reference to each key
};

/// What a transport holds: a pool, a profile, its own count of leases.
class Handle {
 public:
  Handle(nanobind::object pool, Profile profile, std::optional<std::uint32_t> max_leases, int connect_retries,
         nanobind::object error_factory);

  [[nodiscard]] Result<pool::Endpoint*> endpoint(client::Core& core, Scheme scheme, std::string_view host,
                                                 std::uint16_t port, std::optional<std::string_view> server_name);
  /// From the start of an exchange to its end, however it ends; any thread.
  void leave() noexcept;

  const nanobind::object pool_object;
  Pool& pool;
  const nanobind::object error_factory;
  const int connect_retries;
  std::uint64_t requests = 0;  // with the GIL
  sync::Count open_leases;
  const std::optional<std::uint32_t> max_leases;
  std::unique_ptr<client::LeaseLimit> limit;  // null: none but the pool's
  bool closed = false;                        // with the GIL

 private:
  const Profile profile_;
  client::Core* core_ = nullptr;  // that profile_id_ and last_ belong to
  client::ProfileId profile_id_ = 0;
  Origin last_origin_;
  pool::Endpoint* last_ = nullptr;
};

void bind_pool(nanobind::module_& module);
void bind_response(nanobind::module_& module);
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
