// _core.TlsSettings and _core.TlsFiles.

#include "bindings/tls/tls_settings.h"

#include <array>
#include <optional>
#include <string>

#include <fastpool/profile.h>

#include "bindings/interpreter/convert.h"
#include "bindings/interpreter/errors.h"
#include "bindings/interpreter/gil.h"
#include "tls/settings_files.h"

namespace nb = nanobind;

namespace fastpool::bindings {

namespace {

TlsSettings read(const TlsSettings& self) {
  std::optional<Result<TlsSettings>> read;
  {
    const WithoutGil without_gil;
    read.emplace(read_files(self));
  }
  if (!*read) raise_value_error(read->error());
  return std::move(*read).value();
}

nb::bytes digest(const TlsFiles& self) {
  const tls::SettingsFiles::Digest& digest = tls::files_of(self)->digest();
  return nb::bytes(digest.data(), digest.size());
}

}  // namespace

void bind_tls_settings(nb::module_& module) {
  using namespace nb::literals;
  nb::class_<TlsFiles>(module, "TlsFiles")
      .def_prop_ro("digest", &digest)
      .def("__eq__",
           [](const TlsFiles& self, nb::handle other) {
             return nb::isinstance<TlsFiles>(other) && self == nb::cast<const TlsFiles&>(other);
           })
      .def("__hash__", [](const TlsFiles& self) { return nb::hash(digest(self)); });

  nb::class_<TlsSettings>(module, "TlsSettings")
      .def(
          "__init__",
          [](TlsSettings* self, bool verify_peer, bool verify_hostname, std::string ca_file, std::string ca_directory,
             std::string certificate_file, std::string private_key_file, std::string private_key_password,
             std::uint64_t verify_flags, int minimum_version, int maximum_version, std::string cipher_list,
             std::string groups, int security_level, std::uint64_t options, const TlsFiles* files, std::string ca) {
            auto* const settings = new (self) TlsSettings;
            settings->verify_peer = verify_peer;
            settings->verify_hostname = verify_hostname;
            settings->ca_file = std::move(ca_file);
            settings->ca_directory = std::move(ca_directory);
            settings->certificate_file = std::move(certificate_file);
            settings->private_key_file = std::move(private_key_file);
            settings->private_key_password = std::move(private_key_password);
            settings->verify_flags = verify_flags;
            settings->minimum_version = minimum_version;
            settings->maximum_version = maximum_version;
            settings->cipher_list = std::move(cipher_list);
            settings->groups = std::move(groups);
            settings->security_level = security_level;
            settings->options = options;
            if (files != nullptr) settings->files = *files;
            settings->ca = std::move(ca);
          },
          nb::kw_only(), "verify_peer"_a = true, "verify_hostname"_a = true, "ca_file"_a = "", "ca_directory"_a = "",
          "certificate_file"_a = "", "private_key_file"_a = "", "private_key_password"_a = "", "verify_flags"_a = 0,
          "minimum_version"_a = 0x0303, "maximum_version"_a = 0, "cipher_list"_a = "", "groups"_a = "",
          "security_level"_a = -1, "options"_a = 0, "files"_a.none() = nb::none(), "ca"_a = "")
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
      .def_prop_ro("files", [](const TlsSettings& self) { return self.files ? nb::cast(self.files) : nb::none(); })
      .def_ro("ca", &TlsSettings::ca)
      .def("read", &read)
      .def("__eq__",
           [](const TlsSettings& self, nb::handle other) {
             return nb::isinstance<TlsSettings>(other) && self == nb::cast<const TlsSettings&>(other);
           })
      .def("__hash__", [](const TlsSettings& self) {
        return std::hash<std::string>{}(self.ca_file + self.certificate_file + self.cipher_list);
      });
}

}  // namespace fastpool::bindings
