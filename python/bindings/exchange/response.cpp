#include "bindings/exchange/response.h"

#include "bindings/exchange/exchange.h"
#include "bindings/interpreter/convert.h"
#include "bindings/interpreter/errors.h"

namespace nb = nanobind;

namespace fastpool::bindings {

void bind_response(nb::module_& module) {
  nb::class_<Response>(module, "Response")
      .def_prop_ro("status_code", [](const Response& self) { return self.head().status; })
      .def_prop_ro(
          "reason_phrase",
          [](const Response& self) {
            const std::string& reason = self.head().reason;
            return nb::steal(PyUnicode_DecodeLatin1(reason.data(), static_cast<Py_ssize_t>(reason.size()), nullptr));
          })
      .def_prop_ro("http_version", [](const Response& self) { return http_version(self.head()); })
      .def_prop_ro("headers", [](const Response& self) { return header_strings(self.head().headers); })
      .def_prop_ro("raw_headers", [](const Response& self) { return header_bytes(self.head().headers); })
      .def_prop_ro("content", [](const Response& self) { return self.content; })
      .def_prop_ro("text",
                   [](const Response& self) {
                     return nb::steal(PyUnicode_DecodeUTF8(PyBytes_AS_STRING(self.content.ptr()),
                                                           PyBytes_GET_SIZE(self.content.ptr()), "replace"));
                   })
      .def("json", [](const Response& self) { return nb::module_::import_("json").attr("loads")(self.content); })
      .def("__repr__", [](const Response& self) { return "<Response [" + std::to_string(self.head().status) + "]>"; });
}

}  // namespace fastpool::bindings
