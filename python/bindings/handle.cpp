// _core.Handle and _core.TlsSettings.

#include "bindings.h"
#include "context_factory.h"
#include "errors.h"
#include "exchange.h"
#include "gil.h"

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

Handle::Handle(nb::object the_pool, Profile profile, nb::object ssl_context, std::optional<std::uint32_t> most,
               int retries, bool owns_pool, nb::object factory)
    : pool_object(std::move(the_pool)),
      pool(nb::cast<Pool&>(pool_object)),
      error_factory(std::move(factory)),
      connect_retries(retries),
      max_leases(most),
      limit(most ? std::make_unique<pool::LeaseLimit>(*most) : nullptr),
      profile_(std::move(profile)),
      ssl_context_(std::move(ssl_context)),
      isolation_(owns_pool ? client::Handle::Isolation::by_pool : client::Handle::Isolation::by_handle) {
  client::Core& core = pool.core();
  const auto interned = core.intern(profile_);
  if (auto tls = interned->tls(); !tls) raise_value_error(tls.error());  // as httpx does, not at the first request
  native_ = make_native(core, interned);
}

Handle::~Handle() {
  // At exit others may be parked inside; in a fork's child it is the parent's.
  if (exiting() || epoch_ != net::fork_epoch()) (void)native_.release();
}

std::unique_ptr<client::Handle> Handle::make_native(client::Core& core,
                                                    std::shared_ptr<const client::InternedProfile> profile) const {
  return std::make_unique<client::Handle>(core, std::move(profile), after_use_, isolation_);
}

void Handle::renew(client::Core& core) {
  epoch_ = net::fork_epoch();
  (void)native_.release();  // of the parent's core, as it may be locked
  native_ = make_native(core, core.intern(profile_));
  // The places that the parent's threads took never come back here; its limit may be locked, so it is left alone.
  if (max_leases) {
    (void)limit.release();
    limit = std::make_unique<pool::LeaseLimit>(*max_leases);
  }
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
  if (epoch_ != net::fork_epoch()) return;  // a parent's may be locked, and nobody here waits at it
  if (limit) limit->close();
  native_->close();
}

void bind_handle(nb::module_& module) {
  using namespace nb::literals;
  nb::class_<TlsSettings>(module, "TlsSettings")
      .def(
          "__init__",
          [](TlsSettings* self, bool verify_peer, bool verify_hostname, std::string ca_file, std::string ca_directory,
             std::string certificate_file, std::string private_key_file, std::string private_key_password,
             std::uint64_t verify_flags, int minimum_version, int maximum_version, std::string cipher_list,
             std::string groups, int security_level, std::uint64_t options) {
            new (self) TlsSettings{verify_peer,
                                   verify_hostname,
                                   std::move(ca_file),
                                   std::move(ca_directory),
                                   std::move(certificate_file),
                                   std::move(private_key_file),
                                   std::move(private_key_password),
                                   verify_flags,
                                   minimum_version,
                                   maximum_version,
                                   std::move(cipher_list),
                                   std::move(groups),
                                   security_level,
                                   options};
          },
          nb::kw_only(), "verify_peer"_a = true, "verify_hostname"_a = true, "ca_file"_a = "", "ca_directory"_a = "",
          "certificate_file"_a = "", "private_key_file"_a = "", "private_key_password"_a = "", "verify_flags"_a = 0,
          "minimum_version"_a = 0x0303, "maximum_version"_a = 0, "cipher_list"_a = "", "groups"_a = "",
          "security_level"_a = -1, "options"_a = 0)
      .def_ro("verify_peer", &TlsSettings::verify_peer)
      .def_ro("verify_hostname", &TlsSettings::verify_hostname)
      .def_ro("ca_file", &TlsSettings::ca_file)
      .def_ro("ca_directory", &TlsSettings::ca_directory)
      .def_ro("certificate_file", &TlsSettings::certificate_file)
      .def_ro("private_key_file", &TlsSettings::private_key_file)
      .def_ro("private_key_password", &TlsSettings::private_key_password)
      .def_ro("verify_flags", &TlsSettings::verify_flags)
      .def_ro("minimum_version", &TlsSettings::minimum_version)
      .def_ro("maximum_version", &TlsSettings::maximum_version)
      .def_ro("cipher_list", &TlsSettings::cipher_list)
      .def_ro("groups", &TlsSettings::groups)
      .def_ro("security_level", &TlsSettings::security_level)
      .def_ro("options", &TlsSettings::options)
      .def("__eq__",
           [](const TlsSettings& self, nb::handle other) {
             return nb::isinstance<TlsSettings>(other) && self == nb::cast<const TlsSettings&>(other);
           })
      .def("__hash__", [](const TlsSettings& self) {
        return std::hash<std::string>{}(self.ca_file + self.certificate_file + self.cipher_list);
      });

  nb::class_<Handle>(module, "Handle", nb::is_weak_referenceable())
      .def(
          "__init__",
          [](Handle* self, nb::object the_pool, const TlsSettings& tls, std::string local_address,
             std::string unix_socket, nb::handle socket_options, nb::object ssl_context,
             std::optional<std::uint32_t> max_leases, int connect_retries, bool owns_pool, nb::object factory) {
            if (!nb::isinstance<Pool>(the_pool)) throw nb::type_error("pool must be a _core.Pool");
            Profile profile{tls,    "", std::move(local_address), std::move(unix_socket), options_from(socket_options),
                            nullptr};
            if (!ssl_context.is_none()) {
              profile.tls = {};  // the context knows
              profile.channels = ContextFactory::of(ssl_context);
            }
            new (self) Handle(std::move(the_pool), std::move(profile), std::move(ssl_context), max_leases,
                              connect_retries, owns_pool, std::move(factory));
          },
          "pool"_a, nb::kw_only(), "tls"_a, "local_address"_a = "", "unix_socket"_a = "",
          "socket_options"_a = nb::make_tuple(), "ssl_context"_a.none() = nb::none(),
          "max_leases"_a.none() = nb::none(), "connect_retries"_a = 0, "owns_pool"_a = false,
          "error_factory"_a.none() = nb::none())
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
