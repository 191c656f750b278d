// _core.Handle.

#include "bindings/exchange/handle.h"

#include "bindings/exchange/exchange.h"
#include "bindings/interpreter/convert.h"
#include "bindings/interpreter/errors.h"
#include "bindings/interpreter/gil.h"
#include "bindings/tls/context_factory.h"
#include "bindings/tls/proxy.h"
#include "tls/settings_files.h"

namespace nb = nanobind;

namespace fastpool::bindings {

namespace {

std::vector<SocketOption> options_from(nb::handle options) {
  std::vector<SocketOption> result;
  for (nb::handle each : options) {
    SocketOption option;
    option.level = nb::cast<int>(each[0]);
    option.name = nb::cast<int>(each[1]);
    if (nb::isinstance<nb::bytes>(each[2])) {
      const auto bytes = nb::cast<nb::bytes>(each[2]);
      option.value.assign(bytes.c_str(), bytes.size());
    } else {
      const int value = nb::cast<int>(each[2]);
      option.value.assign(reinterpret_cast<const char*>(&value), sizeof value);
    }
    result.push_back(std::move(option));
  }
  return result;
}

}  // namespace

Handle::Handle(nb::object the_pool, Profile profile, nb::object engines, const HandleLimits& its_limits, int retries,
               bool owns_pool, nb::object factory)
    : pool_object(std::move(the_pool)),
      pool(nb::cast<Pool&>(pool_object)),
      error_factory(std::move(factory)),
      connect_retries(retries),
      limits(its_limits),
      profile_(std::move(profile)),
      engines_(std::move(engines)),
      isolation_(owns_pool ? client::Handle::Isolation::by_pool : client::Handle::Isolation::by_handle) {
  client::Core& core = pool.core();
  std::optional<Error> refused;
  {
    const WithoutGil without_gil;
    refused = prepare(core);
  }
  if (refused) raise_value_error(*refused);
}

/// Reads the files of the TLS settings and creates the context now, as httpx does, not at the first request.
std::optional<Error> Handle::prepare(client::Core& core) {
  if (!profile_.engine) {
    auto read = read_files(profile_.tls);
    if (!read) return std::move(read).error();
    profile_.tls = std::move(read).value();
  }
  if (!profile_.proxy.url.empty() && !profile_.proxy.engine) {
    auto read = read_files(profile_.proxy.tls);
    if (!read) return std::move(read).error();
    profile_.proxy.tls = std::move(read).value();
  }
  const auto interned = core.intern(profile_);
  profile_ = interned->profile();  // handles of equal settings share the bytes
  if (auto tls = interned->tls(); !tls) return std::move(tls).error();
  if (auto proxy = interned->proxy(); !proxy) return std::move(proxy).error();
  native_ = make_native(core, interned);
  make_limits();
  return std::nullopt;
}

Handle::~Handle() {
  // At exit others may be parked inside; in a fork's child it is the parent's.
  if (exiting() || epoch_ != net::fork_epoch()) (void)native_.release();
}

void Handle::make_limits() {
  if (limits.max_leases) limit = std::make_unique<pool::LeaseLimit>(*limits.max_leases);
  if (limits.max_idle || limits.idle_timeout) {
    keep = pool::KeepAliveLimit::Ref(limits.max_idle.value_or(pool::KeepAliveLimit::unlimited), limits.idle_timeout);
  }
}

std::unique_ptr<client::Handle> Handle::make_native(client::Core& core,
                                                    std::shared_ptr<const client::InternedProfile> profile) const {
  return std::make_unique<client::Handle>(core, std::move(profile), after_use_, isolation_);
}

void Handle::renew(client::Core& core) {
  if (std::exchange(epoch_, net::fork_epoch()) != net::fork_epoch()) {
    // What the parent's threads took or parked never comes back here; all of it may be locked, so it is left alone.
    (void)native_.release();
    (void)limit.release();
    keep.detach();
    make_limits();
  }
  native_ = make_native(core, core.intern(profile_));
}

Result<client::EndpointUse> Handle::endpoint(client::Core& core, Scheme scheme, std::string_view host,
                                             std::uint16_t port, std::optional<std::string_view> server_name) {
  if (epoch_ != net::fork_epoch()) [[unlikely]]
    renew(core);
  // Mostly the same again: without a copy of the host.
  if (last_origin_.port != port || last_origin_.scheme != scheme || last_origin_.host != host)
    last_origin_ = {scheme, std::string(host), port};
  return native_->use(last_origin_, server_name.value_or(std::string_view()));
}

std::uint32_t Handle::open_leases() const {
  return epoch_ == net::fork_epoch() ? native_->open_uses() : 0;
}

void Handle::keep_connections() {
  after_use_ = pool::AfterUse::keep;
  renew(pool.core());
}

void Handle::close() noexcept {
  closed = true;
  if (epoch_ != net::fork_epoch()) return;  // a parent's may be locked, and no thread of this process waits at it
  if (limit) limit->close();
  native_->close();
}

void bind_handle(nb::module_& module) {
  using namespace nb::literals;
  nb::class_<Handle>(module, "Handle", nb::is_weak_referenceable())
      .def(
          "__init__",
          [](Handle* self, nb::object the_pool, const TlsSettings& tls, std::string local_address,
             std::string unix_socket, nb::handle socket_options, nb::object ssl_context,
             std::optional<std::uint32_t> max_leases, std::optional<std::uint32_t> max_idle, nb::handle idle_timeout,
             int connect_retries, bool owns_pool, nb::object factory, nb::object proxy, bool http1, bool http2) {
            if (!nb::isinstance<Pool>(the_pool)) throw nb::type_error("pool must be a _core.Pool");
            Profile profile;
            profile.tls = tls;
            profile.local_address = std::move(local_address);
            profile.unix_socket = std::move(unix_socket);
            profile.socket_options = options_from(socket_options);
            profile.protocols = {.http1 = http1, .http2 = http2};
            if (!proxy.is_none()) profile.proxy = nb::cast<const ProxyObject&>(proxy).proxy;
            if (!ssl_context.is_none()) {
              profile.tls = {};  // the context knows
              net::set_engine(profile, ContextFactory::of(ssl_context));
            }
            new (self) Handle(std::move(the_pool), std::move(profile), nb::make_tuple(ssl_context, proxy),
                              {max_leases, max_idle, duration_from(idle_timeout, "idle_timeout")}, connect_retries,
                              owns_pool, std::move(factory));
          },
          "pool"_a, nb::kw_only(), "tls"_a, "local_address"_a = "", "unix_socket"_a = "",
          "socket_options"_a = nb::make_tuple(), "ssl_context"_a.none() = nb::none(),
          "max_leases"_a.none() = nb::none(), "max_idle"_a.none() = nb::none(), "idle_timeout"_a.none() = nb::none(),
          "connect_retries"_a = 0, "owns_pool"_a = false, "error_factory"_a.none() = nb::none(),
          "proxy"_a.none() = nb::none(), "http1"_a = true, "http2"_a = false)
      .def_prop_ro("open_leases", &Handle::open_leases)
      .def("keep_connections", &Handle::keep_connections)
      .def_prop_ro("request_count", [](const Handle& self) { return self.requests; })
      .def("send", &send, "scheme"_a, "host"_a, "port"_a.none(), "method"_a, "target"_a, "headers"_a,
           "content"_a.none(), "timeouts"_a, "server_name"_a.none() = nb::none())
      .def("start", &start, "loop"_a, "scheme"_a, "host"_a, "port"_a.none(), "method"_a, "target"_a, "headers"_a,
           "content"_a.none(), "timeouts"_a, "server_name"_a.none() = nb::none())
      .def("close", &Handle::close);
}

}  // namespace fastpool::bindings
