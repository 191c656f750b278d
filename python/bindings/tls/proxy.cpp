// _core.Proxy.

#include "bindings/tls/proxy.h"

#include "bindings/interpreter/convert.h"
#include "bindings/tls/context_factory.h"

namespace nb = nanobind;

namespace fastpool::bindings {

namespace {

std::string text_of(nb::handle bytes) {
  if (!nb::isinstance<nb::bytes>(bytes)) throw nb::type_error("user names, passwords and headers of a proxy are bytes");
  const auto held = nb::cast<nb::bytes>(bytes);
  return {held.c_str(), held.size()};
}

}  // namespace

void bind_proxy(nb::module_& module) {
  using namespace nb::literals;
  nb::class_<ProxyObject>(module, "Proxy")
      .def(
          "__init__",
          [](ProxyObject* self, std::string url, nb::handle username, nb::handle password, nb::handle headers,
             std::optional<TlsSettings> tls, nb::object ssl_context) {
            Proxy proxy;
            proxy.url = std::move(url);
            proxy.username = text_of(username);
            proxy.password = text_of(password);
            for (nb::handle each : headers)
              proxy.headers.emplace_back(text_of(each[0]), text_of(each[1]));
            if (tls) proxy.tls = *std::move(tls);
            if (!ssl_context.is_none()) proxy.engine = ContextFactory::of(ssl_context);
            new (self) ProxyObject{std::move(proxy), std::move(ssl_context)};
          },
          "url"_a, nb::kw_only(), "username"_a = nb::bytes("", 0), "password"_a = nb::bytes("", 0),
          "headers"_a = nb::make_tuple(), "tls"_a.none() = nb::none(), "ssl_context"_a.none() = nb::none());
}

}  // namespace fastpool::bindings
