#include <array>
#include <cstring>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

#include "bindings.h"
#include "convert.h"
#include "errors.h"
#include "gil.h"

namespace nb = nanobind;

namespace fastpool::bindings {

namespace {

// As Python's socket module gives it.
nb::object address_from(const net::SocketAddress& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (address.family() == AF_INET) {
    const auto* ip = reinterpret_cast<const sockaddr_in*>(address.data());
    return nb::make_tuple(::inet_ntop(AF_INET, &ip->sin_addr, text.data(), text.size()), address.port());
  }
  if (address.family() == AF_INET6) {
    const auto* ip = reinterpret_cast<const sockaddr_in6*>(address.data());
    return nb::make_tuple(::inet_ntop(AF_INET6, &ip->sin6_addr, text.data(), text.size()), address.port(),
                          ntohl(ip->sin6_flowinfo), ip->sin6_scope_id);
  }
  if (address.family() == AF_UNIX) {
    const auto* local = reinterpret_cast<const sockaddr_un*>(address.data());
    const std::size_t length = address.size() - offsetof(sockaddr_un, sun_path);
    return nb::str(local->sun_path, ::strnlen(local->sun_path, length));
  }
  return nb::none();
}

/// One request and its response, as a transport uses it. Methods are called with the GIL and give it away to wait.
class Exchange {
 private:
  /// Runs a step without the GIL. One thread at a time: the flag is read and written with the GIL.
  template <typename Step>
  auto in_use(Step step) {
    if (busy_)
      raise(Error::make(ErrorCode::local_protocol, Phase::none, "another thread is using this response"),
            handle_.error_factory);
    std::optional<decltype(step(options_))> result;
    bool raised = false;
    busy_ = true;
    {
      WithoutGil without_gil;
      client::CallOptions options = options_;
      options.interrupt = without_gil.interrupt();
      result.emplace(step(options));
      raised = without_gil.raised();
      if (raised || !*result) exchange_.abandon();
    }
    busy_ = false;
    if (!exchange_.holds()) leave();
    return value_or_raise(*std::move(result), raised, handle_.error_factory);
  }
  void leave() noexcept {
    if (!counted_) return;
    counted_ = false;
    origin_.forget();
    if (epoch_ == net::fork_epoch()) handle_.leave();  // in a fork's child the count is the child's own
  }

 public:
  Exchange(nb::object handle, client::Exchange&& exchange, const Timeouts& timeouts)
      : handle_object_(std::move(handle)),
        handle_(nb::cast<Handle&>(handle_object_)),
        exchange_(std::move(exchange)),
        origin_(handle_.pool.origins()),
        options_{timeouts, {}, handle_.connect_retries} {}
  // A finalizer never reads.
  ~Exchange() {
    if (exiting()) return;  // others may be parked inside its pool
    exchange_.abandon();
    leave();
  }
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  void obtain_and_send(std::optional<std::string_view> content) {
    in_use([&](const client::CallOptions& options) -> Result<void> {
      if (handle_.limit) {
        if (auto entered =
                handle_.limit->enter(handle_.pool.holder.get().pool(), options.timeouts.pool, options.interrupt);
            !entered)
          return entered;
      }
      counted_ = true;
      handle_.open_leases.add();
      auto step = exchange_.obtain(options);
      origin_.note(exchange_.connection_id());
      if (step && content) {
        step = exchange_.send(*content, options);
        origin_.note(exchange_.connection_id());  // after a retry another one
      }
      return step;
    });
  }
  bool write(nb::handle data) {
    const BodyView body(data);
    return in_use([&](const client::CallOptions& options) { return exchange_.write(body.view(), options); });
  }
  void finish() {
    in_use([&](const client::CallOptions& options) { return exchange_.finish(options); });
  }
  nb::object read() {
    std::vector<std::string_view> pieces;  // into this thread's buffer, or the exchange
    bool more = false;
    if (!busy_ && exchange_.read_is_ready()) {
      more = value_or_raise(exchange_.read(pieces, options_), false, handle_.error_factory);
    } else {
      more = in_use([&](const client::CallOptions& options) { return exchange_.read(pieces, options); });
    }
    if (!more) return nb::bytes("", 0);
    if (pieces.size() == 1) return bytes_of(pieces.front());
    std::size_t size = 0;
    for (const std::string_view piece : pieces)
      size += piece.size();
    nb::object joined = nb::steal(PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(size)));
    if (!joined.is_valid()) throw nb::python_error();
    char* end = PyBytes_AS_STRING(joined.ptr());
    for (const std::string_view piece : pieces)
      end = std::copy(piece.begin(), piece.end(), end);
    return joined;
  }
  void close() {
    if (busy_) return;  // another thread is in it; its own end will do
    exchange_.close();
    leave();
  }
  [[nodiscard]] bool closed() const noexcept { return !busy_ && !exchange_.holds(); }
  [[nodiscard]] bool arrived() const noexcept { return !busy_ && exchange_.body_arrived(); }
  // While another thread is in it, its connection may go at any moment.
  [[nodiscard]] int descriptor() const noexcept { return busy_ ? -1 : exchange_.descriptor(); }
  [[nodiscard]] nb::object address(net::SocketAddress connection::Addresses::* which) const {
    if (busy_ || !exchange_.addresses()) return nb::none();
    return address_from(*exchange_.addresses().*which);
  }
  [[nodiscard]] const h1::ResponseHead& head() const noexcept { return exchange_.head(); }

 private:
  const nb::object handle_object_;
  Handle& handle_;
  client::Exchange exchange_;
  LeaseOrigin origin_;
  const client::CallOptions options_;
  const unsigned epoch_ = net::fork_epoch();
  bool counted_ = false;
  bool busy_ = false;
};

std::string_view bytes_view(nb::handle object, const char* what) {
  if (!PyBytes_Check(object.ptr())) {
    PyErr_Format(PyExc_TypeError, "%s must be bytes, not %s", what, Py_TYPE(object.ptr())->tp_name);
    throw nb::python_error();
  }
  return {PyBytes_AS_STRING(object.ptr()), static_cast<std::size_t>(PyBytes_GET_SIZE(object.ptr()))};
}

nb::object send(nb::handle self_object, nb::handle scheme, nb::handle host, nb::handle port, nb::handle method,
                nb::handle target, nb::handle headers, nb::handle content, nb::handle timeouts,
                nb::handle server_name) {
  Handle& self = nb::cast<Handle&>(self_object);
  if (self.closed)
    raise(Error::make(ErrorCode::pool_closed, Phase::acquire, "this transport was closed"), self.error_factory);
  const Scheme kind = bytes_view(scheme, "scheme") == "https" ? Scheme::https : Scheme::http;
  std::uint16_t number = default_port(kind);
  if (!port.is_none()) {
    const long value = PyLong_AsLong(port.ptr());
    if (value == -1 && PyErr_Occurred() != nullptr) throw nb::python_error();
    if (value < 0 || value > 65535)
      raise(Error::make(ErrorCode::connect_failed, Phase::connect, "no such port: " + std::to_string(value)),
            self.error_factory);
    number = static_cast<std::uint16_t>(value);
  }
  std::optional<std::string_view> sni;
  HeaderText text;
  if (!server_name.is_none()) sni = text.view(server_name);
  client::Core& core = self.pool.core();
  auto there = self.endpoint(core, kind, bytes_view(host, "host"), number, sni);
  if (!there) raise(there.error(), self.error_factory);
  const Timeouts limits = timeouts_from_tuple(timeouts);  // before the views: a number's own __float__ may run
  const std::vector<Header> pairs = headers_from(headers, text);
  const std::optional<std::string_view> body =
      content.is_none() ? std::nullopt : std::optional(bytes_view(content, "content"));
  auto opened = client::Exchange::open(core, std::move(there).value(),
                                       {bytes_view(method, "method"), bytes_view(target, "target"), pairs});
  if (!opened) raise(opened.error(), self.error_factory);
  ++self.requests;
  ++self.pool.requests;
  auto* const exchange = new Exchange(nb::borrow(self_object), std::move(opened).value(), limits);
  nb::object result = nb::cast(exchange, nb::rv_policy::take_ownership);
  exchange->obtain_and_send(body);
  return result;
}

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

Handle::Handle(nb::object the_pool, Profile profile, std::optional<std::uint32_t> most, int retries, nb::object factory)
    : pool_object(std::move(the_pool)),
      pool(nb::cast<Pool&>(pool_object)),
      error_factory(std::move(factory)),
      connect_retries(retries),
      max_leases(most),
      limit(most ? std::make_unique<client::LeaseLimit>(*most) : nullptr),
      profile_(std::move(profile)) {
  client::Core& core = pool.core();
  auto id = core.intern(profile_);
  if (!id) raise_value_error(id.error());
  core_ = &core;
  profile_id_ = *id;
}

Result<pool::EndpointHold> Handle::endpoint(client::Core& core, Scheme scheme, std::string_view host,
                                            std::uint16_t port, std::optional<std::string_view> server_name) {
  if (core_ != &core) {  // a fork: ids and endpoints belong to the parent's core
    auto id = core.intern(profile_);
    if (!id) return std::move(id).error();
    core_ = &core;
    profile_id_ = *id;
    last_ = nullptr;
    // The places that the parent's threads took never come back here; its limit may be locked, so it is left alone.
    if (limit) {
      (void)limit.release();
      limit = std::make_unique<client::LeaseLimit>(*max_leases);
    }
    open_leases.subtract(open_leases.get());
  }
  if (server_name) {
    Profile named = profile_;
    named.server_name = *server_name;
    auto id = core.intern(named);
    if (!id) return std::move(id).error();
    return core.endpoint({scheme, std::string(host), port}, *id);
  }
  if (last_ != nullptr && last_origin_.port == port && last_origin_.scheme == scheme && last_origin_.host == host)
    return pool::EndpointHold(*last_);
  Origin origin{scheme, std::string(host), port};
  pool::EndpointHold there = core.endpoint(origin, profile_id_);
  if (there->kept()) {
    last_ = &*there;
    last_origin_ = std::move(origin);
  }
  return there;
}

void Handle::leave() noexcept {
  open_leases.subtract();
  if (limit) limit->leave();
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
             std::string unix_socket, nb::handle socket_options, std::optional<std::uint32_t> max_leases,
             int connect_retries, nb::object factory) {
            if (!nb::isinstance<Pool>(the_pool)) throw nb::type_error("pool must be a _core.Pool");
            Profile profile{tls, "", std::move(local_address), std::move(unix_socket), options_from(socket_options)};
            new (self) Handle(std::move(the_pool), std::move(profile), max_leases, connect_retries, std::move(factory));
          },
          "pool"_a, nb::kw_only(), "tls"_a, "local_address"_a = "", "unix_socket"_a = "",
          "socket_options"_a = nb::make_tuple(), "max_leases"_a.none() = nb::none(), "connect_retries"_a = 0,
          "error_factory"_a.none() = nb::none())
      .def_prop_ro("open_leases", [](const Handle& self) { return self.open_leases.get(); })
      .def_prop_ro("request_count", [](const Handle& self) { return self.requests; })
      .def("send", &send, "scheme"_a, "host"_a, "port"_a.none(), "method"_a, "target"_a, "headers"_a,
           "content"_a.none(), "timeouts"_a, "server_name"_a.none() = nb::none())
      .def("close", [](Handle& self) { self.closed = true; });

  nb::class_<Exchange>(module, "Exchange")
      .def("write", &Exchange::write, "data"_a)
      .def("finish", &Exchange::finish)
      .def_prop_ro("status", [](const Exchange& self) { return self.head().status; })
      .def_prop_ro("reason", [](const Exchange& self) { return bytes_of(self.head().reason); })
      .def_prop_ro(
          "http_version",
          [](const Exchange& self) { return bytes_of(self.head().version_minor == 0 ? "HTTP/1.0" : "HTTP/1.1"); })
      .def_prop_ro("headers", [](const Exchange& self) { return header_bytes(self.head().headers); })
      .def("read", &Exchange::read)
      .def("__iter__", [](nb::handle self) { return self; })
      .def("__next__",
           [](Exchange& self) {
             nb::object piece = self.read();
             if (PyBytes_GET_SIZE(piece.ptr()) == 0) throw nb::stop_iteration();
             return piece;
           })
      .def("close", &Exchange::close)
      .def_prop_ro("closed", &Exchange::closed)
      .def_prop_ro("arrived", &Exchange::arrived)
      .def_prop_ro("descriptor", &Exchange::descriptor)
      .def_prop_ro("local_address", [](const Exchange& self) { return self.address(&connection::Addresses::local); })
      .def_prop_ro("peer_address", [](const Exchange& self) { return self.address(&connection::Addresses::peer); });
}

}  // namespace fastpool::bindings
